package grpcapi_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"workflow.uniconnect/pkg/auth"
	"workflow.uniconnect/pkg/fault"
	peerv1 "workflow.uniconnect/proto/gen/go/uniconnect/workflow/peer/v1"
	workflowv1 "workflow.uniconnect/proto/gen/go/uniconnect/workflow/v1"
	"workflow.uniconnect/services/executor/internal/execution"
	"workflow.uniconnect/services/executor/internal/grpcapi"
	"workflow.uniconnect/services/executor/internal/run"
)

const (
	workflowID  = "01890000-0000-7000-8000-000000000001"
	executionID = "01890000-0000-7000-8000-0000000000aa"
)

// backend stands for the engine, the store and the catalog: it keeps what it is given and answers what the test wants.
type backend struct {
	state    workflowv1.Workflow_State
	between  *workflowv1.DateRange
	verdicts []execution.Verdict
	starts   []execution.Start
	views    []execution.View
	below    execution.ID
	tenant   string
	unknown  error // of the workflow
}

func (b *backend) Start(_ context.Context, starts []execution.Start) ([]execution.Verdict, error) {
	b.starts = append(b.starts, starts...)
	return b.verdicts, nil
}

func (b *backend) Get(_ context.Context, tenant string, _ execution.ID) (execution.View, bool, error) {
	b.tenant = tenant
	if len(b.views) == 0 {
		return execution.View{}, false, nil
	}
	return b.views[0], true, nil
}

func (b *backend) List(_ context.Context, tenant string, _ execution.WorkflowID, below execution.ID, limit int) ([]execution.View, bool, error) {
	b.tenant, b.below = tenant, below
	return b.views[:min(limit, len(b.views))], limit < len(b.views), nil
}

func (b *backend) Current(context.Context, string, execution.WorkflowID) (*workflowv1.Workflow, error) {
	return &workflowv1.Workflow{Id: workflowID, State: b.state, Revision: 3, DateRange: b.between}, b.unknown
}

func asUser(t *testing.T, tenant string) context.Context {
	return auth.NewContext(t.Context(), auth.Principal{Tenant: tenant, Subject: "user-1", Kind: auth.User})
}

func view(n byte, event string) execution.View {
	id, _ := execution.ParseID(executionID)
	id[15] = n
	return execution.View{ID: id, State: run.Queued, Cause: execution.ManualCause("user-1"), Event: []byte(event), CreateTime: time.Unix(1, 0)}
}

func input(t *testing.T, fields map[string]any) *structpb.Struct {
	t.Helper()
	s, err := structpb.NewStruct(fields)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestExecutions_RunWorkflow(t *testing.T) {
	started := []execution.Verdict{{Outcome: execution.Started}}
	duplicate := []execution.Verdict{{Outcome: execution.Duplicate}}
	tests := []struct {
		name     string
		state    workflowv1.Workflow_State
		verdicts []execution.Verdict
		stored   string
		reason   fault.Reason
	}{
		{"active", workflowv1.Workflow_ACTIVE, started, `{"data":{"n":1}}`, ""},
		{"inactive", workflowv1.Workflow_INACTIVE, started, "", "WORKFLOW_STATE"},
		{"deleting", workflowv1.Workflow_DELETING, started, "", "WORKFLOW_STATE"},
		{"repeated", workflowv1.Workflow_ACTIVE, duplicate, `{"data":{"n":1}}`, ""},
		{"id_reused_for_other_input", workflowv1.Workflow_ACTIVE, duplicate, `{"data":{"n":2}}`, "REQUEST_ID_REUSED"},
		{
			"tombstone", workflowv1.Workflow_ACTIVE,
			[]execution.Verdict{{Outcome: execution.Refused, Reason: execution.ReasonWorkflowDeleted}}, "", "WORKFLOW_STATE",
		},
		{
			"unstorable", workflowv1.Workflow_ACTIVE,
			[]execution.Verdict{{Outcome: execution.Refused, Reason: execution.ReasonUnstorable}}, "", "UNSTORABLE",
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			b := &backend{state: test.state, verdicts: test.verdicts, views: []execution.View{view(1, test.stored)}}
			resp, err := grpcapi.NewExecutions(b, b, b, nil).RunWorkflow(asUser(t, "acme"), &workflowv1.RunWorkflowRequest{
				WorkflowId: workflowID, RequestId: "request-1", Input: input(t, map[string]any{"n": 1}),
			})
			var reason fault.Reason
			if f, ok := fault.As(err); ok {
				reason = f.Reason
			}
			if reason != test.reason {
				t.Fatalf("got %v, want reason %q", err, test.reason)
			}
			if err != nil {
				return
			}
			if got := resp.GetExecution().GetInput().GetFields()["n"].GetNumberValue(); got != 1 {
				t.Errorf("input: got %v, want 1", got)
			}
			s := b.starts[0]
			if s.Tenant != "acme" || s.Revision != 3 || s.Key != execution.ManualKey(s.WorkflowID, "request-1") || s.Cause != execution.ManualCause("user-1") {
				t.Errorf("start: got %+v", s)
			}
			for _, part := range []string{`"id":"request-1"`, `"source":"/users/user-1"`, `"type":"manual"`, `"data":{"n":1}`} {
				if !strings.Contains(string(s.Event), part) {
					t.Errorf("event %s lacks %s", s.Event, part)
				}
			}
		})
	}
}

