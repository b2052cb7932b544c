package edge

import (
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"workflow.uniconnect/pkg/telemetry"
)

func TestGuard_drops_and_counts_headers_that_pretend(t *testing.T) {
	tel, err := telemetry.New(t.Context(), telemetry.Options{Service: "test", Writer: &strings.Builder{}})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = tel.Shutdown(t.Context()) }()
	var passed []string
	h, err := guard(tel, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		for name := range r.Header {
			passed = append(passed, name)
		}
	}))
	if err != nil {
		t.Fatal(err)
	}
	r := httptest.NewRequestWithContext(t.Context(), "GET", "/v1/workflows", nil)
	for _, name := range []string{
		"Grpc-Metadata-X-Tenant-Id", "Grpc-Metadata-Authorization", "Grpc-Encoding", "Grpcgateway-Authorization",
		"X-User", "Uc-Tenant", "x-tenant", "X-Tenant-Id", "X-Forwarded-User", "X-HTTP-Method-Override", "X-Original-URL",
		"Authorization", "Grpc-Timeout", "Traceparent", "X-Request-Id", "Idempotency-Key", "If-Match", "Accept", "X-Forwarded-For",
	} {
		r.Header.Set(name, "x")
	}
	h.ServeHTTP(httptest.NewRecorder(), r)
	slices.Sort(passed)
	want := "Accept Authorization Grpc-Timeout Idempotency-Key If-Match Traceparent X-Forwarded-For X-Request-Id"
	if got := strings.Join(passed, " "); got != want {
		t.Errorf("passed: got %s, want %s", got, want)
	}
	metrics := httptest.NewRecorder()
	tel.MetricsHandler().ServeHTTP(metrics, httptest.NewRequestWithContext(t.Context(), "GET", "/metrics", nil))
	for kind, n := range map[string]string{"metadata": "4", "identity": "5", "override": "2"} {
		found := false
		for line := range strings.Lines(metrics.Body.String()) {
			found = found || strings.HasPrefix(line, "http_server_request_headers_dropped_total") &&
				strings.Contains(line, `kind="`+kind+`"`) && strings.HasSuffix(strings.TrimSpace(line), " "+n)
		}
		if !found {
			t.Errorf("%s: not counted %s times", kind, n)
		}
	}
}
