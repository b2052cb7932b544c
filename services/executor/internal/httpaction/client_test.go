package httpaction_test

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
	"go.uber.org/goleak"

	"workflow.uniconnect/services/executor/internal/action"
	"workflow.uniconnect/services/executor/internal/egress"
	"workflow.uniconnect/services/executor/internal/httpaction"
	"workflow.uniconnect/services/executor/internal/run"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// newClient returns a client that may reach the loopback addresses.
func newClient(t testing.TB, roots *x509.CertPool) *httpaction.Client {
	t.Helper()
	return newClientAllowing(t, roots, "127.0.0.0/8")
}

func newClientAllowing(t testing.TB, roots *x509.CertPool, allow ...string) *httpaction.Client {
	t.Helper()
	guard, err := egress.New(egress.Options{Allow: allow})
	if err != nil {
		t.Fatal(err)
	}
	c := httpaction.New(httpaction.Options{Guard: guard, Propagator: propagation.TraceContext{}, Concurrency: 64, RootCAs: roots})
	t.Cleanup(c.Close)
	return c
}

// target is a real server that remembers what it was asked.
type target struct {
	*httptest.Server
	mu       sync.Mutex
	requests []*http.Request
	bodies   []string
}

func newTarget(t testing.TB, answer http.HandlerFunc) *target {
	t.Helper()
	tg := &target{}
	tg.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		tg.mu.Lock()
		tg.requests, tg.bodies = append(tg.requests, r), append(tg.bodies, string(body))
		tg.mu.Unlock()
		answer(w, r)
	}))
	t.Cleanup(func() {
		tg.CloseClientConnections()
		tg.Close()
	})
	return tg
}

func (tg *target) last() (*http.Request, string) {
	tg.mu.Lock()
	defer tg.mu.Unlock()
	return tg.requests[len(tg.requests)-1], tg.bodies[len(tg.bodies)-1]
}

func (tg *target) count() int {
	tg.mu.Lock()
	defer tg.mu.Unlock()
	return len(tg.requests)
}

func call(params map[string]any) action.Call {
	return action.Call{
		Tenant: "acme", ExecutionID: "e1", WorkflowID: "w1", Type: action.HTTPRequest, IdempotencyKey: "e1/send", Attempt: 1, Params: params,
	}
}

func answerWith(contentType, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", contentType)
		_, _ = io.WriteString(w, body)
	}
}

func TestClient_Do_request(t *testing.T) {
	tg := newTarget(t, answerWith("text/plain", "ok"))
	c := newClient(t, nil)
	cases := map[string]struct {
		params                             map[string]any
		method, uri, body, contentType, ua string
	}{
		"get":         {map[string]any{"url": "/a?x=1"}, "GET", "/a?x=1", "", "", "Uniconnect-Workflow/1"},
		"object":      {map[string]any{"url": "/a", "body": map[string]any{"n": int64(1), "s": "<ü>"}}, "POST", "/a", `{"n":1,"s":"\u003cü\u003e"}`, "application/json", "Uniconnect-Workflow/1"},
		"list":        {map[string]any{"url": "/a", "method": "PUT", "body": []any{"a", true}}, "PUT", "/a", `["a",true]`, "application/json", "Uniconnect-Workflow/1"},
		"text":        {map[string]any{"url": "/a", "body": "a=1"}, "POST", "/a", "a=1", "text/plain; charset=utf-8", "Uniconnect-Workflow/1"},
		"empty_text":  {map[string]any{"url": "/a", "body": ""}, "POST", "/a", "", "text/plain; charset=utf-8", "Uniconnect-Workflow/1"},
		"null_body":   {map[string]any{"url": "/a", "body": nil}, "GET", "/a", "", "", "Uniconnect-Workflow/1"},
		"own_headers": {map[string]any{"url": "/a", "body": "<a/>", "headers": map[string]any{"content-type": "text/xml", "user-agent": "me"}}, "POST", "/a", "<a/>", "text/xml", "me"},
		"query": {map[string]any{"url": "/a?x=1", "query": map[string]any{"y": "a b&c", "n": int64(7), "f": 1.5, "l": []any{"p", false}}},
			"GET", "/a?x=1&f=1.5&l=p&l=false&n=7&y=a+b%26c", "", "", "Uniconnect-Workflow/1"},
		"delete": {map[string]any{"url": "/a", "method": "DELETE"}, "DELETE", "/a", "", "", "Uniconnect-Workflow/1"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			tc.params["url"] = tg.URL + tc.params["url"].(string)
			if o := c.Do(t.Context(), call(tc.params)); o.Err != nil {
				t.Fatalf("got %+v, want success", o.Err)
			}
			r, body := tg.last()
			type view struct{ Method, URI, Body, ContentType, UserAgent, Key string }
			got := view{r.Method, r.RequestURI, body, r.Header.Get("Content-Type"), r.UserAgent(), r.Header.Get("Idempotency-Key")}
			want := view{tc.method, tc.uri, tc.body, tc.contentType, tc.ua, "e1/send"}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("request (-want +got):\n%s", diff)
			}
		})
	}
}