func TestExecutions_RunWorkflow_date_range(t *testing.T) {
	before, after := timestamppb.New(time.Now().Add(-time.Hour)), timestamppb.New(time.Now().Add(time.Hour))
	for name, test := range map[string]struct {
		between *workflowv1.DateRange
		reason  fault.Reason
	}{
		"within":  {&workflowv1.DateRange{StartTime: before, EndTime: after}, ""},
		"begun":   {&workflowv1.DateRange{StartTime: before}, ""},
		"open":    {&workflowv1.DateRange{}, ""},
		"not_yet": {&workflowv1.DateRange{StartTime: after}, "OUT_OF_DATE_RANGE"},
		"over":    {&workflowv1.DateRange{EndTime: before}, "OUT_OF_DATE_RANGE"},
	} {
		t.Run(name, func(t *testing.T) {
			b := &backend{
				state: workflowv1.Workflow_ACTIVE, between: test.between,
				verdicts: []execution.Verdict{{Outcome: execution.Started}}, views: []execution.View{view(1, `{"data":{}}`)},
			}
			_, err := grpcapi.NewExecutions(b, b, b, nil).RunWorkflow(asUser(t, "acme"), &workflowv1.RunWorkflowRequest{WorkflowId: workflowID})
			var reason fault.Reason
			if f, ok := fault.As(err); ok {
				reason = f.Reason
			}
			if reason != test.reason || (err != nil) != (len(b.starts) == 0) {
				t.Errorf("got %v and %d starts, want reason %q", err, len(b.starts), test.reason)
			}
		})
	}
}

func TestExecutions_RunWorkflow_IdempotencyKey(t *testing.T) {
	b := &backend{state: workflowv1.Workflow_ACTIVE, verdicts: []execution.Verdict{{Outcome: execution.Started}}, views: []execution.View{view(1, `{}`)}}
	server := grpcapi.NewExecutions(b, b, b, nil)
	ctx := metadata.NewIncomingContext(asUser(t, "acme"), metadata.Pairs("idempotency-key", "abc"))
	for _, ctx := range []context.Context{ctx, ctx, asUser(t, "acme"), asUser(t, "acme")} {
		if _, err := server.RunWorkflow(ctx, &workflowv1.RunWorkflowRequest{WorkflowId: workflowID}); err != nil {
			t.Fatal(err)
		}
	}
	if b.starts[0].Key != b.starts[1].Key || b.starts[2].Key == b.starts[3].Key {
		t.Error("the header must make the key, and runs without one are each their own")
	}
	long := metadata.NewIncomingContext(asUser(t, "acme"), metadata.Pairs("idempotency-key", strings.Repeat("x", 129)))
	if _, err := server.RunWorkflow(long, &workflowv1.RunWorkflowRequest{WorkflowId: workflowID}); fault.KindOf(err) != fault.KindInvalidArgument {
		t.Errorf("long key: got %v, want INVALID_ARGUMENT", err)
	}
	if _, err := server.RunWorkflow(t.Context(), &workflowv1.RunWorkflowRequest{WorkflowId: workflowID}); fault.KindOf(err) != fault.KindUnauthenticated {
		t.Errorf("no identity: got %v, want UNAUTHENTICATED", err)
	}
}

