package postgres_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"golang.org/x/sync/errgroup"

	"workflow.uniconnect/pkg/fault"
	"workflow.uniconnect/services/workflow-catalog/internal/feed"
	"workflow.uniconnect/services/workflow-catalog/internal/postgres"
	"workflow.uniconnect/services/workflow-catalog/internal/workflow"
)

func same(t *testing.T, want, got workflow.Workflow) {
	t.Helper()
	if diff := cmp.Diff(want, got, cmpopts.EquateApproxTime(0), cmp.Transformer("document", func(c workflow.Config) string {
		canonical, err := workflow.NewConfig(c.Title, c.Description, c.Document)
		if err != nil {
			t.Error(err)
		}
		return string(canonical.Document) + fmt.Sprintf("%x", c.Hash)
	})); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func asFault(t *testing.T, err error) *fault.Error {
	t.Helper()
	f, ok := fault.As(err)
	if !ok {
		t.Fatalf("got %v, want a fault", err)
	}
	return f
}

// key names one version of a workflow.
type key struct {
	id       workflow.ID
	revision int32
	state    workflow.State
	at       int64
}

func keyOf(c feed.Change) key { return key{c.ID, c.Revision, c.State, c.At.UnixMicro()} }

// TestStore_Changes_under_50_writers has a reader follow the feed while 50 writers change workflows. Whatever the reader has passed must
// never be preceded by something that appears later, and a reader that begins at any of the numbers sees the same rest.
func TestStore_Changes_under_50_writers(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	const writers, rounds = 50, 8
	replica := e.replica(t)
	written := make(chan key, writers*rounds*2)
	var group errgroup.Group
	for n := range writers {
		group.Go(func() error {
			store := []*postgres.Store{e.store, replica}[n%2]
			w, err := store.Create(t.Context(), call("acme", workflow.MethodCreate), workflow.Workflow{
				Tenant: "acme", ID: newID(t), State: workflow.Inactive, Revision: 1, Version: 1, Config: config(t, fmt.Sprint("w", n))})
			if err != nil {
				return err
			}
			written <- key{w.ID, w.Revision, w.State, w.UpdateTime.UnixMicro()}
			for range rounds {
				c := config(t, fmt.Sprint("w", n, rand.Uint64()))
				change := workflow.Change{Before: w, State: 3 - w.State, Config: &c, Origin: workflow.Updated}
				asked := time.Now()
				if w, err = store.Change(t.Context(), call("acme", workflow.MethodUpdate), change); err != nil {
					return err
				}
				if w.UpdateTime.After(time.Now()) || w.UpdateTime.Before(asked.Add(-time.Second)) {
					return fmt.Errorf("effective time %v is not between call and answer", w.UpdateTime)
				}
				written <- key{w.ID, w.Revision, w.State, w.UpdateTime.UnixMicro()}
			}
			return nil
		})
	}
	done := make(chan error, 1)
	go func() { done <- group.Wait(); close(written) }()

	var all []feed.Change
	var asOf time.Time
	finished := false
	for {
		var after feed.Seq
		if len(all) > 0 {
			after = all[len(all)-1].Seq
		}
		window, changes, err := e.store.Changes(t.Context(), after, 7)
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range changes {
			if c.Seq <= after || len(all) > 0 && c.At.Before(all[len(all)-1].At) {
				t.Fatalf("change %d at %v after %d: out of order", c.Seq, c.At, after)
			}
			if c.At.Before(asOf) && c.At.Add(time.Second).Before(asOf) {
				t.Errorf("change %d at %v appeared long after the feed was read as of %v", c.Seq, c.At, asOf)
			}
			after = c.Seq
		}
		all = append(all, changes...)
		if len(changes) < 7 {
			asOf = window.AsOf
			if finished {
				break
			}
		}
		select {
		case err := <-done:
			if err != nil {
				t.Fatal(err)
			}
			finished = true
		default:
		}
	}
	want := make(map[key]int)
	for k := range written {
		want[k]++
	}
	got := make(map[key]int)
	for _, c := range all {
		got[keyOf(c)]++
	}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(key{})); diff != "" {
		t.Errorf("changes (-written +fed):\n%s", diff)
	}
	for i := range all {
		_, rest, err := replica.Changes(t.Context(), all[i].Seq, len(all))
		if err != nil {
			t.Fatal(err)
		}
		if !slices.EqualFunc(all[i+1:], rest, func(a, b feed.Change) bool { return a.Seq == b.Seq && keyOf(a) == keyOf(b) }) {
			t.Fatalf("from %d: got %d changes, want the same %d as the first reader", all[i].Seq, len(rest), len(all)-i-1)
		}
	}
}

// TestStore_Changes_hides_nothing_uncommitted shows what the lock is for: a change whose transaction is still open holds the next one back,
// so that a reader cannot pass it by.
func TestStore_Changes_hides_nothing_uncommitted(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	w := e.add(t, "acme", "First", workflow.Inactive)
	tx, err := e.pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = tx.Rollback(context.WithoutCancel(t.Context())) }() // does nothing after the commit
	for _, query := range []string{
		`SELECT pg_advisory_xact_lock(` + fmt.Sprint(int64(0x75635f66656564)) + `)`,
		`INSERT INTO changes (tenant, workflow_id, revision, state, at) VALUES ('acme', gen_random_uuid(), 1, 1, clock_timestamp())`,
	} {
		if _, err := tx.Exec(t.Context(), query); err != nil {
			t.Fatal(err)
		}
	}
	second := make(chan error, 1)
	go func() {
		_, err := e.store.Change(t.Context(), call("acme", workflow.MethodActivate), workflow.Change{Before: w, State: workflow.Active})
		second <- err
	}()
	const waiting = `SELECT EXISTS (SELECT FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND wait_event = 'advisory' AND datname = current_database())`
	for held := false; !held; {
		if err := e.pool.QueryRow(t.Context(), waiting).Scan(&held); err != nil {
			t.Fatal(err)
		}
		select {
		case err := <-second:
			t.Fatalf("the second change did not wait for the first: %v", err)
		default:
		}
	}
	_, changes, err := e.store.Changes(t.Context(), 0, 10)
	if err != nil || len(changes) != 1 {
		t.Errorf("while both are open: got %d changes, %v; want the one before", len(changes), err)
	}
	if err := tx.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := <-second; err != nil {
		t.Fatal(err)
	}
	_, changes, err = e.store.Changes(t.Context(), 0, 10)
	if err != nil || len(changes) != 3 || changes[2].ID != w.ID {
		t.Errorf("got %d changes, %v; want 3 with the waiting one last", len(changes), err)
	}
}

