package gateway_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/google/go-cmp/cmp"

	"workflow.uniconnect/pkg/auth"
	"workflow.uniconnect/pkg/service"

	workflowv1 "workflow.uniconnect/proto/gen/go/uniconnect/workflow/v1"
)

// TestGateway_refuses_tokens is rows 1 to 6 of the list of bad inputs.
func TestGateway_refuses_tokens(t *testing.T) {
	w := newWorld(t)
	good := func() jwt.MapClaims {
		now := time.Now().Unix()
		return jwt.MapClaims{"iss": auth.DevIssuer, "aud": auth.DevAudience, "sub": "owner@acme.test", "tenant": "acme", "iat": now, "exp": now + 600}
	}
	stranger, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	signed := func(method jwt.SigningMethod, key any, change func(*jwt.Token, jwt.MapClaims)) string {
		claims := good()
		token := jwt.NewWithClaims(method, claims)
		if change != nil {
			change(token, claims)
		}
		text, err := token.SignedString(key)
		if err != nil {
			t.Fatal(err)
		}
		return "Bearer " + text
	}
	ours := "Bearer " + w.token(t, "owner@acme.test")
	expired, err := w.issuer.Issue(auth.Principal{Tenant: "acme", Subject: "u"}, -time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	tests := map[string]struct {
		authorization, reason string
	}{
		"missing":        {"", "TOKEN_MISSING"},
		"basic":          {"Basic b3duZXI6cHc=", "TOKEN_INVALID"},
		"bare":           {strings.TrimPrefix(ours, "Bearer "), "TOKEN_INVALID"},
		"junk":           {"Bearer junk", "TOKEN_INVALID"},
		"alg_none":       {signed(jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType, nil), "TOKEN_INVALID"},
		"alg_hmac":       {signed(jwt.SigningMethodHS256, []byte("public key"), nil), "TOKEN_INVALID"},
		"other_key":      {signed(jwt.SigningMethodES256, stranger, nil), "TOKEN_INVALID"},
		"kid_path":       {signed(jwt.SigningMethodES256, stranger, func(tk *jwt.Token, _ jwt.MapClaims) { tk.Header["kid"] = "../../x" }), "TOKEN_INVALID"},
		"embedded_key":   {signed(jwt.SigningMethodES256, stranger, func(tk *jwt.Token, _ jwt.MapClaims) { tk.Header["jku"] = w.url }), "TOKEN_INVALID"},
		"cut_signature":  {ours[:len(ours)-8], "TOKEN_INVALID"},
		"expired":        {"Bearer " + expired, "TOKEN_INVALID"},
		"thousand_dots":  {"Bearer " + strings.Repeat(".", 1000), "TOKEN_INVALID"},
		"odd_characters": {"Bearer ключ", "TOKEN_INVALID"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got := w.do(t, "GET", "/v1/workflows", "", func(r *http.Request) {
				r.Header.Del("Authorization")
				if tt.authorization != "" {
					r.Header.Set("Authorization", tt.authorization)
				}
			})
			p := got.problem(t)
			if got.code != 401 || p.Status != "UNAUTHENTICATED" || p.reason() != tt.reason {
				t.Errorf("got %d %s, want 401 %s", got.code, got.body, tt.reason)
			}
			if got.header.Get("WWW-Authenticate") != "Bearer" {
				t.Error("no WWW-Authenticate")
			}
		})
	}
	if calls, _ := w.fake.seen(); calls != 0 {
		t.Errorf("%d calls without a token reached a service", calls)
	}
}

func TestGateway_two_authorization_headers_are_refused(t *testing.T) {
	w := newWorld(t)
	got := w.do(t, "GET", "/v1/workflows", "", func(r *http.Request) { r.Header.Add("Authorization", r.Header.Get("Authorization")) })
	if got.code != 401 {
		t.Errorf("got %d, want 401", got.code)
	}
}

