package engine_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"workflow.uniconnect/services/executor/internal/action"
	"workflow.uniconnect/services/executor/internal/engine"
	"workflow.uniconnect/services/executor/internal/execution"
	"workflow.uniconnect/services/executor/internal/run"
)

func TestEngine_RunsSteps(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	id := w.define(1, step("one"),
		run.Step{ID: "calc", Set: &run.Set{Variables: map[string]string{"n": "event.data.n + 1"}}},
		run.Step{ID: "nap", Delay: &run.Delay{Duration: 30 * time.Millisecond}},
		step("two"))
	n := w.engine(w.store, 4)
	v := n.start(starts("acme", id, "a"))[0]
	view := w.await("acme", v.ID, run.Succeeded)
	var paths []string
	for _, s := range view.Steps {
		paths = append(paths, s.Path)
	}
	if got := strings.Join(paths, " "); got != "one calc nap two" {
		t.Errorf("steps: got %s", got)
	}
	if view.Attempt != 2 || view.StartTime.IsZero() || view.EndTime.IsZero() {
		t.Errorf("got %+v", view)
	}
	if again := n.start(starts("acme", id, "a"))[0]; again.Outcome != execution.Duplicate || again.ID != v.ID {
		t.Errorf("again: got %+v, want a duplicate of %s", again, v.ID)
	}
}

func TestEngine_RetriesAndFails(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.do = func(_ context.Context, c action.Call) run.Outcome {
		if c.Attempt < 2 || c.Type == "test.bad" {
			return action.Retryable("TARGET_STATUS", "503")
		}
		return action.Succeeded(json.RawMessage(`{}`))
	}
	quick := &run.RetryPolicy{MaxAttempts: 2, InitialInterval: 10 * time.Millisecond}
	good, bad := step("good"), step("bad")
	good.Retry, bad.Retry = quick, quick
	n := w.engine(w.store, 4)
	v := n.start(append(starts("acme", w.define(1, good), "a"), starts("acme", w.define(2, bad), "b")...))
	if view := w.await("acme", v[0].ID, run.Succeeded); len(view.Steps) != 2 {
		t.Errorf("attempts: got %+v, want 2", view.Steps)
	}
	view := w.await("acme", v[1].ID, run.Failed)
	if view.Err == nil || view.Err.Reason != "TARGET_STATUS" || view.Err.StepID != "bad" {
		t.Errorf("error: got %+v", view.Err)
	}
}

// All attempts of a step carry one idempotency key, so what they send must not depend on who took the run up, or from where.
func TestEngine_AttemptsAreEqual(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	sent := make(chan string, 2)
	w.do = func(_ context.Context, c action.Call) run.Outcome {
		sent <- fmt.Sprint(c.Params["body"])
		if c.Attempt < 2 {
			return action.Retryable("TARGET_STATUS", "503")
		}
		return action.Succeeded(json.RawMessage(`{}`))
	}
	one := run.Step{
		ID: "one", Retry: &run.RetryPolicy{MaxAttempts: 2, InitialInterval: 10 * time.Millisecond},
		Action: &run.Action{Type: "test.one", Params: map[string]any{
			"body": "${execution} ${schedule} ${string(execution.create_time)} ${string(schedule.nominal_time)} ${event}",
		}},
	}
	n := w.engine(w.store, 4)
	w.await("acme", n.start(starts("acme", w.define(2), "the lease is there"))[0].ID, run.Succeeded)
	all := starts("acme", w.define(1, one), "a")
	all[0].Cause = execution.ScheduleCause(time.Date(2026, 11, 23, 12, 0, 0, 0, time.FixedZone("", 3600)))
	w.await("acme", n.start(all)[0].ID, run.Succeeded)
	if first, second := <-sent, <-sent; first != second {
		t.Errorf("attempts:\n%s\n%s", first, second)
	}
}

