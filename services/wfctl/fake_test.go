package wfctl

import (
	"bytes"
	"context"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/api/httpbody"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"

	"workflow.uniconnect/pkg/config"
	"workflow.uniconnect/pkg/fault"
	"workflow.uniconnect/pkg/grpcfault"
	"workflow.uniconnect/pkg/telemetry"
	"workflow.uniconnect/services/wfctl/internal/command"

	accessv1 "workflow.uniconnect/proto/gen/go/uniconnect/access/v1"
	workflowv1 "workflow.uniconnect/proto/gen/go/uniconnect/workflow/v1"
)

const (
	helloID  = "019ac0de-0000-7000-8000-000000000001"
	nightID  = "019ac0de-0000-7000-8000-000000000002"
	runID    = "019ac0de-0000-7000-8000-0000000000aa"
	backupID = "019ac0de-0000-7000-8000-0000000000bb"
)

// fake is the services. What it answers is fixed, so that the output is.
type fake struct {
	workflowv1.UnimplementedWorkflowCatalogServiceServer
	workflowv1.UnimplementedTriggerSchedulerServiceServer
	workflowv1.UnimplementedExecutorServiceServer

	mu sync.Mutex
	// requests are the changes that were asked for, in order.
	requests []proto.Message
	// away counts the calls that still find the service away.
	away int
	// polls counts looks at the run.
	polls int
	// running is how many looks find the run still under way.
	running int
	failed  bool
	deleted bool
	// lost counts the looks at the run that find the system away; on answers the first look.
	lost int
	on   func()
	// titles are those of workflows that are exported.
	titles []string
}

func parse[M proto.Message](m M, text string) M {
	if err := protojson.Unmarshal([]byte(text), m); err != nil {
		panic(err)
	}
	return m
}

func hello() *workflowv1.Workflow {
	return parse(&workflowv1.Workflow{}, `{"id":"`+helloID+`","title":"Hello","description":"Greets.\nTwice.","state":"ACTIVE","revision":3,"etag":"7",
		"trigger":{"event":{"eventType":"call.ended","filter":{"expression":"event.data.hot"}}},
		"dateRange":{"endTime":"2027-01-01T00:00:00Z"},
		"steps":[{"id":"decide","condition":{"branches":[{"title":"Yes","when":{"expression":"true"},"steps":[{"id":"send","title":"Tell \u202ethem","action":{"type":"http.request"}}]}],
		"otherwise":[{"id":"rest","delay":{"duration":"86400s"}}]}}],
		"createTime":"2026-11-01T00:00:00Z","createUser":"owner@acme.test","updateTime":"2026-11-22T00:00:00Z","updateUser":"builder@acme.test",
		"lastBackup":{"id":"`+backupID+`","name":"before","revision":2,"createTime":"2026-11-21T12:00:00Z","createUser":"owner@acme.test"},
		"draft":{"baseRevision":2,"stale":true,"updateTime":"2026-11-22T11:00:00Z","updateUser":"builder@acme.test"},
		"warnings":[{"field":"dateRange.endTime","description":"is soon","severity":"WARNING"}]}`)
}

func nightly() *workflowv1.Workflow {
	return parse(&workflowv1.Workflow{}, `{"id":"`+nightID+`","title":"Nightly","state":"INACTIVE","revision":1,
		"trigger":{"schedule":{"cron":"0 0 * * *","timeZone":"Europe/Berlin"}},"createTime":"2026-11-23T11:59:00Z","createUser":"owner@acme.test"}`)
}

func execution() *workflowv1.Execution {
	return parse(&workflowv1.Execution{}, `{"id":"`+runID+`","workflowId":"`+helloID+`","workflowRevision":3,"state":"SUCCEEDED",
		"cause":{"event":{"id":"e1","type":"call.ended","source":"/pbx"}},"createTime":"2026-11-23T11:00:00Z","startTime":"2026-11-23T11:00:00Z",
		"endTime":"2026-11-23T11:00:01.250Z","steps":[
		{"stepId":"decide","path":"decide","state":"SUCCEEDED","startTime":"2026-11-23T11:00:00Z","endTime":"2026-11-23T11:00:00Z","output":{"branch":0}},
		{"stepId":"send","path":"decide.send","state":"SUCCEEDED","attempts":2,"startTime":"2026-11-23T11:00:00.100Z","endTime":"2026-11-23T11:00:01.200Z","output":"\u001b[31mred"}]}`)
}

