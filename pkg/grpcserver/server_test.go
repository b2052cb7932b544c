package grpcserver_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
	"google.golang.org/grpc"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/test/bufconn"

	"workflow.uniconnect/pkg/access"
	"workflow.uniconnect/pkg/auth"
	"workflow.uniconnect/pkg/fault"
	"workflow.uniconnect/pkg/grpcclient"
	"workflow.uniconnect/pkg/grpcserver"
	"workflow.uniconnect/pkg/telemetry"
	accessv1 "workflow.uniconnect/proto/gen/go/uniconnect/access/v1"
	peerv1 "workflow.uniconnect/proto/gen/go/uniconnect/workflow/peer/v1"
	workflowv1 "workflow.uniconnect/proto/gen/go/uniconnect/workflow/v1"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// handlers are services whose methods a test fills in.
type handlers struct {
	peerv1.UnimplementedGrantsServiceServer
	peerv1.UnimplementedDefinitionServiceServer
	grants func(context.Context, *peerv1.GetGrantsRequest) (*peerv1.GetGrantsResponse, error)
	watch  func(*peerv1.WatchDefinitionsRequest, grpc.ServerStreamingServer[peerv1.WatchDefinitionsResponse]) error
}

func (h *handlers) GetGrants(ctx context.Context, req *peerv1.GetGrantsRequest) (*peerv1.GetGrantsResponse, error) {
	if h.grants == nil {
		return &peerv1.GetGrantsResponse{}, nil
	}
	return h.grants(ctx, req)
}

func (h *handlers) WatchDefinitions(req *peerv1.WatchDefinitionsRequest, stream grpc.ServerStreamingServer[peerv1.WatchDefinitionsResponse]) error {
	return h.watch(req, stream)
}

// logBuffer is a log that the server writes while the test reads.
type logBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *logBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *logBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

// env is a running server and what reaches it.
type env struct {
	issuer  *auth.Issuer
	service *auth.TokenSource
	tel     *telemetry.Telemetry
	log     *logBuffer
	dialer  func(context.Context, string) (net.Conn, error)
	stop    func()
	ended   chan error // receives what Run returned
	server  *grpcserver.Server
}

func start(t *testing.T, h *handlers, change func(*grpcserver.Options)) *env {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "data")
	e := &env{log: &logBuffer{}, ended: make(chan error, 1)}
	var err error
	if e.issuer, err = auth.OpenIssuer(dir); err != nil {
		t.Fatal(err)
	}
	cfg := auth.Config{Dev: true, DataDir: dir}
	if e.service, err = auth.NewTokenSource(t.Context(), cfg, "trigger-scheduler"); err != nil {
		t.Fatal(err)
	}
	verifier, err := auth.NewVerifier(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	if e.tel, err = telemetry.New(t.Context(), telemetry.Options{Service: "test", LogLevel: slog.LevelDebug, Writer: e.log}); err != nil {
		t.Fatal(err)
	}
	listener := bufconn.Listen(1 << 20)
	e.dialer = func(ctx context.Context, _ string) (net.Conn, error) { return listener.DialContext(ctx) }
	opts := grpcserver.Options{
		Listener: listener, Telemetry: e.tel, Verifier: verifier,
		Enforcer: access.NewEnforcer(access.Options{Module: "workflow"}),
	}
	if change != nil {
		change(&opts)
	}
	if e.server, err = grpcserver.New(t.Context(), opts); err != nil {
		t.Fatal(err)
	}
	peerv1.RegisterGrantsServiceServer(e.server, h)
	peerv1.RegisterDefinitionServiceServer(e.server, h)
	accessv1.RegisterAccessServiceServer(e.server, &public{})
	workflowv1.RegisterWorkflowCatalogServiceServer(e.server, &public{})
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	e.stop = cancel
	go func() { e.ended <- e.server.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-e.ended; err != nil {
			t.Errorf("Run: %v", err)
		}
		if err := e.tel.Shutdown(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
	})
	return e
}

