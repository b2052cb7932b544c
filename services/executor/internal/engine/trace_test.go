package engine_test

import (
	"cmp"
	"context"
	"encoding/json"
	"log/slog"
	"slices"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"go.opentelemetry.io/otel/attribute"
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
	const parent = "00f067aa0ba902b7"
	all[0].Traceparent = "00-" + traceID + "-" + parent + "-01"
	all[1].Traceparent = "00-" + traceID + "-" + parent + "-00"
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
	// The spans by name, with the name of the one above.
	names := map[trace.SpanID]string{}
	ended := map[string]sdktrace.ReadOnlySpan{}
	for _, s := range recorder.Ended() {
		names[s.SpanContext().SpanID()] = s.Name()
		ended[s.Name()] = s
	}
	tree := map[string]string{}
	for _, s := range recorder.Ended() {
		if _, twice := tree[s.Name()]; twice {
			t.Errorf("there are two spans %s", s.Name())
		}
		tree[s.Name()] = cmp.Or(names[s.Parent().SpanID()], s.Parent().SpanID().String())
		if s.SpanContext().TraceID().String() != traceID {
			t.Errorf("span %s is of another trace", s.Name())
		}
	}
	want := map[string]string{"accept": parent, "execution": parent, "step one": "execution", "record": "execution"}
	if diff := gocmp.Diff(want, tree); diff != "" || sampled != 1 {
		t.Fatalf("%d sampled calls; spans (-want +got):\n%s", sampled, diff)
	}
	order := []time.Time{
		ended["accept"].StartTime(), ended["accept"].EndTime(), ended["execution"].StartTime(), ended["step one"].EndTime(),
		ended["record"].StartTime(), ended["record"].EndTime(), ended["execution"].EndTime(),
	}
	if !slices.IsSortedFunc(order, time.Time.Compare) {
		t.Errorf("accept, execution, step and record do not follow each other: %v", order)
	}
	for name, size := range map[string]int64{"accept": 2, "record": 0} {
		set := attribute.NewSet(ended[name].Attributes()...)
		system, _ := set.Value("db.system.name")
		batch, _ := set.Value("uc.batch")
		if system.AsString() != "postgresql" || batch.AsInt64() < 1 || size != 0 && batch.AsInt64() != size {
			t.Errorf("%s: got attributes %v", name, ended[name].Attributes())
		}
	}
}
