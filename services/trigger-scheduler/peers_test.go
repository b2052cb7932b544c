package scheduler

import (
	"context"
	"fmt"
	"net"
	"strconv"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/timestamppb"

	"workflow.uniconnect/pkg/fault"
	"workflow.uniconnect/pkg/grpcfault"
	accessv1 "workflow.uniconnect/proto/gen/go/uniconnect/access/v1"
	peerv1 "workflow.uniconnect/proto/gen/go/uniconnect/workflow/peer/v1"
	workflowv1 "workflow.uniconnect/proto/gen/go/uniconnect/workflow/v1"
)

// catalogPeer is a catalog as the scheduler sees one: a feed of definitions, numbered in commit order.
type catalogPeer struct {
	peerv1.UnimplementedDefinitionServiceServer
	peerv1.UnimplementedGrantsServiceServer

	mu    sync.Mutex
	feed  []change
	moved chan struct{}
	// delay keeps changes from watchers; hold keeps the feed from the given number on from them altogether.
	delay time.Duration
	hold  int
	cut   context.Context
	end   context.CancelFunc
}

func newCatalogPeer() *catalogPeer {
	p := &catalogPeer{moved: make(chan struct{}), hold: 1 << 30}
	p.cut, p.end = context.WithCancel(context.Background())
	return p
}

// put commits a definition; when it returns the catalog has answered its caller.
func (p *catalogPeer) put(d *peerv1.Definition) {
	p.mu.Lock()
	defer p.mu.Unlock()
	d.EffectiveTime = timestamppb.Now()
	if d.ActiveSinceTime == nil {
		d.ActiveSinceTime = d.GetEffectiveTime()
	}
	p.add(change{definition: d})
}

// keep holds what is committed from now on back until release.
func (p *catalogPeer) keep() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.hold = len(p.feed)
}

// open commits a gate.
func (p *catalogPeer) open(tenant string, open bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.add(change{gate: &peerv1.TenantGate{Tenant: tenant, Open: open, EffectiveTime: timestamppb.Now()}})
}

func (p *catalogPeer) add(c change) {
	p.feed = append(p.feed, c)
	close(p.moved)
	p.moved = make(chan struct{})
}

// change is an entry of the feed: one of the two.
type change struct {
	definition *peerv1.Definition
	gate       *peerv1.TenantGate
}

func (c change) effective() *timestamppb.Timestamp {
	if c.gate != nil {
		return c.gate.GetEffectiveTime()
	}
	return c.definition.GetEffectiveTime()
}

// release lets held changes go, and cuts all watches when asked to.
func (p *catalogPeer) release() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.hold = 1 << 30
	close(p.moved)
	p.moved = make(chan struct{})
}

func (p *catalogPeer) cutWatches() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.end()
	p.cut, p.end = context.WithCancel(context.Background())
}

// after returns what follows a position, and since when a watcher misses nothing with it.
func (p *catalogPeer) after(n int) ([]change, int, time.Time, <-chan struct{}, context.Context) {
	p.mu.Lock()
	defer p.mu.Unlock()
	end := min(len(p.feed), p.hold)
	asOf := time.Now()
	if end < len(p.feed) {
		asOf = p.feed[end].effective().AsTime().Add(-time.Millisecond)
	}
	return p.feed[min(n, end):end], end, asOf, p.moved, p.cut
}

func (p *catalogPeer) WatchDefinitions(req *peerv1.WatchDefinitionsRequest, stream grpc.ServerStreamingServer[peerv1.WatchDefinitionsResponse]) error {
	at := 0
	if token := req.GetResumeToken(); token != "" {
		n, err := strconv.Atoi(token)
		if err != nil {
			return grpcfault.ToStatus(fault.InvalidArgument("INVALID_FIELDS", "token"))
		}
		at = n
	}
	snapshot := req.GetResumeToken() == ""
	for {
		news, end, asOf, moved, cut := p.after(at)
		if !snapshot && len(news) > 0 && p.delay > 0 {
			select {
			case <-time.After(p.delay):
			case <-stream.Context().Done():
				return stream.Context().Err()
			}
		}
		resp := &peerv1.WatchDefinitionsResponse{SnapshotComplete: snapshot, ResumeToken: strconv.Itoa(end), AsOfTime: timestamppb.New(asOf)}
		for _, c := range news {
			if c.gate != nil {
				resp.TenantGates = append(resp.TenantGates, c.gate)
			} else {
				resp.Definitions = append(resp.Definitions, c.definition)
			}
		}
		err := stream.Send(resp)
		if err != nil {
			return err
		}
		at, snapshot = end, false
		select {
		case <-moved:
		case <-time.After(100 * time.Millisecond):
		case <-cut.Done():
			return grpcfault.ToStatus(fault.Unavailable("SERVICE_UNAVAILABLE", "cut"))
		case <-stream.Context().Done():
			return stream.Context().Err()
		}
	}
}

