package gateway_test

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/genproto/googleapis/api/httpbody"

	"workflow.uniconnect/pkg/devusers"
	"workflow.uniconnect/pkg/fault"

	workflowv1 "workflow.uniconnect/proto/gen/go/uniconnect/workflow/v1"
)

type watchStream = workflowv1.WorkflowCatalogService_WatchWorkflowsServer

// patience is how long anything may take on a busy machine.
const patience = 20 * time.Second

// line is one line of a stream.
type line struct {
	Result struct {
		ResumeToken string
		DeletedID   string
		Workflow    *struct{ ID, Title string }
	}
	Error *problem
}

// reading is a stream that a client reads.
type reading struct {
	*http.Response
	lines *bufio.Scanner
	stop  context.CancelFunc
}

func (w *world) open(t *testing.T, path string, edit ...func(*http.Request)) *reading {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, w.url+path, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+w.token(t, "owner@acme.test"))
	for _, e := range edit {
		e(r)
	}
	resp, err := w.client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = resp.Body.Close() })
	return &reading{resp, bufio.NewScanner(resp.Body), cancel}
}

// next returns the next line, or false at the end of the stream.
func (r *reading) next(t *testing.T) (line, bool) {
	t.Helper()
	if !r.lines.Scan() {
		if err := r.lines.Err(); err != nil {
			t.Fatalf("the stream does not end cleanly: %v", err)
		}
		return line{}, false
	}
	var l line
	if err := json.Unmarshal(r.lines.Bytes(), &l); err != nil {
		t.Fatalf("%v: %s", err, r.lines.Text())
	}
	return l, true
}

func send(t *testing.T, stream watchStream, token string) {
	t.Helper()
	if err := stream.Send(&workflowv1.WatchWorkflowsResponse{ResumeToken: token}); err != nil {
		t.Errorf("send %s: %v", token, err)
	}
}

func TestStream_is_flushed_line_by_line(t *testing.T) {
	w := newWorld(t)
	more := make(chan struct{})
	w.fake.watch = func(r *workflowv1.WatchWorkflowsRequest, stream watchStream) error {
		send(t, stream, r.GetResumeToken()+"1")
		<-more // the client has the first line before there is a second
		return stream.Send(&workflowv1.WatchWorkflowsResponse{
			Change: &workflowv1.WatchWorkflowsResponse_Workflow{Workflow: &workflowv1.Workflow{Id: "7", Title: "T"}}, ResumeToken: "2",
		})
	}
	r := w.open(t, "/v1/workflows:watch?resumeToken=from")
	if got := r.Header.Get("Content-Type"); r.StatusCode != http.StatusOK || got != "application/x-ndjson" {
		t.Errorf("got %d %s", r.StatusCode, got)
	}
	if l, ok := r.next(t); !ok || l.Result.ResumeToken != "from1" {
		t.Errorf("first line: %+v", l)
	}
	close(more)
	if l, ok := r.next(t); !ok || l.Result.Workflow == nil || l.Result.Workflow.Title != "T" {
		t.Errorf("second line: %+v", l)
	}
	if l, ok := r.next(t); ok {
		t.Errorf("a line too many: %+v", l)
	}
}

func TestStream_fails_under_way(t *testing.T) {
	w := newWorld(t)
	w.fake.watch = func(_ *workflowv1.WatchWorkflowsRequest, stream watchStream) error {
		send(t, stream, "1")
		return fault.Aborted("RESUME_TOKEN", "too slow").With("x", "y")
	}
	r := w.open(t, "/v1/workflows:watch")
	r.next(t)
	l, _ := r.next(t)
	if e := l.Error; e == nil || e.Code != http.StatusConflict || e.Status != "ABORTED" || e.reason() != "RESUME_TOKEN" || e.Details[0].Metadata["x"] != "y" {
		t.Errorf("got %s", r.lines.Text())
	}
	if _, ok := r.next(t); ok {
		t.Error("the stream goes on after an error")
	}
}

