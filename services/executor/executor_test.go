package executor_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/structpb"

	"workflow.uniconnect/pkg/auth"
	"workflow.uniconnect/pkg/config"
	"workflow.uniconnect/pkg/fault"
	"workflow.uniconnect/pkg/grpcclient"
	"workflow.uniconnect/pkg/grpcfault"
	"workflow.uniconnect/pkg/lifecycle"
	"workflow.uniconnect/pkg/pgtest"
	"workflow.uniconnect/pkg/service"
	"workflow.uniconnect/pkg/telemetry"
	accessv1 "workflow.uniconnect/proto/gen/go/uniconnect/access/v1"
	peerv1 "workflow.uniconnect/proto/gen/go/uniconnect/workflow/peer/v1"
	workflowv1 "workflow.uniconnect/proto/gen/go/uniconnect/workflow/v1"
	"workflow.uniconnect/services/executor"
)

func TestMain(m *testing.M) { os.Exit(pgtest.Main(m)) }

const workflowID = "01890000-0000-7000-8000-000000000001"

// catalog knows one active workflow and lets everybody do everything.
type catalog struct {
	peerv1.UnimplementedDefinitionServiceServer
	peerv1.UnimplementedGrantsServiceServer
	url string
}

func (c *catalog) GetRevision(_ context.Context, req *peerv1.GetRevisionRequest) (*peerv1.GetRevisionResponse, error) {
	if req.GetTenant() != "acme" || req.GetWorkflowId() != workflowID {
		return nil, fault.NotFound("WORKFLOW_NOT_FOUND", "there is no workflow with this id")
	}
	params, err := structpb.NewStruct(map[string]any{
		"method": "POST", "url": c.url, "body": map[string]any{"call": "${event.data.call_id}", "n": "${vars.n}"},
	})
	if err != nil {
		return nil, err
	}
	return &peerv1.GetRevisionResponse{Workflow: &workflowv1.Workflow{
		Id: workflowID, Title: "On Call Ended", Revision: 1, State: workflowv1.Workflow_ACTIVE,
		Steps: []*workflowv1.Step{
			{Id: "calc", Kind: &workflowv1.Step_Set{Set: &workflowv1.SetStep{Variables: map[string]string{"n": "1 + 2"}}}},
			{Id: "send", Kind: &workflowv1.Step_Action{Action: &workflowv1.ActionStep{Type: "http.request", Params: params}}},
		},
	}}, nil
}

func (c *catalog) GetGrants(context.Context, *peerv1.GetGrantsRequest) (*peerv1.GetGrantsResponse, error) {
	return &peerv1.GetGrantsResponse{
		ModuleEnabled: true,
		Permissions:   []accessv1.Permission_Value{accessv1.Permission_WORKFLOW_RUN, accessv1.Permission_EXECUTION_VIEW},
	}, nil
}

type world struct {
	t      *testing.T
	user   *grpc.ClientConn // as a user of acme
	peer   *grpc.ClientConn // as a service
	bodies chan string
	url    string // of the database
	stop   func() error
}

func listen(t *testing.T) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// newWorld runs the service on a database of its own, with a catalog and a target.
func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, bodies: make(chan string, 16)}
	target := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		w.bodies <- string(body)
		rw.Header().Set("Content-Type", "application/json")
		_, _ = rw.Write([]byte(`{"ok":true}`))
	}))
	t.Cleanup(target.Close)

	catalogListener := listen(t)
	peers := grpc.NewServer(grpc.UnaryInterceptor(grpcfault.UnaryServer(telemetry.Discard().Logger)))
	c := &catalog{url: target.URL + "/hook"}
	peerv1.RegisterDefinitionServiceServer(peers, c)
	peerv1.RegisterGrantsServiceServer(peers, c)
	go func() { _ = peers.Serve(catalogListener) }()
	t.Cleanup(peers.Stop)

	dir := t.TempDir()
	settings, err := config.Load([]string{"--dev", "--data-dir", dir, "--log-level", "error"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	settings.CatalogAddr = catalogListener.Addr().String()
	settings.AllowTargets = []string{target.Listener.Addr().String()}
	w.url = pgtest.New(t, nil)
	settings.DatabaseURL = config.Secret(w.url)
	if err := executor.Migrate(t.Context(), settings); err != nil {
		t.Fatal(err)
	}
	var stack lifecycle.Stack
	t.Cleanup(func() { _ = stack.Close(context.Background()) })
	deps, err := service.NewDeps(t.Context(), executor.Name, settings, &stack)
	if err != nil {
		t.Fatal(err)
	}
	s, err := executor.New(t.Context(), executor.Config{Deps: deps, Listener: listen(t)})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	stopped := false
	w.stop = func() error {
		if stopped {
			return nil
		}
		stopped = true
		cancel()
		return <-done
	}
	t.Cleanup(func() {
		if err := w.stop(); err != nil {
			t.Errorf("service: %v", err)
		}
	})
	issuer, err := auth.OpenIssuer(dir)
	if err != nil {
		t.Fatal(err)
	}
	w.user = w.dial(s.Addr(), identity{issuer, auth.Principal{Tenant: "acme", Subject: "user-1"}})
	w.peer = w.dial(s.Addr(), identity{issuer, auth.Principal{Subject: "trigger-scheduler", Kind: auth.Service}})
	return w
}

// identity signs tokens of one caller.
type identity struct {
	issuer *auth.Issuer
	who    auth.Principal
}

func (i identity) Token(context.Context) (string, error) { return i.issuer.Issue(i.who, time.Hour) }

func (w *world) dial(addr string, who identity) *grpc.ClientConn {
	w.t.Helper()
	conn, err := grpcclient.Dial(addr, grpcclient.Options{Telemetry: telemetry.Discard(), TokenSource: who})
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { _ = conn.Close() })
	return conn
}

