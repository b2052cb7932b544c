package grpcclient_test

import (
	"context"
	"io"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/stats"

	"workflow.uniconnect/pkg/grpcclient"
	"workflow.uniconnect/pkg/telemetry"
)

// counter counts the calls that a server gets.
type counter struct{ calls atomic.Int64 }

func (c *counter) TagRPC(ctx context.Context, _ *stats.RPCTagInfo) context.Context   { return ctx }
func (c *counter) TagConn(ctx context.Context, _ *stats.ConnTagInfo) context.Context { return ctx }
func (c *counter) HandleConn(context.Context, stats.ConnStats)                       {}
func (c *counter) HandleRPC(_ context.Context, s stats.RPCStats) {
	if _, ok := s.(*stats.Begin); ok {
		c.calls.Add(1)
	}
}

func serve(t *testing.T) (addr string, calls *counter, stop func()) {
	t.Helper()
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	calls = &counter{}
	server := grpc.NewServer(grpc.StatsHandler(calls))
	healthv1.RegisterHealthServer(server, health.NewServer())
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	stop = func() {
		server.Stop()
		if err := <-served; err != nil {
			t.Errorf("serve: %v", err)
		}
	}
	return listener.Addr().String(), calls, stop
}

func TestDial_spreadsOverReplicas(t *testing.T) {
	addrA, callsA, stopA := serve(t)
	addrB, callsB, stopB := serve(t)
	defer stopB()
	tel, err := telemetry.New(t.Context(), telemetry.Options{Service: "test", Writer: io.Discard})
	if err != nil {
		t.Fatal(err)
	}
	conn, err := grpcclient.Dial(addrA+","+addrB, grpcclient.Options{Telemetry: tel})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	client := healthv1.NewHealthClient(conn)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	check := func() error {
		_, err := client.Check(ctx, &healthv1.HealthCheckRequest{}, grpc.WaitForReady(true))
		return err
	}
	for callsA.calls.Load() == 0 || callsB.calls.Load() == 0 {
		if err := check(); err != nil {
			t.Fatalf("both replicas up: %v (calls so far: %d and %d)", err, callsA.calls.Load(), callsB.calls.Load())
		}
	}
	stopA()
	// A call that was on its way to the stopped replica may fail; then the other one gets them all.
	for err := check(); err != nil; err = check() {
		if ctx.Err() != nil {
			t.Fatalf("one replica up: %v", err)
		}
	}
	before := callsB.calls.Load()
	for range 10 {
		if err := check(); err != nil {
			t.Fatalf("one replica up: %v", err)
		}
	}
	if got := callsB.calls.Load() - before; got != 10 {
		t.Errorf("the replica that is left got %d of 10 calls", got)
	}
}

func TestDial_refusesBadList(t *testing.T) {
	tel, err := telemetry.New(t.Context(), telemetry.Options{Service: "test", Writer: io.Discard})
	if err != nil {
		t.Fatal(err)
	}
	conn, err := grpcclient.Dial("127.0.0.1:1,nowhere", grpcclient.Options{Telemetry: tel})
	if err != nil {
		return
	}
	defer conn.Close()
	if _, err := healthv1.NewHealthClient(conn).Check(t.Context(), &healthv1.HealthCheckRequest{}); err == nil {
		t.Error("a list with a bad address was accepted")
	}
}