func TestExecutions_GetExecution(t *testing.T) {
	v := view(1, `{"data":[1,2]}`)
	v.State, v.Attempt = run.Waiting, 1
	at := time.Unix(100, 0)
	v.Steps = []run.Result{
		{Path: "send", StepID: "send", Attempt: 1, State: run.StepFailed, StartTime: at, EndTime: at, WakeTime: at, Err: &run.Error{Reason: "TARGET_STATUS", Retryable: true}},
		{Path: "send", StepID: "send", Attempt: 2, State: run.StepSucceeded, StartTime: at, EndTime: at.Add(time.Second), Output: []byte(`{"status":200}`)},
		{Path: "last", StepID: "last", Attempt: 1, State: run.StepFailed, StartTime: at, EndTime: at, WakeTime: at.Add(time.Minute), Err: &run.Error{Reason: "TARGET_STATUS", Retryable: true}},
	}
	b := &backend{views: []execution.View{v}}
	resp, err := grpcapi.NewExecutions(b, b, b, nil).GetExecution(asUser(t, "acme"), &workflowv1.GetExecutionRequest{Id: executionID})
	if err != nil {
		t.Fatal(err)
	}
	got := resp.GetExecution()
	want := []*workflowv1.StepResult{
		{
			StepId: "send", Path: "send", State: workflowv1.StepResult_SUCCEEDED, Attempts: 2,
			StartTime: timestamppb.New(at), EndTime: timestamppb.New(at.Add(time.Second)),
			Output: structpb.NewStructValue(input(t, map[string]any{"status": 200})),
		},
		{
			StepId: "last", Path: "last", State: workflowv1.StepResult_WAITING, Attempts: 1,
			StartTime: timestamppb.New(at), EndTime: timestamppb.New(at), WakeTime: timestamppb.New(at.Add(time.Minute)),
			Error: &workflowv1.ExecutionError{Reason: "TARGET_STATUS", Retryable: true},
		},
	}
	if diff := cmp.Diff(want, got.GetSteps(), protocmp.Transform()); diff != "" {
		t.Errorf("steps (-want +got):\n%s", diff)
	}
	if n := len(got.GetInput().GetFields()["value"].GetListValue().GetValues()); n != 2 {
		t.Errorf("input that is no object: got %v, want it under value", got.GetInput())
	}
	if got.GetCause().GetManual().GetUser() != "user-1" || b.tenant != "acme" {
		t.Errorf("cause %v, tenant %q", got.GetCause(), b.tenant)
	}
	b.views = nil
	if _, err := grpcapi.NewExecutions(b, b, b, nil).GetExecution(asUser(t, "acme"), &workflowv1.GetExecutionRequest{Id: executionID}); fault.KindOf(err) != fault.KindNotFound {
		t.Errorf("unknown id: got %v, want NOT_FOUND", err)
	}
}

func TestExecutions_ListExecutions(t *testing.T) {
	b := &backend{views: []execution.View{view(3, `{}`), view(2, `{}`), view(1, `{}`)}}
	server := grpcapi.NewExecutions(b, b, b, nil)
	list := func(tenant, workflow, token string) (*workflowv1.ListExecutionsResponse, error) {
		return server.ListExecutions(asUser(t, tenant), &workflowv1.ListExecutionsRequest{WorkflowId: workflow, PageSize: 2, PageToken: token})
	}
	page, err := list("acme", "", "")
	if err != nil || len(page.GetExecutions()) != 2 || page.GetNextPageToken() == "" {
		t.Fatalf("first page: got %v, %v; want two and a token", page, err)
	}
	if _, err := list("acme", "", page.GetNextPageToken()); err != nil || b.below != b.views[1].ID {
		t.Errorf("second page: got below %s, %v; want below the last one of the first", b.below, err)
	}
	b.views = b.views[:2]
	if last, err := list("acme", "", page.GetNextPageToken()); err != nil || last.GetNextPageToken() != "" {
		t.Errorf("last page: got %v, %v; want no token", last, err)
	}
	for name, call := range map[string][3]string{
		"other_tenant":   {"globex", "", page.GetNextPageToken()},
		"other_workflow": {"acme", workflowID, page.GetNextPageToken()},
		"forged":         {"acme", "", "AAAA"},
		"no_token":       {"acme", "", "!"},
	} {
		if _, err := list(call[0], call[1], call[2]); fault.KindOf(err) != fault.KindInvalidArgument {
			t.Errorf("%s: got %v, want INVALID_ARGUMENT", name, err)
		}
	}
}

