// Package executor is the executor service: it accepts starts, runs the steps of workflows, and records what they did. This package
// wires it; the rules are in internal/run and internal/engine.
package executor

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"google.golang.org/grpc"

	"workflow.uniconnect/pkg/access"
	"workflow.uniconnect/pkg/config"
	"workflow.uniconnect/pkg/grpcclient"
	"workflow.uniconnect/pkg/grpcserver"
	"workflow.uniconnect/pkg/lifecycle"
	pgpool "workflow.uniconnect/pkg/postgres"
	"workflow.uniconnect/pkg/service"
	peerv1 "workflow.uniconnect/proto/gen/go/uniconnect/workflow/peer/v1"
	workflowv1 "workflow.uniconnect/proto/gen/go/uniconnect/workflow/v1"
	"workflow.uniconnect/services/executor/internal/action"
	"workflow.uniconnect/services/executor/internal/crm"
	"workflow.uniconnect/services/executor/internal/egress"
	"workflow.uniconnect/services/executor/internal/engine"
	"workflow.uniconnect/services/executor/internal/grpcapi"
	"workflow.uniconnect/services/executor/internal/httpaction"
	"workflow.uniconnect/services/executor/internal/postgres"
	"workflow.uniconnect/services/executor/internal/remote"
	"workflow.uniconnect/services/executor/internal/run"
	"workflow.uniconnect/services/executor/internal/upkeep"
)

// Name is the service's name in logs, tokens and the database.
const Name = "executor"

const (
	module = "workflow"
	// What users read goes over connections of its own: however many wait there, the engine renews its lease and records.
	engineConns = 12
	readConns   = 4
	// maxRecvSize takes a full batch of StartExecutions.
	maxRecvSize      = 32 << 20
	statementTimeout = 20 * time.Second
	lockTimeout      = 5 * time.Second
	closeTimeout     = 10 * time.Second
)

// Config is what a Service is made of.
type Config struct {
	service.Deps
	// Listener takes the place of the address in the settings.
	Listener net.Listener
}

// Service is an executor.
type Service struct {
	cfg    Config
	stack  lifecycle.Stack
	engine *engine.Engine
	upkeep *upkeep.Loop
	server *grpcserver.Server
}

// Migrate brings the schema up to date.
func Migrate(ctx context.Context, settings config.Settings) error {
	return postgres.Migrate(ctx, settings.DatabaseURL.Reveal())
}