func (w *world) awaitState(id string, want workflowv1.Execution_State) *workflowv1.Execution {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), 20*time.Second)
	defer cancel()
	ticker := time.NewTicker(10 * time.Millisecond)
	defer ticker.Stop()
	for {
		resp, err := workflowv1.NewExecutorServiceClient(w.user).GetExecution(ctx, &workflowv1.GetExecutionRequest{Id: id})
		if err == nil && resp.GetExecution().GetState() == want {
			return resp.GetExecution()
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			w.t.Fatalf("execution %s: got %v, %v; want %v", id, resp.GetExecution(), err, want)
		}
	}
}

func startOf(key string) *peerv1.Start {
	return &peerv1.Start{
		Tenant: "acme", WorkflowId: workflowID, Revision: 1, Key: []byte((key + "................")[:16]),
		Cause: &workflowv1.Cause{Kind: &workflowv1.Cause_Event{Event: &workflowv1.EventCause{Id: key, Type: "call.ended", Source: "/calls"}}},
		Event: []byte(`{"id":"` + key + `","type":"call.ended","data":{"call_id":"` + key + `"}}`),
	}
}

func TestService_StartsAndShows(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	starts, executions := peerv1.NewStartServiceClient(w.peer), workflowv1.NewExecutorServiceClient(w.user)
	req := &peerv1.StartExecutionsRequest{Starts: []*peerv1.Start{startOf("call-1"), startOf("call-1")}}
	resp, err := starts.StartExecutions(t.Context(), req)
	if err != nil {
		t.Fatal(err)
	}
	first, second := resp.GetResults()[0], resp.GetResults()[1]
	if first.GetOutcome() != peerv1.StartResult_STARTED || second.GetOutcome() != peerv1.StartResult_DUPLICATE ||
		second.GetExecutionId() != first.GetExecutionId() {
		t.Fatalf("got %v", resp.GetResults())
	}
	got := w.awaitState(first.GetExecutionId(), workflowv1.Execution_SUCCEEDED)
	if body := <-w.bodies; body != `{"call":"call-1","n":3}` {
		t.Errorf("target received %s", body)
	}
	if len(got.GetSteps()) != 2 || got.GetInput().GetFields()["call_id"].GetStringValue() != "call-1" || got.GetCause().GetEvent().GetId() != "call-1" {
		t.Errorf("got %v", got)
	}
	run, err := executions.RunWorkflow(t.Context(), &workflowv1.RunWorkflowRequest{WorkflowId: workflowID, RequestId: "r1", Input: &structpb.Struct{
		Fields: map[string]*structpb.Value{"call_id": structpb.NewStringValue("by hand")},
	}})
	if err != nil {
		t.Fatal(err)
	}
	w.awaitState(run.GetExecution().GetId(), workflowv1.Execution_SUCCEEDED)
	list, err := executions.ListExecutions(t.Context(), &workflowv1.ListExecutionsRequest{WorkflowId: workflowID})
	if err != nil || len(list.GetExecutions()) != 2 || list.GetExecutions()[0].GetId() != run.GetExecution().GetId() {
		t.Errorf("list: got %v, %v; want the two, newest first", list, err)
	}
}

