// Package sandbox stands in for what workflows reach outside, so that a new user sees something happen: a small CRM behind
// uniconnect.crm.v1 and a sink that records HTTP requests. It has no login and no place in production.
package sandbox

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"golang.org/x/net/netutil"

	"workflow.uniconnect/pkg/access"
	"workflow.uniconnect/pkg/auth"
	"workflow.uniconnect/pkg/config"
	"workflow.uniconnect/pkg/grpcserver"
	"workflow.uniconnect/pkg/lifecycle"
	pg "workflow.uniconnect/pkg/postgres"
	"workflow.uniconnect/pkg/service"
	crmv1 "workflow.uniconnect/proto/gen/go/uniconnect/crm/v1"
	"workflow.uniconnect/services/sandbox/internal/grpcapi"
	"workflow.uniconnect/services/sandbox/internal/httpapi"
	"workflow.uniconnect/services/sandbox/internal/postgres"
	"workflow.uniconnect/services/sandbox/internal/sink"
)

const (
	maxConns          = 8
	maxConnections    = 4096
	statementTimeout  = 10 * time.Second
	readHeaderTimeout = 5 * time.Second
	readTimeout       = 30 * time.Second
	idleTimeout       = 2 * time.Minute
	stopTimeout       = 5 * time.Second
)

// Service is the sandbox.
type Service struct {
	log      *slog.Logger
	listener net.Listener
	http     *http.Server
	grpc     *grpcserver.Server
	recorder *sink.Recorder
	stack    lifecycle.Stack
}

// Migrate brings the schema up to date and seeds the CRM.
func Migrate(ctx context.Context, settings config.Settings) error {
	return postgres.Migrate(ctx, settings.DatabaseURL.Reveal())
}

// New builds the sandbox and listens; Run serves.
func New(ctx context.Context, deps service.Deps) (*Service, error) {
	if !deps.Settings.Dev {
		return nil, errors.New("the sandbox is for development: it starts with --dev only")
	}
	s := &Service{log: deps.Telemetry.Logger}
	if err := s.build(ctx, deps); err != nil {
		return nil, errors.Join(err, s.stack.Close(ctx))
	}
	return s, nil
}

func (s *Service) build(ctx context.Context, deps service.Deps) error {
	settings := deps.Settings
	pool, err := pg.Open(ctx, pg.Options{
		URL: settings.DatabaseURL.Reveal(), Schema: postgres.Schema, Name: "sandbox",
		MaxConns: maxConns, StatementTimeout: statementTimeout,
		TracerProvider: deps.Telemetry.TracerProvider, MeterProvider: deps.Telemetry.MeterProvider,
	})
	if err != nil {
		return err
	}
	s.stack.Push("database pool", func(context.Context) error { pool.Close(); return nil })
	deps.Readiness.Add("sandbox: postgres", func(ctx context.Context) error { return pg.Ready(ctx, pool) })

	store := postgres.New(pool)
	s.recorder = sink.NewRecorder(store, s.log)
	s.grpc, err = grpcserver.New(ctx, grpcserver.Options{
		Addr: settings.SandboxGRPCAddr, Telemetry: deps.Telemetry, Verifier: deps.Verifier, Dev: settings.Dev,
		Credentials: deps.Serving,
		Enforcer:    access.NewEnforcer(access.Options{Grants: noGrants}),
	})
	if err != nil {
		return err
	}
	s.stack.Push("grpc server", func(context.Context) error { return s.grpc.Close() })
	crmv1.RegisterCrmServiceServer(s.grpc, grpcapi.NewCRM(store))
	return s.listen(ctx, settings.SandboxAddr, httpapi.New(httpapi.Options{
		Records: store, Requests: store, Recorder: s.recorder, Logger: s.log,
	}))
}

func (s *Service) listen(ctx context.Context, addr string, handler http.Handler) error {
	var lc net.ListenConfig
	listener, err := lc.Listen(ctx, "tcp", addr)
	if err != nil {
		return fmt.Errorf("listen for http: %w", err)
	}
	s.stack.Push("listener", func(context.Context) error { return closeListener(listener) })
	s.listener = netutil.LimitListener(listener, maxConnections)
	s.http = &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: readHeaderTimeout,
		ReadTimeout:       readTimeout,
		IdleTimeout:       idleTimeout,
		ErrorLog:          slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
	}
	return nil
}

// noGrants: every method here is for service identities, and no user may call any.
func noGrants(context.Context, auth.Principal) (access.Grants, error) { return access.Grants{}, nil }

// Addr returns the HTTP address in use.
func (s *Service) Addr() string { return s.listener.Addr().String() }

// GRPCAddr returns the gRPC address in use.
func (s *Service) GRPCAddr() string { return s.grpc.Addr() }

// Run serves until ctx ends and closes everything. The recorder stops last, since requests under way wait for it.
func (s *Service) Run(ctx context.Context) error {
	closeCtx := context.WithoutCancel(ctx)
	recording, stopRecording := context.WithCancel(closeCtx)
	recorders := lifecycle.NewGroup(recording)
	recorders.Go("recorder", s.recorder.Run)

	servers := lifecycle.NewGroup(ctx)
	servers.Go("grpc", s.grpc.Run)
	servers.Go("http", s.serveHTTP)
	err := servers.Wait()

	stopRecording()
	return errors.Join(err, recorders.Wait(), s.stack.Close(closeCtx))
}

func (s *Service) serveHTTP(ctx context.Context) error {
	served := make(chan error, 1)
	go func() { served <- s.http.Serve(s.listener) }()
	s.log.InfoContext(ctx, "sandbox listens", "addr", s.Addr(), "grpc_addr", s.GRPCAddr())
	select {
	case err := <-served:
		return fmt.Errorf("serve http: %w", err)
	case <-ctx.Done():
	}
	stopCtx, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
	defer cancel()
	err := s.http.Shutdown(stopCtx)
	if errors.Is(err, context.DeadlineExceeded) {
		err = s.http.Close() // answers that are to be delayed are not waited for
	}
	if serveErr := <-served; !errors.Is(serveErr, http.ErrServerClosed) {
		err = errors.Join(err, serveErr)
	}
	return err
}

// Close frees what New took, for a sandbox that is not run.
func (s *Service) Close(ctx context.Context) error { return s.stack.Close(ctx) }

func closeListener(l net.Listener) error {
	if err := l.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
		return err
	}
	return nil
}