func TestEngine_FailsByReason(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.do = func(_ context.Context, c action.Call) run.Outcome {
		switch c.Type {
		case "test.panic":
			panic("defect in an action")
		case "test.large":
			return action.Succeeded(json.RawMessage(`"` + strings.Repeat("x", 300<<10) + `"`))
		}
		return action.Succeeded(json.RawMessage("\"\x00\""))
	}
	n := w.engine(w.store, 4)
	unknown, _ := execution.ParseWorkflowID("01890000-0000-7000-8000-0000000000ff")
	for reason, id := range map[string]execution.WorkflowID{
		"INTERNAL":         w.define(1, step("panic")),
		"LIMIT_REACHED":    w.define(2, step("large")),
		"UNSTORABLE":       w.define(3, step("nul")),
		"WORKFLOW_DELETED": unknown,
	} {
		v := n.start(starts("acme", id, reason))[0]
		if view := w.await("acme", v.ID, run.Failed); view.Err == nil || string(view.Err.Reason) != reason {
			t.Errorf("error: got %+v, want %s", view.Err, reason)
		}
	}
	w.awaitCount(`SELECT count(*) FROM live`, 0)
}

func TestEngine_WaitsForTheCatalog(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	id := w.define(1, step("one"))
	w.away = true
	n := w.engine(w.store, 4)
	v := n.start(starts("acme", id, "a"))[0]
	w.awaitCount(`SELECT count(*) FROM live WHERE seq > 0`, 1)
	w.mu.Lock()
	w.away = false
	w.mu.Unlock()
	if view := w.await("acme", v.ID, run.Succeeded); view.StartTime.IsZero() {
		t.Error("the execution has no start time")
	}
}

// Many starts for few slots: everything runs once, whether it started from memory or was claimed back.
func TestEngine_Overflow(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.do = func(ctx context.Context, _ action.Call) run.Outcome {
		timer := time.NewTimer(2 * time.Millisecond)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-ctx.Done():
		}
		return action.Succeeded(json.RawMessage(`{}`))
	}
	id := w.define(1, step("one"))
	a, b := w.engine(w.store, 4), w.engine(w.store, 4)
	const total = 400
	var group sync.WaitGroup
	for i := range total / 100 {
		n := []*node{a, b}[i%2]
		group.Go(func() {
			var keys []string
			for k := range 100 {
				keys = append(keys, fmt.Sprintf("%d-%d", i, k))
			}
			for _, v := range n.start(starts(fmt.Sprintf("tenant%d", i%3), id, keys...)) {
				if v.Outcome != execution.Started {
					t.Errorf("got %+v, want started", v)
				}
			}
		})
	}
	group.Wait()
	w.awaitCount(`SELECT count(*) FROM executions WHERE state = 4`, total)
	w.awaitCount(`SELECT count(*) FROM live`, 0)
	w.mu.Lock()
	defer w.mu.Unlock()
	for call, n := range w.calls {
		if n != 1 {
			t.Errorf("%s was called %d times", call, n)
		}
	}
}

// While another tenant waits, nobody holds more than half of the slots.
func TestEngine_TenantLimit(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	release := make(chan struct{}) // closed when the flood may end
	w.do = func(_ context.Context, c action.Call) run.Outcome {
		if c.Tenant == "flood" {
			<-release
		}
		return action.Succeeded(json.RawMessage(`{}`))
	}
	id := w.define(1, step("one"))
	n := w.engine(w.store, 4)
	small := n.start(starts("small", id, "first"))[0]
	w.await("small", small.ID, run.Succeeded)
	var keys []string
	for i := range 40 {
		keys = append(keys, fmt.Sprint(i))
	}
	var all []execution.Start
	for i, s := range starts("flood", id, keys...) {
		all = append(all, s)
		if i == 0 {
			all = append(all, starts("small", id, "second")...)
		}
	}
	v := n.start(all)
	w.await("small", v[1].ID, run.Succeeded)
	close(release)
	w.awaitCount(`SELECT count(*) FROM live`, 0)
}

// faulty wraps a store: what a test sets fails.
type faulty struct {
	engine.Store
	flushLost  atomic.Int32 // answers of Flush that get lost after the work was done
	acceptLost atomic.Int32
	claimLost  atomic.Int32
	noHandBack atomic.Int32 // calls of HandBack that fail
	away       atomic.Bool
	noAccept   atomic.Bool
	noRenew    atomic.Bool
}

var errGone = errors.New("connection lost")

