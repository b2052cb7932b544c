package postgres_test

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"

	"workflow.uniconnect/services/workflow-catalog/internal/audit"
	"workflow.uniconnect/services/workflow-catalog/internal/deletion"
	"workflow.uniconnect/services/workflow-catalog/internal/feed"
	"workflow.uniconnect/services/workflow-catalog/internal/postgres"
	"workflow.uniconnect/services/workflow-catalog/internal/tenant"
	"workflow.uniconnect/services/workflow-catalog/internal/workflow"
)

// doomed is a tenant whose name is nowhere else.
const doomed = "zzinitech"

func platformCall(method, requestID string) workflow.Call {
	return workflow.Call{Tenant: doomed, Actor: "platform", Method: method, RequestID: requestID, Hash: []byte(method)}
}

func (e *env) lifecycle() (*tenant.Lifecycle, *postgres.Platform) {
	p := e.store.Platform()
	nothing := func() {}
	return tenant.NewLifecycle(tenant.LifecycleDeps{
		Store: p, Changed: nothing,
		Administration: tenant.NewAdministration(tenant.AdministrationDeps{
			Store: p, Permissions: []string{"workflow.view"}, Changed: nothing,
			NewID: func() (tenant.RoleID, error) { return "", errors.New("no role is made here") },
		}),
	}), p
}

func asIs(s tenant.Settings) (tenant.Settings, error) { return s, nil }

// begin makes the doomed tenant.
func (e *env) begin(t *testing.T) tenant.Tenant {
	t.Helper()
	l, _ := e.lifecycle()
	made, err := l.Create(t.Context(), platformCall(tenant.MethodCreate, "c1"), tenant.Begin{Title: "Initech", Owner: "bill", Settings: asIs})
	if err != nil {
		t.Fatal(err)
	}
	return made
}

// furnish gives the doomed tenant something in every table.
func (e *env) furnish(t *testing.T) workflow.Workflow {
	t.Helper()
	ctx := t.Context()
	c := call(doomed, workflow.MethodCreate)
	c.RequestID = "of the tenant"
	w, err := e.store.Create(ctx, c, workflow.Workflow{
		Tenant: doomed, ID: newID(t), State: workflow.Active, Revision: 1, Version: 1, Config: config(t, "First"),
	})
	if err != nil {
		t.Fatal(err)
	}
	gone := e.set(t, e.add(t, doomed, "Gone", workflow.Inactive), workflow.Deleting)
	if err := e.store.Remove(ctx, deletion.Deletion{Tenant: doomed, ID: gone.ID}); err != nil {
		t.Fatal(err)
	}
	if _, err := e.store.AddBackup(ctx, call(doomed, workflow.MethodBackup), w, workflow.Backup{ID: workflow.BackupID(newID(t)), Revision: 1}); err != nil {
		t.Fatal(err)
	}
	l, _ := e.lifecycle()
	mapped := func(s tenant.Settings) (tenant.Settings, error) {
		s.RoleMap, s.FailureWorkflow, s.Quotas.Streams = map[string]string{"boss": tenant.RoleSystemOwner}, w.ID, 7
		return s, nil
	}
	title := "Initech Inc"
	if _, err := l.Update(ctx, platformCall(tenant.MethodUpdate, "u1"), tenant.Patch{Title: &title, Settings: mapped}); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Suspend(ctx, platformCall(tenant.MethodSuspend, "s1"), "does not pay"); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Resume(ctx, platformCall(tenant.MethodResume, "r1")); err != nil {
		t.Fatal(err)
	}
	e.exec(t,
		`INSERT INTO drafts (tenant, workflow_id, base_revision, config, hash, update_time, update_user)
		 SELECT tenant, id, 1, '{"title": "Draft"}', '', now(), 'bill' FROM workflows WHERE tenant = 'zzinitech'`,
		`INSERT INTO workflow_calls (tenant, caller, callee) SELECT tenant, id, id FROM workflows WHERE tenant = 'zzinitech'`,
		`INSERT INTO role_permissions (tenant, role_id, permission) SELECT tenant, id, 'workflow.view' FROM roles WHERE tenant = 'zzinitech'`)
	return w
}

