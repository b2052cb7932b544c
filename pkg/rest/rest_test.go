package rest_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/fieldmaskpb"

	"workflow.uniconnect/pkg/fault"
	"workflow.uniconnect/pkg/rest"
	accessv1 "workflow.uniconnect/proto/gen/go/uniconnect/access/v1"
	peerv1 "workflow.uniconnect/proto/gen/go/uniconnect/workflow/peer/v1"
	workflowv1 "workflow.uniconnect/proto/gen/go/uniconnect/workflow/v1"
)

const id = "019ac0de-0000-7000-8000-000000000001"

// seen is a request as a server sees it.
type seen struct {
	Line, Body, Token, Agent, Key, Accept, Type string
}

func dial(t *testing.T, opts rest.Options, serve http.HandlerFunc) *rest.Conn {
	t.Helper()
	server := httptest.NewServer(serve)
	t.Cleanup(server.Close)
	conn, err := rest.Dial(server.URL, opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conn.Close)
	return conn
}

func answer(w http.ResponseWriter, code int, contentType, body string) {
	w.Header().Set("Content-Type", contentType)
	w.WriteHeader(code)
	_, _ = io.WriteString(w, body)
}

func TestConn_Invoke_says_what_REST_says(t *testing.T) {
	var got seen
	reply := `{}`
	conn := dial(t, rest.Options{
		Token:     func(context.Context) (string, error) { return "secret", nil },
		UserAgent: "test/1", Headers: map[protoreflect.Name]string{"request_id": "Idempotency-Key"},
	}, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		got = seen{
			r.Method + " " + r.RequestURI, string(body), r.Header.Get("Authorization"), r.UserAgent(), r.Header.Get("Idempotency-Key"),
			r.Header.Get("Accept"), r.Header.Get("Content-Type"),
		}
		answer(w, http.StatusOK, "application/json", reply)
	})
	client := workflowv1.NewWorkflowCatalogServiceClient(conn)
	cases := map[string]struct {
		call func(ctx context.Context) error
		want seen
	}{
		"path_and_query": {
			func(ctx context.Context) error {
				_, err := client.ListRevisions(ctx, &workflowv1.ListRevisionsRequest{WorkflowId: id, PageSize: 3, PageToken: "a b&c"})
				return err
			},
			seen{Line: "GET /v1/workflows/" + id + "/revisions?pageSize=3&pageToken=a+b%26c"},
		},
		"enum": {
			func(ctx context.Context) error {
				_, err := client.ListWorkflows(ctx, &workflowv1.ListWorkflowsRequest{View: workflowv1.WorkflowView_BASIC})
				return err
			},
			seen{Line: "GET /v1/workflows?view=BASIC"},
		},
		"body_is_a_field": {
			func(ctx context.Context) error {
				_, err := client.UpdateWorkflow(ctx, &workflowv1.UpdateWorkflowRequest{
					Workflow: &workflowv1.Workflow{Id: id, Title: "x"}, UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{"title", "date_range"}}, RequestId: "k",
				})
				return err
			},
			seen{Line: "PATCH /v1/workflows/" + id + "?updateMask=title%2Cdate_range", Body: `{"title":"x"}`, Key: "k"},
		},
		"body_is_the_rest": {
			func(ctx context.Context) error {
				_, err := client.RestoreBackup(ctx, &workflowv1.RestoreBackupRequest{WorkflowId: id, Id: id, Etag: "7", RequestId: "k"})
				return err
			},
			seen{Line: "POST /v1/workflows/" + id + "/backups/" + id + ":restore", Body: `{"etag":"7"}`, Key: "k"},
		},
		"empty_body": {
			func(ctx context.Context) error {
				_, err := client.ActivateWorkflow(ctx, &workflowv1.ActivateWorkflowRequest{Id: id})
				return err
			},
			seen{Line: "POST /v1/workflows/" + id + ":activate", Body: `{}`},
		},
		"path_is_escaped": {
			func(ctx context.Context) error {
				_, err := client.GetTemplate(ctx, &workflowv1.GetTemplateRequest{Id: "a/b?c"})
				return err
			},
			seen{Line: "GET /v1/templates/a%2Fb%3Fc"},
		},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			if err := c.call(t.Context()); err != nil {
				t.Fatal(err)
			}
			c.want.Token, c.want.Agent, c.want.Accept = "Bearer secret", "test/1", "application/json"
			if c.want.Body != "" {
				c.want.Type = "application/json"
			}
			got.Body = strings.ReplaceAll(got.Body, " ", "")
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
	got = seen{}
	_, err := client.GetWorkflow(t.Context(), &workflowv1.GetWorkflowRequest{})
	if fault.KindOf(err) != fault.KindInvalidArgument || got.Line != "" {
		t.Errorf("a path without its id: got %v, %v", err, got)
	}
	reply = `{"title":"T","newerField":1,"steps":[]}`
	w, err := client.GetWorkflow(t.Context(), &workflowv1.GetWorkflowRequest{Id: id})
	if err != nil || w.GetWorkflow().GetTitle() != "T" {
		t.Errorf("got %v, %v", w, err)
	}
}

