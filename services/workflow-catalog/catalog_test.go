package catalog_test

import (
	"context"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/types/known/structpb"

	"workflow.uniconnect/pkg/access"
	"workflow.uniconnect/pkg/admin"
	"workflow.uniconnect/pkg/auth"
	"workflow.uniconnect/pkg/config"
	"workflow.uniconnect/pkg/fault"
	"workflow.uniconnect/pkg/grpcclient"
	"workflow.uniconnect/pkg/grpcserver"
	"workflow.uniconnect/pkg/pgtest"
	"workflow.uniconnect/pkg/service"
	"workflow.uniconnect/pkg/telemetry"
	accessv1 "workflow.uniconnect/proto/gen/go/uniconnect/access/v1"
	peerv1 "workflow.uniconnect/proto/gen/go/uniconnect/workflow/peer/v1"
	workflowv1 "workflow.uniconnect/proto/gen/go/uniconnect/workflow/v1"
	catalog "workflow.uniconnect/services/workflow-catalog"
)

func TestMain(m *testing.M) { os.Exit(pgtest.Main(m)) }

func migrate(ctx context.Context, url string) error {
	return catalog.Migrate(ctx, config.Settings{DatabaseURL: config.Secret(url)})
}

// owners stands for trigger-scheduler and executor: real servers that know service identities and answer what a test says.
type owners struct {
	peerv1.UnimplementedTriggerServiceServer
	peerv1.UnimplementedStartServiceServer

	mu        sync.Mutex
	found     []*peerv1.Violation // what validation answers
	asked     []string
	finalized map[string]bool // workflow ids by service, as in "triggers id"
	notYet    int             // how often executions are not done
	addr      string
	data      *structpb.Struct // what is known of the event
	told      *structpb.Struct // what the owner of the steps was told of it
}

func (o *owners) note(what string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.asked = append(o.asked, what)
}

func (o *owners) takeAsked() []string {
	o.mu.Lock()
	defer o.mu.Unlock()
	asked := o.asked
	o.asked = nil
	slices.Sort(asked)
	return asked
}

func (o *owners) set(found ...*peerv1.Violation) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.found = found
}

func (o *owners) ValidateTrigger(context.Context, *peerv1.ValidateTriggerRequest) (*peerv1.ValidateTriggerResponse, error) {
	o.note("trigger")
	o.mu.Lock()
	defer o.mu.Unlock()
	return &peerv1.ValidateTriggerResponse{DataSchema: o.data, Violations: slices.DeleteFunc(slices.Clone(o.found), func(v *peerv1.Violation) bool { return v.Field[0] != 't' })}, nil
}

func (o *owners) ValidateSteps(_ context.Context, req *peerv1.ValidateStepsRequest) (*peerv1.ValidateStepsResponse, error) {
	o.note("steps")
	o.mu.Lock()
	defer o.mu.Unlock()
	o.told = req.GetDataSchema()
	return &peerv1.ValidateStepsResponse{Violations: slices.DeleteFunc(slices.Clone(o.found), func(v *peerv1.Violation) bool { return v.Field[0] == 't' })}, nil
}

func (o *owners) FinalizeTriggers(_ context.Context, req *peerv1.FinalizeTriggersRequest) (*peerv1.FinalizeTriggersResponse, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.finalized["triggers "+req.GetWorkflowId()] = true
	return &peerv1.FinalizeTriggersResponse{Done: true}, nil
}

func (o *owners) FinalizeExecutions(_ context.Context, req *peerv1.FinalizeExecutionsRequest) (*peerv1.FinalizeExecutionsResponse, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.finalized["triggers "+req.GetWorkflowId()] {
		return nil, fault.Internal(fault.ReasonInternal, "executions finalized before triggers")
	}
	if o.notYet--; o.notYet >= 0 {
		return &peerv1.FinalizeExecutionsResponse{}, nil
	}
	o.finalized["executions "+req.GetWorkflowId()] = true
	return &peerv1.FinalizeExecutionsResponse{Done: true}, nil
}

func (o *owners) isFinalized(what string) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return maps.Clone(o.finalized)[what]
}

// system is a database with its owners, on which any number of replicas run.
type system struct {
	deps   service.Deps
	issuer *auth.Issuer
	owners *owners
	// stopOwners takes the owners away; startOwners brings them back to the same address.
	stopOwners  func()
	startOwners func()
}

