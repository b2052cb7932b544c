package security

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"net"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"

	workflowv1 "workflow.uniconnect/proto/gen/go/uniconnect/workflow/v1"
)

// httpAttempt is a request that only HTTP can express.
type httpAttempt struct {
	row                int
	name, method, path string
	body               string
	headers            []string
	// chunked sends the body without its length.
	chunked bool
	want
}

const minimal = `{"title":"Never stored","trigger":{"manual":{}}}`

// rawHTTP makes requests that no client library would.
func (s *system) rawHTTP(t *testing.T) {
	f := s.fixtures(t)
	state := s.quiet(t)
	for _, a := range httpAttempts(f) {
		t.Run(fmt.Sprintf("%d_%s", a.row, a.name), func(t *testing.T) {
			a.check(t, s.send(t, s.request(t, a)))
			state.unchanged(t)
		})
	}
}

// httpAttempts are the rows that only HTTP can express.
func httpAttempts(f *fixtures) []httpAttempt {
	forms := []string{"Content-Type", "application/x-www-form-urlencoded"}
	json := func(field string) want { return invalid(field) }
	malformed := func(text string) want { return want{codes.InvalidArgument, 400, "MALFORMED_JSON", text} }
	tooLarge := func(status int) want { return want{codes.ResourceExhausted, status, "TOO_LARGE", ""} }
	contentType := want{codes.InvalidArgument, 415, "CONTENT_TYPE", ""}
	crossOrigin := want{codes.PermissionDenied, 403, "CROSS_ORIGIN", "cross-origin"}
	noRoute := want{codes.NotFound, 404, "UNKNOWN_METHOD", ""}
	workflow := "/v1/workflows/" + f.workflow.GetId()
	return []httpAttempt{
		{row: 4, name: "dots", method: "GET", path: "/v1/workflows", headers: []string{"Authorization", "Bearer " + strings.Repeat(".", 100_000)}, want: tooLarge(431)},
		{row: 4, name: "many_headers", method: "GET", path: "/v1/workflows", headers: manyHeaders(), want: tooLarge(431)},
		{row: 10, name: "tenant_in_body", method: "POST", path: "/v1/workflows", body: `{"title":"a","tenant_id":"globex","trigger":{"manual":{}}}`, want: json("tenant_id")},
		{row: 10, name: "tenant_in_query", method: "GET", path: "/v1/workflows?tenant=globex", want: json("tenant")},
		{row: 12, name: "override", method: "POST", path: workflow, body: "a=b", headers: append(forms, "X-HTTP-Method-Override", "DELETE"), want: contentType},
		{row: 12, name: "form", method: "POST", path: "/v1/workflows", body: "title=a", headers: forms, want: contentType},
		{row: 12, name: "text", method: "POST", path: "/v1/workflows", body: minimal, headers: []string{"Content-Type", "text/plain"}, want: contentType},
		{row: 12, name: "multipart", method: "POST", path: "/v1/workflows", body: minimal, headers: []string{"Content-Type", "multipart/form-data; boundary=x"}, want: contentType},
		{row: 15, name: "unknown_field", method: "POST", path: "/v1/workflows", body: `{"title":"x","steps":[{"id":"a","stop":{"outcom":1}}]}`, want: json("steps[0].stop.outcom")},
		{row: 15, name: "duplicate_key", method: "POST", path: "/v1/workflows", body: `{"title":"x","title":"y"}`, want: json("title")},
		{row: 15, name: "two_spellings", method: "POST", path: "/v1/workflows", body: `{"dateRange":{},"date_range":{}}`, want: json("dateRange")},
		{row: 15, name: "trailing_data", method: "POST", path: "/v1/workflows", body: minimal + `{}`, want: malformed("")},
		{row: 16, name: "invalid_utf8", method: "POST", path: "/v1/workflows", body: "{\"title\":\"a\xff\"}", want: malformed("title")},
		{row: 16, name: "nul", method: "POST", path: "/v1/workflows", body: `{"title":"a\u0000"}`, want: malformed("title")},
		{row: 18, name: "deep", method: "POST", path: "/v1/events", body: `{"type":"call.ended","data":` + strings.Repeat("[", 10_000) + strings.Repeat("]", 10_000) + "}", want: malformed("64")},
		{row: 19, name: "length", method: "POST", path: "/v1/events", body: `{"data":"` + strings.Repeat("x", 10<<20) + `"}`, want: tooLarge(413)},
		{row: 19, name: "chunked", method: "POST", path: "/v1/events", body: `{"data":"` + strings.Repeat("x", 10<<20) + `"}`, chunked: true, want: tooLarge(413)},
		{row: 20, name: "bomb", method: "POST", path: "/v1/events", body: zipped(strings.Repeat(" ", 64<<20)), headers: []string{"Content-Encoding", "gzip"}, want: tooLarge(413)},
		{row: 20, name: "other_coding", method: "POST", path: "/v1/events", body: "x", headers: []string{"Content-Encoding", "br"}, want: contentType},
		{row: 21, name: "text", method: "GET", path: "/v1/workflows?pageSize=ten", want: json("")},
		{row: 23, name: "two_triggers", method: "POST", path: "/v1/workflows", body: `{"title":"x","trigger":{"manual":{},"event":{"eventType":"call.ended"}}}`, want: json("trigger.event")},
		{row: 25, name: "if_match", method: "PATCH", path: workflow + "?updateMask=description", body: `{"description":"x"}`, headers: []string{"If-Match", `"` + f.staleEtag + `"`},
			want: want{codes.Aborted, 412, "ETAG_MISMATCH", ""}},
		{row: 46, name: "too_large", method: "POST", path: "/v1/workflows:import", body: `{"content":"` + strings.Repeat("x", 2<<20) + `"}`, want: tooLarge(413)},
		{row: 47, name: "cross_site", method: "POST", path: "/v1/workflows", body: minimal, headers: []string{"Sec-Fetch-Site", "cross-site"}, want: crossOrigin},
		{row: 47, name: "same_site", method: "DELETE", path: workflow, headers: []string{"Sec-Fetch-Site", "same-site"}, want: crossOrigin},
		{row: 47, name: "origin_null", method: "POST", path: "/v1/workflows", body: minimal, headers: []string{"Origin", "null"}, want: crossOrigin},
		{row: 47, name: "origin_other", method: "POST", path: "/v1/workflows", body: minimal, headers: []string{"Origin", "https://evil.test"}, want: crossOrigin},
		{row: 50, name: "junk", method: "GET", path: "/v1/workflows", headers: []string{"Grpc-Timeout", "soon"}, want: json("Grpc-Timeout")},
		{row: 50, name: "zero", method: "GET", path: "/v1/workflows", headers: []string{"Grpc-Timeout", "0n"}, want: want{codes.DeadlineExceeded, 504, "DEADLINE", ""}},
		{row: 14, name: "reflection", method: "POST", path: "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo", body: `{}`, want: noRoute},
		{row: 14, name: "pprof", method: "GET", path: "/debug/pprof/", want: noRoute},
		{row: 14, name: "metrics", method: "GET", path: "/metrics", want: noRoute},
		{row: 14, name: "internal_method", method: "POST", path: "/uniconnect.workflow.peer.v1.StartService/StartExecutions", body: `{}`, want: noRoute},
		{row: 14, name: "platform_method", method: "POST", path: "/uniconnect.access.v1.TenantService/DeleteTenant", body: `{}`, want: noRoute},
		{row: 52, name: "slash", method: "GET", path: "/assets/..%2f..%2fetc%2fpasswd", want: noRoute},
		{row: 52, name: "twice", method: "GET", path: "/assets/%252e%252e/etc/passwd", want: noRoute},
		{row: 52, name: "dots", method: "GET", path: "/assets/../../etc/passwd", want: noRoute},
		{row: 52, name: "backslash", method: "GET", path: `/assets/..%5c..%5cgo.mod`, want: noRoute},
		{row: 52, name: "in_an_id", method: "GET", path: "/v1/workflows/..%2fexecutions", want: json("id")},
		{row: 52, name: "double_slash", method: "GET", path: "//v1/workflows", want: noRoute},
	}
}