func TestClient_Do_carries_the_trace(t *testing.T) {
	tg := newTarget(t, answerWith("text/plain", "ok"))
	span := trace.NewSpanContext(trace.SpanContextConfig{TraceID: trace.TraceID{1}, SpanID: trace.SpanID{2}})
	if o := newClient(t, nil).Do(trace.ContextWithSpanContext(t.Context(), span), call(map[string]any{"url": tg.URL})); o.Err != nil {
		t.Fatal(o.Err)
	}
	r, _ := tg.last()
	if got, want := r.Header.Get("Traceparent"), "00-01000000000000000000000000000000-0200000000000000-00"; got != want {
		t.Errorf("traceparent: got %q, want %q", got, want)
	}
}

func TestClient_Do_output(t *testing.T) {
	cases := map[string]struct {
		answer http.HandlerFunc
		want   string
	}{
		"json":         {answerWith("application/json; charset=utf-8", `{"id": 7, "n": 12345678901234567890}`), `{"status":200,"headers":{"content-type":"application/json; charset=utf-8"},"body":{"id": 7, "n": 12345678901234567890}}`},
		"json_suffix":  {answerWith("application/problem+json", `[1]`), `{"status":200,"headers":{"content-type":"application/problem+json"},"body":[1]}`},
		"broken_json":  {answerWith("application/json", `{"id":`), `{"status":200,"headers":{"content-type":"application/json"},"body":"{\"id\":"}`},
		"json_nul":     {answerWith("application/json", `{"a\u0000":"b\u0000\ud800"}`), `{"status":200,"headers":{"content-type":"application/json"},"body":{"a�":"b��"}}`},
		"json_bytes":   {answerWith("application/json", "\"a\xff\""), `{"status":200,"headers":{"content-type":"application/json"},"body":"a�"}`},
		"text":         {answerWith("text/plain", "a\x00\"b\xff\n"), `{"status":200,"headers":{"content-type":"text/plain"},"body":"a�\"b\ufffd\n"}`},
		"json_as_text": {answerWith("text/plain", `{}`), `{"status":200,"headers":{"content-type":"text/plain"},"body":"{}"}`},
		"nothing":      {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) }, `{"status":204,"headers":{},"body":null}`},
		"headers": {func(w http.ResponseWriter, _ *http.Request) {
			for name, value := range map[string]string{"Location": "/7", "X-Id": "7", "Set-Cookie": "secret", "ETag": `"v1"`, "Server": "s"} {
				w.Header().Set(name, value)
			}
			w.WriteHeader(http.StatusCreated)
		}, `{"status":201,"headers":{"etag":"\"v1\"","location":"/7","x-id":"7"},"body":null}`},
	}
	c := newClient(t, nil)
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			tg := newTarget(t, tc.answer)
			o := c.Do(t.Context(), call(map[string]any{"url": tg.URL}))
			if o.Err != nil {
				t.Fatalf("got %+v, want success", o.Err)
			}
			if diff := cmp.Diff(tc.want, string(o.Output)); diff != "" {
				t.Errorf("output (-want +got):\n%s", diff)
			}
		})
	}
	t.Run("many_headers_are_bounded", func(t *testing.T) {
		tg := newTarget(t, func(w http.ResponseWriter, _ *http.Request) {
			for _, c := range "abcdefghijklmnopqrstuvwxyz" {
				w.Header().Set("X-"+string(c), strings.Repeat("v", 2000))
			}
		})
		o := c.Do(t.Context(), call(map[string]any{"url": tg.URL}))
		var out struct{ Headers map[string]string }
		if err := json.Unmarshal(o.Output, &out); err != nil {
			t.Fatalf("%v, %+v", err, o.Err)
		}
		if len(out.Headers) != 16 || len(out.Headers["x-a"]) != 1024 {
			t.Errorf("got %d headers, the first of %d bytes; want 16 of 1024", len(out.Headers), len(out.Headers["x-a"]))
		}
	})
	t.Run("exactly_the_limit", func(t *testing.T) {
		body := bytes.Repeat([]byte("x"), 1<<20)
		tg := newTarget(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(body) })
		o := c.Do(t.Context(), call(map[string]any{"url": tg.URL}))
		if o.Err != nil || len(o.Output) < len(body) {
			t.Errorf("got %d bytes, %+v; want the whole body", len(o.Output), o.Err)
		}
	})
}