func newSystem(t *testing.T) *system {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "data")
	cfg := auth.Config{Dev: true, DataDir: dir}
	s := &system{owners: &owners{finalized: make(map[string]bool)}}
	var err error
	if s.issuer, err = auth.OpenIssuer(dir); err != nil {
		t.Fatal(err)
	}
	tel := telemetry.Discard()
	s.deps = service.Deps{Telemetry: tel, Readiness: admin.NewReadiness(tel.Logger)}
	if s.deps.Verifier, err = auth.NewVerifier(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	if s.deps.TokenSource, err = auth.NewTokenSource(t.Context(), cfg, catalog.Name); err != nil {
		t.Fatal(err)
	}
	s.owners.addr = listen(t, "127.0.0.1:0").Addr().String()
	s.startOwners = func() { s.stopOwners = s.serveOwners(t) }
	s.deps.Settings = config.Settings{
		Dev: true, DatabaseURL: config.Secret(pgtest.New(t, migrate)), SchedulerAddr: s.owners.addr, ExecutorAddr: s.owners.addr,
	}
	return s
}

// listen returns a listener; one on any port is closed at once, since it only serves to find a free one.
func listen(t *testing.T, addr string) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	if addr == "127.0.0.1:0" {
		_ = l.Close()
	}
	return l
}

func (s *system) serveOwners(t *testing.T) (stop func()) {
	t.Helper()
	server, err := grpcserver.New(t.Context(), grpcserver.Options{
		Listener: listen(t, s.owners.addr), Telemetry: s.deps.Telemetry, Verifier: s.deps.Verifier,
		Enforcer: access.NewEnforcer(access.Options{Module: "workflow"}),
	})
	if err != nil {
		t.Fatal(err)
	}
	peerv1.RegisterTriggerServiceServer(server, s.owners)
	peerv1.RegisterStartServiceServer(server, s.owners)
	return background(t, server.Run)
}

// background runs something until stop is called or the test ends.
func background(t *testing.T, run func(context.Context) error) (stop func()) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	ended := make(chan error, 1)
	go func() { ended <- run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("stopped with: %v", err)
		}
	})
	t.Cleanup(stop)
	return stop
}

// replica is a running catalog.
type replica struct {
	*catalog.Service
	conn *grpc.ClientConn
	stop func()
}

func (s *system) start(t *testing.T) *replica {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	svc, err := catalog.New(t.Context(), catalog.Config{Deps: s.deps, Listener: l})
	if err != nil {
		t.Fatal(err)
	}
	r := &replica{Service: svc, stop: background(t, svc.Run)}
	if r.conn, err = grpcclient.Dial(svc.Addr(), grpcclient.Options{Telemetry: s.deps.Telemetry}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.conn.Close() })
	return r
}

// started is a system with its owners, one replica and the tenants acme and globex.
func started(t *testing.T) (*system, *replica) {
	t.Helper()
	s := newSystem(t)
	s.startOwners()
	r := s.start(t)
	addTenants(t, r)
	return s, r
}

