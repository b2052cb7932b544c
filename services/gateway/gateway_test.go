package gateway_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/grpc/metadata"

	"workflow.uniconnect/pkg/access"
	"workflow.uniconnect/pkg/admin"
	"workflow.uniconnect/pkg/auth"
	"workflow.uniconnect/pkg/config"
	"workflow.uniconnect/pkg/devusers"
	"workflow.uniconnect/pkg/fault"
	"workflow.uniconnect/pkg/grpcserver"
	"workflow.uniconnect/pkg/service"
	"workflow.uniconnect/pkg/telemetry"
	"workflow.uniconnect/services/gateway"

	accessv1 "workflow.uniconnect/proto/gen/go/uniconnect/access/v1"
	workflowv1 "workflow.uniconnect/proto/gen/go/uniconnect/workflow/v1"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// world is a gateway over real gRPC servers, with services whose answers the test decides.
type world struct {
	url     string
	dataDir string
	issuer  *auth.Issuer
	client  *http.Client
	fake    *fake
	// stopBackends stops the three services.
	stopBackends func()
	stop         func()
}

type option func(*service.Deps)

func newWorld(t *testing.T, options ...option) *world {
	t.Helper()
	w := &world{dataDir: t.TempDir(), fake: &fake{moduleEnabled: true}}
	cfg := auth.Config{Dev: true, DataDir: w.dataDir}
	verifier, err := auth.NewVerifier(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	if w.issuer, err = auth.OpenIssuer(w.dataDir); err != nil {
		t.Fatal(err)
	}
	server := w.backend(t, verifier)
	backends := sync.OnceFunc(run(t, server.Run))
	w.stopBackends = backends

	deps := service.Deps{
		Settings: config.Settings{
			HTTPAddr: "127.0.0.1:0", CatalogAddr: server.Addr(), SchedulerAddr: server.Addr(), ExecutorAddr: server.Addr(),
			Dev: true, DataDir: w.dataDir,
		},
		Telemetry: telemetry.Discard(),
		Verifier:  verifier,
		Readiness: admin.NewReadiness(telemetry.Discard().Logger),
	}
	for _, o := range options {
		o(&deps)
	}
	g, err := gateway.New(t.Context(), deps)
	if err != nil {
		t.Fatal(err)
	}
	w.url = "http://" + g.Addr()
	w.client = &http.Client{Transport: &http.Transport{}, Timeout: 20 * time.Second}
	t.Cleanup(w.client.CloseIdleConnections)
	w.stop = sync.OnceFunc(run(t, g.Run))
	t.Cleanup(backends)
	t.Cleanup(w.stop)
	return w
}

// run starts a server and returns what stops it and waits.
func run(t *testing.T, serve func(context.Context) error) func() {
	t.Helper()
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	done := make(chan error, 1)
	go func() { done <- serve(ctx) }()
	return func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("server: %v", err)
		}
	}
}

// backend is one gRPC server with all public services, as the real ones build theirs.
func (w *world) backend(t *testing.T, verifier *auth.Verifier) *grpcserver.Server {
	t.Helper()
	server, err := grpcserver.New(t.Context(), grpcserver.Options{
		Addr: "127.0.0.1:0", Telemetry: telemetry.Discard(), Verifier: verifier, StopTimeout: time.Second,
		Enforcer: access.NewEnforcer(access.Options{Module: "workflow", Grants: w.fake.grants}),
	})
	if err != nil {
		t.Fatal(err)
	}
	workflowv1.RegisterWorkflowCatalogServiceServer(server, w.fake)
	workflowv1.RegisterTriggerSchedulerServiceServer(server, w.fake)
	workflowv1.RegisterExecutorServiceServer(server, w.fake)
	accessv1.RegisterAccessServiceServer(server, w.fake)
	return server
}

