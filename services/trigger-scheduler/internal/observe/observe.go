// Package observe reports what the scheduler does: metrics and spans. It decides nothing.
package observe

import (
	"context"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"workflow.uniconnect/services/trigger-scheduler/internal/event"
	"workflow.uniconnect/services/trigger-scheduler/internal/intake"
)

// Observer implements intake.Observer.
type Observer struct {
	tracer     trace.Tracer
	propagator propagation.TextMapPropagator

	received, matched, dropped, letters, starts, filterErrors metric.Int64Counter

	batch metric.Int64Histogram
}

// New returns an observer.
func New(meter metric.Meter, tracer trace.Tracer, propagator propagation.TextMapPropagator) (*Observer, error) {
	o := &Observer{tracer: tracer, propagator: propagator}
	var firstErr error
	counter := func(name, description string) metric.Int64Counter {
		c, err := meter.Int64Counter(name, metric.WithDescription(description))
		if firstErr == nil {
			firstErr = err
		}
		return c
	}
	o.received = counter("uc.scheduler.events.received", "messages taken from the stream, redeliveries included")
	o.matched = counter("uc.scheduler.events.matched", "events that start at least one workflow")
	o.dropped = counter("uc.scheduler.events.dropped", "events that start nothing, by reason")
	o.letters = counter("uc.scheduler.dead_letters", "messages set aside, by reason")
	o.starts = counter("uc.scheduler.starts", "answers of the executor, by outcome")
	o.filterErrors = counter("uc.scheduler.expressions.failed", "filters and dedupe keys that failed on an event")
	var err error
	o.batch, err = meter.Int64Histogram("uc.scheduler.start.batch", metric.WithDescription("starts per batch"),
		metric.WithExplicitBucketBoundaries(1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 4096))
	if firstErr == nil {
		firstErr = err
	}
	return o, firstErr
}

// Observe implements intake.Observer.
func (o *Observer) Observe(ctx context.Context, t *intake.Tally) {
	o.received.Add(ctx, int64(t.Received))
	add := func(c metric.Int64Counter, n int, key, value string) {
		if n > 0 {
			c.Add(ctx, int64(n), metric.WithAttributes(attribute.String(key, value)))
		}
	}
	if t.Matched > 0 {
		o.matched.Add(ctx, int64(t.Matched))
	}
	add(o.dropped, t.NoMatch, "reason", "no_match")
	add(o.dropped, t.UnknownType, "reason", "unknown_type")
	add(o.dropped, t.TenantDeleted, "reason", "tenant_deleted")
	add(o.filterErrors, t.FilterErrors, "kind", "filter")
	add(o.filterErrors, t.KeyErrors, "kind", "dedupe_key")
	for reason, n := range t.Letters {
		add(o.letters, n, "reason", string(reason))
	}
	for outcome, n := range t.Outcomes {
		add(o.starts, n, "outcome", string(outcome))
	}
	if t.Batch > 0 {
		o.batch.Record(ctx, int64(t.Batch))
	}
}

// Trace implements intake.Observer.
func (o *Observer) Trace(ctx context.Context, ev *event.Event) (string, intake.Span) {
	carrier := propagation.MapCarrier{"traceparent": ev.Traceparent}
	ctx, span := o.tracer.Start(o.propagator.Extract(ctx, carrier), "event "+string(ev.Type),
		trace.WithSpanKind(trace.SpanKindConsumer),
		trace.WithAttributes(
			attribute.String("messaging.system", "nats"), attribute.String("messaging.operation.type", "process"),
			attribute.String("uc.tenant", string(ev.Tenant)), attribute.Int64("uc.stream.sequence", int64(ev.Sequence)),
		))
	out := propagation.MapCarrier{}
	o.propagator.Inject(ctx, out)
	return out["traceparent"], &eventSpan{tracer: o.tracer, span: span}
}

// eventSpan implements intake.Span.
type eventSpan struct {
	tracer trace.Tracer
	span   trace.Span
}

// Called implements intake.Span. One call serves many events, so that its own span could be in the trace of one at most: each sampled event
// gets a span with its times.
func (s *eventSpan) Called(ctx context.Context, c intake.Call) {
	_, span := s.tracer.Start(trace.ContextWithSpan(ctx, s.span), "StartExecutions",
		trace.WithSpanKind(trace.SpanKindClient), trace.WithTimestamp(c.Begin),
		trace.WithAttributes(attribute.String("rpc.system", "grpc"), attribute.Int("uc.batch", c.Starts)))
	if c.Err != nil {
		span.SetStatus(codes.Error, "not every start of the batch was answered")
	}
	span.End(trace.WithTimestamp(c.End))
}

// End implements intake.Span.
func (s *eventSpan) End() { s.span.End() }

// Gauges are read when somebody asks for the metrics.
type Gauges struct {
	// Lag is what the stream's watchdog saw.
	Pending, Unacked func() int64
	OldestAge        func() time.Duration
	Mended           func() int64
	IndexSize        func() int64
	WatchSilence     func() time.Duration
	Rebuilt          func() time.Duration
}

// Register adds the gauges to a meter.
func Register(meter metric.Meter, g Gauges) error {
	ints := map[string]struct {
		description string
		read        func() int64
	}{
		"uc.scheduler.stream.pending":  {"messages not delivered yet", g.Pending},
		"uc.scheduler.stream.unacked":  {"messages delivered and not settled", g.Unacked},
		"uc.scheduler.consumer.mended": {"times the watchdog made the consumer anew", g.Mended},
		"uc.scheduler.index.workflows": {"workflows that events can start", g.IndexSize},
	}
	for name, m := range ints {
		_, err := meter.Int64ObservableGauge(name, metric.WithDescription(m.description),
			metric.WithInt64Callback(func(_ context.Context, o metric.Int64Observer) error { o.Observe(m.read()); return nil }))
		if err != nil {
			return err
		}
	}
	seconds := map[string]struct {
		description string
		read        func() time.Duration
	}{
		"uc.scheduler.stream.oldest.age": {"age of the oldest message that is not settled", g.OldestAge},
		"uc.scheduler.watch.silence":     {"time since the catalog's watch said something", g.WatchSilence},
		"uc.scheduler.index.rebuild":     {"how long reading all definitions took the last time", g.Rebuilt},
	}
	for name, m := range seconds {
		_, err := meter.Float64ObservableGauge(name, metric.WithDescription(m.description), metric.WithUnit("s"),
			metric.WithFloat64Callback(func(_ context.Context, o metric.Float64Observer) error {
				o.Observe(m.read().Seconds())
				return nil
			}))
		if err != nil {
			return err
		}
	}
	return nil
}