// dial connects; without a token source unless change adds one.
func (e *env) dial(t *testing.T, change func(*grpcclient.Options)) *grpc.ClientConn {
	t.Helper()
	opts := grpcclient.Options{Telemetry: e.tel, Dialer: e.dialer}
	if change != nil {
		change(&opts)
	}
	conn, err := grpcclient.Dial("passthrough:///test", opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

func (e *env) dialAsService(t *testing.T) *grpc.ClientConn {
	t.Helper()
	return e.dial(t, func(o *grpcclient.Options) { o.TokenSource = e.service })
}

func (e *env) userToken(t *testing.T) string {
	t.Helper()
	token, err := e.issuer.Issue(auth.Principal{Tenant: "acme", Subject: "owner@acme.test"}, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	return token
}

func withToken(ctx context.Context, token string) context.Context {
	return metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+token)
}

func expectFault(t *testing.T, err error, kind fault.Kind, reason fault.Reason) *fault.Error {
	t.Helper()
	f, ok := fault.As(err)
	if !ok || f.Kind != kind || f.Reason != reason {
		t.Fatalf("got %v, want %v %s", err, kind, reason)
	}
	return f
}

func good() *peerv1.GetGrantsRequest {
	return &peerv1.GetGrantsRequest{Tenant: "acme", Subject: "u"}
}

func TestServer_order_of_refusals(t *testing.T) {
	called := false
	e := start(t, &handlers{grants: func(ctx context.Context, _ *peerv1.GetGrantsRequest) (*peerv1.GetGrantsResponse, error) {
		called = true
		if p, ok := auth.FromContext(ctx); !ok || p.Kind != auth.Service || p.Subject != "trigger-scheduler" {
			t.Errorf("principal: got %+v, %v", p, ok)
		}
		return &peerv1.GetGrantsResponse{ModuleEnabled: true}, nil
	}}, nil)
	client := peerv1.NewGrantsServiceClient(e.dial(t, nil))
	bad := &peerv1.GetGrantsRequest{Tenant: "a.b"}

	_, err := client.GetGrants(t.Context(), bad)
	expectFault(t, err, fault.KindUnauthenticated, fault.ReasonTokenMissing)
	_, err = client.GetGrants(withToken(t.Context(), "x.y.z"), bad)
	if f := expectFault(t, err, fault.KindUnauthenticated, fault.ReasonTokenInvalid); f.Message != "token not accepted" {
		t.Errorf("message: got %q", f.Message)
	}
	_, err = client.GetGrants(withToken(t.Context(), strings.Repeat("a", 10<<10)), bad)
	expectFault(t, err, fault.KindUnauthenticated, fault.ReasonTokenInvalid)
	if _, err = client.GetGrants(withToken(t.Context(), strings.Repeat("a", 1<<20)), bad); err == nil {
		t.Error("a header of 1 MB is accepted")
	}
	_, err = client.GetGrants(withToken(t.Context(), e.userToken(t)), bad)
	expectFault(t, err, fault.KindPermissionDenied, fault.ReasonInternalMethod)

	client = peerv1.NewGrantsServiceClient(e.dialAsService(t))
	_, err = client.GetGrants(t.Context(), bad)
	f := expectFault(t, err, fault.KindInvalidArgument, fault.ReasonInvalidFields)
	var fields []string
	for _, v := range f.Violations {
		fields = append(fields, v.Field)
	}
	if diff := cmp.Diff([]string{"tenant", "subject"}, fields); diff != "" {
		t.Errorf("fields (-want +got):\n%s", diff)
	}
	if called {
		t.Fatal("a refused call reached its handler")
	}
	resp, err := client.GetGrants(t.Context(), good())
	if err != nil || !resp.GetModuleEnabled() {
		t.Errorf("got %v, %v; want the handler's answer", resp, err)
	}
}

func TestServer_tells_of_refusals(t *testing.T) {
	told := make(chan string, 10)
	e := start(t, &handlers{
		grants: func(context.Context, *peerv1.GetGrantsRequest) (*peerv1.GetGrantsResponse, error) {
			return nil, fault.Aborted("ETAG_MISMATCH", "stale")
		},
	}, func(o *grpcserver.Options) {
		o.Refused = func(ctx context.Context, fullMethod string, req any, err error) {
			p, _ := auth.FromContext(ctx)
			subject := "no request"
			if r, ok := req.(*peerv1.GetGrantsRequest); ok {
				subject = r.GetSubject()
			}
			told <- fmt.Sprint(p.Subject, " ", fullMethod[strings.LastIndex(fullMethod, "/")+1:], " ", subject, " ", fault.KindOf(err))
		}
	})
	anonymous := peerv1.NewGrantsServiceClient(e.dial(t, nil))
	calls := []func() error{
		func() error { _, err := anonymous.GetGrants(t.Context(), good()); return err }, // nobody is known
		func() error {
			_, err := anonymous.GetGrants(withToken(t.Context(), e.userToken(t)), good())
			return err
		},
		func() error {
			watch, err := peerv1.NewDefinitionServiceClient(e.dial(t, nil)).WatchDefinitions(withToken(t.Context(), e.userToken(t)), &peerv1.WatchDefinitionsRequest{})
			if err == nil {
				_, err = watch.Recv()
			}
			return err
		},
		func() error {
			_, err := peerv1.NewGrantsServiceClient(e.dialAsService(t)).GetGrants(t.Context(), &peerv1.GetGrantsRequest{Subject: "u"})
			return err
		},
		func() error {
			_, err := peerv1.NewGrantsServiceClient(e.dialAsService(t)).GetGrants(t.Context(), good())
			return err
		},
	}
	for i, c := range calls {
		if err := c(); err == nil {
			t.Errorf("call %d is not refused", i)
		}
	}
	want := []string{
		"owner@acme.test GetGrants u PERMISSION_DENIED", "owner@acme.test WatchDefinitions no request PERMISSION_DENIED",
		"trigger-scheduler GetGrants u INVALID_ARGUMENT", "trigger-scheduler GetGrants u ABORTED",
	}
	for _, w := range want {
		if got := <-told; got != w {
			t.Errorf("told: got %q, want %q", got, w)
		}
	}
	if len(told) > 0 {
		t.Errorf("told of more: %q", <-told)
	}
}

func TestServer_HandlerValidated_merges(t *testing.T) {
	e := start(t, &handlers{grants: func(_ context.Context, req *peerv1.GetGrantsRequest) (*peerv1.GetGrantsResponse, error) {
		vs := append(grpcserver.Validate(req), fault.Violation{Field: "subject", Description: "is not a user", Reason: "UNKNOWN"})
		return nil, fault.Check(vs...)
	}}, func(o *grpcserver.Options) {
		o.HandlerValidated = []string{peerv1.GrantsService_GetGrants_FullMethodName}
	})
	_, err := peerv1.NewGrantsServiceClient(e.dialAsService(t)).GetGrants(t.Context(), &peerv1.GetGrantsRequest{Tenant: "A", Subject: "x"})
	f := expectFault(t, err, fault.KindInvalidArgument, fault.ReasonInvalidFields)
	if len(f.Violations) != 2 || f.Violations[0].Field != "tenant" || f.Violations[1].Reason != "UNKNOWN" {
		t.Errorf("violations: got %+v, want the proto's and the handler's", f.Violations)
	}
}

func TestServer_panic_ends_one_call(t *testing.T) {
	first := true
	e := start(t, &handlers{grants: func(context.Context, *peerv1.GetGrantsRequest) (*peerv1.GetGrantsResponse, error) {
		if first {
			first = false
			panic("password=CANARY")
		}
		return &peerv1.GetGrantsResponse{}, nil
	}}, nil)
	client := peerv1.NewGrantsServiceClient(e.dialAsService(t))
	_, err := client.GetGrants(t.Context(), good())
	f := expectFault(t, err, fault.KindInternal, fault.ReasonInternal)
	if strings.Contains(f.Error(), "CANARY") {
		t.Errorf("the client reads the panic: %v", f)
	}
	if _, err := client.GetGrants(t.Context(), good()); err != nil {
		t.Errorf("the next call: %v", err)
	}
	if !strings.Contains(e.log.String(), "CANARY") || !strings.Contains(e.log.String(), "server_test.go") {
		t.Error("the log lacks the panic or its stack")
	}
}

func TestServer_trace_reaches_the_handlers_log(t *testing.T) {
	var e *env
	e = start(t, &handlers{grants: func(ctx context.Context, _ *peerv1.GetGrantsRequest) (*peerv1.GetGrantsResponse, error) {
		e.tel.Logger.InfoContext(ctx, "handled")
		return &peerv1.GetGrantsResponse{}, nil
	}}, nil)
	ctx, span := e.tel.Tracer("test").Start(t.Context(), "caller")
	defer span.End()
	if _, err := peerv1.NewGrantsServiceClient(e.dialAsService(t)).GetGrants(ctx, good()); err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(e.log.String()) {
		if strings.Contains(line, `"handled"`) {
			if id := span.SpanContext().TraceID().String(); !strings.Contains(line, id) {
				t.Errorf("log %s lacks the caller's trace %s", line, id)
			}
			return
		}
	}
	t.Error("the handler's line is not in the log")
}

func TestServer_deadlines(t *testing.T) {
	e := start(t, &handlers{grants: func(ctx context.Context, _ *peerv1.GetGrantsRequest) (*peerv1.GetGrantsResponse, error) {
		if deadline, ok := ctx.Deadline(); !ok || time.Until(deadline) > 30*time.Second {
			t.Errorf("deadline: got %v in %v, want at most 30 s", ok, time.Until(deadline))
		}
		<-ctx.Done()
		return nil, ctx.Err()
	}}, nil)
	conn := e.dial(t, func(o *grpcclient.Options) { o.TokenSource, o.Timeout = e.service, 50*time.Millisecond })
	_, err := peerv1.NewGrantsServiceClient(conn).GetGrants(t.Context(), good())
	expectFault(t, err, fault.KindDeadlineExceeded, fault.ReasonDeadline)

	ctx, cancel := context.WithTimeout(t.Context(), 999999*time.Hour)
	defer cancel()
	ctx, giveUp := context.WithCancel(ctx)
	time.AfterFunc(50*time.Millisecond, giveUp)
	_, err = peerv1.NewGrantsServiceClient(conn).GetGrants(ctx, good())
	expectFault(t, err, fault.KindCanceled, fault.ReasonCancelled)
}

func TestServer_oversize_message(t *testing.T) {
	e := start(t, &handlers{}, func(o *grpcserver.Options) { o.MaxRecvMsgSize = 1 << 10 })
	_, err := peerv1.NewGrantsServiceClient(e.dialAsService(t)).GetGrants(t.Context(), &peerv1.GetGrantsRequest{Tenant: "acme", Subject: strings.Repeat("x", 2<<10)})
	expectFault(t, err, fault.KindResourceExhausted, fault.ReasonTooLarge)
}

func TestServer_forwarded_token(t *testing.T) {
	var conn *grpc.ClientConn
	var inner error
	e := start(t, &handlers{grants: func(ctx context.Context, req *peerv1.GetGrantsRequest) (*peerv1.GetGrantsResponse, error) {
		if req.GetSubject() == "outer" {
			_, inner = peerv1.NewGrantsServiceClient(conn).GetGrants(ctx, good())
		}
		return &peerv1.GetGrantsResponse{}, nil
	}}, nil)
	conn = e.dial(t, func(o *grpcclient.Options) { o.ForwardToken = true })
	_, err := peerv1.NewGrantsServiceClient(e.dialAsService(t)).GetGrants(t.Context(), &peerv1.GetGrantsRequest{Tenant: "acme", Subject: "outer"})
	if err := errors.Join(err, inner); err != nil {
		t.Errorf("got %v, want the caller's token forwarded", err)
	}
}

// permissive covers everything until it is switched off.
type permissive struct{ off atomic.Bool }

func (p *permissive) Covers(string) bool { return true }

func (p *permissive) Authorize(context.Context, string, auth.Principal) error {
	if p.off.Load() {
		return fault.PermissionDenied(fault.ReasonModuleDisabled, "off")
	}
	return nil
}

func (p *permissive) Quotas(context.Context, auth.Principal) (access.Quotas, error) {
	return access.Quotas{}.OrDefault(), nil
}

func TestServer_stream_ends_with_its_permission(t *testing.T) {
	enforcer := &permissive{}
	e := start(t, &handlers{watch: func(_ *peerv1.WatchDefinitionsRequest, stream grpc.ServerStreamingServer[peerv1.WatchDefinitionsResponse]) error {
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		for {
			if err := stream.Send(&peerv1.WatchDefinitionsResponse{}); err != nil {
				return err
			}
			<-tick.C
		}
	}}, func(o *grpcserver.Options) { o.Enforcer = enforcer })
	stream, err := peerv1.NewDefinitionServiceClient(e.dialAsService(t)).WatchDefinitions(t.Context(), &peerv1.WatchDefinitionsRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Recv(); err != nil {
		t.Fatal(err)
	}
	enforcer.off.Store(true)
	begin := time.Now()
	for err == nil {
		_, err = stream.Recv()
	}
	expectFault(t, err, fault.KindPermissionDenied, fault.ReasonModuleDisabled)
	if d := time.Since(begin); d > 3*time.Second {
		t.Errorf("the stream lived on for %v", d)
	}
}

func TestServer_stream_request_is_validated(t *testing.T) {
	e := start(t, &handlers{watch: func(*peerv1.WatchDefinitionsRequest, grpc.ServerStreamingServer[peerv1.WatchDefinitionsResponse]) error {
		t.Error("the handler is called")
		return nil
	}}, nil)
	stream, err := peerv1.NewDefinitionServiceClient(e.dialAsService(t)).WatchDefinitions(t.Context(), &peerv1.WatchDefinitionsRequest{ResumeToken: strings.Repeat("x", 200)})
	if err != nil {
		t.Fatal(err)
	}
	_, err = stream.Recv()
	if f := expectFault(t, err, fault.KindInvalidArgument, fault.ReasonInvalidFields); f.Violations[0].Field != "resumeToken" {
		t.Errorf("field: got %q, want resumeToken", f.Violations[0].Field)
	}
}

func TestServer_stops_in_order(t *testing.T) {
	begun, finish := make(chan struct{}), make(chan struct{}) // begun closed by the handler, finish by the test
	e := start(t, &handlers{
		grants: func(context.Context, *peerv1.GetGrantsRequest) (*peerv1.GetGrantsResponse, error) {
			close(begun)
			<-finish
			return &peerv1.GetGrantsResponse{ModuleEnabled: true}, nil
		},
		watch: func(_ *peerv1.WatchDefinitionsRequest, stream grpc.ServerStreamingServer[peerv1.WatchDefinitionsResponse]) error {
			if err := stream.Send(&peerv1.WatchDefinitionsResponse{}); err != nil {
				return err
			}
			<-stream.Context().Done()
			return stream.Context().Err()
		},
	}, nil)
	conn := e.dialAsService(t)
	health, err := healthpb.NewHealthClient(e.dial(t, nil)).Watch(t.Context(), &healthpb.HealthCheckRequest{Service: "uniconnect.workflow.peer.v1.GrantsService"})
	if err != nil {
		t.Fatal(err)
	}
	for {
		status, err := health.Recv()
		if err != nil {
			t.Fatal(err)
		}
		if status.GetStatus() == healthpb.HealthCheckResponse_SERVING {
			break
		}
	}
	watch, err := peerv1.NewDefinitionServiceClient(conn).WatchDefinitions(t.Context(), &peerv1.WatchDefinitionsRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := watch.Recv(); err != nil {
		t.Fatal(err)
	}
	answered := make(chan error, 1)
	go func() {
		_, err := peerv1.NewGrantsServiceClient(conn).GetGrants(t.Context(), good())
		answered <- err
	}()
	<-begun

	e.stop()
	if status, err := health.Recv(); err != nil || status.GetStatus() != healthpb.HealthCheckResponse_NOT_SERVING {
		t.Errorf("health at shutdown: got %v, %v; want NOT_SERVING first", status, err)
	}
	_, err = watch.Recv()
	if f := expectFault(t, err, fault.KindUnavailable, fault.ReasonShuttingDown); f.RetryAfter == 0 {
		t.Error("the stream's end names no time to come back")
	}
	select {
	case err := <-e.ended:
		t.Fatalf("Run ended (%v) with a call under way", err)
	default:
	}
	close(finish)
	if err := <-answered; err != nil {
		t.Errorf("the call under way: %v", err)
	}
	err = <-e.ended
	e.ended <- err // for the clean-up
	if err != nil {
		t.Errorf("Run: %v", err)
	}
}

func TestServer_cuts_calls_that_outlast_the_stop(t *testing.T) {
	begun := make(chan struct{}) // closed by the handler
	e := start(t, &handlers{grants: func(ctx context.Context, _ *peerv1.GetGrantsRequest) (*peerv1.GetGrantsResponse, error) {
		close(begun)
		<-ctx.Done()
		return nil, ctx.Err()
	}}, func(o *grpcserver.Options) { o.StopTimeout = 20 * time.Millisecond })
	answered := make(chan error, 1)
	go func() {
		_, err := peerv1.NewGrantsServiceClient(e.dialAsService(t)).GetGrants(t.Context(), good())
		answered <- err
	}()
	<-begun
	e.stop()
	if err := <-answered; fault.KindOf(err) != fault.KindUnavailable {
		t.Errorf("got %v, want UNAVAILABLE", err)
	}
}

func TestServer_method_without_a_rule_does_not_start(t *testing.T) {
	listener := bufconn.Listen(1 << 10)
	opts := grpcserver.Options{Listener: listener, Telemetry: telemetry.Discard(), Verifier: &auth.Verifier{}, Enforcer: access.NewEnforcer(access.Options{})}
	s, err := grpcserver.New(t.Context(), opts)
	if err != nil {
		t.Fatal(err)
	}
	s.RegisterService(&grpc.ServiceDesc{
		ServiceName: "test.v1.Bare", HandlerType: (*any)(nil), Methods: []grpc.MethodDesc{{MethodName: "Do"}},
	}, struct{}{})
	if err := s.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "/test.v1.Bare/Do") {
		t.Errorf("got %v, want an error that names the method", err)
	}
}

func TestNew_requires(t *testing.T) {
	full := grpcserver.Options{Listener: bufconn.Listen(1), Telemetry: telemetry.Discard(), Verifier: &auth.Verifier{}, Enforcer: &permissive{}}
	for name, drop := range map[string]func(*grpcserver.Options){
		"address":   func(o *grpcserver.Options) { o.Listener = nil },
		"telemetry": func(o *grpcserver.Options) { o.Telemetry = nil },
		"verifier":  func(o *grpcserver.Options) { o.Verifier = nil },
		"enforcer":  func(o *grpcserver.Options) { o.Enforcer = nil },
	} {
		t.Run(name, func(t *testing.T) {
			opts := full
			drop(&opts)
			if _, err := grpcserver.New(t.Context(), opts); err == nil || !strings.Contains(err.Error(), name) {
				t.Errorf("got %v, want an error that names the %s", err, name)
			}
		})
	}
}

func TestServer_reflection_in_development_only(t *testing.T) {
	for name, dev := range map[string]bool{"production": false, "development": true} {
		t.Run(name, func(t *testing.T) {
			e := start(t, &handlers{}, func(o *grpcserver.Options) { o.Dev = dev })
			stream, err := e.dial(t, nil).NewStream(t.Context(), &grpc.StreamDesc{ServerStreams: true, ClientStreams: true}, "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo")
			if err != nil {
				t.Fatal(err)
			}
			if err := stream.CloseSend(); err != nil {
				t.Fatal(err)
			}
			err = stream.RecvMsg(&healthpb.HealthCheckResponse{})
			if unimplemented := fault.KindOf(err) == fault.KindUnimplemented; unimplemented == dev {
				t.Errorf("got %v with development %v", err, dev)
			}
		})
	}
}

func TestDial_peer_that_is_away(t *testing.T) {
	conn, err := grpcclient.Dial("127.0.0.1:1", grpcclient.Options{Telemetry: telemetry.Discard()})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	_, err = peerv1.NewGrantsServiceClient(conn).GetGrants(t.Context(), good())
	if f := expectFault(t, err, fault.KindUnavailable, fault.ReasonServiceUnavailable); strings.Contains(f.Message, "127.0.0.1") {
		t.Errorf("the message names the address: %q", f.Message)
	}
}
