package postgres_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"testing"

	"golang.org/x/sync/errgroup"

	"workflow.uniconnect/services/workflow-catalog/internal/deletion"
	"workflow.uniconnect/services/workflow-catalog/internal/workflow"
)

func newCatalog(t *testing.T, e *env) *workflow.Catalog {
	return workflow.NewCatalog(workflow.Deps{
		Store: e.store, Changed: func() {}, NewID: func() (workflow.ID, error) { return newID(t), nil },
	})
}

func TestStore_Replay(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	request := call("acme", workflow.MethodCreate)
	request.RequestID = "r1"
	if _, known, err := e.store.Replay(t.Context(), request); known || err != nil {
		t.Errorf("unknown request: got %v, %v", known, err)
	}
	w := workflow.Workflow{Tenant: "acme", ID: newID(t), State: workflow.Active, Revision: 1, Version: 1, Config: config(t, "First")}
	w, err := e.store.Create(t.Context(), request, w)
	if err != nil {
		t.Fatal(err)
	}
	e.set(t, w, workflow.Inactive) // later changes do not change the answer
	answer, known, err := e.store.Replay(t.Context(), request)
	if err != nil || !known || answer.Gone {
		t.Fatalf("got %+v %v %v, want the first answer", answer, known, err)
	}
	var first workflow.Workflow
	if err := json.Unmarshal(answer.Body, &first); err != nil {
		t.Fatal(err)
	}
	same(t, w, first)

	other := request
	other.Hash = []byte("other")
	_, _, err = e.store.Replay(t.Context(), other)
	wantError(t, err, workflow.ErrRequestIDReused)
	other = request
	other.Method = workflow.MethodDelete
	_, _, err = e.store.Replay(t.Context(), other)
	wantError(t, err, workflow.ErrRequestIDReused)
	other = request
	other.Tenant = "globex"
	if _, known, err := e.store.Replay(t.Context(), other); known || err != nil {
		t.Errorf("another tenant's request: got %v, %v; want unknown", known, err)
	}
}

// TestCatalog_Create_repeated_at_once has many clients send the same request at the same time.
func TestCatalog_Create_repeated_at_once(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	catalog := newCatalog(t, e)
	request := call("acme", workflow.MethodCreate)
	request.RequestID = "r1"
	ids := make(chan workflow.ID, 20)
	var group errgroup.Group
	for range 20 {
		group.Go(func() error {
			w, err := createAs(t, catalog, request, "First")
			ids <- w.ID
			return err
		})
	}
	if err := group.Wait(); err != nil {
		t.Fatal(err)
	}
	close(ids)
	first := <-ids
	for id := range ids {
		if id != first {
			t.Errorf("got another id, %s, than the first, %s", id, first)
		}
	}
	var rows int
	if err := e.pool.QueryRow(t.Context(), `SELECT count(*) FROM workflows`).Scan(&rows); err != nil || rows != 1 {
		t.Errorf("workflows: got %d, %v; want 1", rows, err)
	}
}

// TestCatalog_Update_races has clients with one etag compete, and then clients without.
func TestCatalog_Update_races(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	catalog := newCatalog(t, e)
	w, err := createAs(t, catalog, call("acme", workflow.MethodCreate), "First")
	if err != nil {
		t.Fatal(err)
	}
	update := func(etag, title string) error {
		_, err := catalog.Update(t.Context(), call("acme", workflow.MethodUpdate), workflow.Target{ID: w.ID, ETag: etag}, build(t, title))
		return err
	}
	const clients = 10
	outcomes := make(chan error, clients)
	for i := range clients {
		go func() { outcomes <- update(w.ETag(), fmt.Sprint("etag", i)) }()
	}
	won := 0
	for range clients {
		err := <-outcomes
		if err == nil {
			won++
			continue
		}
		if f := asFault(t, err); f.Reason != "ETAG_MISMATCH" || f.Metadata["revision"] != "2" && f.Metadata["revision"] != "1" {
			t.Errorf("got %v %v, want ETAG_MISMATCH with the revision", err, f.Metadata)
		}
	}
	if won != 1 {
		t.Errorf("winners: got %d, want 1", won)
	}
	for i := range clients {
		go func() { outcomes <- update("", fmt.Sprint("free", i)) }()
	}
	for range clients {
		if err := <-outcomes; err != nil {
			t.Errorf("without an etag: %v", err)
		}
	}
	got, err := catalog.Get(t.Context(), "acme", w.ID)
	if err != nil || got.Revision != 2+clients {
		t.Errorf("revision: got %d, %v; want %d", got.Revision, err, 2+clients)
	}
}