func TestConn_Invoke_documents(t *testing.T) {
	conn := dial(t, rest.Options{}, func(w http.ResponseWriter, _ *http.Request) { answer(w, 200, "application/yaml", "title: x\n") })
	got, err := workflowv1.NewWorkflowCatalogServiceClient(conn).ExportWorkflow(t.Context(), &workflowv1.ExportWorkflowRequest{Id: id})
	if err != nil || got.GetDocument().GetContentType() != "application/yaml" || string(got.GetDocument().GetData()) != "title: x\n" {
		t.Errorf("got %v, %v", got, err)
	}
}

func TestConn_Invoke_refusals(t *testing.T) {
	const ours = `{"error":{"code":412,"status":"ABORTED","message":"it changed","details":[
		{"@type":"type.googleapis.com/google.rpc.ErrorInfo","reason":"ETAG_MISMATCH","domain":"workflow.uniconnect","metadata":{"etag":"7"}},
		{"@type":"type.googleapis.com/google.rpc.BadRequest","fieldViolations":[{"field":"title","description":"no","reason":"FIELD_RULE"}]},
		{"@type":"type.googleapis.com/google.rpc.RetryInfo","retryDelay":"2s"},
		{"@type":"type.googleapis.com/some.newer.Detail","x":1}]}}`
	cases := map[string]struct {
		code       int
		body, kind string
		want       fault.Error
	}{
		"ours": {412, ours, "application/json", fault.Error{
			Kind: fault.KindAborted, Reason: "ETAG_MISMATCH", Message: "it changed", Metadata: map[string]string{"etag": "7"},
			Violations: []fault.Violation{{Field: "title", Description: "no", Reason: "FIELD_RULE"}}, RetryAfter: 2 * time.Second,
		}},
		"cancelled":   {499, `{"error":{"status":"CANCELLED","message":"x"}}`, "application/json", fault.Error{Kind: fault.KindCanceled, Reason: "CANCELLED", Message: "the call was cancelled"}},
		"proxy":       {502, "<html>", "text/html", fault.Error{Kind: fault.KindUnavailable, Reason: "SERVICE_UNAVAILABLE", Message: "the server answered 502 Bad Gateway"}},
		"other":       {404, "not found", "text/plain", fault.Error{Kind: fault.KindUnimplemented, Reason: "UNKNOWN_METHOD", Message: "the server answered 404 Not Found; is this the address of the gateway?"}},
		"redirect":    {302, "", "text/html", fault.Error{Kind: fault.KindInternal, Reason: "INTERNAL", Message: "the server answered 302 Found"}},
		"no_json":     {200, "<html>", "text/html", fault.Error{Kind: fault.KindInternal, Reason: "INTERNAL", Message: "the answer cannot be read; is this the address of the gateway?"}},
		"broken_json": {200, "{", "application/json", fault.Error{Kind: fault.KindInternal, Reason: "INTERNAL", Message: "the answer cannot be read; is this the address of the gateway?"}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			calls := 0
			conn := dial(t, rest.Options{}, func(w http.ResponseWriter, r *http.Request) {
				calls++
				w.Header().Set("Location", "http://"+r.Host+"/elsewhere")
				answer(w, c.code, c.kind, c.body)
			})
			_, err := accessv1.NewAccessServiceClient(conn).GetMe(t.Context(), &accessv1.GetMeRequest{})
			f, ok := fault.As(err)
			if !ok || calls != 1 {
				t.Fatalf("got %v after %d calls", err, calls)
			}
			got := fault.Error{Kind: f.Kind, Reason: f.Reason, Message: f.Message, Metadata: f.Metadata, Violations: f.Violations, RetryAfter: f.RetryAfter}
			if diff := cmp.Diff(c.want, got, cmpopts.IgnoreUnexported(fault.Error{}), cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestConn_Invoke_without_an_answer(t *testing.T) {
	hang := make(chan struct{})
	conn := dial(t, rest.Options{Timeout: 50 * time.Millisecond}, func(http.ResponseWriter, *http.Request) { <-hang })
	defer close(hang)
	client := accessv1.NewAccessServiceClient(conn)
	if _, err := client.GetMe(t.Context(), &accessv1.GetMeRequest{}); fault.KindOf(err) != fault.KindDeadlineExceeded {
		t.Errorf("got %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := client.GetMe(ctx, &accessv1.GetMeRequest{}); fault.KindOf(err) != fault.KindCanceled {
		t.Errorf("got %v", err)
	}
	nowhere, err := rest.Dial("http://127.0.0.1:1", rest.Options{})
	if err != nil {
		t.Fatal(err)
	}
	_, err = accessv1.NewAccessServiceClient(nowhere).GetMe(t.Context(), &accessv1.GetMeRequest{})
	if fault.KindOf(err) != fault.KindUnavailable || !strings.Contains(err.Error(), "no answer from http://127.0.0.1:1") {
		t.Errorf("got %v", err)
	}
	wrong := errors.New("no token")
	noToken := dial(t, rest.Options{Token: func(context.Context) (string, error) { return "", wrong }}, func(http.ResponseWriter, *http.Request) { t.Error("called") })
	if _, err := accessv1.NewAccessServiceClient(noToken).GetMe(t.Context(), &accessv1.GetMeRequest{}); !errors.Is(err, wrong) {
		t.Errorf("got %v", err)
	}
}

func TestConn_has_no_internal_methods(t *testing.T) {
	conn := dial(t, rest.Options{}, func(http.ResponseWriter, *http.Request) { t.Error("called") })
	_, err := peerv1.NewGrantsServiceClient(conn).GetGrants(t.Context(), &peerv1.GetGrantsRequest{})
	if fault.KindOf(err) != fault.KindUnimplemented {
		t.Errorf("got %v", err)
	}
}

func TestDial_refuses(t *testing.T) {
	for _, base := range []string{"", "127.0.0.1:8080", "ftp://x", "http://", "http://u:p@x", "http://x?y", "http://x#y", ":"} {
		if _, err := rest.Dial(base, rest.Options{}); err == nil {
			t.Errorf("%q is accepted", base)
		}
	}
}

func TestConn_NewStream(t *testing.T) {
	cases := map[string]struct {
		code       int
		body, kind string
		tokens     string
		want       fault.Kind
		reason     fault.Reason
	}{
		"lines":   {200, `{"result":{"resumeToken":"1"}}` + "\n" + `{"result":{"resumeToken":"2"}}` + "\n", "application/x-ndjson", "12", fault.KindNone, ""},
		"empty":   {200, "", "application/x-ndjson", "", fault.KindNone, ""},
		"failure": {200, `{"result":{"resumeToken":"1"}}` + "\n" + `{"error":{"code":401,"status":"UNAUTHENTICATED","message":"x","details":[{"@type":"type.googleapis.com/google.rpc.ErrorInfo","reason":"TOKEN_INVALID","domain":"workflow.uniconnect"}]}}` + "\n", "application/x-ndjson", "1", fault.KindUnauthenticated, "TOKEN_INVALID"},
		"cut":     {200, `{"result":{"resumeToken":"1"}}` + "\n" + `{"result":{"resume`, "application/x-ndjson", "1", fault.KindUnavailable, "SERVICE_UNAVAILABLE"},
		"refused": {403, `{"error":{"status":"PERMISSION_DENIED","message":"x"}}`, "application/json", "", fault.KindPermissionDenied, "PERMISSION_MISSING"},
		"no_json": {200, "hello\n", "text/html", "", fault.KindInternal, "INTERNAL"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			conn := dial(t, rest.Options{Timeout: time.Nanosecond}, func(w http.ResponseWriter, r *http.Request) {
				if r.RequestURI != "/v1/workflows:watch?resumeToken=0" {
					t.Errorf("got %s", r.RequestURI)
				}
				answer(w, c.code, c.kind, c.body)
			})
			stream, err := workflowv1.NewWorkflowCatalogServiceClient(conn).WatchWorkflows(t.Context(), &workflowv1.WatchWorkflowsRequest{ResumeToken: "0"})
			if err != nil {
				t.Fatal(err)
			}
			tokens := ""
			for {
				m, err := stream.Recv()
				if errors.Is(err, io.EOF) {
					err = nil
				} else if err == nil {
					tokens += m.GetResumeToken()
					continue
				}
				f, _ := fault.As(err)
				if fault.KindOf(err) != c.want || f != nil && f.Reason != c.reason {
					t.Errorf("got %v, want %v %s", err, c.want, c.reason)
				}
				break
			}
			if tokens != c.tokens {
				t.Errorf("got %q, want %q", tokens, c.tokens)
			}
		})
	}
}

func TestConn_NewStream_ends_with_its_context(t *testing.T) {
	left := make(chan struct{})
	conn := dial(t, rest.Options{}, func(w http.ResponseWriter, r *http.Request) {
		answer(w, 200, "application/x-ndjson", `{"result":{"resumeToken":"1"}}`+"\n")
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
		close(left)
	})
	ctx, cancel := context.WithCancel(t.Context())
	stream, err := workflowv1.NewWorkflowCatalogServiceClient(conn).WatchWorkflows(ctx, &workflowv1.WatchWorkflowsRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Recv(); err != nil {
		t.Fatal(err)
	}
	cancel()
	if _, err := stream.Recv(); fault.KindOf(err) != fault.KindCanceled {
		t.Errorf("got %v", err)
	}
	<-left
}
