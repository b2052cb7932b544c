package grpcserver

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	"workflow.uniconnect/pkg/auth"
	"workflow.uniconnect/pkg/fault"
	"workflow.uniconnect/pkg/ratelimit"
)

// gate lets authenticated and authorized calls pass, and logs each at debug level.
type gate struct {
	verifier Verifier
	enforcer Enforcer
	limiter  *ratelimit.Limiter
	classes  map[string]ratelimit.Class
	refused  func(ctx context.Context, fullMethod string, req any, err error)
	log      *slog.Logger
}

// caller is who passed the gate, and with what.
type caller struct {
	principal auth.Principal
	token     string
	limits    ratelimit.Limits
}

func (g *gate) unary(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
	if exempt(info.FullMethod) {
		return handler(ctx, req)
	}
	c, err := g.pass(ctx, info.FullMethod)
	if err != nil {
		g.tell(ctx, c, info.FullMethod, req, err)
		return nil, err
	}
	ctx = c.context(ctx)
	begin := time.Now()
	resp, err := handler(ctx, req)
	g.logCall(ctx, info.FullMethod, begin, err)
	g.tell(ctx, c, info.FullMethod, req, err)
	return resp, err
}

func (g *gate) stream(srv any, stream grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
	if exempt(info.FullMethod) {
		return handler(srv, stream)
	}
	c, err := g.pass(stream.Context(), info.FullMethod)
	if err != nil {
		g.tell(stream.Context(), c, info.FullMethod, nil, err)
		return err
	}
	release, err := g.open(c, info.FullMethod)
	if err != nil {
		return err
	}
	defer release()
	ctx := c.context(stream.Context())
	begin := time.Now()
	err = handler(srv, &gatedStream{ServerStream: stream, ctx: ctx, gate: g, caller: c, method: info.FullMethod, checked: begin})
	g.logCall(ctx, info.FullMethod, begin, err)
	g.tell(ctx, c, info.FullMethod, nil, err)
	return err
}

// tell passes an error on to whoever wants to hear of it, if its caller is known.
func (g *gate) tell(ctx context.Context, c caller, fullMethod string, req any, err error) {
	if err != nil && g.refused != nil && c.token != "" {
		g.refused(auth.NewContext(ctx, c.principal), fullMethod, req, err)
	}
}

// authenticate says who calls, and for which tenant.
func (g *gate) authenticate(ctx context.Context, token string) (auth.Principal, error) {
	p, err := g.verifier.Verify(ctx, token)
	if err != nil {
		return auth.Principal{}, err
	}
	switch tenants := metadata.ValueFromIncomingContext(ctx, auth.TenantKey); len(tenants) {
	case 0:
		return p, nil
	case 1:
		return p.Acting(tenants[0])
	}
	return auth.Principal{}, fault.Invalid(fault.Violation{Field: auth.TenantKey, Description: "is given twice", Reason: fault.ReasonFieldRule})
}

// pass authenticates, counts the call, then authorizes. Who may not pass is returned nevertheless, once that is known; who calls too often
// is not, since what is told of refusals would cost more than the call.
func (g *gate) pass(ctx context.Context, method string) (caller, error) {
	token, err := auth.Bearer(metadata.ValueFromIncomingContext(ctx, "authorization")...)
	if err != nil {
		return caller{}, err
	}
	principal, err := g.authenticate(ctx, token)
	if err != nil {
		return caller{}, err
	}
	limits, err := g.take(ctx, method, principal)
	if err != nil {
		return caller{}, err
	}
	return caller{principal, token, limits}, g.enforcer.Authorize(ctx, method, principal)
}

// take counts a call of a tenant and returns the tenant's limits. Calls between services are not counted.
func (g *gate) take(ctx context.Context, method string, p auth.Principal) (ratelimit.Limits, error) {
	class := g.classes[method]
	if class == ratelimit.Unlimited || p.Tenant == "" {
		return ratelimit.Limits{}, nil
	}
	quotas, err := g.enforcer.Quotas(ctx, p)
	if err != nil {
		return ratelimit.Limits{}, err
	}
	limits := ratelimit.Limits{RequestsPerSecond: quotas.RequestsPerSecond, Streams: quotas.Streams}
	return limits, g.limiter.Take(p.Tenant, class, limits)
}