func TestClient_Do_keeps_connections(t *testing.T) {
	for name, status := range map[string]int{"success": 200, "refusal": 503} {
		t.Run(name, func(t *testing.T) {
			remotes := map[string]bool{}
			tg := newTarget(t, func(w http.ResponseWriter, r *http.Request) {
				remotes[r.RemoteAddr] = true
				w.WriteHeader(status)
				_, _ = w.Write(bytes.Repeat([]byte("x"), 10_000))
			})
			c := newClient(t, nil)
			for range 20 {
				c.Do(t.Context(), call(map[string]any{"url": tg.URL, "body": "x"}))
			}
			if len(remotes) != 1 {
				t.Errorf("20 calls used %d connections, want 1", len(remotes))
			}
		})
	}
}

// A target that takes a request and closes the connection has perhaps acted on it: only the run may send it again, and count it.
func TestClient_Do_sends_once_per_attempt(t *testing.T) {
	var first sync.Once
	tg := newTarget(t, func(w http.ResponseWriter, _ *http.Request) {
		reused := true
		first.Do(func() { reused = false })
		if reused {
			panic(http.ErrAbortHandler)
		}
	})
	c := newClient(t, nil)
	params := map[string]any{"url": tg.URL, "body": "x"}
	if o := c.Do(t.Context(), call(params)); o.Err != nil {
		t.Fatal(o.Err)
	}
	o := c.Do(t.Context(), call(params))
	want := &run.Error{Reason: "TARGET_UNREACHABLE", Message: "the connection broke off before the answer was complete", Retryable: true}
	if diff := cmp.Diff(want, o.Err); diff != "" {
		t.Errorf("error (-want +got):\n%s", diff)
	}
	if got := tg.count(); got != 2 {
		t.Errorf("the target got %d requests of 2 attempts", got)
	}
}

func TestClient_Do_given_up(t *testing.T) {
	arrived := make(chan struct{})
	tg := newTarget(t, func(_ http.ResponseWriter, r *http.Request) {
		close(arrived)
		<-r.Context().Done()
	})
	ctx, cancel := context.WithCancel(t.Context())
	go func() { <-arrived; cancel() }()
	o := newClient(t, nil).Do(ctx, call(map[string]any{"url": tg.URL}))
	if o.Err == nil || o.Err.Reason != "CANCELLED" {
		t.Errorf("got %+v, want CANCELLED", o.Err)
	}
}

func BenchmarkClient_Do(b *testing.B) {
	tg := httptest.NewServer(answerWith("application/json", `{"ok":true}`))
	defer tg.Close()
	c := newClient(b, nil)
	params := map[string]any{"url": tg.URL, "method": "POST", "body": map[string]any{"call_id": "c-1", "text": strings.Repeat("x", 400)}}
	b.ReportAllocs()
	b.SetParallelism(32)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
			if o := c.Do(ctx, call(params)); o.Err != nil {
				b.Error(o.Err)
			}
			cancel()
		}
	})
}
