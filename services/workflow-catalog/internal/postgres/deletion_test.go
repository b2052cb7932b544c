package postgres_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"
	"golang.org/x/sync/errgroup"

	"workflow.uniconnect/services/workflow-catalog/internal/deletion"
	"workflow.uniconnect/services/workflow-catalog/internal/postgres"
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

// grow gives a workflow everything that a workflow can have, each by a request with an id.
func (e *env) grow(t *testing.T, title string) workflow.Workflow {
	t.Helper()
	request := func(method string) workflow.Call {
		c := call("acme", method)
		c.RequestID = "request " + method
		return c
	}
	w, err := e.store.Create(t.Context(), request(workflow.MethodCreate), workflow.Workflow{
		Tenant: "acme", ID: newID(t), State: workflow.Active, Revision: 1, Version: 1, Config: config(t, title),
	})
	if err != nil {
		t.Fatal(err)
	}
	callee, caller := e.add(t, "acme", "callee", workflow.Active), e.add(t, "acme", "caller", workflow.Active)
	wantViolations(t, e.save(t, caller, calling(t, "caller", w.ID)))
	next := calling(t, title+" 2", callee.ID)
	w, err = e.store.Change(t.Context(), request(workflow.MethodUpdate), workflow.Change{
		Before: w, State: w.State, Config: &next, Origin: workflow.Updated,
	})
	if err != nil {
		t.Fatal(err)
	}
	backup := workflow.Backup{ID: workflow.BackupID(newID(t)), Name: title, Revision: 1}
	if _, err := e.store.AddBackup(t.Context(), request(workflow.MethodBackup), w, backup); err != nil {
		t.Fatal(err)
	}
	draft := workflow.Draft{DraftInfo: workflow.DraftInfo{BaseRevision: 2}, Config: config(t, title+" draft")}
	if _, err := e.store.SaveDraft(t.Context(), request(workflow.MethodUpdateDraft), workflow.Drafted{Live: w}, draft); err != nil {
		t.Fatal(err)
	}
	if err := e.store.Remember(t.Context(), request(workflow.MethodActivate), w, w); err != nil {
		t.Fatal(err)
	}
	return w
}

// mentions counts the rows that hold a text anywhere, by table, over all tables of the catalog.
func (e *env) mentions(t *testing.T, text string) map[string]int {
	t.Helper()
	rows, err := e.pool.Query(t.Context(), `SELECT tablename::text FROM pg_tables WHERE schemaname = $1`, postgres.Schema)
	if err != nil {
		t.Fatal(err)
	}
	tables, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		t.Fatal(err)
	}
	counts := make(map[string]int)
	for _, table := range tables {
		var n int
		query := `SELECT count(*) FROM ` + pgx.Identifier{table}.Sanitize() + ` x WHERE position($1 IN x::text) > 0`
		if err := e.pool.QueryRow(t.Context(), query, text).Scan(&n); err != nil {
			t.Fatal(err)
		}
		if n > 0 {
			counts[table] = n
		}
	}
	return counts
}