// noted keeps a request, or answers that the service is away.
func (f *fake) noted(req proto.Message) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.requests = append(f.requests, proto.Clone(req))
	if f.away > 0 {
		f.away--
		return fault.Unavailable("DATABASE_UNAVAILABLE", "the database is away")
	}
	return nil
}

func (f *fake) ListWorkflows(_ context.Context, req *workflowv1.ListWorkflowsRequest) (*workflowv1.ListWorkflowsResponse, error) {
	if f.titles != nil {
		answer := &workflowv1.ListWorkflowsResponse{}
		for _, title := range f.titles {
			answer.Workflows = append(answer.Workflows, &workflowv1.Workflow{Id: title, Title: title})
		}
		return answer, nil
	}
	// One page for each, so that pages are followed.
	if req.GetPageToken() == "" {
		return &workflowv1.ListWorkflowsResponse{Workflows: []*workflowv1.Workflow{hello()}, NextPageToken: "2"}, nil
	}
	return &workflowv1.ListWorkflowsResponse{Workflows: []*workflowv1.Workflow{nightly()}}, nil
}

func (f *fake) GetWorkflow(_ context.Context, req *workflowv1.GetWorkflowRequest) (*workflowv1.GetWorkflowResponse, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if req.GetId() != helloID || f.deleted {
		return nil, fault.NotFound("WORKFLOW_NOT_FOUND", "the workflow does not exist")
	}
	return &workflowv1.GetWorkflowResponse{Workflow: hello()}, nil
}

func (f *fake) ListRevisions(context.Context, *workflowv1.ListRevisionsRequest) (*workflowv1.ListRevisionsResponse, error) {
	return parse(&workflowv1.ListRevisionsResponse{}, `{"revisions":[
		{"revision":3,"createTime":"2026-11-22T00:00:00Z","createUser":"builder@acme.test","origin":"RESET","sourceRevision":1,"title":"Hello","live":true},
		{"revision":1,"createTime":"2026-11-01T00:00:00Z","createUser":"owner@acme.test","origin":"CREATED","title":"Hello"}]}`), nil
}

func (f *fake) ListBackups(context.Context, *workflowv1.ListBackupsRequest) (*workflowv1.ListBackupsResponse, error) {
	return &workflowv1.ListBackupsResponse{Backups: []*workflowv1.Backup{hello().GetLastBackup()}}, nil
}

func (f *fake) ListAuditEntries(context.Context, *workflowv1.ListAuditEntriesRequest) (*workflowv1.ListAuditEntriesResponse, error) {
	return parse(&workflowv1.ListAuditEntriesResponse{}, `{"auditEntries":[{"id":"9","createTime":"2026-11-23T11:00:00Z","actor":"viewer@acme.test",
		"action":"DeleteWorkflow","workflowId":"`+helloID+`","outcome":"PERMISSION_DENIED","reason":"PERMISSION_MISSING","origin":"10.0.0.7","userAgent":"wfctl/1"}]}`), nil
}

func (f *fake) ListTemplates(context.Context, *workflowv1.ListTemplatesRequest) (*workflowv1.ListTemplatesResponse, error) {
	return &workflowv1.ListTemplatesResponse{Templates: []*workflowv1.Template{{Id: "hello", Category: "Calls", Title: "Hello", Workflow: hello()}}}, nil
}

func (f *fake) GetTemplate(_ context.Context, req *workflowv1.GetTemplateRequest) (*workflowv1.GetTemplateResponse, error) {
	w := parse(&workflowv1.Workflow{}, `{"title":"Hello","trigger":{"manual":{}},"steps":[{"id":"a","stop":{}}]}`)
	return &workflowv1.GetTemplateResponse{Template: &workflowv1.Template{Id: req.GetId(), Workflow: w}}, nil
}

