// Package grpcserver builds the gRPC servers of all services, so that each of them authenticates, authorizes, validates, limits, reports
// and stops in the same way. A service registers itself and runs it.
//
// Every call passes, in this order: trace, conversion of faults, recovery from panics, time limit, authentication, the tenant's limits,
// authorization, validation. Health, and in development reflection, need no token.
package grpcserver

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"slices"
	"strings"
	"time"

	"go.opentelemetry.io/contrib/instrumentation/google.golang.org/grpc/otelgrpc"
	"go.opentelemetry.io/contrib/instrumentation/google.golang.org/grpc/otelgrpc/filters"
	"golang.org/x/net/netutil"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/reflection"
	"google.golang.org/protobuf/reflect/protoregistry"

	"workflow.uniconnect/pkg/access"
	"workflow.uniconnect/pkg/auth"
	"workflow.uniconnect/pkg/fault"
	"workflow.uniconnect/pkg/grpcfault"
	"workflow.uniconnect/pkg/ratelimit"
	"workflow.uniconnect/pkg/telemetry"
)

const (
	defaultRecvSize    = 4 << 20
	defaultStreams     = 250
	defaultConnections = 1024
	defaultStopTimeout = 10 * time.Second
	maxHeaderList      = 16 << 10
	// maxUnary caps how long a unary call may run, whatever deadline the client names.
	maxUnary = 30 * time.Second
	// clientPing is the least time between a client's pings; grpcclient pings less often.
	clientPing = 30 * time.Second
	// maxAge makes clients connect anew now and then, which spreads them over replicas that came later.
	maxAge      = 30 * time.Minute
	maxAgeGrace = time.Minute
	// maxIdle frees the places of connections that nobody calls on.
	maxIdle   = 15 * time.Minute
	handshake = 10 * time.Second
)

// Verifier says who a bearer token stands for. auth.Verifier is one.
type Verifier interface {
	Verify(ctx context.Context, token string) (auth.Principal, error)
}

// Enforcer says what a caller may do. access.Enforcer is one.
type Enforcer interface {
	// Covers reports whether the method has a rule; a server with a method that has none does not start.
	Covers(fullMethod string) bool
	Authorize(ctx context.Context, fullMethod string, p auth.Principal) error
	// Quotas returns the limits of the caller's tenant, all of them above 0.
	Quotas(ctx context.Context, p auth.Principal) (access.Quotas, error)
}

// Options describes a server. Telemetry, Verifier, Enforcer and one of Addr and Listener are required.
type Options struct {
	// Addr is listened on, unless Listener is set.
	Addr     string
	Listener net.Listener

	Telemetry *telemetry.Telemetry
	Verifier  Verifier
	Enforcer  Enforcer
	// Credentials protect the transport; none when nil.
	Credentials credentials.TransportCredentials
	// Dev adds reflection.
	Dev bool

	// HandlerValidated names methods (/package.Service/Method) whose handler calls Validate itself, to merge the proto's violations
	// with its own, or because it knows a cheaper way.
	HandlerValidated []string

	// Refused, unless nil, is told of each call of a known caller that is answered with an error, before the answer is sent: whether the caller
	// may not make it, the request is not valid, or the handler says so. The context holds the caller; req is nil for a stream.
	Refused func(ctx context.Context, fullMethod string, req any, err error)

	// MaxRecvMsgSize is 4 MiB when zero.
	MaxRecvMsgSize int
	// MaxConcurrentStreams of one connection is 250 when zero.
	MaxConcurrentStreams uint32
	// MaxConnections is 1,024 when zero.
	MaxConnections int
	// StopTimeout is how long calls under way may take when the server stops, 10 s when zero.
	StopTimeout time.Duration
}

func (o *Options) check() error {
	switch {
	case o.Addr == "" && o.Listener == nil:
		return errors.New("grpc server: neither address nor listener is set")
	case o.Telemetry == nil:
		return errors.New("grpc server: no telemetry is set")
	case o.Verifier == nil:
		return errors.New("grpc server: no verifier is set")
	case o.Enforcer == nil:
		return errors.New("grpc server: no enforcer is set")
	}
	return nil
}

// orDefault returns v, or def when v is zero.
func orDefault[T comparable](v, def T) T {
	var zero T
	if v == zero {
		return def
	}
	return v
}

// Server is a gRPC server with the platform's manners. It is a grpc.ServiceRegistrar.
type Server struct {
	listener    net.Listener
	grpc        *grpc.Server
	health      *health.Server
	log         *slog.Logger
	enforcer    Enforcer
	stopTimeout time.Duration
	// stopping ends with a fault when the server stops, and with it the streams, which know no end of their own.
	stopping context.Context
	stop     context.CancelCauseFunc
}

// New listens and builds the server; Run serves. A server that is never run is closed with Close.
func New(ctx context.Context, opts Options) (*Server, error) {
	if err := opts.check(); err != nil {
		return nil, err
	}
	listener := opts.Listener
	if listener == nil {
		var lc net.ListenConfig
		var err error
		if listener, err = lc.Listen(ctx, "tcp", opts.Addr); err != nil {
			return nil, fmt.Errorf("listen for grpc: %w", err)
		}
	}
	s := &Server{
		listener:    listener,
		health:      health.NewServer(),
		log:         opts.Telemetry.Logger,
		enforcer:    opts.Enforcer,
		stopTimeout: orDefault(opts.StopTimeout, defaultStopTimeout),
	}
	s.listener = netutil.LimitListener(listener, orDefault(opts.MaxConnections, defaultConnections))
	// Streams end when the server says so in Run, not when the context of construction ends.
	s.stopping, s.stop = context.WithCancelCause(context.WithoutCancel(ctx))
	s.grpc = grpc.NewServer(s.serverOptions(opts)...)
	healthpb.RegisterHealthServer(s.grpc, s.health)
	s.health.SetServingStatus("", healthpb.HealthCheckResponse_NOT_SERVING)
	if opts.Dev {
		reflection.Register(s.grpc)
	}
	return s, nil
}

