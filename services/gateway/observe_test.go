package gateway_test

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"

	"workflow.uniconnect/pkg/service"
	"workflow.uniconnect/pkg/telemetry"
)

// lockedBuffer is a log that several goroutines write.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func TestGateway_reports_calls(t *testing.T) {
	spans := tracetest.NewInMemoryExporter()
	var log lockedBuffer
	tel, err := telemetry.New(t.Context(), telemetry.Options{
		Service: "gateway", Version: "test", LogLevel: -4, Writer: &log, SpanProcessor: sdktrace.NewSimpleSpanProcessor(spans),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = tel.Shutdown(t.Context()) })
	w := newWorld(t, func(d *service.Deps) { d.Telemetry = tel })

	const traceID = "0af7651916cd43dd8448eb211c80319c"
	traced := header("Traceparent", "00-"+traceID+"-b7ad6b7169203331-01")
	if got := w.do(t, "POST", workflow+":activate", "", traced); got.code != 200 {
		t.Fatalf("got %d %s", got.code, got.body)
	}
	_, md := w.fake.seen()
	if parent := strings.Join(md.Get("traceparent"), ""); !strings.Contains(parent, traceID) || strings.Contains(parent, "b7ad6b7169203331") {
		t.Errorf("traceparent of the service: got %q, want the trace with a span of ours", parent)
	}
	var names []string
	for _, s := range spans.GetSpans() {
		if s.SpanContext.TraceID().String() == traceID {
			names = append(names, s.Name)
		}
	}
	if want := "POST /v1/workflows/{id}:activate"; !strings.Contains(strings.Join(names, "|"), want) {
		t.Errorf("spans: got %q, want one named %q", names, want)
	}

	w.do(t, "GET", "/v1/secret-path", "", func(r *http.Request) { r.Method = "BREW" })
	recorder := httptest.NewRecorder()
	tel.MetricsHandler().ServeHTTP(recorder, httptest.NewRequestWithContext(t.Context(), "GET", "/metrics", nil))
	metrics := recorder.Body.String()
	for _, want := range []string{
		`http_server_request_duration_seconds_count{http_request_method="POST",http_response_status_code="200",http_route="/v1/workflows/{id}:activate"} 1`,
		`http_server_request_duration_seconds_count{http_request_method="_OTHER",http_response_status_code="404",http_route="unmatched"} 1`,
	} {
		if !strings.Contains(metrics, want) {
			t.Errorf("metrics lack %s", want)
		}
	}
	if strings.Contains(metrics, "secret-path") {
		t.Error("a path became a label")
	}
	if text := log.String(); !strings.Contains(text, `"http call"`) || !strings.Contains(text, `"subject":"owner@acme.test"`) || !strings.Contains(text, traceID) {
		t.Errorf("log: got %s", text)
	}
	if token := w.token(t, "owner@acme.test"); strings.Contains(log.String(), token[:20]) {
		t.Error("the log has a token")
	}
}