// TestGateway_refuses_bad_requests is rows 10 to 12, 15 to 22 and 50.
func TestGateway_refuses_bad_requests(t *testing.T) {
	w := newWorld(t)
	type edit = func(*http.Request)
	form := header("Content-Type", "application/x-www-form-urlencoded")
	tests := map[string]struct {
		method, path, body string
		edit               edit
		code               int
		reason, field      string
	}{
		"tenant_in_body":     {"POST", "/v1/workflows", `{"title":"a","tenant_id":"globex"}`, nil, 400, "INVALID_FIELDS", "tenant_id"},
		"tenant_in_query":    {"GET", "/v1/workflows?tenantId=globex", "", nil, 400, "INVALID_FIELDS", "tenantId"},
		"form":               {"POST", "/v1/workflows", "title=a", form, 415, "CONTENT_TYPE", ""},
		"override":           {"POST", "/v1/workflows", "title=a", func(r *http.Request) { form(r); r.Header.Set("X-HTTP-Method-Override", "GET") }, 415, "CONTENT_TYPE", ""},
		"override_delete":    {"POST", workflow, "title=a", func(r *http.Request) { form(r); r.Header.Set("X-HTTP-Method-Override", "DELETE") }, 415, "CONTENT_TYPE", ""},
		"form_on_get_route":  {"POST", "/v1/executions", "pageSize=1", form, 415, "CONTENT_TYPE", ""},
		"text":               {"POST", "/v1/workflows", minimal, header("Content-Type", "text/plain"), 415, "CONTENT_TYPE", ""},
		"no_type":            {"POST", "/v1/workflows", minimal, func(r *http.Request) { r.Header.Del("Content-Type") }, 415, "CONTENT_TYPE", ""},
		"latin":              {"POST", "/v1/workflows", minimal, header("Content-Type", "application/json; charset=latin1"), 415, "CONTENT_TYPE", ""},
		"brotli":             {"POST", "/v1/workflows", minimal, header("Content-Encoding", "br"), 415, "CONTENT_TYPE", ""},
		"unknown_field":      {"POST", "/v1/workflows", `{"title":"a","steps":[{"colour":1}]}`, nil, 400, "INVALID_FIELDS", "steps[0].colour"},
		"duplicate_key":      {"POST", "/v1/workflows", `{"title":"a","title":"b"}`, nil, 400, "INVALID_FIELDS", "title"},
		"trailing_data":      {"POST", "/v1/workflows", minimal + "{}", nil, 400, "MALFORMED_JSON", ""},
		"no_json":            {"POST", "/v1/workflows", `{"title":`, nil, 400, "MALFORMED_JSON", "title"},
		"invalid_utf8":       {"POST", "/v1/workflows", "{\"title\":\"a\xff\"}", nil, 400, "MALFORMED_JSON", "title"},
		"nul":                {"POST", "/v1/workflows", `{"title":"a\u0000"}`, nil, 400, "MALFORMED_JSON", "title"},
		"empty_title":        {"POST", "/v1/workflows", `{"title":"","trigger":{"manual":{}}}`, nil, 400, "INVALID_FIELDS", "title"},
		"long_title":         {"POST", "/v1/workflows", `{"title":"` + strings.Repeat("x", 10_000) + `","trigger":{"manual":{}}}`, nil, 400, "INVALID_FIELDS", "title"},
		"deep":               {"POST", "/v1/events", `{"type":"a","data":` + strings.Repeat("[", 10_000) + strings.Repeat("]", 10_000) + `}`, nil, 400, "MALFORMED_JSON", "data" + strings.Repeat("[0]", 63)},
		"big":                {"POST", "/v1/events", `{"data":"` + strings.Repeat("x", 1<<20) + `"}`, nil, 413, "TOO_LARGE", ""},
		"page_size":          {"GET", "/v1/workflows?pageSize=-1", "", nil, 400, "INVALID_FIELDS", "pageSize"},
		"page_size_huge":     {"GET", "/v1/workflows?pageSize=1000000000", "", nil, 400, "INVALID_FIELDS", "pageSize"},
		"page_size_text":     {"GET", "/v1/workflows?pageSize=ten", "", nil, 400, "INVALID_FIELDS", "pageSize"},
		"page_size_float":    {"GET", "/v1/workflows?pageSize=1e9", "", nil, 400, "INVALID_FIELDS", "pageSize"},
		"page_size_beyond":   {"GET", "/v1/workflows?page_size=99999999999", "", nil, 400, "INVALID_FIELDS", "page_size"},
		"page_size_empty":    {"GET", "/v1/workflows?pageSize=", "", nil, 400, "INVALID_FIELDS", "pageSize"},
		"view_unknown":       {"GET", "/v1/workflows?view=SHORT", "", nil, 400, "INVALID_FIELDS", "view"},
		"rebase_maybe":       {"PUT", workflow + "/draft?rebase=maybe", minimal, nil, 400, "INVALID_FIELDS", "rebase"},
		"revision_text":      {"GET", workflow + "/revisions/first", "", nil, 400, "INVALID_FIELDS", "revision"},
		"revision_beyond":    {"GET", workflow + "/revisions/99999999999", "", nil, 400, "INVALID_FIELDS", "revision"},
		"time_without_zone":  {"POST", "/v1/workflows", `{"title":"a","dateRange":{"startTime":"2026-01-01T00:00:00"}}`, nil, 400, "INVALID_FIELDS", "dateRange.startTime"},
		"page_size_twice":    {"GET", "/v1/workflows?pageSize=1&pageSize=2", "", nil, 400, "INVALID_FIELDS", "pageSize"},
		"filter_sql":         {"GET", "/v1/executions?filter=id%3Bdrop", "", nil, 400, "INVALID_FIELDS", "filter"},
		"order_by_sql":       {"GET", "/v1/executions?orderBy=id%3Bdrop", "", nil, 400, "INVALID_FIELDS", "orderBy"},
		"bad_query":          {"GET", "/v1/workflows?a=%zz", "", nil, 400, "INVALID_FIELDS", "query"},
		"body_of_a_get":      {"GET", "/v1/workflows", `{}`, nil, 415, "CONTENT_TYPE", ""},
		"id_is_no_uuid":      {"GET", "/v1/workflows/1", "", nil, 400, "INVALID_FIELDS", "id"},
		"timeout_junk":       {"GET", "/v1/workflows", "", header("Grpc-Timeout", "soon"), 400, "INVALID_FIELDS", "Grpc-Timeout"},
		"timeout_nine":       {"GET", "/v1/workflows", "", header("Grpc-Timeout", "123456789S"), 400, "INVALID_FIELDS", "Grpc-Timeout"},
		"timeout_zero":       {"GET", "/v1/workflows", "", header("Grpc-Timeout", "0n"), 504, "DEADLINE", ""},
		"timeout_long":       {"GET", "/v1/workflows", "", header("Grpc-Timeout", "999999H"), 200, "", ""},
		"cross_site":         {"POST", "/v1/workflows", minimal, header("Sec-Fetch-Site", "cross-site"), 403, "CROSS_ORIGIN", ""},
		"origin_null":        {"POST", "/v1/workflows", minimal, header("Origin", "null"), 403, "CROSS_ORIGIN", ""},
		"origin_other":       {"POST", "/v1/workflows", minimal, header("Origin", "https://evil.test"), 403, "CROSS_ORIGIN", ""},
		"authorization_100k": {"GET", "/v1/workflows", "", header("Authorization", "Bearer "+strings.Repeat(".", 100_000)), 431, "TOO_LARGE", ""},
		"header_20k":         {"GET", "/v1/workflows", "", header("X-Any", strings.Repeat("x", 20_000)), 431, "TOO_LARGE", ""},
		"unknown_route":      {"GET", "/v1/nothing", "", nil, 404, "UNKNOWN_METHOD", ""},
		"unknown_page":       {"GET", "/nothing", "", nil, 404, "UNKNOWN_METHOD", ""},
		"internal_service":   {"POST", "/uniconnect.workflow.peer.v1.StartService/StartExecutions", `{}`, nil, 404, "UNKNOWN_METHOD", ""},
		"reflection":         {"GET", "/debug/pprof/", "", nil, 404, "UNKNOWN_METHOD", ""},
		"later_verb":         {"POST", workflow + ":pause", `{}`, nil, 404, "UNKNOWN_METHOD", ""},
		"later_verb_get":     {"GET", "/v1/executions/" + someID + ":watch", "", nil, 404, "UNKNOWN_METHOD", ""},
		"wrong_verb_method":  {"GET", workflow + ":activate", "", nil, 405, "UNKNOWN_METHOD", ""},
		"wrong_method":       {"PUT", "/v1/workflows", minimal, nil, 405, "UNKNOWN_METHOD", ""},
		"wrong_page_method":  {"POST", "/v1/openapi.json", `{}`, nil, 405, "UNKNOWN_METHOD", ""},
		"traversal":          {"GET", "/assets/..%2f..%2fgo.mod", "", nil, 404, "UNKNOWN_METHOD", ""},
		"traversal_twice":    {"GET", "/assets/%252e%252e/go.mod", "", nil, 404, "UNKNOWN_METHOD", ""},
		"asset_encoded":      {"GET", "/assets/app%2Ejs", "", nil, 404, "UNKNOWN_METHOD", ""},
		"route_traversal":    {"GET", "/v1/workflows/..%2fexecutions", "", nil, 400, "INVALID_FIELDS", "id"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			before, _ := w.fake.seen()
			got := w.do(t, tt.method, tt.path, tt.body, func(r *http.Request) {
				if tt.edit != nil {
					tt.edit(r)
				}
			})
			if got.code != tt.code {
				t.Fatalf("got %d %s, want %d", got.code, got.body, tt.code)
			}
			if tt.code == 200 {
				return
			}
			p := got.problem(t)
			if p.reason() != tt.reason {
				t.Errorf("reason: got %s, want %s", p.reason(), tt.reason)
			}
			if tt.field != "" {
				if diff := cmp.Diff([]string{tt.field}, p.fields()); diff != "" {
					t.Errorf("fields (-want +got):\n%s", diff)
				}
			}
			if after, _ := w.fake.seen(); after != before {
				t.Error("the call reached the service")
			}
		})
	}
	if got := w.do(t, "PUT", "/v1/workflows", minimal); got.header.Get("Allow") != "GET, POST" {
		t.Errorf("Allow: got %q", got.header.Get("Allow"))
	}
}