func (f *faulty) Accept(ctx context.Context, o execution.OwnerID, items []execution.Accept) ([]execution.Verdict, error) {
	if f.noAccept.Load() {
		return nil, errGone
	}
	v, err := f.Store.Accept(ctx, o, items)
	if err == nil && f.acceptLost.Add(-1) >= 0 {
		return nil, errGone
	}
	return v, err
}

func (f *faulty) Flush(ctx context.Context, o execution.OwnerID, r []execution.Record, try int) ([]execution.Flushed, error) {
	if f.away.Load() {
		return nil, errGone
	}
	v, err := f.Store.Flush(ctx, o, r, try)
	if err == nil && f.flushLost.Add(-1) >= 0 {
		return nil, errGone
	}
	return v, err
}

func (f *faulty) Claim(ctx context.Context, o execution.OwnerID, request execution.ClaimRequest) ([]execution.Claimed, error) {
	claimed, err := f.Store.Claim(ctx, o, request)
	if err == nil && len(claimed) > 0 && f.claimLost.Add(-1) >= 0 {
		return claimed, errGone
	}
	return claimed, err
}

func (f *faulty) HandBack(ctx context.Context, o execution.OwnerID, claimed []execution.Claimed) error {
	if f.noHandBack.Add(-1) >= 0 {
		return errGone
	}
	return f.Store.HandBack(ctx, o, claimed)
}

func (f *faulty) Renew(ctx context.Context, o execution.OwnerID, d time.Duration) (bool, error) {
	if f.noRenew.Load() {
		return false, nil
	}
	return f.Store.Renew(ctx, o, d)
}

func TestEngine_LostAnswers(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	id := w.define(1, step("one"), run.Step{ID: "nap", Delay: &run.Delay{Duration: 10 * time.Millisecond}}, step("two"))
	f := &faulty{Store: w.store}
	f.acceptLost.Store(1)
	f.flushLost.Store(3)
	n := w.engine(f, 4)
	// The engine may not have its lease yet, when nothing starts from memory; either way the run is accepted once.
	_, err := n.Start(t.Context(), starts("acme", id, "a"))
	if err == nil {
		t.Fatal("the caller was not told that the answer is unknown")
	}
	v := n.start(starts("acme", id, "a"))[0]
	view := w.await("acme", v.ID, run.Succeeded)
	w.mu.Lock()
	defer w.mu.Unlock()
	for call, n := range w.calls {
		if n != 1 {
			t.Errorf("%s was called %d times", call, n)
		}
	}
	if len(view.Steps) != 3 {
		t.Errorf("steps: got %+v", view.Steps)
	}
}

func TestEngine_LostClaim(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	id := w.define(1, run.Step{ID: "nap", Delay: &run.Delay{Duration: 10 * time.Millisecond}}, step("one"))
	f := &faulty{Store: w.store}
	f.claimLost.Store(2)
	f.noHandBack.Store(2)
	n := w.engine(f, 1)
	v := n.start(starts("acme", id, "a"))[0]
	w.await("acme", v.ID, run.Succeeded)
	w.mu.Lock()
	defer w.mu.Unlock()
	if got := w.calls[v.ID.String()+" test.one"]; got != 1 {
		t.Errorf("step one: called %d times, want 1", got)
	}
}

func TestEngine_DatabaseAway(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	id := w.define(1, step("one"), step("two"))
	f := &faulty{Store: w.store}
	n := w.engine(f, 4)
	f.away.Store(true)
	v := n.start(starts("acme", id, "a"))[0]
	timer := time.NewTimer(300 * time.Millisecond)
	<-timer.C
	f.away.Store(false)
	w.await("acme", v.ID, run.Succeeded)
	w.mu.Lock()
	defer w.mu.Unlock()
	if got := w.calls[v.ID.String()+" test.one"]; got != 1 {
		t.Errorf("step one: called %d times, want 1", got)
	}
}