// What is refused before the first line is answered as any call is.
func TestStream_refused(t *testing.T) {
	w := newWorld(t)
	cases := map[string]struct {
		watch  func(*workflowv1.WatchWorkflowsRequest, watchStream) error
		edit   func(*http.Request)
		path   string
		code   int
		reason string
	}{
		"argument":    {watch: refuseWatch(fault.InvalidArgument("RESUME_TOKEN", "too old")), code: http.StatusBadRequest, reason: "RESUME_TOKEN"},
		"state":       {watch: refuseWatch(fault.FailedPrecondition("WORKFLOW_STATE", "no")), code: http.StatusConflict, reason: "WORKFLOW_STATE"},
		"unavailable": {watch: refuseWatch(fault.Unavailable("DATABASE_UNAVAILABLE", "no")), code: http.StatusServiceUnavailable, reason: "DATABASE_UNAVAILABLE"},
		"parameter":   {path: "?resume=1", code: http.StatusBadRequest, reason: "INVALID_FIELDS"},
		"too_long":    {path: "?resumeToken=" + strings.Repeat("a", 129), code: http.StatusBadRequest, reason: "INVALID_FIELDS"},
		"no_token":    {edit: func(r *http.Request) { r.Header.Del("Authorization") }, code: http.StatusUnauthorized, reason: "TOKEN_MISSING"},
		"no_grant": {
			edit: func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+w.token(t, "agent@acme.test")) },
			code: http.StatusForbidden, reason: "PERMISSION_MISSING",
		},
		"head": {edit: func(r *http.Request) { r.Method = http.MethodPost }, code: http.StatusMethodNotAllowed, reason: "UNKNOWN_METHOD"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			w.fake.watch = c.watch
			var edits []func(*http.Request)
			if c.edit != nil {
				edits = append(edits, c.edit)
			}
			r := w.open(t, "/v1/workflows:watch"+c.path, edits...)
			body, err := io.ReadAll(r.Body)
			if err != nil {
				t.Fatal(err)
			}
			a := answer{r.StatusCode, r.Header, body}
			if p := a.problem(t); a.code != c.code || p.reason() != c.reason {
				t.Errorf("got %d %s, want %d %s", a.code, p.reason(), c.code, c.reason)
			}
			if c.code == http.StatusServiceUnavailable && a.header.Get("Retry-After") == "" {
				t.Error("503 without Retry-After")
			}
		})
	}
}

func refuseWatch(err error) func(*workflowv1.WatchWorkflowsRequest, watchStream) error {
	return func(*workflowv1.WatchWorkflowsRequest, watchStream) error { return err }
}

func TestStream_without_lines(t *testing.T) {
	w := newWorld(t)
	w.fake.watch = refuseWatch(nil)
	r := w.open(t, "/v1/workflows:watch")
	if _, ok := r.next(t); ok || r.StatusCode != http.StatusOK {
		t.Errorf("got %d and a line", r.StatusCode)
	}
}

func TestStream_ends_when_the_client_goes_away(t *testing.T) {
	w := newWorld(t)
	ended := make(chan struct{})
	w.fake.watch = func(_ *workflowv1.WatchWorkflowsRequest, stream watchStream) error {
		send(t, stream, "1")
		<-stream.Context().Done()
		close(ended)
		return stream.Context().Err()
	}
	r := w.open(t, "/v1/workflows:watch")
	r.next(t)
	r.stop()
	select {
	case <-ended:
	case <-time.After(patience):
		t.Error("the service still sends to a client that went away")
	}
}

func TestStream_ends_with_the_gateway(t *testing.T) {
	w := newWorld(t)
	w.fake.watch = func(_ *workflowv1.WatchWorkflowsRequest, stream watchStream) error {
		send(t, stream, "1")
		<-stream.Context().Done()
		return stream.Context().Err()
	}
	r := w.open(t, "/v1/workflows:watch")
	r.next(t)
	begin := time.Now()
	stopped := make(chan struct{})
	go func() { w.stop(); close(stopped) }()
	l, _ := r.next(t)
	if l.Error == nil || l.Error.Code != http.StatusServiceUnavailable || l.Error.reason() != "SHUTTING_DOWN" {
		t.Errorf("last line: %s", r.lines.Text())
	}
	if _, ok := r.next(t); ok {
		t.Error("a line after the last")
	}
	<-stopped
	if took := time.Since(begin); took > 8*time.Second {
		t.Errorf("the gateway waited %v for a stream", took)
	}
}

