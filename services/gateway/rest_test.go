package gateway_test

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"

	"workflow.uniconnect/pkg/fault"

	workflowv1 "workflow.uniconnect/proto/gen/go/uniconnect/workflow/v1"
)

const (
	someID   = "019a0000-0000-7000-8000-000000000001"
	minimal  = `{"title":"On Call Ended","trigger":{"manual":{}}}`
	oneStep  = `{"title":"a","trigger":{"manual":{}},"steps":[{"id":"s1","action":{"type":"http.request","params":{}}}]}`
	workflow = "/v1/workflows/" + someID
)

func asMap(t *testing.T, body []byte) map[string]any {
	t.Helper()
	var m map[string]any
	if err := json.Unmarshal(body, &m); err != nil {
		t.Fatalf("no JSON object: %s", body)
	}
	return m
}

func TestGateway_answers_with_the_resource_itself(t *testing.T) {
	w := newWorld(t)
	w.fake.create = func(r *workflowv1.CreateWorkflowRequest) (*workflowv1.CreateWorkflowResponse, error) {
		saved := proto.CloneOf(r.GetWorkflow())
		saved.Id, saved.State, saved.Revision, saved.Etag = someID, workflowv1.Workflow_ACTIVE, 1, "e1"
		return &workflowv1.CreateWorkflowResponse{Workflow: saved}, nil
	}
	got := w.do(t, "POST", "/v1/workflows", oneStep)
	if got.code != 200 {
		t.Fatalf("got %d %s", got.code, got.body)
	}
	m := asMap(t, got.body)
	if m["id"] != someID || m["state"] != "ACTIVE" || m["revision"] != 1.0 {
		t.Errorf("got %s, want the workflow itself with its revision a number", got.body)
	}
	if strings.Contains(string(got.body), "null") {
		t.Errorf("got nulls: %s", got.body)
	}
	if etag := got.header.Get("ETag"); etag != `"e1"` {
		t.Errorf("ETag: got %s", etag)
	}
}

func TestGateway_lists_are_always_there(t *testing.T) {
	w := newWorld(t)
	for path, key := range map[string]string{"/v1/workflows": "workflows", "/v1/executions?pageSize=1": "executions", workflow + "/executions": "executions"} {
		got := w.do(t, "GET", path, "")
		want := map[string]any{key: []any{}, "nextPageToken": ""}
		if diff := cmp.Diff(want, asMap(t, got.body)); got.code != 200 || diff != "" {
			t.Errorf("%s: got %d (-want +got):\n%s", path, got.code, diff)
		}
	}
}

func TestGateway_passes_on_what_is_listed_and_nothing_else(t *testing.T) {
	w := newWorld(t)
	got := w.do(t, "POST", "/v1/workflows", minimal, func(r *http.Request) {
		r.Header.Set("Idempotency-Key", "key-1")
		r.Header.Set("X-Request-Id", "req-1")
		r.Header.Set("Cookie", "a=b")
		r.Header.Set("X-User", "root")
		r.Header.Set("X-Forwarded-For", "10.0.0.1")
		r.Header.Set("User-Agent", "tester/1 (\u00fc) "+strings.Repeat("x", 500))
		r.Header.Set("X-Forwarded-Host", "evil.test")
		for _, name := range []string{"X-Tenant-Id", "X-User", "Grpc-Timeout", "Authorization", "Trace-Bin", "Grpc-Status"} {
			r.Header.Set("Grpc-Metadata-"+name, "globex")
		}
	})
	if got.code != 200 {
		t.Fatalf("got %d %s", got.code, got.body)
	}
	_, md := w.fake.seen()
	for key := range md {
		switch key {
		case ":authority", "content-type", "user-agent", "grpc-accept-encoding", "traceparent":
		case "authorization", "idempotency-key", "x-request-id":
			if len(md[key]) != 1 || strings.Contains(md[key][0], "globex") {
				t.Errorf("%s: got %v", key, md[key])
			}
		case "x-forwarded-for": // what the gateway sees, for the audit
			if len(md[key]) != 1 || md[key][0] != "127.0.0.1" {
				t.Errorf("%s: got %v", key, md[key])
			}
		case "grpcgateway-user-agent":
			if len(md[key]) != 1 || !strings.HasPrefix(md[key][0], "tester/1 (?") || len(md[key][0]) != 256 {
				t.Errorf("%s: got %v", key, md[key])
			}
		default:
			t.Errorf("passed on %s: %v", key, md[key])
		}
	}
	if id := got.header.Get("X-Request-Id"); id != "req-1" {
		t.Errorf("request id: got %q", id)
	}
	for name := range got.header {
		if strings.HasPrefix(name, "Grpc-") {
			t.Errorf("answer has the header %s", name)
		}
	}
	if id := w.do(t, "GET", "/v1/workflows", "", header("X-Request-Id", "a b<script>")).header.Get("X-Request-Id"); id == "" || strings.Contains(id, "script") {
		t.Errorf("an odd request id: got %q, want a new one", id)
	}
}