// open counts a stream until it has ended.
func (g *gate) open(c caller, method string) (release func(), err error) {
	if g.classes[method] == ratelimit.Unlimited || c.principal.Tenant == "" {
		return func() {}, nil
	}
	return g.limiter.Open(c.principal.Tenant, c.limits)
}

func (g *gate) logCall(ctx context.Context, method string, begin time.Time, err error) {
	if !g.log.Enabled(ctx, slog.LevelDebug) {
		return
	}
	p, _ := auth.FromContext(ctx)
	g.log.DebugContext(ctx, "call", "method", method, "status", fault.KindOf(err).String(), "duration", time.Since(begin),
		"tenant", p.Tenant, "subject", p.Subject, "kind", p.Kind.String())
}

func (c caller) context(ctx context.Context) context.Context {
	if span := trace.SpanFromContext(ctx); span.IsRecording() {
		span.SetAttributes(attribute.String("uc.tenant", c.principal.Tenant), attribute.String("uc.caller", c.principal.Kind.String()))
	}
	return auth.NewTokenContext(auth.NewContext(ctx, c.principal), c.token)
}

// recheckEvery is how long a stream may outlive the end of its token or of a permission.
const recheckEvery = time.Second

// gatedStream passes the gate again while it sends: a stream may live far longer than its token.
type gatedStream struct {
	grpc.ServerStream
	ctx    context.Context // of this stream; grpc.ServerStream has no other way to pass it on
	gate   *gate
	caller caller
	method string

	mu      sync.Mutex
	checked time.Time
}

func (s *gatedStream) Context() context.Context { return s.ctx }

func (s *gatedStream) SendMsg(msg any) error {
	if err := s.recheck(); err != nil {
		return err
	}
	return s.ServerStream.SendMsg(msg)
}

func (s *gatedStream) recheck() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if time.Since(s.checked) < recheckEvery {
		return nil
	}
	if _, err := s.gate.verifier.Verify(s.ctx, s.caller.token); err != nil {
		return err
	}
	if err := s.gate.enforcer.Authorize(s.ctx, s.method, s.caller.principal); err != nil {
		return err
	}
	s.checked = time.Now()
	return nil
}

// endStream gives streams a context that ends when the server stops, and says so to the client.
func (s *Server) endStream(srv any, stream grpc.ServerStream, _ *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
	ctx, cancel := context.WithCancelCause(stream.Context())
	defer cancel(nil)
	defer context.AfterFunc(s.stopping, func() { cancel(errStopping) })()
	err := handler(srv, &contextStream{stream, ctx})
	if err != nil && errors.Is(context.Cause(ctx), errStopping) {
		return errStopping
	}
	return err
}

type contextStream struct {
	grpc.ServerStream
	ctx context.Context // of this stream; grpc.ServerStream has no other way to pass it on
}

func (s *contextStream) Context() context.Context { return s.ctx }

// limitUnary caps the client's deadline, and gives one to calls without.
func limitUnary(ctx context.Context, req any, _ *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
	ctx, cancel := context.WithTimeout(ctx, maxUnary)
	defer cancel()
	return handler(ctx, req)
}

func recoverUnary(ctx context.Context, req any, _ *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (resp any, err error) {
	defer func() {
		if v := recover(); v != nil {
			resp, err = nil, panicked(v)
		}
	}()
	return handler(ctx, req)
}

func recoverStream(srv any, stream grpc.ServerStream, _ *grpc.StreamServerInfo, handler grpc.StreamHandler) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = panicked(v)
		}
	}()
	return handler(srv, stream)
}

// panicked makes a panic an error of this call alone; the log gets the stack, the client does not.
func panicked(v any) error {
	return fault.Internal(fault.ReasonInternal, "internal error").WithCause(fmt.Errorf("panic: %v\n%s", v, debug.Stack()))
}
