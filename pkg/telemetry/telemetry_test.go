package telemetry_test

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"net/http/httptest"
	"strings"
	"testing"

	"go.opentelemetry.io/otel/propagation"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"
	"go.uber.org/goleak"

	"workflow.uniconnect/pkg/telemetry"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func newTelemetry(t *testing.T, opts telemetry.Options) *telemetry.Telemetry {
	t.Helper()
	tel, err := telemetry.New(t.Context(), opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := tel.Shutdown(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
	})
	return tel
}

func TestTelemetry_log_carries_trace_id(t *testing.T) {
	var buf bytes.Buffer
	tel := newTelemetry(t, telemetry.Options{Service: "workflowd", Version: "v1", Writer: &buf, LogLevel: slog.LevelInfo})
	tel = tel.Named("executor")
	ctx, span := tel.Tracer("test").Start(t.Context(), "work")
	defer span.End()
	if span.SpanContext().IsSampled() {
		t.Error("a trace that begins here is sampled although nothing asked for it")
	}
	tel.Logger.With("run_id", "r1").InfoContext(ctx, "step done")
	tel.Logger.DebugContext(ctx, "not shown")

	var line map[string]any
	if err := json.Unmarshal(buf.Bytes(), &line); err != nil {
		t.Fatalf("log %q: %v", buf.String(), err)
	}
	want := map[string]string{
		"msg": "step done", "service": "executor", "version": "v1", "run_id": "r1",
		"trace_id": span.SpanContext().TraceID().String(), "span_id": span.SpanContext().SpanID().String(),
	}
	for key, value := range want {
		if line[key] != value {
			t.Errorf("%s: got %v, want %s", key, line[key], value)
		}
	}
	if n := strings.Count(buf.String(), `"service"`); n != 1 {
		t.Errorf("service is on the line %d times, want once", n)
	}
}

func TestTelemetry_keeps_the_callers_sampling(t *testing.T) {
	recorder := tracetest.NewSpanRecorder()
	tel := newTelemetry(t, telemetry.Options{Service: "s", SpanProcessor: recorder, Writer: &bytes.Buffer{}})
	for _, flags := range []string{"01", "00"} {
		carrier := propagation.MapCarrier{"traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-" + flags}
		_, span := tel.Tracer("test").Start(tel.Propagator.Extract(t.Context(), carrier), "s"+flags)
		if got, want := span.SpanContext().TraceID().String(), "4bf92f3577b34da6a3ce929d0e0e4736"; got != want {
			t.Errorf("trace id: got %s, want %s", got, want)
		}
		span.End()
	}
	ended := recorder.Ended()
	if len(ended) != 1 || ended[0].Name() != "s01" {
		t.Errorf("recorded %d spans, want s01 alone", len(ended))
	}
}

func TestTelemetry_sampler_from_the_environment(t *testing.T) {
	t.Setenv("OTEL_TRACES_SAMPLER", "always_on")
	tel := newTelemetry(t, telemetry.Options{Service: "s", Writer: &bytes.Buffer{}})
	_, span := tel.Tracer("test").Start(t.Context(), "x", trace.WithNewRoot())
	defer span.End()
	if !span.SpanContext().IsSampled() {
		t.Error("OTEL_TRACES_SAMPLER=always_on is ignored")
	}
	explicit := newTelemetry(t, telemetry.Options{Service: "s", Writer: &bytes.Buffer{}, Sampler: sdktrace.NeverSample()})
	if _, span := explicit.Tracer("test").Start(t.Context(), "x"); span.SpanContext().IsSampled() {
		t.Error("Options.Sampler does not win over the environment")
	}
}

func TestTelemetry_MetricsHandler(t *testing.T) {
	tel := newTelemetry(t, telemetry.Options{Service: "executor", Version: "v1", Writer: &bytes.Buffer{}})
	counter, err := tel.Meter("test").Int64Counter("uc_events_matched")
	if err != nil {
		t.Fatal(err)
	}
	counter.Add(t.Context(), 3)

	rec := httptest.NewRecorder()
	tel.MetricsHandler().ServeHTTP(rec, httptest.NewRequest("GET", "/metrics", nil))
	for _, want := range []string{"uc_events_matched_total 3", "go_goroutines ", "process_resident_memory_bytes ", `service_name="executor"`} {
		if !strings.Contains(rec.Body.String(), want) {
			t.Errorf("metrics lack %q", want)
		}
	}
}