func addTenants(t *testing.T, r *replica) {
	t.Helper()
	for _, name := range []string{"acme", "globex"} {
		_, err := r.EnsureTenant(t.Context(), catalog.TenantSeed{
			Tenant: name, Title: name, TimeZone: "Europe/Berlin",
			Roles: []catalog.RoleSeed{{Title: "Viewer", Permissions: []string{"workflow.view"}}},
			Users: []catalog.UserSeed{
				{Subject: "owner", Roles: []string{"System Owner"}}, {Subject: "viewer", Roles: []string{"Viewer", "User"}}, {Subject: "agent", Roles: []string{"User"}},
			},
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}

// as returns a context whose calls carry a token of the principal.
func (s *system) as(t *testing.T, p auth.Principal, headers ...string) context.Context {
	t.Helper()
	token, err := s.issuer.Issue(p, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	return metadata.AppendToOutgoingContext(t.Context(), append([]string{"authorization", "Bearer " + token}, headers...)...)
}

func (s *system) owner(t *testing.T, headers ...string) context.Context {
	t.Helper()
	return s.as(t, auth.Principal{Tenant: "acme", Subject: "owner"}, headers...)
}

func (s *system) peer(t *testing.T) context.Context {
	t.Helper()
	return s.as(t, auth.Principal{Subject: "trigger-scheduler", Kind: auth.Service})
}

func (r *replica) workflows() workflowv1.WorkflowCatalogServiceClient {
	return workflowv1.NewWorkflowCatalogServiceClient(r.conn)
}

func (r *replica) definitions() peerv1.DefinitionServiceClient {
	return peerv1.NewDefinitionServiceClient(r.conn)
}

// message reads a workflow as people write it.
func message(t *testing.T, text string) *workflowv1.Workflow {
	t.Helper()
	w := &workflowv1.Workflow{}
	if err := protojson.Unmarshal([]byte(text), w); err != nil {
		t.Fatal(err)
	}
	return w
}

func simple(t *testing.T, title string) *workflowv1.Workflow {
	t.Helper()
	return message(t, `{"title":"`+title+`","trigger":{"event":{"eventType":"call.ended"}},"steps":[{"id":"a","stop":{}}]}`)
}

func (r *replica) create(t *testing.T, ctx context.Context, title string) *workflowv1.Workflow {
	t.Helper()
	resp, err := r.workflows().CreateWorkflow(ctx, &workflowv1.CreateWorkflowRequest{Workflow: simple(t, title)})
	if err != nil {
		t.Fatal(err)
	}
	return resp.GetWorkflow()
}

// wantFault checks an answer's kind and reason.
func wantFault(t *testing.T, err error, kind fault.Kind, reason fault.Reason) {
	t.Helper()
	_ = faultOf(t, err, kind, reason)
}

// faultOf is wantFault for who wants to see more of it.
func faultOf(t *testing.T, err error, kind fault.Kind, reason fault.Reason) *fault.Error {
	t.Helper()
	f, ok := fault.As(err)
	if !ok || f.Kind != kind || f.Reason != reason {
		t.Fatalf("got %v, want %v %s", err, kind, reason)
	}
	return f
}

// until asks again and again, as fast as answers come, until the answer is yes or the test ends.
func until(t *testing.T, what string, done func() bool) {
	t.Helper()
	ticker := time.NewTicker(5 * time.Millisecond)
	defer ticker.Stop()
	limit := time.NewTimer(30 * time.Second)
	defer limit.Stop()
	for !done() {
		select {
		case <-ticker.C:
		case <-limit.C:
			t.Fatalf("waited too long until %s", what)
		}
	}
}

func TestService_access(t *testing.T) {
	t.Parallel()
	s, r := started(t)
	me := func(subject string) *accessv1.Me {
		resp, err := accessv1.NewAccessServiceClient(r.conn).GetMe(s.as(t, auth.Principal{Tenant: "acme", Subject: subject}), &accessv1.GetMeRequest{})
		if err != nil {
			t.Fatal(err)
		}
		return resp.GetMe()
	}
	if got := me("owner"); len(got.Permissions) != 16 || got.Permissions[0] != "access.manage" || got.Tenant != "acme" || got.Modules[0] != "workflow" {
		t.Errorf("owner: got %v, want all permissions, sorted", got)
	}
	if got := me("viewer"); !slices.Equal(got.Permissions, []string{"workflow.view"}) || !slices.Equal(got.Roles, []string{"User", "Viewer"}) {
		t.Errorf("viewer: got %v", got)
	}
	if got := me("stranger"); len(got.Permissions) != 0 || len(got.Roles) != 0 {
		t.Errorf("stranger: got %v, want nothing", got)
	}

	w := r.create(t, s.owner(t), "First")
	viewer := s.as(t, auth.Principal{Tenant: "acme", Subject: "viewer"})
	if _, err := r.workflows().GetWorkflow(viewer, &workflowv1.GetWorkflowRequest{Id: w.GetId()}); err != nil {
		t.Errorf("viewer views: %v", err)
	}
	_, err := r.workflows().CreateWorkflow(viewer, &workflowv1.CreateWorkflowRequest{})
	wantFault(t, err, fault.KindPermissionDenied, "PERMISSION_MISSING") // before anything is said about the input
	_, err = r.workflows().GetWorkflow(s.as(t, auth.Principal{Tenant: "acme", Subject: "agent"}), &workflowv1.GetWorkflowRequest{Id: w.GetId()})
	wantFault(t, err, fault.KindPermissionDenied, "PERMISSION_MISSING")
	_, err = r.workflows().GetWorkflow(s.as(t, auth.Principal{Tenant: "nowhere", Subject: "owner"}), &workflowv1.GetWorkflowRequest{Id: w.GetId()})
	wantFault(t, err, fault.KindPermissionDenied, "TENANT_STATE")
	_, err = r.workflows().GetWorkflow(t.Context(), &workflowv1.GetWorkflowRequest{Id: w.GetId()})
	wantFault(t, err, fault.KindUnauthenticated, "TOKEN_MISSING")
	_, err = r.definitions().GetRevision(s.owner(t), &peerv1.GetRevisionRequest{Tenant: "acme", WorkflowId: w.GetId()})
	wantFault(t, err, fault.KindPermissionDenied, "INTERNAL_METHOD")

	grants, err := peerv1.NewGrantsServiceClient(r.conn).GetGrants(s.peer(t), &peerv1.GetGrantsRequest{Tenant: "acme", Subject: "viewer"})
	if err != nil || !grants.GetModuleEnabled() || !slices.Equal(grants.GetPermissions(), []accessv1.Permission_Value{accessv1.Permission_WORKFLOW_VIEW}) {
		t.Errorf("grants: got %v, %v", grants, err)
	}
}