func TestCatalog_Delete(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	catalog := newCatalog(t, e)
	w, err := createAs(t, catalog, call("acme", workflow.MethodCreate), "First")
	if err != nil {
		t.Fatal(err)
	}
	remove := func(c workflow.Call, confirm string) (workflow.Workflow, error) {
		return catalog.Delete(t.Context(), c, workflow.Target{ID: w.ID}, confirm)
	}
	request := call("acme", workflow.MethodDelete)
	if _, err := remove(request, "first"); err == nil || asFault(t, err).Reason != "CONFIRM_MISMATCH" {
		t.Errorf("got %v, want CONFIRM_MISMATCH", err)
	}
	request.RequestID = "r1"
	if got, err := remove(request, "First"); err != nil || got.State != workflow.Deleting {
		t.Fatalf("got %v, %v; want DELETING", got.State, err)
	}
	if got, err := remove(request, "First"); err != nil || got.State != workflow.Deleting {
		t.Errorf("repeated: got %v, %v; want the first answer", got.State, err)
	}
	refusals := map[string]func() error{
		"again": func() error { _, err := remove(call("acme", workflow.MethodDelete), ""); return err },
		"activate": func() error {
			_, err := catalog.Activate(t.Context(), call("acme", workflow.MethodActivate), w.ID)
			return err
		},
		"update": func() error {
			_, err := catalog.Update(t.Context(), call("acme", workflow.MethodUpdate), workflow.Target{ID: w.ID}, build(t, "x"))
			return err
		},
	}
	for name, refused := range refusals {
		if err := refused(); err == nil || asFault(t, err).Reason != "WORKFLOW_STATE" {
			t.Errorf("%s: got %v, want WORKFLOW_STATE", name, err)
		}
	}
}

func TestCatalog_Activate_twice(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	catalog := newCatalog(t, e)
	w, err := createAs(t, catalog, call("acme", workflow.MethodCreate), "First")
	if err != nil {
		t.Fatal(err)
	}
	request := call("acme", workflow.MethodActivate)
	request.RequestID = "r1"
	again, err := catalog.Activate(t.Context(), request, w.ID)
	if err != nil {
		t.Fatal(err)
	}
	same(t, w, again)
	_, changes, err := e.store.Changes(t.Context(), 0, 10)
	if err != nil || len(changes) != 1 {
		t.Errorf("changes: got %d, %v; want the creation alone", len(changes), err)
	}
	request.Hash = []byte("other")
	if _, err := catalog.Activate(t.Context(), request, w.ID); !errors.Is(err, workflow.ErrRequestIDReused) {
		t.Errorf("got %v, want REQUEST_ID_REUSED", err)
	}
}

// TestStore_Remember_after_the_removal: an answer that is kept for a call which changed nothing must not bring back what was deleted
// while the call was under way.
func TestStore_Remember_after_the_removal(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	read := e.add(t, "acme", "First", workflow.Active)
	request := call("acme", workflow.MethodActivate)
	request.RequestID = "r1"
	w := e.set(t, read, workflow.Deleting)
	wantError(t, e.store.Remember(t.Context(), request, read, read), workflow.ErrStale)
	if err := e.store.Remove(t.Context(), deletion.Deletion{Tenant: w.Tenant, ID: w.ID}); err != nil {
		t.Fatal(err)
	}
	wantError(t, e.store.Remember(t.Context(), request, read, read), workflow.ErrStale)
	var rows int
	if err := e.pool.QueryRow(t.Context(), `SELECT count(*) FROM requests`).Scan(&rows); err != nil || rows != 0 {
		t.Errorf("answers: got %d, %v; want none", rows, err)
	}
	if _, err := newCatalog(t, e).Activate(t.Context(), request, w.ID); !errors.Is(err, workflow.ErrNotFound) {
		t.Errorf("got %v, want NOT_FOUND", err)
	}
}

func build(t *testing.T, title string) func(context.Context, workflow.Workflow) (workflow.Config, error) {
	return func(context.Context, workflow.Workflow) (workflow.Config, error) { return config(t, title), nil }
}

func createAs(t *testing.T, catalog *workflow.Catalog, c workflow.Call, title string) (workflow.Workflow, error) {
	return catalog.Create(t.Context(), c, workflow.Active, func(context.Context) (workflow.Config, error) { return config(t, title), nil })
}