func TestStore_Remove(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	w := e.grow(t, "Secret")
	before := e.mentions(t, string(w.ID))
	for _, table := range []string{"workflows", "revisions", "changes", "requests", "backups", "drafts", "workflow_calls"} {
		if before[table] == 0 {
			t.Errorf("the workflow has nothing in %s, so this test shows nothing of it", table)
		}
	}
	d := deletion.Deletion{Tenant: "acme", ID: w.ID}
	if err := e.store.Remove(t.Context(), d); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(before, e.mentions(t, string(w.ID))); diff != "" {
		t.Fatalf("a workflow that is not DELETING was touched:\n%s", diff)
	}
	w = e.set(t, w, workflow.Deleting)
	for range 2 { // the second time does nothing
		if err := e.store.Remove(t.Context(), d); err != nil {
			t.Fatal(err)
		}
	}
	_, err := e.store.Get(t.Context(), "acme", w.ID)
	wantError(t, err, workflow.ErrNotFound)
	left := e.mentions(t, string(w.ID))
	delete(left, "audit_entries")
	if diff := cmp.Diff(map[string]int{"tombstones": 1}, left); diff != "" {
		t.Errorf("what is left beside the audit (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(map[string]int{}, e.mentions(t, "Secret")); diff != "" {
		t.Errorf("what is left of its content (-want +got):\n%s", diff)
	}
	for _, method := range []string{workflow.MethodCreate, workflow.MethodUpdate, workflow.MethodBackup, workflow.MethodUpdateDraft, workflow.MethodActivate} {
		request := call("acme", method)
		request.RequestID = "request " + method
		answer, known, err := e.store.Replay(t.Context(), request)
		if err != nil || !known || !answer.Gone || answer.Body != nil {
			t.Errorf("replay of %s: got %+v %v %v, want gone without content", method, answer, known, err)
		}
	}
}

// Who was away while a workflow went learns of it, although none of its changes is left.
func TestStore_Remove_isHeard(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	first, w, last := e.add(t, "acme", "first", workflow.Active), e.add(t, "acme", "goes", workflow.Active), e.add(t, "acme", "last", workflow.Active)
	window, _, err := e.store.Changes(t.Context(), 0, 10)
	if err != nil {
		t.Fatal(err)
	}
	e.set(t, w, workflow.Deleting)
	if err := e.store.Remove(t.Context(), deletion.Deletion{Tenant: "acme", ID: w.ID}); err != nil {
		t.Fatal(err)
	}
	after, changes, err := e.store.Changes(t.Context(), window.Newest, 10)
	if err != nil || len(changes) != 1 {
		t.Fatalf("got %d changes, %v; want one", len(changes), err)
	}
	got := changes[0]
	if got.ID != w.ID || got.Tenant != "acme" || got.State != workflow.Deleting || got.Title != "" || got.Seq != after.Newest || got.Seq <= window.Newest {
		t.Errorf("got %+v, want the removal of %s as the newest change", got, w.ID)
	}
	_, all, err := e.store.Changes(t.Context(), 0, 10)
	if err != nil || len(all) != 3 || all[0].ID != first.ID || all[1].ID != last.ID || all[2].ID != w.ID {
		t.Errorf("from the beginning: got %+v, %v; want first, last and the removal", all, err)
	}
}

// However much there is of a workflow, no statement of its removal has to take it all.
func TestStore_Remove_much(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	w := e.grow(t, "Much")
	for _, query := range []string{
		`INSERT INTO revisions (tenant, workflow_id, revision, config, hash, size, author, create_time)
		 SELECT tenant, workflow_id, n, config, hash, size, author, create_time FROM revisions, generate_series(3, 2500) n
		 WHERE tenant = 'acme' AND workflow_id = $1 AND revision = 1`,
		`INSERT INTO backups (tenant, workflow_id, id, name, revision, create_time, create_user)
		 SELECT 'acme', $1, gen_random_uuid(), '', n, now(), '' FROM generate_series(1, 2500) n`,
		`INSERT INTO changes (tenant, workflow_id, revision, state, at)
		 SELECT 'acme', $1::uuid, n, 2, now() FROM generate_series(1, 2500) n`,
	} {
		if _, err := e.pool.Exec(t.Context(), query, w.ID); err != nil {
			t.Fatal(err)
		}
	}
	d := deletion.Deletion{Tenant: "acme", ID: w.ID}
	before := e.mentions(t, string(w.ID))
	if err := e.store.Remove(t.Context(), d); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(before, e.mentions(t, string(w.ID))); diff != "" || before["revisions"] != 2500 {
		t.Fatalf("a workflow that is not DELETING was touched:\n%s", diff)
	}
	e.set(t, w, workflow.Deleting)
	if err := e.store.Remove(t.Context(), d); err != nil {
		t.Fatal(err)
	}
	left := e.mentions(t, string(w.ID))
	delete(left, "audit_entries")
	if diff := cmp.Diff(map[string]int{"tombstones": 1}, left); diff != "" {
		t.Errorf("what is left beside the audit (-want +got):\n%s", diff)
	}
}

func TestStore_Prune_tombstones(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	for i := range 2 {
		w := e.set(t, e.add(t, "acme", fmt.Sprint("w", i), workflow.Active), workflow.Deleting)
		if err := e.store.Remove(t.Context(), deletion.Deletion{Tenant: "acme", ID: w.ID}); err != nil {
			t.Fatal(err)
		}
		if i == 0 {
			if _, err := e.pool.Exec(t.Context(), `UPDATE tombstones SET at = now() - interval '31 days'`); err != nil {
				t.Fatal(err)
			}
		}
	}
	keep := postgres.Retention{Changes: 7 * 24 * time.Hour, Requests: 7 * 24 * time.Hour, Tombstones: 30 * 24 * time.Hour}
	if err := e.store.Prune(t.Context(), keep); err != nil {
		t.Fatal(err)
	}
	var n int
	if err := e.pool.QueryRow(t.Context(), `SELECT count(*) FROM tombstones`).Scan(&n); err != nil || n != 1 {
		t.Errorf("got %d tombstones, %v; want the young one", n, err)
	}
}