// tables lists the catalog's tables; those with a column of that name, unless it is empty.
func (e *env) tables(t *testing.T, column string) []string {
	t.Helper()
	rows, err := e.pool.Query(t.Context(), `
		SELECT DISTINCT c.table_name::text FROM information_schema.columns c
		JOIN information_schema.tables t ON t.table_schema = c.table_schema AND t.table_name = c.table_name AND t.table_type = 'BASE TABLE'
		WHERE c.table_schema = 'catalog' AND ($1 = '' OR c.column_name = $1) ORDER BY 1`, column)
	if err != nil {
		t.Fatal(err)
	}
	names, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		t.Fatal(err)
	}
	return names
}

// holding counts the rows that hold a text anywhere, by table.
func (e *env) holding(t *testing.T, text string) map[string]int {
	t.Helper()
	found := make(map[string]int)
	for _, table := range e.tables(t, "") {
		var n int
		sql := `SELECT count(*) FROM ` + table + ` x WHERE strpos(x::text, $1) > 0`
		if err := e.pool.QueryRow(t.Context(), sql, text).Scan(&n); err != nil {
			t.Fatal(err)
		}
		if n > 0 {
			found[table] = n
		}
	}
	return found
}

func TestOffboarding_Remove(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	made := e.begin(t)
	w := e.furnish(t)
	l, platform := e.lifecycle()
	queue := e.store.Offboarding()

	notTenants := []string{"tenant_tombstones", "platform_audit"}
	for _, table := range e.tables(t, "tenant") {
		if e.holding(t, doomed)[table] == 0 && !slices.Contains(notTenants, table) {
			t.Errorf("nothing of the tenant is in %s, so that its removal would prove nothing", table)
		}
	}
	if _, err := l.Delete(t.Context(), platformCall(tenant.MethodDelete, "d0"), "acme"); err == nil || !strings.Contains(err.Error(), "confirm") {
		t.Errorf("another name as confirmation: got %v", err)
	}
	if err := queue.Remove(t.Context(), deletion.Deletion{Tenant: doomed}); err != nil || len(e.holding(t, string(w.ID))) == 0 {
		t.Fatalf("the removal of a tenant that is not on its way out: %v", err)
	}
	leaving, err := l.Delete(t.Context(), platformCall(tenant.MethodDelete, "d1"), doomed)
	if err != nil || leaving.State != tenant.Deleting {
		t.Fatalf("delete: got %+v, %v", leaving, err)
	}
	for name, try := range map[string]func() error{
		"resume": func() error {
			_, err := l.Resume(t.Context(), platformCall(tenant.MethodResume, ""))
			return err
		},
		"update": func() error {
			_, err := l.Update(t.Context(), platformCall(tenant.MethodUpdate, ""), tenant.Patch{Title: new(string)})
			return err
		},
	} {
		if err := try(); !errors.Is(err, tenant.ErrDeleting) {
			t.Errorf("%s of a tenant on its way out: got %v", name, err)
		}
	}
	claimed, err := queue.Claim(t.Context(), 8, time.Hour)
	if err != nil || len(claimed) != 1 || claimed[0].Tenant != doomed {
		t.Fatalf("claimed %v, %v", claimed, err)
	}
	for range 2 { // the second time does nothing
		if err := queue.Remove(t.Context(), claimed[0]); err != nil {
			t.Fatal(err)
		}
	}
	want := map[string]int{"tenant_tombstones": 1, "platform_audit": 1}
	if diff := cmp.Diff(want, e.holding(t, doomed)); diff != "" {
		t.Errorf("what holds the name (-want +got):\n%s", diff)
	}
	if found := e.holding(t, string(w.ID)); len(found) > 0 {
		t.Errorf("the workflow's id is still in %v", found)
	}
	if pending, err := queue.Pending(t.Context()); err != nil || pending != 0 {
		t.Errorf("pending %d, %v", pending, err)
	}

	t.Run("what_comes_late", func(t *testing.T) {
		if _, err := l.Create(t.Context(), platformCall(tenant.MethodCreate, "c2"), tenant.Begin{Title: "Again", Owner: "x", Settings: asIs}); !errors.Is(err, tenant.ErrExists) {
			t.Errorf("the name again: got %v", err)
		}
		if added, err := e.store.AddTenant(t.Context(), tenant.Seed{Tenant: doomed, Title: "x", TimeZone: "UTC"}); added || err != nil {
			t.Errorf("the seed again: got %v, %v", added, err)
		}
		if err := e.store.Append(t.Context(), audit.Entry{Tenant: doomed, Actor: "bill", Action: "GetWorkflow", Outcome: "PERMISSION_DENIED"}); err != nil {
			t.Errorf("a refusal: got %v", err)
		}
		if _, err := e.store.Create(t.Context(), call(doomed, workflow.MethodCreate), workflow.Workflow{
			Tenant: doomed, ID: newID(t), State: workflow.Active, Revision: 1, Version: 1, Config: config(t, "Late"),
		}); err == nil {
			t.Error("a workflow of a tenant that is gone is created")
		}
		again, err := l.Delete(t.Context(), platformCall(tenant.MethodDelete, "d1"), doomed)
		if err != nil || again.State != tenant.Deleting {
			t.Errorf("the deletion again: got %+v, %v", again, err)
		}
		if _, err := platform.Tenant(t.Context(), doomed); !errors.Is(err, tenant.ErrNotFound) {
			t.Errorf("get: got %v", err)
		}
		if diff := cmp.Diff(want, e.holding(t, doomed)); diff != "" {
			t.Errorf("what holds the name (-want +got):\n%s", diff)
		}
	})
	t.Run("watchers_hear_of_it", func(t *testing.T) {
		_, changes, err := e.store.Changes(t.Context(), 0, 1000)
		if err != nil {
			t.Fatal(err)
		}
		last := changes[len(changes)-1]
		if last.Kind != feed.Gate || last.Gate != feed.Gone || last.Tenant != doomed {
			t.Errorf("the last change: got %+v, want the gate that is closed for good", last)
		}
	})
	t.Run("the_name_is_free_after_its_time", func(t *testing.T) {
		e.exec(t, `UPDATE tenant_tombstones SET at = now() - interval '31 days'`)
		made2, err := l.Create(t.Context(), platformCall(tenant.MethodCreate, "c3"), tenant.Begin{Title: "Other", Owner: "y", Settings: asIs})
		if err != nil || !made2.CreateTime.After(made.CreateTime) {
			t.Fatalf("got %+v, %v", made2, err)
		}
		_, changes, err := e.store.Changes(t.Context(), 0, 1000)
		if err != nil {
			t.Fatal(err)
		}
		if last := changes[len(changes)-1]; last.Kind != feed.Gate || last.Gate != feed.Opened {
			t.Errorf("the last change: got %+v, want the gate that is open again", last)
		}
	})
}

