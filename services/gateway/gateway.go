// Package gateway is the REST face of the Workflow Manager and the page at /. It holds no state and has no database: every call becomes a
// gRPC call to the service that owns the noun, with the caller's own token.
package gateway

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"time"

	"google.golang.org/grpc"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"

	"workflow.uniconnect/pkg/admin"
	"workflow.uniconnect/pkg/auth"
	"workflow.uniconnect/pkg/certs"
	"workflow.uniconnect/pkg/config"
	"workflow.uniconnect/pkg/fault"
	"workflow.uniconnect/pkg/grpcclient"
	"workflow.uniconnect/pkg/lifecycle"
	"workflow.uniconnect/pkg/service"
	"workflow.uniconnect/proto/openapi"
	"workflow.uniconnect/services/gateway/internal/connlimit"
	"workflow.uniconnect/services/gateway/internal/devlogin"
	"workflow.uniconnect/services/gateway/internal/edge"
	"workflow.uniconnect/services/gateway/internal/page"
	"workflow.uniconnect/services/gateway/internal/session"
)

const (
	// stopTimeout is how long calls under way may take when the gateway stops.
	stopTimeout       = 10 * time.Second
	readHeaderTimeout = 5 * time.Second
	idleTimeout       = 2 * time.Minute
	maxConnections    = 4096
	// maxFromAddress is more than a proxy or a company's own address needs and leaves half to others.
	maxFromAddress = maxConnections / 2
	maxAnswer      = 32 << 20
)

// Service is the gateway.
type Service struct {
	listener net.Listener
	http     *http.Server
	edge     *edge.Edge
	log      *slog.Logger
	stack    lifecycle.Stack
}

// New builds the gateway and listens; Run serves.
func New(ctx context.Context, deps service.Deps) (*Service, error) {
	s := &Service{log: deps.Telemetry.Logger}
	if err := s.build(ctx, deps); err != nil {
		return nil, errors.Join(err, s.stack.Close(ctx))
	}
	return s, nil
}

func (s *Service) build(ctx context.Context, deps service.Deps) error {
	settings := deps.Settings
	catalog, err := s.dial(deps, "workflow-catalog", settings.CatalogAddr)
	if err != nil {
		return err
	}
	scheduler, err := s.dial(deps, "trigger-scheduler", settings.SchedulerAddr)
	if err != nil {
		return err
	}
	executor, err := s.dial(deps, "executor", settings.ExecutorAddr)
	if err != nil {
		return err
	}
	pages, err := pagesOf(deps)
	if err != nil {
		return err
	}
	options := edge.Options{
		Catalog: catalog, Scheduler: scheduler, Executor: executor,
		Verifier: deps.Verifier, Telemetry: deps.Telemetry, Pages: pages,
	}
	if settings.LoginClientID != "" {
		if options.Sessions, err = sessionsOf(deps, pages); err != nil {
			return err
		}
	}
	handler, err := edge.New(ctx, options)
	if err != nil {
		return err
	}
	secured, err := s.tls(settings)
	if err != nil {
		return err
	}
	var lc net.ListenConfig
	listener, err := lc.Listen(ctx, "tcp", settings.HTTPAddr)
	if err != nil {
		return fmt.Errorf("listen for http: %w", err)
	}
	s.stack.Push("listener", func(context.Context) error { return closeListener(listener) })
	s.edge = handler
	limited := connlimit.New(listener, maxConnections, maxFromAddress)
	s.listener = limited
	// There is no write timeout: a stream lives as long as its reader. Package edge gives every call its deadlines.
	s.http = &http.Server{
		Handler:           strict(settings, handler),
		TLSConfig:         secured,
		ReadHeaderTimeout: readHeaderTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    edge.MaxHeaderBytes,
		ConnState:         limited.ConnState,
		ErrorLog:          slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
	}
	return nil
}

// Addr returns the address in use, which tells the port when the settings asked for any.
func (s *Service) Addr() string { return s.listener.Addr().String() }

// Run serves until ctx ends, lets the calls under way finish, and closes everything.
func (s *Service) Run(ctx context.Context) error {
	closeCtx := context.WithoutCancel(ctx)
	served := make(chan error, 1)
	go func() { served <- s.serve() }()
	s.log.InfoContext(ctx, "gateway listens", "addr", s.Addr())
	select {
	case err := <-served:
		return errors.Join(fmt.Errorf("serve http: %w", err), s.stack.Close(closeCtx))
	case <-ctx.Done():
	}
	stopCtx, cancel := context.WithTimeout(closeCtx, stopTimeout)
	defer cancel()
	s.http.RegisterOnShutdown(s.edge.EndStreams) // after the listener was closed
	err := s.http.Shutdown(stopCtx)
	if errors.Is(err, context.DeadlineExceeded) {
		s.log.Warn("calls outlast the stop timeout and are cut off", "timeout", stopTimeout)
		err = s.http.Close()
	}
	if serveErr := <-served; !errors.Is(serveErr, http.ErrServerClosed) {
		err = errors.Join(err, fmt.Errorf("serve http: %w", serveErr))
	}
	return errors.Join(err, s.stack.Close(closeCtx))
}