func TestGateway_idempotency_key_is_the_request_id(t *testing.T) {
	w := newWorld(t)
	var got string
	w.fake.run = func(r *workflowv1.RunWorkflowRequest) (*workflowv1.RunWorkflowResponse, error) {
		got = r.GetRequestId()
		if got == "used" {
			return nil, fault.FailedPrecondition("REQUEST_ID_REUSED", "the request id was used for another request")
		}
		return &workflowv1.RunWorkflowResponse{Execution: &workflowv1.Execution{Id: someID}}, nil
	}
	if a := w.do(t, "POST", workflow+":run", `{"input":{}}`, header("Idempotency-Key", "k1")); a.code != 200 || got != "k1" {
		t.Errorf("got %d %s, request id %q", a.code, a.body, got)
	}
	if a := w.do(t, "POST", workflow+":run", "", header("Idempotency-Key", "k2")); a.code != 200 || got != "k2" {
		t.Errorf("without a body: got %d %s, request id %q", a.code, a.body, got)
	}
	a := w.do(t, "POST", workflow+":run", `{}`, header("Idempotency-Key", "used"))
	if p := a.problem(t); a.code != 409 || p.reason() != "REQUEST_ID_REUSED" {
		t.Errorf("used for another request: got %d %s", a.code, a.body)
	}
	for name, value := range map[string]string{"too_long": strings.Repeat("k", 129), "not_ascii": "ключ"} {
		a := w.do(t, "POST", workflow+":run", `{}`, header("Idempotency-Key", value))
		if diff := cmp.Diff([]string{"Idempotency-Key"}, a.problem(t).fields()); a.code != 400 || diff != "" {
			t.Errorf("%s: got %d %s", name, a.code, a.body)
		}
	}
	a = w.do(t, "POST", workflow+":run", `{"requestId":"other"}`, header("Idempotency-Key", "k3"))
	if a.code != 400 {
		t.Errorf("two ids: got %d, want 400", a.code)
	}
}

func TestGateway_etag(t *testing.T) {
	w := newWorld(t)
	stale := func(etag string) error {
		if etag != "" && etag != "now" {
			return fault.Aborted("ETAG_MISMATCH", "the workflow changed since it was read").With("revision", "7")
		}
		return nil
	}
	w.fake.update = func(r *workflowv1.UpdateWorkflowRequest) (*workflowv1.UpdateWorkflowResponse, error) {
		return &workflowv1.UpdateWorkflowResponse{Workflow: r.GetWorkflow()}, stale(r.GetWorkflow().GetEtag())
	}
	w.fake.delete = func(r *workflowv1.DeleteWorkflowRequest) (*workflowv1.DeleteWorkflowResponse, error) {
		return &workflowv1.DeleteWorkflowResponse{Workflow: &workflowv1.Workflow{Id: r.GetId()}}, stale(r.GetEtag())
	}
	tests := map[string]struct {
		method, path, body, ifMatch string
		want                        int
	}{
		"patch_body_stale":       {"PATCH", workflow, `{"title":"b","etag":"old"}`, "", 409},
		"patch_header_stale":     {"PATCH", workflow, `{"title":"b"}`, `"old"`, 412},
		"patch_header_fresh":     {"PATCH", workflow, `{"title":"b"}`, `"now"`, 200},
		"patch_header_unquoted":  {"PATCH", workflow, `{"title":"b"}`, `old`, 412},
		"patch_header_any":       {"PATCH", workflow, `{"title":"b"}`, `*`, 200},
		"patch_header_and_body":  {"PATCH", workflow, `{"title":"b","etag":"now"}`, `"old"`, 400},
		"patch_header_weak":      {"PATCH", workflow, `{"title":"b"}`, `W/"now"`, 400},
		"patch_header_list":      {"PATCH", workflow, `{"title":"b"}`, `"now", "old"`, 400},
		"delete_query_stale":     {"DELETE", workflow + "?etag=old", "", "", 409},
		"delete_header_stale":    {"DELETE", workflow, "", `"old"`, 412},
		"delete_header_fresh":    {"DELETE", workflow, "", `"now"`, 200},
		"activate_cannot_match":  {"POST", workflow + ":activate", "", `"now"`, 400},
		"get_takes_no_condition": {"GET", "/v1/workflows", "", `"old"`, 200},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got := w.do(t, tt.method, tt.path, tt.body, func(r *http.Request) {
				if tt.ifMatch != "" {
					r.Header.Set("If-Match", tt.ifMatch)
				}
			})
			if got.code != tt.want {
				t.Fatalf("got %d %s, want %d", got.code, got.body, tt.want)
			}
			if tt.want == 409 || tt.want == 412 {
				p := got.problem(t)
				if p.Status != "ABORTED" || p.reason() != "ETAG_MISMATCH" || p.Details[0].Metadata["revision"] != "7" {
					t.Errorf("got %s, want ABORTED ETAG_MISMATCH with the revision", got.body)
				}
			}
		})
	}
}

