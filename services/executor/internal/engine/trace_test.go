package engine_test

import (
	"context"
	"encoding/json"
	"log/slog"
	"testing"

	"github.com/google/go-cmp/cmp"
	noopmetric "go.opentelemetry.io/otel/metric/noop"
	"go.opentelemetry.io/otel/propagation"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"workflow.uniconnect/services/executor/internal/action"
	"workflow.uniconnect/services/executor/internal/engine"
	"workflow.uniconnect/services/executor/internal/run"
)

func TestEngine_ContinuesSampledTraces(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	recorder := tracetest.NewSpanRecorder()
	provider := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(recorder))
	seen := make(chan trace.SpanContext, 2)
	w.do = func(ctx context.Context, _ action.Call) run.Outcome {
		seen <- trace.SpanContextFromContext(ctx)
		return action.Succeeded(json.RawMessage(`{}`))
	}
	e, err := engine.New(engine.Config{
		Store: w.store, Actions: w, Revisions: w, Slots: 4, Logger: slog.New(slog.DiscardHandler),
		Tracer: provider.Tracer("test"), Propagator: propagation.TraceContext{}, Meter: noopmetric.NewMeterProvider().Meter(""),
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- e.Run(ctx) }()
	id := w.define(1, step("one"))
	all := starts("acme", id, "sampled", "not sampled")
	const traceID = "4bf92f3577b34da6a3ce929d0e0e4736"
	all[0].Traceparent = "00-" + traceID + "-00f067aa0ba902b7-01"
	all[1].Traceparent = "00-" + traceID + "-00f067aa0ba902b7-00"
	verdicts, err := e.Start(t.Context(), all)
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range verdicts {
		w.await("acme", v.ID, run.Succeeded)
	}
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	sampled := 0
	for range verdicts {
		if sc := <-seen; sc.IsSampled() && sc.TraceID().String() == traceID {
			sampled++
		}
	}
	var names []string
	for _, s := range recorder.Ended() {
		names = append(names, s.Name())
		if s.SpanContext().TraceID().String() != traceID {
			t.Errorf("span %s is of another trace", s.Name())
		}
	}
	if diff := cmp.Diff([]string{"step one", "execution"}, names); diff != "" || sampled != 1 {
		t.Errorf("%d sampled calls; spans (-want +got):\n%s", sampled, diff)
	}
}