// request makes a request of the owner; what headers says wins.
func (s *system) request(t *testing.T, a httpAttempt) *http.Request {
	t.Helper()
	var body io.Reader
	if a.body != "" {
		body = strings.NewReader(a.body)
		if a.chunked {
			body = io.MultiReader(body) // of no known length
		}
	}
	r, err := http.NewRequestWithContext(t.Context(), a.method, s.RESTURL, body)
	if err != nil {
		t.Fatal(err)
	}
	path, query, _ := strings.Cut(a.path, "?")
	r.URL.Opaque, r.URL.RawQuery = "//"+r.URL.Host+path, query // as it is, without cleaning
	if a.body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	r.Header.Set("Authorization", "Bearer "+s.userToken(t, owner))
	for i := 0; i+1 < len(a.headers); i += 2 {
		r.Header.Set(a.headers[i], a.headers[i+1])
	}
	return r
}

func manyHeaders() []string {
	var all []string
	for i := range 400 {
		all = append(all, fmt.Sprintf("X-Header-%d", i), strings.Repeat("x", 60))
	}
	return all
}

func zipped(content string) string {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	_, _ = io.WriteString(z, content) // a buffer takes everything
	_ = z.Close()
	return b.String()
}

// megabyteHeader is answered before anything of ours runs, so the status is all there is.
func (s *system) megabyteHeader(t *testing.T) {
	var d net.Dialer
	c, err := d.DialContext(t.Context(), "tcp", strings.TrimPrefix(s.RESTURL, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(soon)); err != nil {
		t.Fatal(err)
	}
	// The server may answer and close before all of it is written.
	go func() {
		_, _ = fmt.Fprintf(c, "GET /v1/workflows HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\n\r\n", strings.Repeat("a", 1<<20))
	}()
	line := make([]byte, len("HTTP/1.1 431"))
	if _, err := io.ReadFull(c, line); err != nil || string(line) != "HTTP/1.1 431" {
		t.Errorf("got %q, %v", line, err)
	}
}

// headersThatPretend have no effect: the answer is that of the call without them, and they are counted.
func (s *system) headersThatPretend(t *testing.T) {
	f := s.fixtures(t)
	before := s.dropped(t)
	theirs := "Bearer " + s.userToken(t, foreign)
	pretending := []string{
		"Grpc-Metadata-Authorization", theirs, "Grpc-Metadata-Uc-Tenant", "globex", "Grpc-Metadata-X-Tenant-Id", "globex", "Uc-Tenant", "globex",
		"X-Tenant", "globex", "X-User", foreign, "Grpcgateway-Authorization", theirs, "X-Original-URL", "/v1/executions", "X-HTTP-Method-Override", "DELETE",
	}
	for path, status := range map[string]int{"/v1/access/me": 200, "/v1/workflows/" + f.workflow.GetId(): 200, "/v1/workflows/" + f.theirs.GetId(): 404} {
		plain := s.send(t, s.request(t, httpAttempt{method: "GET", path: path}))
		dressed := s.send(t, s.request(t, httpAttempt{method: "GET", path: path, headers: pretending}))
		if plain.status != status || dressed.status != status || plain.body != dressed.body {
			t.Errorf("%s: got %d %s with the headers and %d %s without", path, dressed.status, dressed.body, plain.status, plain.body)
		}
	}
	if got, want := s.dropped(t)-before, 3*len(pretending)/2; got != want {
		t.Errorf("%d headers were counted, want %d", got, want)
	}
}

var droppedPattern = regexp.MustCompile(`(?m)^http_server_request_headers_dropped_total\{[^}]*\} (\d+)`)

// dropped reads the gateway's count.
func (s *system) dropped(t *testing.T) int {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.Gateway.AdminURL()+"/metrics", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	total := 0
	for _, match := range droppedPattern.FindAllStringSubmatch(s.send(t, r).body, -1) {
		n, err := strconv.Atoi(match[1])
		if err != nil {
			t.Fatal(err)
		}
		total += n
	}
	return total
}

// noCORS holds that another site's page is told nothing that would let it read or send.
func (s *system) noCORS(t *testing.T) {
	for _, method := range []string{"OPTIONS", "GET"} {
		a := s.send(t, s.request(t, httpAttempt{method: method, path: "/v1/workflows", headers: []string{
			"Origin", "https://evil.test", "Access-Control-Request-Method", "POST", "Access-Control-Request-Headers", "authorization",
		}}))
		for name := range a.header {
			if strings.HasPrefix(name, "Access-Control-") {
				t.Errorf("%s is answered with %s: %s", method, name, a.header.Get(name))
			}
		}
	}
}

// cappedTimeout holds that a client that gives itself years is answered all the same.
func (s *system) cappedTimeout(t *testing.T) {
	r := s.request(t, httpAttempt{method: "GET", path: "/v1/workflows", headers: []string{"Grpc-Timeout", "999999H"}})
	if a := s.send(t, r); a.status != 200 {
		t.Error(a.unexpected())
	}
}

// headers holds that no answer of the gateway lacks the headers that protect browsers, and none says what runs here.
func (s *system) headers(t *testing.T) {
	for _, path := range []string{"/", "/v1/workflows", "/v1/nothing", "/livez", "/assets/app.js", "/v1/openapi.json"} {
		s.securityHeaders(t, path)
	}
}

func (s *system) securityHeaders(t *testing.T, path string) {
	t.Helper()
	a := s.send(t, s.request(t, httpAttempt{method: "GET", path: path}))
	for name, want := range map[string]string{
		"X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer", "X-Frame-Options": "DENY",
		"Cross-Origin-Resource-Policy": "same-origin", "Cross-Origin-Opener-Policy": "same-origin", "Server": "", "X-Powered-By": "",
	} {
		if got := a.header.Get(name); got != want {
			t.Errorf("%s: %s is %q, want %q", path, name, got, want)
		}
	}
	policy := a.header.Get("Content-Security-Policy")
	for _, part := range []string{"default-src 'none'", "base-uri 'none'", "form-action ", "frame-ancestors 'none'"} {
		if !strings.Contains(policy, part) {
			t.Errorf("%s: policy %q lacks %s", path, policy, part)
		}
	}
	if strings.Contains(policy, "unsafe") || strings.Contains(policy, "*") {
		t.Errorf("%s: policy %q allows what is inline or from anywhere", path, policy)
	}
}

// markup holds that what people write is stored as text and comes back as text, in JSON that no browser takes for a page.
func (s *system) markup(t *testing.T) {
	for _, title := range []string{`<script>alert(1)</script>`, `"><img src=x onerror=alert(1)>`, `=cmd|' /C calc'!A0`, `{{constructor.constructor('alert(1)')()}}`} {
		created := must[*workflowv1.CreateWorkflowResponse](t, s, owner, creation(manual(title))).GetWorkflow()
		if created.GetTitle() != title {
			t.Errorf("over gRPC: got %q, want %q", created.GetTitle(), title)
		}
		a := s.send(t, s.request(t, httpAttempt{method: "GET", path: "/v1/workflows/" + created.GetId()}))
		if a.status != 200 || a.header.Get("Content-Type") != "application/json" || a.header.Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("got %d %v", a.status, a.header)
		}
	}
	// The page puts nothing into markup.
	script := s.send(t, s.request(t, httpAttempt{method: "GET", path: "/assets/app.js"}))
	if sink := regexp.MustCompile(`innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(`).FindString(script.body); sink != "" || script.status != 200 {
		t.Errorf("the page's script uses %q (%d)", sink, script.status)
	}
}