func (f *fake) ListEventTypes(context.Context, *workflowv1.ListEventTypesRequest) (*workflowv1.ListEventTypesResponse, error) {
	return &workflowv1.ListEventTypesResponse{EventTypes: []*workflowv1.EventType{{Type: "call.ended", Module: "call", Title: "Call Ended", Description: "A call is over."}}}, nil
}

func (f *fake) ListActionTypes(context.Context, *workflowv1.ListActionTypesRequest) (*workflowv1.ListActionTypesResponse, error) {
	return &workflowv1.ListActionTypesResponse{ActionTypes: []*workflowv1.ActionType{{Type: "http.request", Title: "Call a URL", Description: "Sends a request.", Idempotency: "Idempotency-Key"}}}, nil
}

func (f *fake) ListExecutions(context.Context, *workflowv1.ListExecutionsRequest) (*workflowv1.ListExecutionsResponse, error) {
	e := execution()
	e.Steps = nil
	return &workflowv1.ListExecutionsResponse{Executions: []*workflowv1.Execution{e}}, nil
}

func (f *fake) GetExecution(context.Context, *workflowv1.GetExecutionRequest) (*workflowv1.GetExecutionResponse, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	e := execution()
	if f.on != nil {
		f.on()
	}
	if f.polls > 0 && f.lost > 0 {
		f.lost--
		return nil, fault.Unavailable("SERVICE_UNAVAILABLE", "no answer")
	}
	if f.polls++; f.polls <= f.running {
		e.State, e.EndTime, e.Steps[1].State, e.Steps[1].EndTime = workflowv1.Execution_RUNNING, nil, workflowv1.StepResult_RUNNING, nil
	} else if f.failed {
		e.State, e.Error = workflowv1.Execution_FAILED, &workflowv1.ExecutionError{Reason: "TARGET_STATUS", Message: "the target answered 500", StepId: "send"}
		e.Steps[1].State, e.Steps[1].Error = workflowv1.StepResult_FAILED, e.GetError()
	}
	return &workflowv1.GetExecutionResponse{Execution: e}, nil
}

func (f *fake) RunWorkflow(_ context.Context, req *workflowv1.RunWorkflowRequest) (*workflowv1.RunWorkflowResponse, error) {
	e := execution()
	e.State = workflowv1.Execution_QUEUED
	return &workflowv1.RunWorkflowResponse{Execution: e}, f.noted(req)
}

func (f *fake) PublishEvent(_ context.Context, req *workflowv1.PublishEventRequest) (*workflowv1.PublishEventResponse, error) {
	return &workflowv1.PublishEventResponse{Id: "12", EventId: "e1", Duplicate: req.GetEvent().GetId() == "twice"}, f.noted(req)
}

// ImportWorkflow answers by what the document says.
func (f *fake) ImportWorkflow(_ context.Context, req *workflowv1.ImportWorkflowRequest) (*workflowv1.ImportWorkflowResponse, error) {
	if err := f.noted(req); err != nil {
		return nil, err
	}
	w := hello()
	w.Warnings = nil
	switch text := req.GetContent(); {
	case strings.Contains(text, "etag"):
		f := fault.Invalid(fault.Violation{Field: "etag", Description: "1:1: is made by the server and belongs in no document", Reason: "DOCUMENT"})
		f.Reason = "DOCUMENT"
		return nil, f
	case strings.Contains(text, "wrong"):
		return nil, fault.Invalid(
			fault.Violation{Field: "steps[0].id", Description: "is taken", Reason: "DUPLICATE_ID"}, fault.Violation{Description: "too large", Reason: "TOO_LARGE"})
	case strings.Contains(text, "new"):
		w.Id, w.Warnings = "", hello().GetWarnings()
		return &workflowv1.ImportWorkflowResponse{Outcome: workflowv1.ImportWorkflowResponse_CREATED, Workflow: w}, nil
	case strings.Contains(text, "changed"):
		return &workflowv1.ImportWorkflowResponse{Outcome: workflowv1.ImportWorkflowResponse_UPDATED, Workflow: w, Diff: difference()}, nil
	}
	return &workflowv1.ImportWorkflowResponse{Outcome: workflowv1.ImportWorkflowResponse_UNCHANGED, Workflow: w}, nil
}