func TestGateway_patch_names_the_fields_given(t *testing.T) {
	w := newWorld(t)
	var got *workflowv1.UpdateWorkflowRequest
	w.fake.update = func(r *workflowv1.UpdateWorkflowRequest) (*workflowv1.UpdateWorkflowResponse, error) {
		got = r
		return &workflowv1.UpdateWorkflowResponse{Workflow: r.GetWorkflow()}, nil
	}
	tests := map[string]struct {
		query, body string
		want        []string
	}{
		"top_of_the_body": {"", `{"title":"b","dateRange":{"startTime":"2026-01-01T00:00:00Z"},"trigger":{"schedule":{"cron":"0 0 * * *"}},"etag":"e"}`, []string{"date_range", "title", "trigger"}},
		"mask_given":      {"?updateMask=title,dateRange", `{"title":"b"}`, []string{"title", "dateRange"}},
		"snake_mask":      {"?update_mask=date_range", `{}`, []string{"date_range"}},
		"nothing":         {"", `{}`, nil},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			a := w.do(t, "PATCH", workflow+tt.query, tt.body)
			if a.code != 200 {
				t.Fatalf("got %d %s", a.code, a.body)
			}
			if diff := cmp.Diff(tt.want, got.GetUpdateMask().GetPaths()); diff != "" {
				t.Errorf("mask (-want +got):\n%s", diff)
			}
			if got.GetWorkflow().GetId() != someID {
				t.Errorf("id: got %q, want the path's", got.GetWorkflow().GetId())
			}
		})
	}
}