func TestGateway_header_of_a_megabyte(t *testing.T) {
	w := newWorld(t)
	var d net.Dialer
	c, err := d.DialContext(t.Context(), "tcp", strings.TrimPrefix(w.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	// The server may answer and close before all of it is written.
	go func() {
		_, _ = fmt.Fprintf(c, "GET /v1/workflows HTTP/1.1\r\nHost: x\r\nAuthorization: %s\r\n\r\n", strings.Repeat("a", 1<<20))
	}()
	status := make([]byte, len("HTTP/1.1 431"))
	if _, err := io.ReadFull(c, status); err != nil || string(status) != "HTTP/1.1 431" {
		t.Errorf("got %q %v, want 431", status, err)
	}
}

func TestGateway_gzip(t *testing.T) {
	w := newWorld(t)
	gzipped := func(content string) string {
		var b bytes.Buffer
		z := gzip.NewWriter(&b)
		if _, err := io.WriteString(z, content); err != nil {
			t.Fatal(err)
		}
		if err := z.Close(); err != nil {
			t.Fatal(err)
		}
		return b.String()
	}
	encoding := header("Content-Encoding", "gzip")
	if got := w.do(t, "POST", "/v1/workflows", gzipped(minimal), encoding); got.code != 200 {
		t.Errorf("plain: got %d %s", got.code, got.body)
	}
	bomb := w.do(t, "POST", "/v1/workflows", gzipped(strings.Repeat(" ", 64<<20)), encoding)
	if p := bomb.problem(t); bomb.code != 413 || p.reason() != "TOO_LARGE" {
		t.Errorf("bomb: got %d %s", bomb.code, bomb.body)
	}
	if got := w.do(t, "POST", "/v1/workflows", "no gzip", encoding); got.code != 400 {
		t.Errorf("no gzip: got %d", got.code)
	}
}

func TestGateway_may_you_comes_before_is_it_well_formed(t *testing.T) {
	w := newWorld(t)
	as := func(name string) func(*http.Request) { return header("Authorization", "Bearer "+w.token(t, name)) }
	for _, body := range []string{`{"colour":1}`, `{"title":`, minimal} {
		got := w.do(t, "POST", "/v1/workflows", body, as("viewer@acme.test"))
		if p := got.problem(t); got.code != 403 || p.reason() != "PERMISSION_MISSING" || !strings.Contains(p.Message, "workflow.create") {
			t.Errorf("%s by a viewer: got %d %s, want 403 naming workflow.create", body, got.code, got.body)
		}
	}
	w.fake.mu.Lock()
	w.fake.moduleEnabled = false
	w.fake.mu.Unlock()
	got := w.do(t, "POST", "/v1/workflows", `{"colour":1}`, as("builder@acme.test"))
	if p := got.problem(t); got.code != 403 || p.reason() != "MODULE_DISABLED" {
		t.Errorf("module off: got %d %s, want 403 MODULE_DISABLED", got.code, got.body)
	}
}

func TestGateway_deadline_of_the_client(t *testing.T) {
	w := newWorld(t)
	w.fake.get = func(ctx context.Context, _ *workflowv1.GetWorkflowRequest) (*workflowv1.GetWorkflowResponse, error) {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	got := w.do(t, "GET", workflow, "", header("Grpc-Timeout", "50m"))
	if p := got.problem(t); got.code != 504 || p.reason() != "DEADLINE" {
		t.Errorf("got %d %s, want 504", got.code, got.body)
	}
}

// TestGateway_backend_away is row 51 for the gateway's own dependencies.
func TestGateway_backend_away(t *testing.T) {
	check := func(t *testing.T, w *world, limit time.Duration) {
		begin := time.Now()
		got := w.do(t, "GET", "/v1/workflows", "")
		if took := time.Since(begin); took > limit {
			t.Errorf("the answer took %v", took)
		}
		if p := got.problem(t); got.code != 503 || p.reason() != "SERVICE_UNAVAILABLE" || got.header.Get("Retry-After") == "" {
			t.Errorf("got %d %s, want 503 SERVICE_UNAVAILABLE with Retry-After", got.code, got.body)
		}
		if strings.Contains(string(got.body), "127.0.0.1") {
			t.Errorf("the answer names an address: %s", got.body)
		}
		ready := w.do(t, "GET", "/readyz", "")
		for _, name := range []string{"workflow-catalog", "trigger-scheduler", "executor"} {
			if ready.code != 503 || !strings.Contains(string(ready.body), name) {
				t.Errorf("readyz: got %d %s, want 503 naming %s", ready.code, ready.body, name)
			}
		}
		if live := w.do(t, "GET", "/livez", ""); live.code != 200 {
			t.Errorf("livez: got %d", live.code)
		}
	}
	t.Run("stopped", func(t *testing.T) {
		w := newWorld(t)
		if ready := w.do(t, "GET", "/readyz", ""); ready.code != 200 {
			t.Fatalf("readyz before: got %d %s", ready.code, ready.body)
		}
		w.stopBackends()
		for w.do(t, "GET", "/readyz", "").code == 200 {
			// The last answer serves for a moment.
		}
		check(t, w, 2*time.Second)
	})
	t.Run("silent", func(t *testing.T) {
		addr := blackHole(t)
		w := newWorld(t, func(d *service.Deps) {
			d.Settings.CatalogAddr, d.Settings.SchedulerAddr, d.Settings.ExecutorAddr = addr, addr, addr
		})
		check(t, w, 2500*time.Millisecond)
	})
}

func TestGateway_stops_gracefully(t *testing.T) {
	w := newWorld(t)
	arrived := make(chan struct{})
	finish := make(chan struct{})
	w.fake.get = func(context.Context, *workflowv1.GetWorkflowRequest) (*workflowv1.GetWorkflowResponse, error) {
		close(arrived)
		<-finish
		return &workflowv1.GetWorkflowResponse{Workflow: &workflowv1.Workflow{Id: someID}}, nil
	}
	answered := make(chan answer, 1)
	go func() { answered <- w.do(t, "GET", workflow, "") }()
	<-arrived
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		w.stop()
	}()
	awaitRefusal(t, w)
	close(finish)
	if got := <-answered; got.code != 200 {
		t.Errorf("the call under way: got %d %s, want 200", got.code, got.body)
	}
	<-stopped
}

// awaitRefusal returns when the gateway takes no new connections.
func awaitRefusal(t *testing.T, w *world) {
	t.Helper()
	var d net.Dialer
	for {
		c, err := d.DialContext(t.Context(), "tcp", strings.TrimPrefix(w.url, "http://"))
		if err != nil {
			if errors.Is(err, context.Canceled) {
				t.Fatal("the gateway still listens")
			}
			return
		}
		_ = c.Close()
	}
}

func TestGateway_health_needs_no_token(t *testing.T) {
	w := newWorld(t)
	for _, path := range []string{"/livez", "/readyz", "/v1/openapi.json", "/"} {
		if got := w.do(t, "GET", path, "", func(r *http.Request) { r.Header.Del("Authorization") }); got.code != 200 {
			t.Errorf("%s: got %d", path, got.code)
		}
	}
}