// While batches that failed are pursued, nobody waits behind them: callers are told at once, and served again as soon as that is possible.
func TestEngine_RefusesStartsWhileTheDatabaseIsAway(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	id := w.define(1, step("one"))
	f := &faulty{Store: w.store}
	n := w.engine(f, 4)
	w.awaitCount(`SELECT count(*) FROM owners`, 1)
	f.noAccept.Store(true)
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	var group sync.WaitGroup
	for i := range 20 {
		group.Go(func() {
			for k := range 3 {
				if _, err := n.Start(ctx, starts("acme", id, fmt.Sprintf("%d-%d", i, k))); err == nil || ctx.Err() != nil {
					t.Errorf("start %d-%d: got %v, want an error within the time", i, k, err)
				}
			}
		})
	}
	group.Wait()
	f.noAccept.Store(false)
	for {
		v, err := n.Start(ctx, starts("acme", id, "0-0"))
		if err == nil {
			w.await("acme", v[0].ID, run.Succeeded)
			break
		}
		if ctx.Err() != nil {
			t.Fatal(err)
		}
	}
	w.awaitCount(`SELECT count(*) FROM live`, 0)
}

// An owner whose lease is refused gives everything up, begins anew, and its executions are taken up again.
func TestEngine_LosesLease(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	begun := make(chan struct{}, 8)
	w.do = func(ctx context.Context, c action.Call) run.Outcome {
		begun <- struct{}{}
		if n := func() int { w.mu.Lock(); defer w.mu.Unlock(); return w.calls[c.ExecutionID+" "+c.Type] }(); n == 1 {
			<-ctx.Done()
			return action.Ended(ctx)
		}
		return action.Succeeded(json.RawMessage(`{}`))
	}
	id := w.define(1, step("one"))
	f := &faulty{Store: w.store}
	n := w.engine(f, 4)
	v := n.start(starts("acme", id, "a"))[0]
	<-begun
	f.noRenew.Store(true)
	// The database sees the lease end.
	if _, err := w.pool.Exec(t.Context(), `UPDATE owners SET lease_until = now() - interval '1 second'`); err != nil {
		t.Fatal(err)
	}
	<-begun
	f.noRenew.Store(false)
	view := w.await("acme", v.ID, run.Succeeded)
	if view.Attempt < 2 || len(view.Steps) != 1 {
		t.Errorf("got attempt %d and steps %+v, want a later attempt and one step", view.Attempt, view.Steps)
	}
}

func TestEngine_Drain(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	begun := make(chan struct{}, 8)
	finish := make(chan struct{}) // closed when the short step may end
	w.do = func(ctx context.Context, c action.Call) run.Outcome {
		switch c.Type {
		case "test.short":
			begun <- struct{}{}
			<-finish
		case "test.long":
			begun <- struct{}{}
			<-ctx.Done()
			return action.Ended(ctx)
		}
		return action.Succeeded(json.RawMessage(`{}`))
	}
	short, long := w.define(1, step("short"), step("next")), w.define(2, step("long"))
	n := w.engine(w.store, 4)
	v := n.start(append(starts("acme", short, "s"), starts("acme", long, "l")...))
	<-begun
	<-begun
	stopped := make(chan struct{}) // closed when the engine has drained
	go func() {
		n.stop()
		close(stopped)
	}()
	for {
		if _, err := n.Start(t.Context(), starts("acme", short, "late")); err != nil {
			break // the intake is closed: the drain has begun
		}
	}
	close(finish)
	<-stopped
	for i, steps := range []int{1, 0} {
		view := w.await("acme", v[i].ID, run.Queued)
		if len(view.Steps) != steps || view.Attempt != 1 {
			t.Errorf("execution %d after the drain: got attempt %d and steps %+v", i, view.Attempt, view.Steps)
		}
	}
	if got := w.count(`SELECT count(*) FROM live WHERE owner IS NOT NULL`) + w.count(`SELECT count(*) FROM owners`); got != 0 {
		t.Errorf("owners left: %d", got)
	}
	w.mu.Lock()
	w.do = func(context.Context, action.Call) run.Outcome { return action.Succeeded(json.RawMessage(`{}`)) }
	w.mu.Unlock()
	w.engine(w.store, 4)
	for i := range v {
		w.await("acme", v[i].ID, run.Succeeded)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if got := w.calls[v[0].ID.String()+" test.short"]; got != 1 {
		t.Errorf("a recorded step was called %d times", got)
	}
}