// TestOffboarding_Remove_feed holds that the feed never seems to go back while its newest changes are those of a tenant that is removed: a
// reader would take it for another feed.
func TestOffboarding_Remove_feed(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	e.begin(t)
	e.furnish(t)
	l, _ := e.lifecycle()
	if _, err := l.Delete(t.Context(), platformCall(tenant.MethodDelete, ""), doomed); err != nil {
		t.Fatal(err)
	}
	gone := e.set(t, e.add(t, doomed, "Gone after the mark", workflow.Inactive), workflow.Deleting)
	if err := e.store.Remove(t.Context(), deletion.Deletion{Tenant: doomed, ID: gone.ID}); err != nil {
		t.Fatal(err)
	}
	newest := func() feed.Seq {
		window, _, err := e.store.Changes(t.Context(), 0, 1)
		if err != nil {
			t.Fatal(err)
		}
		return window.Newest
	}
	before := newest()
	// The last transaction waits for this one, until everything that goes before it is gone.
	tx, err := e.pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = tx.Rollback(context.WithoutCancel(t.Context())) }() // nothing is left to do where the test went well
	if _, err := tx.Exec(t.Context(), `SELECT pg_advisory_xact_lock(x'75635f66656564'::bigint)`); err != nil {
		t.Fatal(err)
	}
	removed := make(chan error, 1)
	go func() { removed <- e.store.Offboarding().Remove(t.Context(), deletion.Deletion{Tenant: doomed}) }()
	waiting := func() (n int) {
		if err := e.pool.QueryRow(t.Context(), `SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted`).Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	for waiting() == 0 {
		if got := newest(); got < before {
			t.Fatalf("the newest change went back from %d to %d", before, got)
		}
	}
	if got := newest(); got < before {
		t.Errorf("the newest change went back from %d to %d", before, got)
	}
	if err := tx.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := <-removed; err != nil {
		t.Fatal(err)
	}
	if got := newest(); got <= before {
		t.Errorf("the newest change is %d, want a tombstone after %d", got, before)
	}
}

