package postgres_test

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"workflow.uniconnect/services/executor/internal/execution"
)

func TestStore_Claim_NeverTwice(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	nobody := f.owner(time.Minute)
	const total = 300
	var items []execution.Accept
	for i := range total {
		items = append(items, start(fmt.Sprintf("tenant%d", i%7), 1, fmt.Sprint(i)))
	}
	f.accept(nobody, items...)
	var mu sync.Mutex
	seen := map[execution.ID]int{}
	var group sync.WaitGroup
	for range 4 {
		me := f.owner(time.Minute)
		group.Go(func() {
			for {
				claimed, err := f.store.Claim(t.Context(), me, execution.ClaimRequest{Limit: 10, TenantLimit: 5})
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				for _, c := range claimed {
					seen[c.ID]++
				}
				left := total - len(seen)
				mu.Unlock()
				if left == 0 {
					return
				}
			}
		})
	}
	group.Wait()
	for id, n := range seen {
		if n != 1 {
			t.Errorf("%s was claimed %d times", id, n)
		}
	}
}

func TestStore_Claim_Fair(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	me := f.owner(time.Minute)
	var items []execution.Accept
	for i := range 100 {
		items = append(items, start("flood", 1, fmt.Sprint(i)))
	}
	f.accept(me, items...)
	items = nil
	for i := range 3 {
		items = append(items, start("small", 1, fmt.Sprint(i)))
	}
	f.accept(me, items...)
	count := func(claimed []execution.Claimed) map[string]int {
		n := map[string]int{}
		for _, c := range claimed {
			n[c.Tenant]++
		}
		return n
	}
	got := count(f.claim(me, 10))
	if got["flood"] != 5 || got["small"] != 3 {
		t.Errorf("shares of 10 slots: got %v, want 5 for the flood and all 3 of the small one", got)
	}
	// Alone, the flood may have everything that is free.
	if got := count(f.claim(me, 20)); got["flood"] != 20 {
		t.Errorf("alone: got %v, want 20", got)
	}
	// With another tenant at work it stays below the limit.
	f.accept(me, start("small", 1, "late"))
	claimed, err := f.store.Claim(t.Context(), me, execution.ClaimRequest{Limit: 10, TenantLimit: 8, Used: map[string]int{"flood": 6}})
	if err != nil {
		t.Fatal(err)
	}
	if got := count(claimed); got["flood"] != 2 || got["small"] != 1 {
		t.Errorf("near the limit: got %v, want 2 and 1", got)
	}
}

// With more hungry tenants than slots the names must not decide: who holds least comes first, then who has waited longest.
func TestStore_Claim_MoreTenantsThanSlots(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	me := f.owner(time.Minute)
	tenants := []string{"d", "e", "c", "b", "a"} // in the order in which they begin to wait
	for i := range 20 {
		for _, tenant := range tenants {
			f.accept(me, start(tenant, 1, fmt.Sprint(i)))
		}
	}
	used := map[string]int{}
	var got []string
	for range 10 {
		claimed, err := f.store.Claim(t.Context(), me, execution.ClaimRequest{Limit: 1, TenantLimit: 8, Used: used})
		if err != nil || len(claimed) != 1 {
			t.Fatalf("claim: got %d, %v; want 1", len(claimed), err)
		}
		got = append(got, claimed[0].Tenant)
		used[claimed[0].Tenant]++
	}
	if diff := cmp.Diff(append(slices.Clone(tenants), tenants...), got); diff != "" {
		t.Errorf("tenants in turn (-want +got):\n%s", diff)
	}
}

func TestStore_Sweep(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	alive, expired, vanished := f.owner(time.Minute), f.owner(time.Microsecond), execution.NewOwnerID()
	kept := owned(start("acme", 1, "kept"))
	f.accept(alive, kept)
	f.accept(expired, owned(start("acme", 1, "expired")))
	f.accept(vanished, owned(start("acme", 1, "vanished")))
	if n, err := f.store.Sweep(t.Context(), 100); n != 2 || err != nil {
		t.Errorf("sweep: got %d, %v; want 2", n, err)
	}
	claimed := f.claim(alive, 10)
	if len(claimed) != 2 {
		t.Errorf("claimable after the sweep: got %d, want 2", len(claimed))
	}
	if n, err := f.store.Release(t.Context(), alive); n != 3 || err != nil {
		t.Errorf("release: got %d, %v; want 3", n, err)
	}
	if got := f.flush(alive, ended(kept, 1)); got[0] != execution.Lost {
		t.Errorf("record after the release: got %v, want lost", got)
	}
}
