package engine

import (
	"context"
	"fmt"
	"runtime/debug"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"workflow.uniconnect/pkg/fault"
	"workflow.uniconnect/services/executor/internal/action"
	"workflow.uniconnect/services/executor/internal/execution"
	"workflow.uniconnect/services/executor/internal/run"
)

// revisionPause is when an execution is tried again whose definition could not be had.
const revisionPause = 2 * time.Second

// executing is an execution that holds a slot.
type executing struct {
	e *Engine
	t *tenure
	c *execution.Claimed

	begun bool // a record has told when the first step began
	start time.Time
	span  trace.Span // nil when the trace is not sampled
	// stored receives the answer to a record that the execution waits for.
	stored chan execution.Flushed
}

// launch runs an execution whose slot is reserved.
func (e *Engine) launch(t *tenure, c *execution.Claimed) {
	x := &executing{e: e, t: t, c: c, begun: len(c.Journal) > 0}
	e.running.Add(1)
	go x.run()
}

func (x *executing) run() {
	ctx := x.trace(x.t.scope)
	defer func() {
		if v := recover(); v != nil {
			x.e.log.ErrorContext(ctx, "execution panicked", "execution_id", x.c.ID.String(), "panic", fmt.Sprint(v), "stack", string(debug.Stack()))
			x.fail(&run.Error{Reason: fault.ReasonInternal, Message: "internal error"})
		}
	}()
	revision, err := x.e.cfg.Revisions.Program(ctx, x.c.Tenant, x.c.WorkflowID, x.c.Revision)
	if err != nil {
		x.withoutRevision(ctx, err)
		return
	}
	r := run.New(revision.Program, run.Input{
		Tenant: x.c.Tenant, ExecutionID: x.c.ID.String(), WorkflowID: x.c.WorkflowID.String(), Title: revision.Title,
		Revision: x.c.Revision, Event: x.c.Event, NominalTime: x.c.NominalTime, CreateTime: x.c.ID.Time(),
	}, x.c.Journal)
	x.steps(ctx, r)
}

// steps takes the run from step to step until it waits, ends, is lost or handed back.
func (x *executing) steps(ctx context.Context, r *run.Run) {
	// A row is claimed by the database's clock. When ours is behind, the wait is over all the same.
	now := time.Now()
	if x.c.WakeTime.After(now) {
		now = x.c.WakeTime
	}
	x.start = now
	// An expression that is broken off would count as failed; what it may cost is limited anyway.
	steady := context.WithoutCancel(ctx)
	for {
		cmd := r.Next(steady, now)
		pending := r.TakePending()
		switch cmd.Kind {
		case run.CommandEnd:
			x.finish(execution.Record{State: cmd.State, Err: cmd.Err, Results: pending})
			return
		case run.CommandWait:
			x.finish(execution.Record{State: run.Waiting, WakeTime: cmd.Until, Results: pending})
			return
		case run.CommandCall:
			if x.e.draining.Load() || x.t.scope.Err() != nil {
				x.finish(execution.Record{Release: true, Results: pending})
				return
			}
			if len(pending) > 0 && x.record(pending) != execution.Stored {
				x.abandon()
				return
			}
			outcome := x.call(ctx, cmd.Call)
			if outcome.Err != nil && x.t.scope.Err() != nil {
				// Broken off by us: what the target made of it is unknown, so the step is made again with the same key.
				x.finish(execution.Record{Release: true})
				return
			}
			r.Done(cmd.Call, outcome)
		}
		now = time.Now()
	}
}

// call makes one attempt of an action.
func (x *executing) call(ctx context.Context, c run.Call) run.Outcome {
	ctx, cancel := context.WithTimeout(ctx, c.Timeout)
	defer cancel()
	if x.span != nil {
		var span trace.Span
		ctx, span = x.e.cfg.Tracer.Start(ctx, "step "+c.Path, trace.WithAttributes(
			attribute.String("uc.action", c.Action), attribute.Int("uc.attempt", c.Attempt)))
		defer span.End()
	}
	outcome := x.e.cfg.Actions.Do(ctx, action.Call{
		Tenant: x.c.Tenant, ExecutionID: x.c.ID.String(), WorkflowID: x.c.WorkflowID.String(),
		Type: c.Action, Connection: c.Connection, IdempotencyKey: c.IdempotencyKey, Attempt: c.Attempt, Params: c.Params,
	})
	if outcome.Err != nil && x.span != nil {
		trace.SpanFromContext(ctx).SetStatus(codes.Error, string(outcome.Err.Reason))
	}
	return outcome
}

// withoutRevision ends an execution that can never run, and hands back one whose definition cannot be had at the moment.
func (x *executing) withoutRevision(ctx context.Context, err error) {
	f, _ := fault.As(err)
	switch fault.KindOf(err) {
	case fault.KindNotFound:
		x.fail(&run.Error{Reason: execution.ReasonWorkflowDeleted, Message: "The workflow was deleted."})
	case fault.KindInvalidArgument:
		x.fail(&run.Error{Reason: f.Reason, Message: f.Message})
	default:
		if x.t.scope.Err() == nil {
			x.e.log.WarnContext(ctx, "definition not available", "execution_id", x.c.ID.String(), "error", err)
		}
		x.finish(execution.Record{Release: true, RetryIn: revisionPause})
	}
}

func (x *executing) fail(err *run.Error) {
	x.finish(execution.Record{State: run.Failed, Err: err})
}

// record stores results and waits until they are durable.
func (x *executing) record(results []run.Result) execution.Flushed {
	if x.stored == nil {
		x.stored = make(chan execution.Flushed, 1)
	}
	x.submit(execution.Record{Results: results}, func(f execution.Flushed) { x.stored <- f })
	return <-x.stored
}

// finish stores the last record under this ownership; the slot comes free when that is done.
func (x *executing) finish(r execution.Record) {
	if x.span != nil && r.State == run.Failed {
		x.span.SetStatus(codes.Error, string(r.Err.Reason))
	}
	x.submit(r, func(f execution.Flushed) {
		switch {
		case f == execution.Lost:
		case f == execution.Unstorable:
			x.e.metrics.ended(x.t.scope, run.Failed)
		case r.State.Terminal():
			x.e.metrics.ended(x.t.scope, r.State)
		case r.State == run.Waiting:
			x.e.claimer.wakeAt(r.WakeTime)
		case r.Release && !x.e.draining.Load():
			x.e.claimer.wakeAt(time.Now().Add(r.RetryIn))
		}
		x.abandon()
	})
}

// abandon ends the execution in this process.
func (x *executing) abandon() {
	if x.span != nil {
		x.span.End()
	}
	x.e.slots.release(x.c.Tenant)
	x.e.running.Done()
}

func (x *executing) submit(r execution.Record, done func(execution.Flushed)) {
	x.c.Seq++
	r.Tenant, r.ID, r.Epoch, r.Seq, r.FirstResult = x.c.Tenant, x.c.ID, x.c.Epoch, x.c.Seq, x.c.Results
	x.c.Results += int32(len(r.Results))
	if !x.begun && !x.start.IsZero() {
		x.begun = true
		r.StartTime = x.start
	}
	x.e.flusher.submit(pendingRecord{tenure: x.t, record: r, span: x.span, done: done})
}
