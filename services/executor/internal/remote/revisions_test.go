package remote_test

import (
	"context"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"testing"

	"google.golang.org/grpc"

	"workflow.uniconnect/pkg/fault"
	"workflow.uniconnect/pkg/grpcclient"
	"workflow.uniconnect/pkg/grpcfault"
	"workflow.uniconnect/pkg/telemetry"
	peerv1 "workflow.uniconnect/proto/gen/go/uniconnect/workflow/peer/v1"
	workflowv1 "workflow.uniconnect/proto/gen/go/uniconnect/workflow/v1"
	"workflow.uniconnect/services/executor/internal/execution"
	"workflow.uniconnect/services/executor/internal/remote"
	"workflow.uniconnect/services/executor/internal/run"
)

type catalog struct {
	peerv1.UnimplementedDefinitionServiceServer
	calls atomic.Int32
	hold  chan struct{} // closed when answers may go out
}

func (c *catalog) GetRevision(_ context.Context, req *peerv1.GetRevisionRequest) (*peerv1.GetRevisionResponse, error) {
	c.calls.Add(1)
	<-c.hold
	switch req.GetRevision() {
	case 2:
		return nil, fault.NotFound("REVISION_NOT_FOUND", "no such revision")
	case 3:
		return &peerv1.GetRevisionResponse{Workflow: &workflowv1.Workflow{Steps: []*workflowv1.Step{{
			Id: "calc", Kind: &workflowv1.Step_Set{Set: &workflowv1.SetStep{Variables: map[string]string{"n": "1 +"}}},
		}}}}, nil
	}
	return &peerv1.GetRevisionResponse{Workflow: &workflowv1.Workflow{Title: fmt.Sprint("revision ", req.GetRevision())}}, nil
}

type noActions struct{}

func (noActions) Check(string, map[string]any) []fault.Violation { return nil }

func newRevisions(t *testing.T, c *catalog) *remote.Revisions {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer(grpc.UnaryInterceptor(grpcfault.UnaryServer(telemetry.Discard().Logger)))
	peerv1.RegisterDefinitionServiceServer(server, c)
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(server.Stop)
	conn, err := grpcclient.Dial(listener.Addr().String(), grpcclient.Options{Telemetry: telemetry.Discard()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	compiler, err := run.NewCompiler(noActions{})
	if err != nil {
		t.Fatal(err)
	}
	return remote.NewRevisions(conn, compiler)
}

func TestRevisions_Program(t *testing.T) {
	c := &catalog{hold: make(chan struct{})}
	r := newRevisions(t, c)
	id, _ := execution.ParseWorkflowID("01890000-0000-7000-8000-000000000001")

	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := r.Program(gone, "acme", id, 1); err == nil {
		t.Error("a caller that gave up got an answer")
	}
	var group sync.WaitGroup
	for range 50 {
		group.Go(func() {
			got, err := r.Program(t.Context(), "acme", id, 1)
			if err != nil || got.Title != "revision 1" || got.Program == nil {
				t.Errorf("got %+v, %v", got, err)
			}
		})
	}
	close(c.hold)
	group.Wait()
	if n := c.calls.Load(); n != 1 {
		t.Errorf("fetches of one revision: got %d, want 1", n)
	}
	if _, err := r.Program(t.Context(), "globex", id, 1); err != nil || c.calls.Load() != 2 {
		t.Errorf("another tenant must not be served from the cache: %v, %d fetches", err, c.calls.Load())
	}
	if _, err := r.Program(t.Context(), "acme", id, 2); fault.KindOf(err) != fault.KindNotFound {
		t.Errorf("unknown revision: got %v, want NOT_FOUND", err)
	}
	if _, err := r.Program(t.Context(), "acme", id, 3); fault.KindOf(err) != fault.KindInvalidArgument {
		t.Errorf("revision that does not compile: got %v, want INVALID_ARGUMENT", err)
	}
}