func TestStore_Snapshot(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	want := make(map[workflow.ID]bool)
	for i := range 11 {
		want[e.add(t, "acme", fmt.Sprint("w", i), workflow.Active).ID] = true
	}
	want[e.add(t, "globex", "theirs", workflow.Active).ID] = true
	e.add(t, "globex", "off", workflow.Inactive)

	got := make(map[workflow.ID]bool)
	batches := 0
	window, err := e.store.Snapshot(t.Context(), 5, func(batch []feed.Change) error {
		batches++
		for _, c := range batch {
			got[c.ID] = true
			if string(c.Trigger) != `{"manual": {}}` || !c.HasSteps || c.TimeZone != "Europe/Berlin" || c.ActiveSince.IsZero() {
				t.Errorf("got %+v, want trigger, steps, zone and time", c)
			}
		}
		if batches == 1 {
			e.add(t, "acme", "late", workflow.Active) // after the snapshot
		}
		return nil
	})
	if err != nil || batches != 3 {
		t.Errorf("got %d batches, %v; want 3", batches, err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	_, changes, err := e.store.Changes(t.Context(), window.Newest, 10)
	if err != nil || len(changes) != 1 || changes[0].Title != "late" {
		t.Errorf("after the snapshot: got %v, %v; want the late one alone", changes, err)
	}
	stop := errors.New("stop")
	if _, err := e.store.Snapshot(t.Context(), 5, func([]feed.Change) error { return stop }); !errors.Is(err, stop) {
		t.Errorf("got %v, want the error of yield", err)
	}
}

func TestStore_Prune(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	w := e.add(t, "acme", "First", workflow.Inactive)
	w = e.set(t, w, workflow.Active)
	keep := postgres.Retention{Changes: time.Hour, Requests: time.Hour, Tombstones: time.Hour}
	if err := e.store.Prune(t.Context(), keep); err != nil {
		t.Fatal(err)
	}
	window, changes, err := e.store.Changes(t.Context(), 0, 10)
	if err != nil || len(changes) != 2 || window.Floor != 0 {
		t.Fatalf("got %d changes, floor %d, %v; want all of them", len(changes), window.Floor, err)
	}
	newest := changes[1].Seq
	if err := e.store.Prune(t.Context(), postgres.Retention{Changes: -time.Hour, Requests: time.Hour, Tombstones: time.Hour}); err != nil {
		t.Fatal(err)
	}
	window, changes, err = e.store.Changes(t.Context(), 0, 10)
	if err != nil || len(changes) != 0 || window.Floor != newest || window.Newest != newest {
		t.Errorf("got %d changes, window %+v, %v; want none and %d", len(changes), window, err, newest)
	}
	e.set(t, w, workflow.Inactive)
	window, changes, err = e.store.Changes(t.Context(), newest, 10)
	if err != nil || len(changes) != 1 || window.Floor != newest || window.Newest <= newest {
		t.Errorf("got %d changes, window %+v, %v; want one after %d", len(changes), window, err, newest)
	}
}

// However much is old, all of it goes in one turn, and no more than that.
func TestStore_Prune_much(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	w := e.add(t, "acme", "Young", workflow.Active)
	_, changes, err := e.store.Changes(t.Context(), 0, 1)
	if err != nil || len(changes) != 1 {
		t.Fatalf("got %v, %v; want one change", changes, err)
	}
	for _, query := range []string{
		`INSERT INTO requests (tenant, request_id, method, hash, at)
		 SELECT 'acme', 'old-' || n, 'CreateWorkflow', '', now() - interval '2 hours' FROM generate_series(1, 12000) n`,
		`INSERT INTO requests (tenant, request_id, method, hash) VALUES ('acme', 'young', 'CreateWorkflow', '')`,
		`INSERT INTO changes (tenant, workflow_id, revision, state, at)
		 SELECT 'acme', gen_random_uuid(), 1, 2, now() - interval '2 hours' FROM generate_series(1, 12000) n`,
	} {
		if _, err := e.pool.Exec(t.Context(), query); err != nil {
			t.Fatal(err)
		}
	}
	w = e.set(t, w, workflow.Inactive)
	if err := e.store.Prune(t.Context(), postgres.Retention{Changes: time.Hour, Requests: time.Hour, Tombstones: time.Hour}); err != nil {
		t.Fatal(err)
	}
	var requests int
	if err := e.pool.QueryRow(t.Context(), `SELECT count(*) FROM requests`).Scan(&requests); err != nil || requests != 1 {
		t.Errorf("got %d requests, %v; want the young one", requests, err)
	}
	window, changes, err := e.store.Changes(t.Context(), 0, 10)
	if err != nil || len(changes) != 1 || changes[0].ID != w.ID || window.Floor != changes[0].Seq-1 {
		t.Errorf("got %+v, window %+v, %v; want the last change alone", changes, window, err)
	}
}