func TestExecutions_ListExecutions_of_a_workflow(t *testing.T) {
	b := &backend{}
	server := grpcapi.NewExecutions(b, b, b, nil)
	req := &workflowv1.ListExecutionsRequest{WorkflowId: workflowID}
	if page, err := server.ListExecutions(asUser(t, "acme"), req); err != nil || len(page.GetExecutions()) != 0 {
		t.Errorf("one that has not run yet: got %v, %v; want an empty page", page, err)
	}
	b.unknown = fault.NotFound("WORKFLOW_NOT_FOUND", "the workflow does not exist")
	if _, err := server.ListExecutions(asUser(t, "acme"), req); fault.KindOf(err) != fault.KindNotFound {
		t.Errorf("one that does not exist: got %v, want NOT_FOUND", err)
	}
}

func TestStarts_StartExecutions(t *testing.T) {
	good := func() *peerv1.Start {
		return &peerv1.Start{
			Tenant: "acme", WorkflowId: workflowID, Revision: 1, Key: make([]byte, 16), Event: []byte(`{}`),
			Cause: &workflowv1.Cause{Kind: &workflowv1.Cause_Event{Event: &workflowv1.EventCause{Id: "e"}}},
		}
	}
	bad := map[string]func(*peerv1.Start){
		"tenant":   func(s *peerv1.Start) { s.Tenant = "A.b" },
		"workflow": func(s *peerv1.Start) { s.WorkflowId = "x" },
		"revision": func(s *peerv1.Start) { s.Revision = 0 },
		"key":      func(s *peerv1.Start) { s.Key = []byte("short") },
		"cause":    func(s *peerv1.Start) { s.Cause = nil },
		"utf8":     func(s *peerv1.Start) { s.Event = []byte("\xff") },
		"large":    func(s *peerv1.Start) { s.Event = make([]byte, execution.MaxEventBytes+1) },
	}
	req := &peerv1.StartExecutionsRequest{Starts: []*peerv1.Start{good()}}
	for _, spoil := range bad {
		s := good()
		spoil(s)
		req.Starts = append(req.Starts, s)
	}
	largest := good()
	largest.Event = []byte(strings.Repeat(" ", 1<<20+8<<10))
	largest.GetCause().Kind = &workflowv1.Cause_Event{Event: &workflowv1.EventCause{
		Id: strings.Repeat("i", 256), Type: strings.Repeat("t", 128), Source: strings.Repeat("s", 1024),
	}}
	req.Starts = append(req.Starts, largest)
	id, _ := execution.ParseID(executionID)
	b := &backend{verdicts: []execution.Verdict{{Outcome: execution.Started, ID: id}, {Outcome: execution.Duplicate, ID: id}}}
	resp, err := grpcapi.NewStarts(b, nil, nil).StartExecutions(t.Context(), req)
	if err != nil {
		t.Fatal(err)
	}
	results := resp.GetResults()
	if results[0].GetOutcome() != peerv1.StartResult_STARTED || results[0].GetExecutionId() != executionID ||
		results[len(results)-1].GetOutcome() != peerv1.StartResult_DUPLICATE {
		t.Errorf("good items: got %v", results)
	}
	for _, r := range results[1 : len(results)-1] {
		if r.GetOutcome() != peerv1.StartResult_REFUSED || r.GetRetryable() || r.GetReason() != "UNSTORABLE" {
			t.Errorf("bad item: got %v, want refused for good", r)
		}
	}
}

// finalizer shows what it was given.
type finalizer struct{ left execution.Unfinished }

func (f finalizer) Unfinished(_ context.Context, tenant string, workflow execution.WorkflowID, limit int) (execution.Unfinished, error) {
	if tenant != "acme" || workflow.String() != workflowID || limit != 50 {
		return execution.Unfinished{}, fault.Internal(fault.ReasonInternal, "asked for something else")
	}
	return f.left, nil
}

func (f finalizer) Finalize(context.Context, string, execution.WorkflowID) (bool, error) {
	return true, nil
}

func TestStarts_PreviewFinalize(t *testing.T) {
	id, _ := execution.ParseID(executionID)
	wake := time.Unix(100, 0)
	left := execution.Unfinished{Count: 7, Some: []execution.Standing{{ID: id, Path: "rest", WakeTime: wake}, {ID: id}}}
	got, err := grpcapi.NewStarts(nil, nil, finalizer{left}).PreviewFinalize(t.Context(),
		&peerv1.PreviewFinalizeRequest{Tenant: "acme", WorkflowId: workflowID})
	if err != nil {
		t.Fatal(err)
	}
	want := &peerv1.PreviewFinalizeResponse{Unfinished: 7, Executions: []*peerv1.UnfinishedExecution{
		{Id: executionID, StepPath: "rest", WakeTime: timestamppb.New(wake)}, {Id: executionID},
	}}
	if diff := cmp.Diff(want, got, protocmp.Transform()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