func (s *Service) serve() error {
	if s.http.TLSConfig == nil {
		return s.http.Serve(s.listener)
	}
	return s.http.ServeTLS(s.listener, "", "")
}

// tls returns how connections are secured, or nil when a proxy does that.
func (s *Service) tls(settings config.Settings) (*tls.Config, error) {
	source, err := certs.Open(certs.Files{Cert: settings.HTTPTLSCertFile, Key: settings.HTTPTLSKeyFile}, s.log)
	if err != nil {
		return nil, fmt.Errorf("UC_HTTP_TLS_CERT_FILE, UC_HTTP_TLS_KEY_FILE: %w", err)
	}
	return source.Server()
}

// Close frees what New took, for a gateway that is not run.
func (s *Service) Close(ctx context.Context) error { return s.stack.Close(ctx) }

// dial connects to a service and makes its health a condition of being ready.
func (s *Service) dial(deps service.Deps, name, addr string) (*grpc.ClientConn, error) {
	conn, err := grpcclient.Dial(addr, grpcclient.Options{Telemetry: deps.Telemetry, MaxMsgSize: maxAnswer, Credentials: deps.Dialling})
	if err != nil {
		return nil, err
	}
	s.stack.Push("connection to "+name, func(context.Context) error { return conn.Close() })
	health := healthpb.NewHealthClient(conn)
	deps.Readiness.Add("gateway: "+name, func(ctx context.Context) error {
		answer, err := health.Check(ctx, &healthpb.HealthCheckRequest{})
		if err != nil {
			return fault.Unavailable(fault.ReasonServiceUnavailable, name+" does not answer").WithCause(err)
		}
		if answer.GetStatus() != healthpb.HealthCheckResponse_SERVING {
			return fault.Unavailable(fault.ReasonServiceUnavailable, name+" is not serving")
		}
		return nil
	})
	return conn, nil
}

// pagesOf returns what is served beside the API.
func pagesOf(deps service.Deps) (map[string]http.Handler, error) {
	pages, err := page.Pages()
	if err != nil {
		return nil, err
	}
	for path, handler := range pages {
		pages[path] = edge.Get(handler)
	}
	pages["/livez"] = edge.Get(admin.Live())
	pages["/readyz"] = edge.Get(deps.Readiness)
	pages["/v1/openapi.json"] = edge.Get(document())
	if deps.Settings.Dev && deps.Settings.OIDCIssuer == "" {
		issuer, err := auth.OpenIssuer(deps.Settings.DataDir)
		if err != nil {
			return nil, err
		}
		pages["/dev/users"] = edge.Get(devlogin.Users())
		pages["/dev/token"] = edge.Post(devlogin.Token(issuer, edge.Error))
	}
	return pages, nil
}

// sessionsOf makes people's sessions and adds the paths where they begin and end.
func sessionsOf(deps service.Deps, pages map[string]http.Handler) (*session.Sessions, error) {
	settings := deps.Settings
	sessions, err := session.New(session.Options{
		Issuer: settings.OIDCIssuer, Audience: settings.OIDCAudience,
		ClientID: settings.LoginClientID, ClientSecret: settings.LoginClientSecret.Reveal(),
		PublicURL: settings.PublicURL, KeyFile: settings.SessionKeyFile,
		Verifier: deps.Verifier, Logger: deps.Telemetry.Logger, WriteError: edge.Error,
	})
	if err != nil {
		return nil, err
	}
	get, post := sessions.Pages()
	for path, handler := range get {
		pages[path] = edge.Get(handler)
	}
	for path, handler := range post {
		pages[path] = edge.Post(handler)
	}
	return sessions, nil
}

// strict tells browsers to come with TLS alone, where there is TLS.
func strict(settings config.Settings, next http.Handler) http.Handler {
	if settings.HTTPTLSCertFile == "" && !strings.HasPrefix(settings.PublicURL, "https://") {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Strict-Transport-Security", "max-age=31536000")
		next.ServeHTTP(w, r)
	})
}

// document serves the OpenAPI document, which needs no token: it says nothing about anybody.
func document() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Cache-Control", "no-cache")
		http.ServeContent(w, r, "", time.Time{}, strings.NewReader(openapi.Document()))
	})
}

func closeListener(l net.Listener) error {
	if err := l.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
		return err
	}
	return nil
}
