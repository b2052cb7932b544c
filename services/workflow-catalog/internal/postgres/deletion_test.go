package postgres_test

import (
	"fmt"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"workflow.uniconnect/services/workflow-catalog/internal/deletion"
	"workflow.uniconnect/services/workflow-catalog/internal/workflow"
)

func TestStore_Claim(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	const n = 20
	for i := range n {
		e.set(t, e.add(t, "acme", fmt.Sprint("w", i), workflow.Active), workflow.Deleting)
	}
	e.add(t, "acme", "stays", workflow.Active)
	claims := make(chan deletion.Deletion, 2*n)
	var group errgroup.Group
	for range 4 {
		group.Go(func() error {
			for {
				claimed, err := e.store.Claim(t.Context(), 3, time.Hour)
				if err != nil || len(claimed) == 0 {
					return err
				}
				for _, d := range claimed {
					claims <- d
				}
			}
		})
	}
	if err := group.Wait(); err != nil {
		t.Fatal(err)
	}
	close(claims)
	seen := make(map[workflow.ID]deletion.Deletion)
	for d := range claims {
		if _, twice := seen[d.ID]; twice {
			t.Errorf("%s was claimed twice", d.ID)
		}
		seen[d.ID] = d
	}
	pending, err := e.store.Pending(t.Context())
	if err != nil || len(seen) != n || pending != n {
		t.Errorf("claimed %d, pending %d, %v; want %d", len(seen), pending, err, n)
	}

	t.Run("released_only_by_its_last_claim", func(t *testing.T) {
		for _, d := range seen {
			d.Failures = 3
			if err := e.store.Release(t.Context(), d, 0); err != nil {
				t.Fatal(err)
			}
			again, err := e.store.Claim(t.Context(), n, time.Hour)
			if err != nil || len(again) != 1 || again[0].ID != d.ID || again[0].Failures != 3 {
				t.Fatalf("after release: got %v, %v; want it alone with its failures", again, err)
			}
			if err := e.store.Release(t.Context(), d, 0); err != nil {
				t.Fatal(err)
			}
			if again, err = e.store.Claim(t.Context(), n, time.Hour); err != nil || len(again) != 0 {
				t.Errorf("after the release of an old claim: got %v, %v; want nothing", again, err)
			}
			return
		}
	})
}

func TestStore_Remove(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	request := call("acme", workflow.MethodCreate)
	request.RequestID = "r1"
	w, err := e.store.Create(t.Context(), request, workflow.Workflow{
		Tenant: "acme", ID: newID(t), State: workflow.Active, Revision: 1, Version: 1, Config: config(t, "Secret title")})
	if err != nil {
		t.Fatal(err)
	}
	d := deletion.Deletion{Tenant: "acme", ID: w.ID}
	if err := e.store.Remove(t.Context(), d); err != nil {
		t.Fatal(err)
	}
	if _, err := e.store.Get(t.Context(), "acme", w.ID); err != nil {
		t.Errorf("a workflow that is not DELETING was removed: %v", err)
	}
	w = e.set(t, w, workflow.Deleting)
	for range 2 { // the second time does nothing
		if err := e.store.Remove(t.Context(), d); err != nil {
			t.Fatal(err)
		}
	}
	_, err = e.store.Get(t.Context(), "acme", w.ID)
	wantError(t, err, workflow.ErrNotFound)
	answer, known, err := e.store.Replay(t.Context(), request)
	if err != nil || !known || !answer.Gone || answer.Body != nil {
		t.Errorf("replay: got %+v %v %v, want gone without content", answer, known, err)
	}
	_, changes, err := e.store.Changes(t.Context(), 0, 10)
	if err != nil || len(changes) != 2 {
		t.Fatalf("got %d changes, %v; want 2", len(changes), err)
	}
	for _, c := range changes {
		if c.State != workflow.Deleting || c.Title != "" {
			t.Errorf("change %d: got state %d title %q, want DELETING and none", c.Seq, c.State, c.Title)
		}
	}
	// What remains of it anywhere: ids, times and hashes.
	for table, want := range map[string]int{"workflows": 0, "revisions": 0, "tombstones": 1, "audit_entries": 3} {
		column := "workflow_id"
		if table == "workflows" {
			column = "id"
		}
		var rows, titled int
		query := fmt.Sprintf(`SELECT count(*), count(*) FILTER (WHERE to_jsonb(x)::text LIKE '%%Secret%%') FROM %s x WHERE %s = $1`, table, column)
		if err := e.pool.QueryRow(t.Context(), query, w.ID).Scan(&rows, &titled); err != nil || rows != want || titled != 0 {
			t.Errorf("%s: got %d rows, %d with the title, %v; want %d and 0", table, rows, titled, err, want)
		}
	}
}
