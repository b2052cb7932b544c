package postgres_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"workflow.uniconnect/services/executor/internal/execution"
	"workflow.uniconnect/services/executor/internal/run"
)

func TestStore_Flush_End(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	me := f.owner(time.Minute)
	item := owned(start("acme", 1, "one"))
	f.accept(me, item)
	record := ended(item, 1)
	record.State = run.Failed
	record.Err = &run.Error{Reason: "TARGET_STATUS", Message: "bad\x00 \xff", StepID: "send", Retryable: true}
	record.Results[0].Err = record.Err
	if got := f.flush(me, record); got[0] != execution.Stored {
		t.Fatalf("got %v, want stored", got)
	}
	view := f.get("acme", item.ID)
	want := &run.Error{Reason: "TARGET_STATUS", Message: "bad\uFFFD \uFFFD", StepID: "send", Retryable: true}
	if diff := cmp.Diff(want, view.Err); diff != "" {
		t.Errorf("error (-want +got):\n%s", diff)
	}
	if view.State != run.Failed || view.Attempt != 1 || view.EndTime.IsZero() || view.StartTime.IsZero() {
		t.Errorf("got %+v", view)
	}
	record.Results[0].Err = want
	if diff := cmp.Diff(record.Results, view.Steps, cmpopts.EquateApproxTime(time.Millisecond)); diff != "" {
		t.Errorf("steps (-want +got):\n%s", diff)
	}
	if n := f.count("live"); n != 0 {
		t.Errorf("live rows: got %d, want 0", n)
	}
}

func TestStore_Flush_WaitAndResume(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	me := f.owner(time.Minute)
	item := owned(start("acme", 1, "one"))
	f.accept(me, item)

	begun := time.Now()
	set := run.Result{Path: "set", StepID: "set", Attempt: 1, State: run.StepSucceeded, StartTime: begun, EndTime: begun, Output: []byte(`{"n":1}`)}
	wait := run.Result{Path: "nap", StepID: "nap", Attempt: 1, State: run.StepWaiting, StartTime: begun, WakeTime: begun}
	f.flush(me, execution.Record{
		Tenant: item.Tenant, ID: item.ID, Epoch: 1, Seq: 1, State: run.Waiting, WakeTime: begun, StartTime: begun,
		Results: []run.Result{set, wait},
	})
	if view := f.get("acme", item.ID); view.State != run.Waiting || view.WakeTime.IsZero() || view.Attempt != 1 {
		t.Errorf("while waiting: got %+v", view)
	}

	other := f.owner(time.Minute)
	claimed := f.claim(other, 10)
	if len(claimed) != 1 {
		t.Fatalf("claimed %d, want 1", len(claimed))
	}
	c := claimed[0]
	if diff := cmp.Diff([]run.Result{set, wait}, c.Journal, cmpopts.EquateApproxTime(time.Millisecond)); diff != "" {
		t.Errorf("journal (-want +got):\n%s", diff)
	}
	if c.Epoch != 2 || c.Seq != 1 || c.Results != 2 || string(c.Event) != string(item.Event) || c.CauseKind != execution.CauseEvent {
		t.Errorf("claimed: got %+v", c)
	}
	woken := wait
	woken.State, woken.EndTime, woken.WakeTime = run.StepSucceeded, begun, time.Time{}
	end := ended(item, 2)
	end.Seq, end.FirstResult, end.Results = 2, 2, append([]run.Result{woken}, end.Results...)
	if got := f.flush(other, end); got[0] != execution.Stored {
		t.Fatalf("got %v, want stored", got)
	}
	view := f.get("acme", item.ID)
	if diff := cmp.Diff([]run.Result{set, woken, end.Results[1]}, view.Steps, cmpopts.EquateApproxTime(time.Millisecond)); diff != "" {
		t.Errorf("steps (-want +got):\n%s", diff)
	}
	if view.State != run.Succeeded || view.Attempt != 2 || !view.WakeTime.IsZero() {
		t.Errorf("at the end: got %+v", view)
	}
}

