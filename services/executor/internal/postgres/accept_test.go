package postgres_test

import (
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"workflow.uniconnect/services/executor/internal/execution"
	"workflow.uniconnect/services/executor/internal/run"
)

func TestStore_Accept(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	me := f.owner(time.Minute)
	first, second := owned(start("acme", 1, "one")), start("acme", 1, "two")
	second.Cause = execution.ScheduleCause(time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC))
	got := f.accept(me, first, second)
	want := []execution.Verdict{{Outcome: execution.Started, ID: first.ID}, {Outcome: execution.Started, ID: second.ID}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("verdicts (-want +got):\n%s", diff)
	}
	view := f.get("acme", first.ID)
	if view.State != run.Running || view.Attempt != 1 || view.Cause != first.Cause || string(view.Event) != string(first.Event) {
		t.Errorf("owned execution: got %+v", view)
	}
	view = f.get("acme", second.ID)
	if view.State != run.Queued || view.Attempt != 0 || !view.Cause.NominalTime.Equal(second.Cause.NominalTime) {
		t.Errorf("queued execution: got %+v", view)
	}
	if _, found, err := f.reader.Get(t.Context(), "globex", first.ID); found || err != nil {
		t.Errorf("another tenant's id: found %v, %v", found, err)
	}
}

func TestStore_Accept_Duplicates(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	me := f.owner(time.Minute)

	t.Run("hundred_at_once", func(t *testing.T) {
		var group sync.WaitGroup
		var mu sync.Mutex
		started := map[execution.ID]int{}
		outcomes := map[execution.Outcome]int{}
		for range 100 {
			group.Go(func() {
				// Two keys in either order, and one of them twice: what deadlocks batches that are not sorted.
				items := []execution.Accept{start("acme", 1, "b"), start("acme", 1, "a"), start("acme", 1, "b")}
				verdicts, err := f.store.Accept(t.Context(), me, items)
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				defer mu.Unlock()
				for _, v := range verdicts {
					started[v.ID]++
					outcomes[v.Outcome]++
				}
			})
		}
		group.Wait()
		if outcomes[execution.Started] != 2 || outcomes[execution.Duplicate] != 298 || len(started) != 2 {
			t.Errorf("got outcomes %v and %d ids, want 2 started, 298 duplicates of 2 ids", outcomes, len(started))
		}
		if n := f.count("executions"); n != 2 {
			t.Errorf("executions: got %d, want 2", n)
		}
	})
	t.Run("expired_key_wins_again", func(t *testing.T) {
		old := start("acme", 2, "again")
		old.KeyTTL = time.Microsecond
		f.accept(me, old)
		again := start("acme", 2, "again")
		if got := f.accept(me, again)[0]; got.Outcome != execution.Started || got.ID != again.ID {
			t.Errorf("after the expiry: got %+v, want started", got)
		}
		if got := f.accept(me, start("acme", 2, "again"))[0]; got.Outcome != execution.Duplicate || got.ID != again.ID {
			t.Errorf("before the new expiry: got %+v, want a duplicate of %s", got, again.ID)
		}
	})
	t.Run("redelivered_after_the_expiry", func(t *testing.T) {
		// The stream may deliver an event again long after a short window has ended.
		published := time.Now().Add(-time.Hour)
		old := start("acme", 2, "late")
		old.KeyTTL, old.PublishTime = time.Microsecond, published
		f.accept(me, old)
		again := start("acme", 2, "late")
		again.PublishTime = published
		if got := f.accept(me, again)[0]; got.Outcome != execution.Duplicate || got.ID != old.ID {
			t.Errorf("got %+v, want a duplicate of %s", got, old.ID)
		}
	})
	t.Run("repeated_batch_meets_itself", func(t *testing.T) {
		// The connection was lost during the commit: the same batch comes again.
		item := start("acme", 3, "lost answer")
		f.accept(me, item)
		if got := f.accept(me, item)[0]; got.Outcome != execution.Started || got.ID != item.ID {
			t.Errorf("got %+v, want started", got)
		}
	})
	t.Run("same_key_of_another_tenant", func(t *testing.T) {
		item := start("globex", 1, "a")
		if got := f.accept(me, item)[0]; got.Outcome != execution.Started {
			t.Errorf("got %+v, want started", got)
		}
	})
}

func TestStore_Accept_BisectsToTheBadItem(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	me := f.owner(time.Minute)
	var items []execution.Accept
	for i := range 17 {
		items = append(items, start("acme", 1, string(rune('a'+i))))
	}
	items[11].Event = []byte("{\"nul\":\"\x00\"}")
	for i, got := range f.accept(me, items...) {
		want := execution.Verdict{Outcome: execution.Started, ID: items[i].ID}
		if i == 11 {
			want = execution.Verdict{Outcome: execution.Refused, Reason: execution.ReasonUnstorable}
		}
		if got != want {
			t.Errorf("item %d: got %+v, want %+v", i, got, want)
		}
	}
	if n := f.count("starts"); n != 16 {
		t.Errorf("start keys: got %d, want 16", n)
	}
}

func TestStore_ExpireStarts(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	me := f.owner(time.Minute)
	for _, key := range []string{"a", "b", "c"} {
		item := start("acme", 1, key)
		item.KeyTTL, item.PublishTime = time.Microsecond, time.Now().Add(-9*24*time.Hour)
		f.accept(me, item)
	}
	f.accept(me, start("acme", 1, "kept"))
	// Expired, but the stream may still deliver what it blocks.
	expired := start("acme", 1, "kept too")
	expired.KeyTTL = time.Microsecond
	f.accept(me, expired)
	for _, want := range []int{2, 1, 0} {
		if got, err := f.store.ExpireStarts(t.Context(), 2); got != want || err != nil {
			t.Errorf("expired: got %d, %v; want %d", got, err, want)
		}
	}
	if n := f.count("starts"); n != 2 {
		t.Errorf("left: got %d, want 2", n)
	}
}