func (p *catalogPeer) GetGrants(context.Context, *peerv1.GetGrantsRequest) (*peerv1.GetGrantsResponse, error) {
	return &peerv1.GetGrantsResponse{ModuleEnabled: true, Permissions: []accessv1.Permission_Value{
		accessv1.Permission_EVENT_PUBLISH, accessv1.Permission_WORKFLOW_VIEW,
	}}, nil
}

// executorPeer is an executor with a ledger: it accepts a key once.
type executorPeer struct {
	peerv1.UnimplementedStartServiceServer

	mu      sync.Mutex
	keys    map[string]string // key of a start → its execution
	runs    map[string]int    // workflow/event → executions
	calls   int
	dupes   int
	batches []int
	traces  []string
	away    bool
	// after is called after the commit of a call, and decides what the caller gets.
	after func(call int) error
	moved chan struct{}
}

func newExecutorPeer() *executorPeer {
	return &executorPeer{keys: make(map[string]string), runs: make(map[string]int), moved: make(chan struct{})}
}

func (p *executorPeer) StartExecutions(_ context.Context, req *peerv1.StartExecutionsRequest) (*peerv1.StartExecutionsResponse, error) {
	p.mu.Lock()
	if p.away {
		p.mu.Unlock()
		return nil, grpcfault.ToStatus(fault.Unavailable("SERVICE_UNAVAILABLE", "away"))
	}
	p.calls++
	call, after := p.calls, p.after
	p.batches = append(p.batches, len(req.GetStarts()))
	resp := &peerv1.StartExecutionsResponse{}
	for _, s := range req.GetStarts() {
		key := s.GetTenant() + "/" + string(s.GetKey())
		result := &peerv1.StartResult{Outcome: peerv1.StartResult_DUPLICATE, ExecutionId: p.keys[key]}
		if result.GetExecutionId() == "" {
			result.Outcome, result.ExecutionId = peerv1.StartResult_STARTED, fmt.Sprintf("x%d", len(p.keys))
			p.keys[key] = result.GetExecutionId()
			p.runs[s.GetWorkflowId()+"/"+s.GetCause().GetEvent().GetId()]++
			p.traces = append(p.traces, s.GetTraceparent())
		} else {
			p.dupes++
		}
		resp.Results = append(resp.Results, result)
	}
	close(p.moved)
	p.moved = make(chan struct{})
	p.mu.Unlock()
	if after != nil {
		if err := after(call); err != nil {
			return nil, grpcfault.ToStatus(err)
		}
	}
	return resp, nil
}

func (p *executorPeer) setAway(away bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.away = away
}

// await waits until the ledger satisfies a condition.
func (p *executorPeer) await(t testing.TB, what string, ok func(runs map[string]int) bool) {
	t.Helper()
	deadline := time.NewTimer(20 * time.Second)
	defer deadline.Stop()
	for {
		p.mu.Lock()
		done, moved, n := ok(p.runs), p.moved, len(p.runs)
		p.mu.Unlock()
		if done {
			return
		}
		select {
		case <-moved:
		case <-deadline.C:
			t.Fatalf("%s: not within 20 s; the ledger has %d runs", what, n)
		}
	}
}

// once fails for every (workflow, event) that ran more than once.
func (p *executorPeer) once(t testing.TB) {
	t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	for run, n := range p.runs {
		if n != 1 {
			t.Errorf("%s started %d times", run, n)
		}
	}
}

// serve runs a gRPC server for peers until the test ends, and returns its address.
func serve(t testing.TB, register func(*grpc.Server)) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer()
	register(server)
	done := make(chan error, 1)
	go func() { done <- server.Serve(listener) }()
	t.Cleanup(func() {
		server.Stop()
		if err := <-done; err != nil {
			t.Errorf("peer: %v", err)
		}
	})
	return listener.Addr().String()
}

// workflow returns an active definition of acme on call.ended.
func workflow(id string) *peerv1.Definition {
	return &peerv1.Definition{
		Tenant: "acme", WorkflowId: id, Revision: 1, State: workflowv1.Workflow_ACTIVE, HasSteps: true,
		Trigger: &workflowv1.Trigger{Kind: &workflowv1.Trigger_Event{Event: &workflowv1.EventTrigger{EventType: "call.ended"}}},
	}
}

func filtered(id, expression string) *peerv1.Definition {
	d := workflow(id)
	d.GetTrigger().GetEvent().Filter = &workflowv1.Predicate{Kind: &workflowv1.Predicate_Expression{Expression: expression}}
	return d
}
