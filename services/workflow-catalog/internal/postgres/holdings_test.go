package postgres_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"workflow.uniconnect/services/workflow-catalog/internal/deletion"
	"workflow.uniconnect/services/workflow-catalog/internal/workflow"
)

func TestStore_Holdings(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	w := e.grow(t, "Rich")
	asleep, gone := e.add(t, "acme", "asleep", workflow.Inactive), e.add(t, "acme", "gone", workflow.Active)
	for _, caller := range []workflow.Workflow{asleep, gone} {
		wantViolations(t, e.save(t, caller, calling(t, caller.Config.Title, w.ID)))
	}
	gone, err := e.store.Get(t.Context(), "acme", gone.ID)
	if err != nil {
		t.Fatal(err)
	}
	e.set(t, gone, workflow.Deleting)

	got, err := e.store.Holdings(t.Context(), "acme", w.ID, 2)
	if err != nil {
		t.Fatal(err)
	}
	if len(got.Callers) == 2 {
		got.Callers[1].ID = "" // of the workflow that grow has made
	}
	want := deletion.Holdings{
		Title: "Rich 2", ETag: w.ETag(), Revisions: 2, Backups: 1, Draft: true,
		Callers: []deletion.Caller{{ID: asleep.ID, Title: "asleep", State: workflow.Inactive}, {Title: "caller", State: workflow.Active}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if got, err = e.store.Holdings(t.Context(), "acme", w.ID, 1); err != nil || len(got.Callers) != 1 {
		t.Errorf("one caller: got %+v, %v", got.Callers, err)
	}
	plain := e.add(t, "acme", "plain", workflow.Active)
	got, err = e.store.Holdings(t.Context(), "acme", plain.ID, 2)
	if diff := cmp.Diff(deletion.Holdings{Title: "plain", ETag: "1", Revisions: 1, Callers: []deletion.Caller{}}, got); err != nil || diff != "" {
		t.Errorf("a plain workflow: %v (-want +got):\n%s", err, diff)
	}
	_, err = e.store.Holdings(t.Context(), "globex", w.ID, 2)
	wantError(t, err, workflow.ErrNotFound)
}