// However many calls wait for what the database shows, the lease is renewed: else readers would end executions.
func TestService_ReadersLeaveTheLeaseAlone(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	pool := pgtest.Open(t, w.url, executor.Name)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	renewedAfter := func(then time.Time) bool {
		var now time.Time
		err := pool.QueryRow(ctx, `SELECT max(lease_until) FROM owners HAVING max(lease_until) IS NOT NULL`).Scan(&now)
		if err != nil && !errors.Is(err, pgx.ErrNoRows) {
			t.Fatal(err)
		}
		return now.After(then)
	}
	await := func(what string, holds func() bool) {
		t.Helper()
		ticker := time.NewTicker(20 * time.Millisecond)
		defer ticker.Stop()
		for !holds() {
			select {
			case <-ticker.C:
			case <-ctx.Done():
				t.Fatalf("%s: not in time", what)
			}
		}
	}
	await("lease", func() bool { return renewedAfter(time.Time{}) })
	tx, err := pool.Begin(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Exec(ctx, `LOCK TABLE executions IN ACCESS EXCLUSIVE MODE`); err != nil {
		t.Fatal(err)
	}
	var group sync.WaitGroup
	for range 60 {
		group.Go(func() {
			_, _ = workflowv1.NewExecutorServiceClient(w.user).GetExecution(ctx, &workflowv1.GetExecutionRequest{Id: workflowID})
		})
	}
	await("readers", func() bool {
		var n int
		if err := pool.QueryRow(ctx, `SELECT count(*) FROM pg_locks WHERE NOT granted`).Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n >= 4
	})
	var until, now time.Time
	if err := pool.QueryRow(ctx, `SELECT max(lease_until), now() FROM owners`).Scan(&until, &now); err != nil {
		t.Fatal(err)
	}
	await("renewal", func() bool { return renewedAfter(until) })
	if err := pool.QueryRow(ctx, `SELECT now()`).Scan(&now); err != nil {
		t.Fatal(err)
	}
	if now.After(until) {
		t.Errorf("the lease until %v was renewed or replaced only at %v", until, now)
	}
	if err := tx.Rollback(ctx); err != nil {
		t.Error(err)
	}
	cancel()
	group.Wait()
}

func TestService_Refuses(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	unknown := "01890000-0000-7000-8000-0000000000ff"
	_, err := workflowv1.NewExecutorServiceClient(w.user).RunWorkflow(t.Context(), &workflowv1.RunWorkflowRequest{WorkflowId: unknown})
	if fault.KindOf(err) != fault.KindNotFound {
		t.Errorf("unknown workflow: got %v, want NOT_FOUND", err)
	}
	_, err = peerv1.NewStartServiceClient(w.user).StartExecutions(t.Context(), &peerv1.StartExecutionsRequest{})
	if fault.KindOf(err) != fault.KindPermissionDenied {
		t.Errorf("internal method as a user: got %v, want PERMISSION_DENIED", err)
	}
	resp, err := peerv1.NewStartServiceClient(w.peer).ValidateSteps(t.Context(), &peerv1.ValidateStepsRequest{
		Tenant: "acme", Workflow: &workflowv1.Workflow{Steps: []*workflowv1.Step{
			{Id: "send", Kind: &workflowv1.Step_Action{Action: &workflowv1.ActionStep{Type: "no.such"}}},
		}},
	})
	if err != nil || len(resp.GetViolations()) != 1 || resp.GetViolations()[0].GetField() != "steps[0].action.type" {
		t.Errorf("validate: got %v, %v", resp, err)
	}
}

func TestService_Finalize(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	starts := peerv1.NewStartServiceClient(w.peer)
	resp, err := starts.StartExecutions(t.Context(), &peerv1.StartExecutionsRequest{Starts: []*peerv1.Start{startOf("call-1")}})
	if err != nil {
		t.Fatal(err)
	}
	for done := false; !done; {
		f, err := starts.FinalizeExecutions(t.Context(), &peerv1.FinalizeExecutionsRequest{Tenant: "acme", WorkflowId: workflowID})
		if err != nil {
			t.Fatal(err)
		}
		done = f.GetDone()
	}
	_, err = workflowv1.NewExecutorServiceClient(w.user).GetExecution(t.Context(), &workflowv1.GetExecutionRequest{Id: resp.GetResults()[0].GetExecutionId()})
	if fault.KindOf(err) != fault.KindNotFound {
		t.Errorf("after the deletion: got %v, want NOT_FOUND", err)
	}
	resp, err = starts.StartExecutions(t.Context(), &peerv1.StartExecutionsRequest{Starts: []*peerv1.Start{startOf("call-2")}})
	if err != nil || resp.GetResults()[0].GetReason() != "WORKFLOW_DELETED" {
		t.Errorf("late start: got %v, %v; want it refused", resp, err)
	}
	if err := w.stop(); err != nil {
		t.Errorf("stop: %v", err)
	}
}
