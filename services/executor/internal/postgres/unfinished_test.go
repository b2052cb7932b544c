package postgres_test

import (
	"testing"
	"time"

	"workflow.uniconnect/services/executor/internal/execution"
	"workflow.uniconnect/services/executor/internal/run"
)

func TestStore_Unfinished(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	me := f.owner(time.Minute)
	running, waiting, queued, later := owned(start("acme", 1, "running")), owned(start("acme", 1, "waiting")),
		start("acme", 1, "queued"), owned(start("acme", 1, "later"))
	done, other, foreign := owned(start("acme", 1, "done")), start("acme", 2, "other"), start("globex", 1, "foreign")
	f.accept(me, running, waiting, queued, later, done, other, foreign)
	wake := time.Now().Add(time.Hour)
	rest := func(a execution.Accept, path string) execution.Record {
		now := time.Now()
		return execution.Record{
			Tenant: a.Tenant, ID: a.ID, Epoch: 1, Seq: 1, State: run.Waiting, StartTime: now, WakeTime: wake,
			Results: []run.Result{
				{Path: "first", StepID: "first", Attempt: 1, State: run.StepSucceeded, StartTime: now, EndTime: now},
				{Path: path, StepID: "rest", Attempt: 1, State: run.StepWaiting, StartTime: now, WakeTime: wake},
			},
		}
	}
	f.flush(me, ended(done, 1), rest(waiting, "check[0].rest"), rest(later, "rest"))

	got, err := f.reader.Unfinished(t.Context(), "acme", workflow(1), 3)
	if err != nil {
		t.Fatal(err)
	}
	want := []execution.Standing{
		{ID: waiting.ID, Path: "check[0].rest", WakeTime: wake}, {ID: later.ID, Path: "rest", WakeTime: wake}, {ID: running.ID},
	}
	if got.Count != 4 || len(got.Some) != len(want) {
		t.Fatalf("got %+v, want 4 with %+v shown", got, want)
	}
	for i, at := range got.Some {
		if at.ID != want[i].ID || at.Path != want[i].Path || at.WakeTime.Sub(want[i].WakeTime).Abs() > time.Millisecond {
			t.Errorf("%d: got %+v, want %+v", i, at, want[i])
		}
	}
	if got, err = f.reader.Unfinished(t.Context(), "acme", workflow(3), 3); err != nil || got.Count != 0 || len(got.Some) != 0 {
		t.Errorf("a workflow that never ran: got %+v, %v; want nothing", got, err)
	}
}

// A tombstone serves for as long as something late could come, and is then forgotten like everything else of the workflow.
func TestStore_BuryTombstones(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	for n := range byte(2) {
		if done, err := f.store.Finalize(t.Context(), "acme", workflow(n)); !done || err != nil {
			t.Fatalf("got %v, %v; want done", done, err)
		}
	}
	f.exec(t.Context(), `UPDATE tombstones SET create_time = now() - interval '31 days' WHERE workflow_id = $1`, [16]byte(workflow(0)))
	if err := f.store.BuryTombstones(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := f.count("tombstones"); n != 1 {
		t.Errorf("got %d tombstones, want the young one", n)
	}
}
