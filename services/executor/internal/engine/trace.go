package engine

import (
	"context"
	"strings"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"workflow.uniconnect/services/executor/internal/execution"
)

// trace continues the trace of what started the execution when that one is sampled; otherwise it costs nothing.
func (x *executing) trace(ctx context.Context) context.Context {
	if !sampled(x.c.Traceparent) {
		return ctx
	}
	ctx, x.span = x.e.cfg.Tracer.Start(x.e.extract(ctx, x.c.Traceparent), "execution", trace.WithAttributes(
		attribute.String("uc.execution_id", x.c.ID.String()), attribute.String("uc.workflow_id", x.c.WorkflowID.String()),
		attribute.String("uc.tenant", x.c.Tenant), attribute.Int("uc.attempt", int(x.c.Epoch))))
	return ctx
}

// statement is a write that served a batch. Its own span would belong to one trace at most, so each sampled member of the batch gets a span
// with its times.
type statement struct {
	begin, end time.Time
	size       int
}

// traceAccept reports in the trace of what asked for a start how the start was written.
func (e *Engine) traceAccept(ctx context.Context, a *execution.Accept, s statement) {
	if sampled(a.Traceparent) {
		e.traceStatement(e.extract(ctx, a.Traceparent), "accept", s)
	}
}

// traceRecord reports under an execution's span how a record was written.
func (e *Engine) traceRecord(ctx context.Context, p *pendingRecord, s statement) {
	if p.span != nil {
		e.traceStatement(trace.ContextWithSpan(ctx, p.span), "record", s)
	}
}

func (e *Engine) traceStatement(ctx context.Context, name string, s statement) {
	_, span := e.cfg.Tracer.Start(ctx, name, trace.WithSpanKind(trace.SpanKindClient), trace.WithTimestamp(s.begin),
		trace.WithAttributes(attribute.String("db.system.name", "postgresql"), attribute.Int("uc.batch", s.size)))
	span.End(trace.WithTimestamp(s.end))
}

func (e *Engine) extract(ctx context.Context, traceparent string) context.Context {
	return e.cfg.Propagator.Extract(ctx, propagation.MapCarrier{"traceparent": traceparent})
}

// sampled reads the flags at the end of a W3C traceparent.
func sampled(traceparent string) bool {
	i := strings.LastIndexByte(traceparent, '-')
	return i >= 0 && i+2 < len(traceparent) && strings.IndexByte("13579bdf", traceparent[i+2]) >= 0
}