// TestAudit_is_erased_with_its_tenant_only tries to erase entries as people might who have the database in their hands.
func TestAudit_is_erased_with_its_tenant_only(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	e.begin(t)
	refused := func(what, sql string) {
		t.Helper()
		if _, err := e.pool.Exec(t.Context(), sql); err == nil || !strings.Contains(err.Error(), "append-only") {
			t.Errorf("%s: got %v, want a refusal", what, err)
		}
	}
	refused("delete", `DELETE FROM audit_entries WHERE tenant = 'zzinitech'`)
	refused("update", `UPDATE audit_entries SET actor = 'x'`)
	refused("truncate", `TRUNCATE audit_entries`)
	refused("the function, of an active tenant", `SELECT erase_audit('zzinitech', 10)`)
	l, _ := e.lifecycle()
	if _, err := l.Delete(t.Context(), platformCall(tenant.MethodDelete, ""), doomed); err != nil {
		t.Fatal(err)
	}
	refused("the function, before the other services are done", `SELECT erase_audit('zzinitech', 10)`)
	e.exec(t, `UPDATE tenants SET finalized_at = now() WHERE tenant = 'zzinitech'`)
	refused("delete of a tenant on its way out", `DELETE FROM audit_entries WHERE tenant = 'zzinitech'`)
	var erased int
	if err := e.pool.QueryRow(t.Context(), `SELECT erase_audit('zzinitech', 10)`).Scan(&erased); err != nil || erased == 0 {
		t.Errorf("the function: erased %d, %v", erased, err)
	}
	refused("the platform's audit", `DELETE FROM platform_audit`)
}

func TestPlatform_requests(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	made := e.begin(t)
	l, _ := e.lifecycle()
	again := e.begin(t) // the same request
	if diff := cmp.Diff(made, again); diff != "" {
		t.Errorf("the same request (-first +again):\n%s", diff)
	}
	other := platformCall(tenant.MethodSuspend, "c1")
	if _, err := l.Suspend(t.Context(), other, ""); !errors.Is(err, workflow.ErrRequestIDReused) {
		t.Errorf("the id for another request: got %v", err)
	}
	if _, err := l.Create(t.Context(), platformCall(tenant.MethodCreate, "c9"), tenant.Begin{Title: "X", Owner: "x", Settings: asIs}); !errors.Is(err, tenant.ErrExists) {
		t.Errorf("the name of a tenant: got %v", err)
	}
	for range 2 {
		if got, err := l.Suspend(t.Context(), platformCall(tenant.MethodSuspend, ""), "does not pay"); err != nil || got.State != tenant.Suspended {
			t.Errorf("suspend: got %+v, %v", got, err)
		}
	}
	entries, err := e.store.Entries(t.Context(), doomed, audit.Query{Limit: 10})
	if err != nil || len(entries) != 2 || entries[0].Note != "does not pay" || entries[0].Actor != "platform" || entries[0].Action != tenant.MethodSuspend {
		t.Errorf("audit: got %+v, %v; want the creation and one suspension with its reason", entries, err)
	}
}

func TestPlatform_Export(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	e.begin(t)
	w := e.furnish(t)
	for range 45 { // more than two pages
		e.add(t, doomed, "More "+string(newID(t)), workflow.Inactive)
	}
	count := make(map[string]int)
	first := make(map[string]map[string]any)
	err := e.store.Export(t.Context(), doomed, func(kind string, document []byte) error {
		if count[kind]++; count[kind] == 1 {
			var d map[string]any
			if err := json.Unmarshal(document, &d); err != nil {
				return err
			}
			first[kind] = d
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if count["auditEntry"] < 50 {
		t.Errorf("%d entries of the audit", count["auditEntry"])
	}
	delete(count, "auditEntry")
	want := map[string]int{"module": 1, "role": 2, "user": 1, "workflow": 46, "revision": 46, "backup": 1, "draft": 1}
	if diff := cmp.Diff(want, count); diff != "" {
		t.Errorf("documents (-want +got):\n%s", diff)
	}
	if got := first["workflow"]; got["id"] != string(w.ID) || got["title"] != "First" || got["state"] != "ACTIVE" {
		t.Errorf("the first workflow: got %v", got)
	}
	stop := errors.New("stop")
	if err := e.store.Export(t.Context(), doomed, func(string, []byte) error { return stop }); !errors.Is(err, stop) {
		t.Errorf("an export whose reader is gone: got %v", err)
	}
	if err := e.store.Export(t.Context(), "acme", func(kind string, _ []byte) error {
		if kind == "workflow" {
			t.Error("a workflow of another tenant is exported")
		}
		return nil
	}); err != nil {
		t.Error(err)
	}
}