func (s *Server) serverOptions(opts Options) []grpc.ServerOption {
	log := opts.Telemetry.Logger
	g := &gate{
		verifier: opts.Verifier, enforcer: opts.Enforcer, refused: opts.Refused, log: log,
		limiter: ratelimit.New(), classes: ratelimit.Classes(protoregistry.GlobalFiles),
	}
	v := newValidation(opts.HandlerValidated)
	return []grpc.ServerOption{
		grpc.Creds(orDefault(opts.Credentials, insecure.NewCredentials())),
		grpc.StatsHandler(otelgrpc.NewServerHandler(
			otelgrpc.WithTracerProvider(opts.Telemetry.TracerProvider),
			otelgrpc.WithMeterProvider(opts.Telemetry.MeterProvider),
			otelgrpc.WithPropagators(opts.Telemetry.Propagator),
			otelgrpc.WithFilter(filters.Not(filters.HealthCheck())),
		)),
		grpc.ChainUnaryInterceptor(grpcfault.UnaryServer(log), recoverUnary, limitUnary, g.unary, v.unary),
		grpc.ChainStreamInterceptor(grpcfault.StreamServer(log), recoverStream, s.endStream, g.stream, v.stream),
		grpc.ForceServerCodecV2(newCodec()),
		grpc.MaxRecvMsgSize(orDefault(opts.MaxRecvMsgSize, defaultRecvSize)),
		grpc.MaxConcurrentStreams(orDefault(opts.MaxConcurrentStreams, defaultStreams)),
		grpc.MaxHeaderListSize(maxHeaderList),
		grpc.ConnectionTimeout(handshake),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: clientPing, PermitWithoutStream: true}),
		grpc.KeepaliveParams(keepalive.ServerParameters{MaxConnectionIdle: maxIdle, MaxConnectionAge: maxAge, MaxConnectionAgeGrace: maxAgeGrace, Time: time.Minute, Timeout: handshake}),
		// Stop returns when no handler runs, so that what handlers use may be closed after it.
		grpc.WaitForHandlers(true),
	}
}

// RegisterService adds a service, as generated Register functions do.
func (s *Server) RegisterService(desc *grpc.ServiceDesc, impl any) {
	s.grpc.RegisterService(desc, impl)
}

// Addr returns the address in use.
func (s *Server) Addr() string { return s.listener.Addr().String() }

// Run checks that every method has a rule, serves until ctx ends, and stops: health first, then streams, then the calls under way;
// those that outlast the stop timeout are cut off.
func (s *Server) Run(ctx context.Context) error {
	if err := s.checkRules(); err != nil {
		return errors.Join(err, s.Close())
	}
	served := make(chan error, 1)
	go func() { served <- s.grpc.Serve(s.listener) }()
	s.setHealth(healthpb.HealthCheckResponse_SERVING)
	select {
	case err := <-served:
		s.stop(errStopping)
		return fmt.Errorf("serve grpc: %w", err)
	case <-ctx.Done():
	}
	s.shutdown()
	if err := <-served; err != nil && !errors.Is(err, grpc.ErrServerStopped) {
		return fmt.Errorf("serve grpc: %w", err)
	}
	return nil
}

// Drain tells health checks that this server takes no new work, while it still answers. A service calls it first when it stops.
func (s *Server) Drain() { s.health.Shutdown() }

// Close frees what New took, for a server that is not run.
func (s *Server) Close() error {
	s.stop(errStopping)
	s.grpc.Stop()
	if err := s.listener.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
		return fmt.Errorf("close grpc listener: %w", err)
	}
	return nil
}

func (s *Server) shutdown() {
	s.Drain()
	s.stop(errStopping)
	done := make(chan struct{}) // closed by the goroutine below
	go func() {
		defer close(done)
		s.grpc.GracefulStop()
	}()
	timer := time.NewTimer(s.stopTimeout)
	defer timer.Stop()
	select {
	case <-done:
	case <-timer.C:
		s.log.Warn("calls outlast the stop timeout and are cut off", "timeout", s.stopTimeout)
		s.grpc.Stop()
		<-done
	}
}

func (s *Server) setHealth(status healthpb.HealthCheckResponse_ServingStatus) {
	s.health.SetServingStatus("", status)
	for name := range s.grpc.GetServiceInfo() {
		s.health.SetServingStatus(name, status)
	}
}

func (s *Server) checkRules() error {
	var bare []string
	services := s.grpc.GetServiceInfo()
	for _, name := range slices.Sorted(maps.Keys(services)) {
		for _, m := range services[name].Methods {
			full := "/" + name + "/" + m.Name
			if !exempt(full) && !s.enforcer.Covers(full) {
				bare = append(bare, full)
			}
		}
	}
	if len(bare) > 0 {
		return fmt.Errorf("methods without an access rule: %s", strings.Join(bare, ", "))
	}
	return nil
}

// exempt methods need no token. Reflection is registered in development only.
func exempt(fullMethod string) bool {
	return strings.HasPrefix(fullMethod, "/grpc.health.v1.Health/") || strings.HasPrefix(fullMethod, "/grpc.reflection.")
}

// errStopping is why streams end when the server stops; clients come back to another replica.
var errStopping = fault.Unavailable(fault.ReasonShuttingDown, "the service is stopping").WithRetryAfter(time.Second)