func TestGateway_errors_of_services(t *testing.T) {
	w := newWorld(t)
	tests := map[string]struct {
		err          error
		code         int
		status, text string
		retryAfter   string
	}{
		"not_found":     {fault.NotFound("WORKFLOW_NOT_FOUND", "the workflow does not exist"), 404, "NOT_FOUND", "does not exist", ""},
		"exists":        {fault.AlreadyExists("DUPLICATE_ID", "exists"), 409, "ALREADY_EXISTS", "exists", ""},
		"precondition":  {fault.FailedPrecondition("CONFIRM_MISMATCH", "does not match"), 400, "FAILED_PRECONDITION", "match", ""},
		"state":         {fault.FailedPrecondition("WORKFLOW_STATE", "is being deleted"), 409, "FAILED_PRECONDITION", "deleted", ""},
		"limit":         {fault.ResourceExhausted("LIMIT_REACHED", "too many").WithRetryAfter(1500e6), 429, "RESOURCE_EXHAUSTED", "too many", "2"},
		"too_large":     {fault.ResourceExhausted("TOO_LARGE", "too large"), 413, "RESOURCE_EXHAUSTED", "too large", ""},
		"database_away": {fault.Unavailable("DATABASE_UNAVAILABLE", "the database is away"), 503, "UNAVAILABLE", "database", "1"},
		"bus_away":      {fault.Unavailable("BUS_UNAVAILABLE", "the bus is away").WithRetryAfter(3e9), 503, "UNAVAILABLE", "bus", "3"},
		"not_available": {fault.Unimplemented("NOT_AVAILABLE", "not in this release"), 501, "UNIMPLEMENTED", "release", ""},
		"deadline":      {context.DeadlineExceeded, 504, "DEADLINE_EXCEEDED", "deadline", ""},
		"a_secret":      {errorText(`pq: syntax error in "SELECT secret" at 10.1.2.3:5432`), 500, "INTERNAL", "internal error", ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			w.fake.get = func(context.Context, *workflowv1.GetWorkflowRequest) (*workflowv1.GetWorkflowResponse, error) {
				return nil, tt.err
			}
			got := w.do(t, "GET", workflow, "")
			p := got.problem(t)
			if got.code != tt.code || p.Status != tt.status || !strings.Contains(p.Message, tt.text) {
				t.Errorf("got %d %s, want %d %s", got.code, got.body, tt.code, tt.status)
			}
			if got.header.Get("Retry-After") != tt.retryAfter {
				t.Errorf("Retry-After: got %q, want %q", got.header.Get("Retry-After"), tt.retryAfter)
			}
			if f, ok := fault.As(tt.err); ok && p.reason() != string(f.Reason) {
				t.Errorf("reason: got %q, want %q", p.reason(), f.Reason)
			}
			if len(p.Details) == 0 || p.Details[0].Type != "type.googleapis.com/google.rpc.ErrorInfo" || p.Details[0].Domain != "workflow.uniconnect" {
				t.Errorf("details: got %s, want ErrorInfo of our domain first", got.body)
			}
			for _, secret := range []string{"SELECT", "10.1.2.3", "goroutine"} {
				if strings.Contains(string(got.body), secret) {
					t.Errorf("the answer shows %q: %s", secret, got.body)
				}
			}
		})
	}
}

type errorText string

func (e errorText) Error() string { return string(e) }

func TestGateway_violations_have_the_path_of_the_body(t *testing.T) {
	w := newWorld(t)
	got := w.do(t, "POST", "/v1/workflows", `{"title":"","trigger":{"manual":{}},"steps":[{"id":"Bad Id"}]}`)
	fields := strings.Join(got.problem(t).fields(), " ")
	if got.code != 400 || !strings.Contains(fields, "title") || !strings.Contains(fields, "steps[0].id") || strings.Contains(fields, "workflow.") {
		t.Errorf("got %d with fields %q, want title and steps[0].id", got.code, fields)
	}
	got = w.do(t, "POST", workflow+":run", `{"input":7}`)
	if diff := cmp.Diff([]string{"input"}, got.problem(t).fields()); got.code != 400 || diff != "" {
		t.Errorf("got %d %s", got.code, got.body)
	}
	got = w.do(t, "POST", "/v1/workflows", `{"title":"a","trigger":{"manual":{}},
		"steps":[{"id":"a","delay":{"duration":"soon"}}]}`)
	if diff := cmp.Diff([]string{"steps[0].delay.duration"}, got.problem(t).fields()); got.code != 400 || diff != "" {
		t.Errorf("a value that does not fit: got %d %s", got.code, got.body)
	}
}

func TestGateway_takes_cloudevents(t *testing.T) {
	w := newWorld(t)
	const event = `{"specversion":"1.0","id":"e1","source":"test","type":"call.ended","data":{"talk_ms":1200}}`
	for _, contentType := range []string{"application/json; charset=UTF-8", "application/cloudevents+json"} {
		got := w.do(t, "POST", "/v1/events", event, header("Content-Type", contentType))
		want := map[string]any{"id": "7", "eventId": "e1", "duplicate": false}
		if diff := cmp.Diff(want, asMap(t, got.body)); got.code != 200 || diff != "" {
			t.Errorf("%s: got %d (-want +got):\n%s", contentType, got.code, diff)
		}
		if w.fake.event.GetData().GetStructValue().GetFields()["talk_ms"].GetNumberValue() != 1200 {
			t.Errorf("data: got %v", w.fake.event.GetData())
		}
	}
	if got := w.do(t, "POST", "/v1/workflows", minimal, header("Content-Type", "application/cloudevents+json")); got.code != 415 {
		t.Errorf("a workflow as CloudEvent: got %d, want 415", got.code)
	}
}