func TestStream_ends_with_its_token(t *testing.T) {
	w := newWorld(t)
	w.fake.watch = func(_ *workflowv1.WatchWorkflowsRequest, stream watchStream) error {
		ticker := time.NewTicker(100 * time.Millisecond)
		defer ticker.Stop()
		for range ticker.C {
			if err := stream.Send(&workflowv1.WatchWorkflowsResponse{ResumeToken: "1"}); err != nil {
				return err
			}
		}
		return nil
	}
	user, _ := devusers.Find("owner@acme.test")
	const leeway = 30 * time.Second
	token, err := w.issuer.Issue(user.Principal(), 2*time.Second-leeway)
	if err != nil {
		t.Fatal(err)
	}
	r := w.open(t, "/v1/workflows:watch", header("Authorization", "Bearer "+token))
	for {
		l, ok := r.next(t)
		if !ok {
			t.Fatal("the stream ended without a word")
		}
		if l.Error != nil {
			if l.Error.Code != http.StatusUnauthorized || l.Error.reason() != "TOKEN_INVALID" {
				t.Errorf("got %+v", l.Error)
			}
			return
		}
	}
}

// A connection that has carried a stream carries other calls after it.
func TestStream_leaves_the_connection_as_it_was(t *testing.T) {
	w := newWorld(t)
	w.fake.watch = func(_ *workflowv1.WatchWorkflowsRequest, stream watchStream) error {
		send(t, stream, "1")
		return nil
	}
	for range 3 {
		r := w.open(t, "/v1/workflows:watch")
		for ok := true; ok; {
			_, ok = r.next(t)
		}
		if a := w.do(t, http.MethodGet, "/v1/workflows", ""); a.code != http.StatusOK {
			t.Fatalf("got %d", a.code)
		}
	}
}

func TestExport_is_the_document_itself(t *testing.T) {
	w := newWorld(t)
	const id = "019ac0de-0000-7000-8000-000000000001"
	var asked *workflowv1.ExportWorkflowRequest
	w.fake.export = func(r *workflowv1.ExportWorkflowRequest) (*workflowv1.ExportWorkflowResponse, error) {
		asked = r
		if r.GetRevision() == 9 {
			return nil, fault.NotFound("REVISION_NOT_FOUND", "no")
		}
		return &workflowv1.ExportWorkflowResponse{Document: &httpbody.HttpBody{ContentType: "application/yaml", Data: []byte("title: ü\n")}}, nil
	}
	a := w.do(t, http.MethodGet, "/v1/workflows/"+id+":export?format=YAML&revision=3", "")
	if a.code != http.StatusOK || a.header.Get("Content-Type") != "application/yaml" || string(a.body) != "title: ü\n" {
		t.Errorf("got %d %s %q", a.code, a.header.Get("Content-Type"), a.body)
	}
	if asked.GetId() != id || asked.GetFormat() != workflowv1.ExportFormat_YAML || asked.GetRevision() != 3 {
		t.Errorf("asked for %v", asked)
	}
	if got := w.do(t, http.MethodGet, "/v1/workflows/"+id+":export?revision=9", "").problem(t); got.reason() != "REVISION_NOT_FOUND" {
		t.Errorf("got %+v", got)
	}
}

func TestDraft_takes_the_workflow_as_body(t *testing.T) {
	w := newWorld(t)
	const id = "019ac0de-0000-7000-8000-000000000001"
	var got *workflowv1.UpdateDraftRequest
	w.fake.draft = func(r *workflowv1.UpdateDraftRequest) (*workflowv1.UpdateDraftResponse, error) {
		got = r
		return &workflowv1.UpdateDraftResponse{Workflow: &workflowv1.Workflow{Title: r.GetWorkflow().GetTitle(), Etag: "d7"}}, nil
	}
	a := w.do(t, http.MethodPut, "/v1/workflows/"+id+"/draft?rebase=true", `{"title":"x","steps":[{"id":""}]}`,
		header("Idempotency-Key", "k1"), header("If-Match", `"d6"`))
	if a.code != http.StatusOK || a.header.Get("ETag") != `"d7"` {
		t.Fatalf("got %d %s", a.code, a.body)
	}
	type view struct {
		ID, Title, Etag, RequestID string
		Rebase                     bool
		Steps                      int
	}
	want := view{id, "x", "d6", "k1", true, 1}
	if diff := cmp.Diff(want, view{
		got.GetId(), got.GetWorkflow().GetTitle(), got.GetWorkflow().GetEtag(), got.GetRequestId(), got.GetRebase(), len(got.GetWorkflow().GetSteps()),
	}); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