func TestStore_Flush_Fence(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	sleeper, successor := f.owner(time.Microsecond), f.owner(time.Minute)
	item := owned(start("acme", 1, "one"))
	f.accept(sleeper, item)
	if n, err := f.store.Sweep(t.Context(), 100); n != 1 || err != nil {
		t.Fatalf("sweep: got %d, %v; want 1", n, err)
	}
	if ok, err := f.store.Renew(t.Context(), sleeper, time.Minute); ok || err != nil {
		t.Errorf("renewal of a lease that ran out: got %v, %v; want false", ok, err)
	}
	if got := f.flush(sleeper, ended(item, 1)); got[0] != execution.Lost {
		t.Errorf("before the successor: got %v, want lost", got)
	}
	claimed := f.claim(successor, 10)
	if len(claimed) != 1 || claimed[0].Epoch != 2 {
		t.Fatalf("claimed: got %+v, want one of epoch 2", claimed)
	}
	// The same owner with an old epoch is as much a stranger as another owner.
	stale := ended(item, 1)
	for _, owner := range []execution.OwnerID{sleeper, successor} {
		if got := f.flush(owner, stale); got[0] != execution.Lost {
			t.Errorf("stale record: got %v, want lost", got)
		}
	}
	if n := f.count("step_results"); n != 0 {
		t.Errorf("a stale record left %d results", n)
	}
	if view := f.get("acme", item.ID); view.State != run.Running {
		t.Errorf("state: got %v, want running", view.State)
	}
	mixed := f.flush(successor, stale, ended(item, 2))
	if mixed[0] != execution.Lost || mixed[1] != execution.Stored {
		t.Errorf("mixed batch: got %v", mixed)
	}
}

func TestStore_Flush_Repeated(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	me := f.owner(time.Minute)
	end, wait, step := owned(start("acme", 1, "end")), owned(start("acme", 1, "wait")), owned(start("acme", 1, "step"))
	gone := owned(start("acme", 1, "gone"))
	f.accept(me, end, wait, step)
	records := []execution.Record{
		ended(end, 1),
		{Tenant: wait.Tenant, ID: wait.ID, Epoch: 1, Seq: 1, State: run.Waiting, WakeTime: time.Now().Add(time.Hour)},
		{Tenant: step.Tenant, ID: step.ID, Epoch: 1, Seq: 1, Results: ended(step, 1).Results},
		ended(gone, 1),
	}
	want := []execution.Flushed{execution.Stored, execution.Stored, execution.Stored, execution.Lost}
	for try := 1; try <= 3; try++ {
		got, err := f.store.Flush(t.Context(), me, records, try)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("try %d (-want +got):\n%s", try, diff)
		}
	}
	if n := f.count("step_results"); n != 2 {
		t.Errorf("results: got %d, want 2", n)
	}
}

func TestStore_Flush_BisectsToTheBadRecord(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	me := f.owner(time.Minute)
	var items []execution.Accept
	var records []execution.Record
	for i := range 9 {
		item := owned(start("acme", 1, string(rune('a'+i))))
		items = append(items, item)
		records = append(records, ended(item, 1))
	}
	f.accept(me, items...)
	records[4].Results[0].Output = []byte("\"\x00\"")
	for i, got := range f.flush(me, records...) {
		want := execution.Stored
		if i == 4 {
			want = execution.Unstorable
		}
		if got != want {
			t.Errorf("record %d: got %v, want %v", i, got, want)
		}
	}
	view := f.get("acme", items[4].ID)
	if view.State != run.Failed || view.Err == nil || view.Err.Reason != execution.ReasonUnstorable || view.Err.StepID != "send" {
		t.Errorf("the bad one: got %+v", view)
	}
	if n := f.count("live"); n != 0 {
		t.Errorf("live rows: got %d, want 0", n)
	}
}

func TestStore_Flush_Release(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	me := f.owner(time.Minute)
	now, later := owned(start("acme", 1, "now")), owned(start("acme", 1, "later"))
	f.accept(me, now, later)
	f.flush(me,
		execution.Record{Tenant: now.Tenant, ID: now.ID, Epoch: 1, Seq: 1, Release: true},
		execution.Record{Tenant: later.Tenant, ID: later.ID, Epoch: 1, Seq: 1, Release: true, RetryIn: time.Hour})
	claimed := f.claim(me, 10)
	if len(claimed) != 1 || claimed[0].ID != now.ID || claimed[0].Epoch != 2 {
		t.Errorf("claimed: got %+v, want the one that was released at once", claimed)
	}
	wake, err := f.store.NextWake(t.Context(), 2*time.Hour)
	if err != nil || wake < 59*time.Minute || wake > time.Hour {
		t.Errorf("next wake: got %v, %v; want an hour", wake, err)
	}
}