func difference() *workflowv1.Diff {
	return &workflowv1.Diff{FromRevision: 3, ToRevision: 4, Changes: []*workflowv1.Change{
		{Kind: workflowv1.Change_FIELD_CHANGED, Field: "description", Before: structpb.NewStringValue("one\ntwo\n"), After: structpb.NewStringValue("one")},
		{Kind: workflowv1.Change_STEP_ADDED, StepId: "c", ToPath: "steps[2]"},
		{Kind: workflowv1.Change_STEP_REMOVED, StepId: "b", StepTitle: "Rest", FromPath: "steps[1]"},
		{Kind: workflowv1.Change_STEP_MOVED, StepId: "d", FromPath: "steps[3]", ToPath: "steps[0].condition.otherwise[0]"},
		{Kind: workflowv1.Change_FIELD_CHANGED, StepId: "a", StepTitle: "Send", FromPath: "steps[0]", ToPath: "steps[0]", Field: "action.params.n", After: structpb.NewNumberValue(3)},
	}}
}

func (f *fake) CreateWorkflow(_ context.Context, req *workflowv1.CreateWorkflowRequest) (*workflowv1.CreateWorkflowResponse, error) {
	return &workflowv1.CreateWorkflowResponse{Workflow: req.GetWorkflow()}, f.noted(req)
}

func (f *fake) ValidateWorkflow(_ context.Context, req *workflowv1.ValidateWorkflowRequest) (*workflowv1.ValidateWorkflowResponse, error) {
	return &workflowv1.ValidateWorkflowResponse{Valid: true, Problems: req.GetWorkflow().GetWarnings()}, nil
}

func (f *fake) ExportWorkflow(_ context.Context, req *workflowv1.ExportWorkflowRequest) (*workflowv1.ExportWorkflowResponse, error) {
	text := "title: " + req.GetId() + "\n"
	if req.GetFormat() == workflowv1.ExportFormat_JSON {
		text = "{}\n"
	}
	return &workflowv1.ExportWorkflowResponse{Document: &httpbody.HttpBody{ContentType: "application/yaml", Data: []byte(text)}}, nil
}

func (f *fake) ActivateWorkflow(_ context.Context, req *workflowv1.ActivateWorkflowRequest) (*workflowv1.ActivateWorkflowResponse, error) {
	return &workflowv1.ActivateWorkflowResponse{Workflow: hello()}, f.noted(req)
}

func (f *fake) DeactivateWorkflow(_ context.Context, req *workflowv1.DeactivateWorkflowRequest) (*workflowv1.DeactivateWorkflowResponse, error) {
	return &workflowv1.DeactivateWorkflowResponse{Workflow: nightly()}, f.noted(req)
}

func (f *fake) BackupWorkflow(_ context.Context, req *workflowv1.BackupWorkflowRequest) (*workflowv1.BackupWorkflowResponse, error) {
	return &workflowv1.BackupWorkflowResponse{Backup: hello().GetLastBackup()}, f.noted(req)
}

func (f *fake) ResetWorkflow(context.Context, *workflowv1.ResetWorkflowRequest) (*workflowv1.ResetWorkflowResponse, error) {
	return nil, fault.FailedPrecondition("NO_BACKUP", "the workflow has no backup to return to; make one first")
}

func (f *fake) RestoreBackup(_ context.Context, req *workflowv1.RestoreBackupRequest) (*workflowv1.RestoreBackupResponse, error) {
	return &workflowv1.RestoreBackupResponse{Workflow: hello()}, f.noted(req)
}

func (f *fake) DeleteBackup(_ context.Context, req *workflowv1.DeleteBackupRequest) (*workflowv1.DeleteBackupResponse, error) {
	return &workflowv1.DeleteBackupResponse{}, f.noted(req)
}

func (f *fake) DuplicateWorkflow(_ context.Context, req *workflowv1.DuplicateWorkflowRequest) (*workflowv1.DuplicateWorkflowResponse, error) {
	return &workflowv1.DuplicateWorkflowResponse{Workflow: nightly()}, f.noted(req)
}