func (w *world) token(t *testing.T, name string) string {
	t.Helper()
	user, ok := devusers.Find(name)
	if !ok {
		t.Fatalf("no user %s", name)
	}
	token, err := w.issuer.Issue(user.Principal(), time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	return token
}

type answer struct {
	code   int
	header http.Header
	body   []byte
}

// problem is an error as clients read it.
type problem struct {
	Code    int
	Status  string
	Message string
	Details []struct {
		Type            string `json:"@type"`
		Reason, Domain  string
		Metadata        map[string]string
		FieldViolations []struct{ Field, Description, Reason string }
		RetryDelay      string
	}
}

func (p problem) reason() string {
	if len(p.Details) == 0 {
		return ""
	}
	return p.Details[0].Reason
}

func (p problem) fields() []string {
	var fields []string
	for _, d := range p.Details {
		for _, v := range d.FieldViolations {
			fields = append(fields, v.Field)
		}
	}
	return fields
}

func (a answer) problem(t *testing.T) problem {
	t.Helper()
	var body struct{ Error problem }
	if err := json.Unmarshal(a.body, &body); err != nil {
		t.Fatalf("answer %d is no error in JSON: %s", a.code, a.body)
	}
	if body.Error.Code != a.code {
		t.Errorf("error.code: got %d, want %d", body.Error.Code, a.code)
	}
	if got := a.header.Get("Content-Type"); got != "application/json" {
		t.Errorf("content type of an error: got %q", got)
	}
	return body.Error
}

// do sends a request as owner@acme.test, unless edit changes it.
func (w *world) do(t *testing.T, method, path, body string, edit ...func(*http.Request)) answer {
	t.Helper()
	var reader io.Reader
	if body != "" {
		reader = bytes.NewBufferString(body)
	}
	r, err := http.NewRequestWithContext(t.Context(), method, w.url+path, reader)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+w.token(t, "owner@acme.test"))
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	for _, e := range edit {
		e(r)
	}
	resp, err := w.client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	content, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer{resp.StatusCode, resp.Header, content}
}

func header(name, value string) func(*http.Request) {
	return func(r *http.Request) { r.Header.Set(name, value) }
}

// fake is all public services. A nil function answers with an empty response.
type fake struct {
	workflowv1.UnimplementedWorkflowCatalogServiceServer
	workflowv1.UnimplementedTriggerSchedulerServiceServer
	workflowv1.UnimplementedExecutorServiceServer
	accessv1.UnimplementedAccessServiceServer

	create func(*workflowv1.CreateWorkflowRequest) (*workflowv1.CreateWorkflowResponse, error)
	get    func(context.Context, *workflowv1.GetWorkflowRequest) (*workflowv1.GetWorkflowResponse, error)
	update func(*workflowv1.UpdateWorkflowRequest) (*workflowv1.UpdateWorkflowResponse, error)
	delete func(*workflowv1.DeleteWorkflowRequest) (*workflowv1.DeleteWorkflowResponse, error)
	run    func(*workflowv1.RunWorkflowRequest) (*workflowv1.RunWorkflowResponse, error)
	export func(*workflowv1.ExportWorkflowRequest) (*workflowv1.ExportWorkflowResponse, error)
	draft  func(*workflowv1.UpdateDraftRequest) (*workflowv1.UpdateDraftResponse, error)
	watch  func(*workflowv1.WatchWorkflowsRequest, workflowv1.WorkflowCatalogService_WatchWorkflowsServer) error

	mu            sync.Mutex
	moduleEnabled bool
	calls         int
	metadata      metadata.MD
	event         *workflowv1.CloudEvent
}

// saw remembers that a call arrived and what it carried.
func (f *fake) saw(ctx context.Context) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.calls++
	f.metadata, _ = metadata.FromIncomingContext(ctx)
}

func (f *fake) seen() (int, metadata.MD) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.calls, f.metadata.Copy()
}

func permissionsOf(subject string) []string {
	switch subject {
	case "viewer@acme.test":
		return []string{"execution.view", "workflow.view"}
	case "agent@acme.test":
		return nil
	}
	var all []string
	for v := range accessv1.Permission_Value_name {
		if v != 0 {
			all = append(all, access.PermissionName(accessv1.Permission_Value(v)))
		}
	}
	return all
}

func (f *fake) grants(_ context.Context, who auth.Principal) (access.Grants, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	g := access.Grants{ModuleEnabled: f.moduleEnabled, Permissions: map[string]struct{}{}}
	for _, p := range permissionsOf(who.Subject) {
		g.Permissions[p] = struct{}{}
	}
	return g, nil
}

