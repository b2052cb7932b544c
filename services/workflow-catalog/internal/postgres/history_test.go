package postgres_test

import (
	"context"
	"slices"
	"testing"

	"workflow.uniconnect/services/workflow-catalog/internal/feed"
	"workflow.uniconnect/services/workflow-catalog/internal/postgres"
	"workflow.uniconnect/services/workflow-catalog/internal/workflow"
)

// keep adds a backup of what is live.
func (e *env) keep(t *testing.T, w workflow.Workflow) workflow.Backup {
	t.Helper()
	b, err := e.store.AddBackup(t.Context(), call(w.Tenant, workflow.MethodBackup), w, workflow.Backup{
		ID: workflow.BackupID(newID(t)), Revision: w.Revision, CreateUser: "owner@acme.test",
	})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// retitle adds a revision.
func (e *env) retitle(t *testing.T, w workflow.Workflow, title string) workflow.Workflow {
	t.Helper()
	c := config(t, title)
	saved, err := e.store.Change(t.Context(), call(w.Tenant, workflow.MethodUpdate), workflow.Change{
		Before: w, State: w.State, Config: &c, Origin: workflow.Updated,
	})
	if err != nil {
		t.Fatal(err)
	}
	return saved
}

func (e *env) read(t *testing.T, w workflow.Workflow) workflow.Drafted {
	t.Helper()
	read, err := e.store.Draft(t.Context(), w.Tenant, w.ID)
	if err != nil {
		t.Fatal(err)
	}
	return read
}

// TestStore_Change_from_a_backup: what a change takes over must be there when it commits, and for a reset be the last.
func TestStore_Change_from_a_backup(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	w := e.add(t, "acme", "First", workflow.Active)
	first := e.keep(t, w)
	w = e.retitle(t, w, "Second")
	returnTo := func(b workflow.Backup, origin workflow.Origin) (workflow.Workflow, error) {
		c := config(t, "First")
		return e.store.Change(t.Context(), call("acme", workflow.MethodReset), workflow.Change{
			Before: w, State: w.State, Config: &c, Origin: origin, Source: &b,
		})
	}
	second := e.keep(t, w)
	if !second.CreateTime.After(first.CreateTime) {
		t.Errorf("times of backups: got %v after %v", second.CreateTime, first.CreateTime)
	}
	_, err := returnTo(first, workflow.Reset)
	wantError(t, err, workflow.ErrStale)
	if err := e.store.DropBackup(t.Context(), call("acme", workflow.MethodDeleteBackup), w, second.ID); err != nil {
		t.Fatal(err)
	}
	_, err = returnTo(second, workflow.Restored)
	wantError(t, err, workflow.ErrStale)
	if got, err := e.store.Get(t.Context(), "acme", w.ID); err != nil || got.Revision != 2 || got.Version != w.Version {
		t.Errorf("after what was refused: got revision %d, %v; want 2", got.Revision, err)
	}
	reset, err := returnTo(first, workflow.Reset)
	if err != nil {
		t.Fatal(err)
	}
	r, err := e.store.Revision(t.Context(), "acme", w.ID, reset.Revision)
	if err != nil || r.Origin != workflow.Reset || r.Source != 1 || !r.Live || r.Config.Title != "First" {
		t.Errorf("revision: got %+v, %v; want RESET from 1", r, err)
	}
	_, err = e.store.AddBackup(t.Context(), call("acme", workflow.MethodBackup), w, workflow.Backup{ID: workflow.BackupID(newID(t)), Revision: w.Revision})
	wantError(t, err, workflow.ErrStale) // w is no longer what is live
}

func TestStore_SaveDraft_races(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	w := e.add(t, "acme", "First", workflow.Active)
	save := func(read workflow.Drafted, title string) (workflow.Drafted, error) {
		draft := workflow.Draft{Config: config(t, title)}
		draft.BaseRevision, draft.UpdateUser = 1, "owner@acme.test"
		return e.store.SaveDraft(t.Context(), call("acme", workflow.MethodUpdateDraft), read, draft)
	}
	none := e.read(t, w)
	if none.Draft != nil {
		t.Fatalf("got %+v, want no draft", none.Draft)
	}
	if _, err := save(none, "Draft"); err != nil {
		t.Fatal(err)
	}
	_, err := save(none, "Other") // somebody else had begun one
	wantError(t, err, workflow.ErrStale)
	first := e.read(t, w)
	if first.Draft.Config.Title != "Draft" {
		t.Errorf("got %+v, want the first draft", first.Draft)
	}
	if _, err := save(first, "Edited"); err != nil {
		t.Fatal(err)
	}
	_, err = save(first, "Other")
	wantError(t, err, workflow.ErrStale)
	wantError(t, e.store.DropDraft(t.Context(), call("acme", workflow.MethodDeleteDraft), first, workflow.Nothing{}), workflow.ErrStale)
	publish := func(draft *workflow.Draft) error {
		c := config(t, "Published")
		_, err := e.store.Change(t.Context(), call("acme", workflow.MethodPublish), workflow.Change{
			Before: w, State: w.State, Config: &c, Origin: workflow.Published, Draft: draft,
		})
		return err
	}
	wantError(t, publish(first.Draft), workflow.ErrStale)
	edited := e.read(t, w)
	if err := publish(edited.Draft); err != nil {
		t.Fatal(err)
	}
	wantError(t, publish(edited.Draft), workflow.ErrStale)
	_, err = save(edited, "Late") // the workflow changed since
	wantError(t, err, workflow.ErrStale)
	if got := e.read(t, w); got.Draft != nil || got.Live.Revision != 2 {
		t.Errorf("got %+v, want revision 2 and no draft", got)
	}
}

// TestStore_notes_are_told: what changes beside a workflow is part of the feed and of the audit, and moves neither version nor times.
func TestStore_notes_are_told(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	w := e.add(t, "acme", "First", workflow.Active)
	b := e.keep(t, w)
	draft := workflow.Draft{Config: config(t, "Draft")}
	draft.BaseRevision = 1
	if _, err := e.store.SaveDraft(t.Context(), call("acme", workflow.MethodUpdateDraft), e.read(t, w), draft); err != nil {
		t.Fatal(err)
	}
	if err := e.store.DropDraft(t.Context(), call("acme", workflow.MethodDeleteDraft), e.read(t, w), workflow.Nothing{}); err != nil {
		t.Fatal(err)
	}
	if err := e.store.DropBackup(t.Context(), call("acme", workflow.MethodDeleteBackup), w, b.ID); err != nil {
		t.Fatal(err)
	}
	err := e.store.DropBackup(t.Context(), call("acme", workflow.MethodDeleteBackup), w, b.ID)
	wantError(t, err, workflow.ErrBackupNotFound)
	got, err := e.store.Get(t.Context(), "acme", w.ID)
	if err != nil {
		t.Fatal(err)
	}
	same(t, w, got)
	_, changes, err := e.store.Changes(t.Context(), 0, 10)
	if err != nil {
		t.Fatal(err)
	}
	var kinds []feed.Kind
	for _, c := range changes {
		kinds = append(kinds, c.Kind)
	}
	if want := []feed.Kind{feed.Definition, feed.Annotation, feed.Annotation, feed.Annotation, feed.Annotation}; !slices.Equal(kinds, want) {
		t.Errorf("feed: got %v, want %v", kinds, want)
	}
	const query = `
SELECT string_agg(action || ' ' || (before_hash IS NOT NULL) || ' ' || (after_hash IS NOT NULL), ', ' ORDER BY id)
FROM audit_entries WHERE tenant = 'acme' AND workflow_id = $1`
	var audit string
	if err := e.pool.QueryRow(t.Context(), query, w.ID).Scan(&audit); err != nil {
		t.Fatal(err)
	}
	const want = "CreateWorkflow false true, BackupWorkflow false true, UpdateDraft false true, DeleteDraft true false, DeleteBackup true false"
	if audit != want {
		t.Errorf("audit:\ngot  %s\nwant %s", audit, want)
	}
}

// TestStore_revisions_of_the_release_before have neither origin nor title.
func TestStore_revisions_of_the_release_before(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	w := e.add(t, "acme", "First", workflow.Active)
	const insert = `
INSERT INTO revisions (tenant, workflow_id, revision, config, hash, size, author, create_time)
SELECT tenant, workflow_id, revision + 1, '{"title": "Second"}', hash, size, author, create_time FROM revisions WHERE workflow_id = $1`
	if _, err := e.pool.Exec(t.Context(), insert, w.ID); err != nil {
		t.Fatal(err)
	}
	found, err := e.store.Revisions(t.Context(), "acme", w.ID, 0, 10)
	if err != nil || len(found) != 2 {
		t.Fatalf("got %v, %v; want two", found, err)
	}
	if r := found[0]; r.Origin != workflow.Updated || r.Title != "Second" || r.Source != 0 || r.Live {
		t.Errorf("got %+v, want UPDATED with its title", r)
	}
	if r := found[1]; r.Origin != workflow.Created || r.Title != "First" || !r.Live {
		t.Errorf("got %+v, want CREATED with its title", r)
	}
	r, err := e.store.Revision(t.Context(), "acme", w.ID, 2)
	if err != nil || r.Title != "Second" || r.Config.Title != "Second" || r.Origin != workflow.Updated {
		t.Errorf("got %+v, %v", r, err)
	}
}

// interposed is a store where something happens right before a draft is read.
type interposed struct {
	*postgres.Store
	before func()
}

func (s interposed) Draft(ctx context.Context, tenant workflow.Tenant, id workflow.ID) (workflow.Drafted, error) {
	s.before()
	return s.Store.Draft(ctx, tenant, id)
}

// TestCatalog_Publish_repeated_meanwhile: the same request is done by another process after this one found its id unused. There is no draft
// any more then, and yet the answer is the first one.
func TestCatalog_Publish_repeated_meanwhile(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	w := e.add(t, "acme", "First", workflow.Active)
	other := newCatalog(t, e)
	_, err := other.UpdateDraft(t.Context(), call("acme", workflow.MethodUpdateDraft), workflow.DraftUpdate{
		Target: workflow.Target{ID: w.ID}, Config: config(t, "Draft"),
	})
	if err != nil {
		t.Fatal(err)
	}
	request := call("acme", workflow.MethodPublish)
	request.RequestID = "r1"
	build := func(_ context.Context, from workflow.Config) (workflow.Config, error) { return from, nil }
	var first workflow.Workflow
	catalog := workflow.NewCatalog(workflow.Deps{
		Changed: func() {}, NewID: func() (workflow.ID, error) { return newID(t), nil },
		Store: interposed{e.store, func() {
			if first, err = other.Publish(t.Context(), request, workflow.Target{ID: w.ID}, build); err != nil {
				t.Error(err)
			}
		}},
	})
	got, err := catalog.Publish(t.Context(), request, workflow.Target{ID: w.ID}, build)
	if err != nil || got.Revision != 2 {
		t.Fatalf("got revision %d, %v; want the first answer, revision 2", got.Revision, err)
	}
	same(t, first, got)
}