func (f *fake) PreviewDelete(context.Context, *workflowv1.PreviewDeleteRequest) (*workflowv1.PreviewDeleteResponse, error) {
	return parse(&workflowv1.PreviewDeleteResponse{}, `{"preview":{"title":"Hello","etag":"7","unfinishedExecutions":2,"revisions":3,"backups":1,"draft":true,
		"callers":[{"id":"`+nightID+`","title":"Nightly","state":"INACTIVE"}]}}`), nil
}

func (f *fake) DeleteWorkflow(_ context.Context, req *workflowv1.DeleteWorkflowRequest) (*workflowv1.DeleteWorkflowResponse, error) {
	err := f.noted(req)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.deleted = true
	w := hello()
	w.State = workflowv1.Workflow_DELETING
	return &workflowv1.DeleteWorkflowResponse{Workflow: w}, err
}

func (f *fake) WatchWorkflows(req *workflowv1.WatchWorkflowsRequest, stream workflowv1.WorkflowCatalogService_WatchWorkflowsServer) error {
	if err := f.noted(req); err != nil {
		return err
	}
	switch req.GetResumeToken() {
	case "": // the connection is lost behind the first change
		w := hello()
		w.Steps = nil
		_ = stream.Send(&workflowv1.WatchWorkflowsResponse{ResumeToken: "1"})
		_ = stream.Send(&workflowv1.WatchWorkflowsResponse{ResumeToken: "2", Change: &workflowv1.WatchWorkflowsResponse_Workflow{Workflow: w}})
		return nil
	case "2":
		_ = stream.Send(&workflowv1.WatchWorkflowsResponse{ResumeToken: "3", Change: &workflowv1.WatchWorkflowsResponse_DeletedId{DeletedId: nightID}})
	}
	return fault.Unauthenticated("TOKEN_INVALID", "token not accepted")
}

// terminal runs command lines against the fake.
type terminal struct {
	fake     *fake
	registry *registry
	conn     grpc.ClientConnInterface
	// stdin is what is typed; interactive says that somebody types.
	stdin       string
	interactive bool
	environ     []string
	// stdinFrom is read in place of stdin; ctx ends when somebody presses Ctrl-C.
	stdinFrom io.Reader
	ctx       context.Context
}

func (x *terminal) context(t *testing.T) context.Context {
	if x.ctx != nil {
		return x.ctx
	}
	return t.Context()
}

func (x *terminal) input() io.Reader {
	if x.stdinFrom != nil {
		return x.stdinFrom
	}
	return strings.NewReader(x.stdin)
}

func newTerminal(t *testing.T) *terminal {
	t.Helper()
	f, r := &fake{}, &registry{}
	log := telemetry.Discard().Logger
	server := grpc.NewServer(grpc.ChainUnaryInterceptor(grpcfault.UnaryServer(log)), grpc.ChainStreamInterceptor(grpcfault.StreamServer(log)))
	workflowv1.RegisterWorkflowCatalogServiceServer(server, f)
	workflowv1.RegisterTriggerSchedulerServiceServer(server, f)
	workflowv1.RegisterExecutorServiceServer(server, f)
	accessv1.RegisterTenantServiceServer(server, r)
	var lc net.ListenConfig
	l, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go func() { _ = server.Serve(l) }()
	t.Cleanup(server.Stop)
	conn, err := grpc.NewClient(l.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithChainUnaryInterceptor(grpcfault.UnaryClient()), grpc.WithChainStreamInterceptor(grpcfault.StreamClient()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return &terminal{fake: f, registry: r, conn: conn, environ: []string{"UC_TOKEN=secret"}}
}

// result is what a command line has left.
type result struct {
	out, err string
	code     int
}

func (x *terminal) run(t *testing.T, args ...string) result {
	t.Helper()
	var out, errOut bytes.Buffer
	code := run(x.context(t), Process{
		Args: args, Environ: x.environ, Stdin: x.input(), Stdout: &out, Stderr: &errOut, Interactive: x.interactive, Version: "test",
	}, &command.App{
		Now: func() time.Time { return time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC) },
		Dial: func(string, func(context.Context) (string, error)) (grpc.ClientConnInterface, error) {
			return x.conn, nil
		},
		DialPlatform: func(config.Settings, func(context.Context) (string, error)) (grpc.ClientConnInterface, error) {
			return x.conn, nil
		},
	})
	return result{out.String(), errOut.String(), code}
}