// New builds the service and starts nothing. Neither the database nor the catalog need be there yet. Run closes what New opened; so does
// Close when Run is never called.
func New(ctx context.Context, cfg Config) (*Service, error) {
	s := &Service{cfg: cfg}
	if err := s.build(ctx); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

func (s *Service) build(ctx context.Context) error {
	tel := s.cfg.Telemetry
	store, reader, err := s.openStores(ctx)
	if err != nil {
		return err
	}
	catalog, err := s.dial(s.cfg.Settings.CatalogAddr)
	if err != nil {
		return err
	}
	actions, err := s.actions()
	if err != nil {
		return err
	}
	compiler, err := run.NewCompiler(actions)
	if err != nil {
		return err
	}
	revisions := remote.NewRevisions(catalog, compiler)
	s.engine, err = engine.New(engine.Config{
		Store: store, Actions: actions, Revisions: revisions, Slots: s.cfg.Settings.ExecutorSlots, Logger: tel.Logger,
		Tracer: tel.TracerProvider.Tracer(Name), Propagator: tel.Propagator, Meter: tel.MeterProvider.Meter(Name),
	})
	if err != nil {
		return err
	}
	s.upkeep = upkeep.NewLoop(store, tel.Logger)

	enforcer := access.NewEnforcer(access.Options{Module: module, Grants: remote.Grants(catalog)})
	s.server, err = grpcserver.New(ctx, grpcserver.Options{
		Credentials: s.cfg.Serving,
		Addr:        s.cfg.Settings.ExecutorAddr, Listener: s.cfg.Listener, Telemetry: tel, Verifier: s.cfg.Verifier, Enforcer: enforcer,
		Dev: s.cfg.Settings.Dev, MaxRecvMsgSize: maxRecvSize,
		// The items of a batch are checked one by one, so that one bad item refuses itself and not its batch.
		HandlerValidated: []string{peerv1.StartService_StartExecutions_FullMethodName},
	})
	if err != nil {
		return err
	}
	s.stack.Push("grpc server", func(context.Context) error { return s.server.Close() })
	workflowv1.RegisterExecutorServiceServer(s.server, grpcapi.NewExecutions(s.engine, reader, revisions, actions))
	peerv1.RegisterTenantDataServiceServer(s.server, grpcapi.NewTenants(reader, store))
	peerv1.RegisterStartServiceServer(s.server, grpcapi.NewStarts(s.engine, run.NewChecker(compiler, actions), finalizer{reader, store}))
	return nil
}

// finalizer looks at what is left of a workflow as its tenant does, and removes it beside what the engine does for all.
type finalizer struct {
	*postgres.Reader
	*postgres.Store
}

// openStores opens the two pools: the engine's, and that of calls which read.
func (s *Service) openStores(ctx context.Context) (*postgres.Store, *postgres.Reader, error) {
	options := pgpool.Options{
		URL: s.cfg.Settings.DatabaseURL.Reveal(), Schema: postgres.Schema, Role: pgpool.Worker, Name: Name, MaxConns: engineConns,
		StatementTimeout: statementTimeout, LockTimeout: lockTimeout, Parameters: postgres.Parameters(),
		TracerProvider: s.cfg.Telemetry.TracerProvider, MeterProvider: s.cfg.Telemetry.MeterProvider,
	}
	worker, err := pgpool.Open(ctx, options)
	if err != nil {
		return nil, nil, err
	}
	s.pushPool(Name, worker)
	options.Name, options.MaxConns, options.Parameters = Name+" reads", readConns, nil
	api, err := pgpool.OpenTenants(ctx, options)
	if err != nil {
		return nil, nil, err
	}
	s.pushPool(options.Name, api)
	store, reader := postgres.New(worker), postgres.NewReader(api)
	s.cfg.Readiness.Add(Name+": postgres", func(ctx context.Context) error {
		if err := store.Ready(ctx); err != nil {
			return err
		}
		return reader.Ready(ctx)
	})
	return store, reader, nil
}

func (s *Service) pushPool(name string, pool interface{ Close() }) {
	s.stack.Push("database pool of "+name, func(context.Context) error {
		pool.Close()
		return nil
	})
}

// dial connects to a peer with the service's own identity.
func (s *Service) dial(addr string) (*grpc.ClientConn, error) {
	conn, err := grpcclient.Dial(addr, grpcclient.Options{Telemetry: s.cfg.Telemetry, TokenSource: s.cfg.TokenSource, Credentials: s.cfg.Dialling})
	if err != nil {
		return nil, err
	}
	s.stack.Push("connection to "+addr, func(context.Context) error { return conn.Close() })
	return conn, nil
}

// actions makes the registry of action types and what they reach.
func (s *Service) actions() (*action.Registry, error) {
	settings := s.cfg.Settings
	guard, err := egress.New(egress.Options{Allow: allowTargets(settings), Own: ownAddresses(settings)})
	if err != nil {
		return nil, err
	}
	client := httpaction.New(httpaction.Options{Guard: guard, Propagator: s.cfg.Telemetry.Propagator, Concurrency: settings.ExecutorSlots})
	s.stack.Push("http client", func(context.Context) error {
		client.Close()
		return nil
	})
	conn, err := s.dial(settings.CRMAddr)
	if err != nil {
		return nil, err
	}
	handlers := crm.New(conn).Handlers()
	handlers[action.HTTPRequest] = client
	types := make([]action.Type, 0, len(handlers))
	for name, handler := range handlers {
		defined, err := action.Define(name, handler)
		if err != nil {
			return nil, fmt.Errorf("define actions: %w", err)
		}
		types = append(types, defined)
	}
	return action.NewRegistry(types...), nil
}

// allowTargets are the private destinations that actions may reach: in development the sandbox, unless others are set.
func allowTargets(settings config.Settings) []string {
	if len(settings.AllowTargets) == 0 && settings.Dev {
		return []string{settings.SandboxAddr}
	}
	return settings.AllowTargets
}

// ownAddresses are the listeners of this installation, which no workflow may call. A setting may name several replicas.
func ownAddresses(s config.Settings) []string {
	var all []string
	for _, setting := range []string{
		s.HTTPAddr, s.CatalogAddr, s.SchedulerAddr, s.ExecutorAddr, s.AdminAddr, s.NATSAddr, s.SandboxGRPCAddr, s.SandboxSMTPAddr,
	} {
		all = append(all, strings.Split(setting, ",")...)
	}
	return all
}

// Run serves until ctx ends. Then it takes in nothing more, lets steps under way finish, hands the rest back, and closes everything.
func (s *Service) Run(ctx context.Context) error {
	group := lifecycle.NewGroup(ctx)
	group.Go("engine", s.engine.Run)
	group.Go("upkeep", s.upkeep.Run)
	group.Go("grpc server", s.server.Run)
	err := group.Wait()
	return errors.Join(err, s.Close())
}

// Close closes what New opened.
func (s *Service) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
	defer cancel()
	return s.stack.Close(ctx)
}

// Addr is where the service listens.
func (s *Service) Addr() string { return s.server.Addr() }
