package postgres

import (
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"workflow.uniconnect/pkg/pgtest"
	"workflow.uniconnect/pkg/postgres"
	"workflow.uniconnect/services/trigger-scheduler/internal/activation"
	"workflow.uniconnect/services/trigger-scheduler/internal/deadletter"
	"workflow.uniconnect/services/trigger-scheduler/internal/event"
)

func TestMain(m *testing.M) { os.Exit(pgtest.Main(m)) }

// stores are a store and a reader on one database.
type stores struct {
	*Store
	*Reader
}

func newStore(t *testing.T) stores {
	t.Helper()
	options := postgres.Options{URL: pgtest.New(t, Migrate), Schema: Schema, Role: postgres.Worker}
	worker, err := postgres.Open(t.Context(), options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(worker.Close)
	api, err := postgres.OpenTenants(t.Context(), options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(api.Close)
	return stores{NewStore(worker), NewReader(api)}
}

func TestQueries_fit_the_schema(t *testing.T) {
	t.Parallel()
	pgtest.PrepareAll(t, newStore(t).Store.pool, map[string]string{
		"addLetters": addLetters, "listLetters": listLetters, "insertTenantTombstone": insertTenantTombstone, "buryTenantTombstones": buryTenantTombstones,
		"deleteLetters": deleteLetters, "renewWatcher": renewWatcher, "releaseWatcher": releaseWatcher,
		"inheritWatchers": inheritWatchers, "buryWatcher": buryWatcher,
	})
}

func TestStore_Add_keeps_a_redelivery_once(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	at := time.Date(2026, 11, 23, 10, 0, 0, 123456789, time.UTC)
	letter := func(tenant event.Tenant, sequence uint64) deadletter.Letter {
		return deadletter.Letter{
			Tenant: tenant, Reason: "EVENT_MALFORMED", Message: "no\x00good", EventID: "e\xff", Subject: "s",
			Header: map[string][]string{"a\x00": {"b\xff"}}, Body: []byte("\x00\xff"), Sequence: sequence, Published: at,
		}
	}
	newer := letter("acme", 1) // the same place in a stream that was made anew
	newer.Published = at.Add(time.Hour)
	for range 2 {
		if _, err := s.Add(t.Context(), []deadletter.Letter{letter("acme", 1), letter("acme", 2), letter("globex", 1), letter("", 3), newer, letter("acme", 1)}); err != nil {
			t.Fatal(err)
		}
	}
	letters, _, err := s.List(t.Context(), "acme", "", 10)
	if err != nil {
		t.Fatal(err)
	}
	if len(letters) != 3 {
		t.Fatalf("got %d letters, want 3", len(letters))
	}
	last := letters[2]
	want := deadletter.Letter{
		ID: last.ID, Created: last.Created, Tenant: "acme", Reason: "EVENT_MALFORMED", Message: "no\uFFFDgood", EventID: "e\uFFFD", Subject: "s",
		Header: map[string][]string{"a\uFFFD": {"b\uFFFD"}}, Body: []byte("\x00\xff"), Sequence: last.Sequence, Published: last.Published,
	}
	if diff := cmp.Diff(want, last); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	rest, _, err := s.List(t.Context(), "acme", letters[0].ID, 10)
	if err != nil || len(rest) != 2 || rest[0].ID != letters[1].ID {
		t.Errorf("the second page: got %d letters, %v", len(rest), err)
	}
}

func TestStore_List_pages(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	add := func(tenant event.Tenant, body, header int) {
		t.Helper()
		for i := range 7 {
			letter := deadletter.Letter{
				Tenant: tenant, Sequence: uint64(i), Body: make([]byte, body), Header: map[string][]string{"x": {strings.Repeat("x", header)}},
			}
			if _, err := s.Add(t.Context(), []deadletter.Letter{letter}); err != nil {
				t.Fatal(err)
			}
		}
	}
	add("small", 10, 10)
	add("large", 1<<20, 0)
	add("headers", 0, 1<<20)
	for tenant, want := range map[event.Tenant][]int{"small": {3, 3, 1}, "large": {2, 2, 2, 1}, "headers": {2, 2, 2, 1}} {
		var got []int
		seen, after := 0, ""
		for more := true; more; {
			letters, further, err := s.List(t.Context(), tenant, after, 3)
			if err != nil {
				t.Fatal(err)
			}
			for _, l := range letters {
				seen++
				if want := uint64(7 - seen); l.Sequence != want {
					t.Errorf("%s: got letter %d, want %d", tenant, l.Sequence, want)
				}
			}
			got, after, more = append(got, len(letters)), letters[len(letters)-1].ID, further
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: pages (-want +got):\n%s", tenant, diff)
		}
	}
	if letters, more, err := s.List(t.Context(), "nobody", "", 3); len(letters) != 0 || more || err != nil {
		t.Errorf("nobody: got %d, %v, %v", len(letters), more, err)
	}
}

func TestStore_watchers(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	a, b, c := activation.WatcherID{1}, activation.WatcherID{2}, activation.WatcherID{3}
	seen := time.Date(2026, 11, 23, 10, 0, 0, 0, time.UTC)
	renew := func(id activation.WatcherID) {
		t.Helper()
		if err := s.Renew(t.Context(), id, seen); err != nil {
			t.Fatal(err)
		}
	}
	inherit := func(heir activation.WatcherID) []activation.Estate {
		t.Helper()
		estates, err := s.Inherit(t.Context(), heir, 30*time.Second)
		if err != nil {
			t.Fatal(err)
		}
		return estates
	}
	renew(a)
	renew(b)
	if got := inherit(b); len(got) != 0 {
		t.Errorf("a living watcher was taken over: %v", got)
	}
	if err := s.Release(t.Context(), a); err != nil {
		t.Fatal(err)
	}
	estates := inherit(b)
	if len(estates) != 1 || estates[0].ID != a || !estates[0].SeenThrough.Equal(seen) {
		t.Fatalf("got %v", estates)
	}
	if got := inherit(c); len(got) != 0 {
		t.Errorf("two heirs at once: %v", got)
	}
	if got := inherit(b); len(got) != 1 {
		t.Errorf("the heir cannot try again: %v", got)
	}
	renew(a) // it was only frozen
	if err := s.Bury(t.Context(), estates[0]); err != nil {
		t.Fatal(err)
	}
	if err := s.Release(t.Context(), a); err != nil {
		t.Fatal(err)
	}
	estates = inherit(c)
	if len(estates) != 1 {
		t.Fatalf("a watcher whose owner came back was buried: %v", estates)
	}
	if err := s.Bury(t.Context(), estates[0]); err != nil {
		t.Fatal(err)
	}
	if got := inherit(c); len(got) != 0 {
		t.Errorf("not buried: %v", got)
	}
}