func (f *fake) GetMe(ctx context.Context, _ *accessv1.GetMeRequest) (*accessv1.GetMeResponse, error) {
	p, _ := auth.FromContext(ctx)
	me := &accessv1.Me{Tenant: p.Tenant, User: p.Subject, Permissions: permissionsOf(p.Subject)}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.moduleEnabled {
		me.Modules = []string{"workflow"}
	}
	return &accessv1.GetMeResponse{Me: me}, nil
}

func (f *fake) CreateWorkflow(ctx context.Context, r *workflowv1.CreateWorkflowRequest) (*workflowv1.CreateWorkflowResponse, error) {
	f.saw(ctx)
	if f.create == nil {
		return &workflowv1.CreateWorkflowResponse{Workflow: r.GetWorkflow()}, nil
	}
	return f.create(r)
}

func (f *fake) GetWorkflow(ctx context.Context, r *workflowv1.GetWorkflowRequest) (*workflowv1.GetWorkflowResponse, error) {
	f.saw(ctx)
	if f.get == nil {
		return nil, fault.NotFound("WORKFLOW_NOT_FOUND", "the workflow does not exist")
	}
	return f.get(ctx, r)
}

func (f *fake) ListWorkflows(ctx context.Context, _ *workflowv1.ListWorkflowsRequest) (*workflowv1.ListWorkflowsResponse, error) {
	f.saw(ctx)
	return &workflowv1.ListWorkflowsResponse{}, nil
}

func (f *fake) UpdateWorkflow(ctx context.Context, r *workflowv1.UpdateWorkflowRequest) (*workflowv1.UpdateWorkflowResponse, error) {
	f.saw(ctx)
	return f.update(r)
}

func (f *fake) DeleteWorkflow(ctx context.Context, r *workflowv1.DeleteWorkflowRequest) (*workflowv1.DeleteWorkflowResponse, error) {
	f.saw(ctx)
	return f.delete(r)
}

func (f *fake) ActivateWorkflow(ctx context.Context, r *workflowv1.ActivateWorkflowRequest) (*workflowv1.ActivateWorkflowResponse, error) {
	f.saw(ctx)
	return &workflowv1.ActivateWorkflowResponse{Workflow: &workflowv1.Workflow{Id: r.GetId(), State: workflowv1.Workflow_ACTIVE}}, nil
}

func (f *fake) ExportWorkflow(ctx context.Context, r *workflowv1.ExportWorkflowRequest) (*workflowv1.ExportWorkflowResponse, error) {
	f.saw(ctx)
	return f.export(r)
}

func (f *fake) UpdateDraft(ctx context.Context, r *workflowv1.UpdateDraftRequest) (*workflowv1.UpdateDraftResponse, error) {
	f.saw(ctx)
	return f.draft(r)
}

func (f *fake) WatchWorkflows(r *workflowv1.WatchWorkflowsRequest, stream workflowv1.WorkflowCatalogService_WatchWorkflowsServer) error {
	f.saw(stream.Context())
	return f.watch(r, stream)
}

func (f *fake) RunWorkflow(ctx context.Context, r *workflowv1.RunWorkflowRequest) (*workflowv1.RunWorkflowResponse, error) {
	f.saw(ctx)
	return f.run(r)
}

func (f *fake) ListExecutions(ctx context.Context, _ *workflowv1.ListExecutionsRequest) (*workflowv1.ListExecutionsResponse, error) {
	f.saw(ctx)
	return &workflowv1.ListExecutionsResponse{}, nil
}

func (f *fake) PublishEvent(ctx context.Context, r *workflowv1.PublishEventRequest) (*workflowv1.PublishEventResponse, error) {
	f.saw(ctx)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.event = r.GetEvent()
	return &workflowv1.PublishEventResponse{Id: "7", EventId: r.GetEvent().GetId()}, nil
}

// blackHole listens and accepts, and never says a word.
func blackHole(t *testing.T) string {
	t.Helper()
	var lc net.ListenConfig
	l, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l.Addr().String()
}
