// Package scheduler is the trigger-scheduler service: it knows which event starts which workflow and has the executor start it. This package
// wires it; what it promises is explained in internal/intake (when an event is settled) and internal/activation (when a change
// takes effect).
package scheduler

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/nats-io/nats.go"
	"google.golang.org/grpc"

	"workflow.uniconnect/pkg/access"
	natsbus "workflow.uniconnect/pkg/bus"
	"workflow.uniconnect/pkg/config"
	"workflow.uniconnect/pkg/fault"
	"workflow.uniconnect/pkg/grpcclient"
	"workflow.uniconnect/pkg/grpcserver"
	"workflow.uniconnect/pkg/lifecycle"
	pgpool "workflow.uniconnect/pkg/postgres"
	"workflow.uniconnect/pkg/service"
	peerv1 "workflow.uniconnect/proto/gen/go/uniconnect/workflow/peer/v1"
	workflowv1 "workflow.uniconnect/proto/gen/go/uniconnect/workflow/v1"
	"workflow.uniconnect/services/trigger-scheduler/internal/activation"
	"workflow.uniconnect/services/trigger-scheduler/internal/bus"
	"workflow.uniconnect/services/trigger-scheduler/internal/event"
	"workflow.uniconnect/services/trigger-scheduler/internal/eventpb"
	"workflow.uniconnect/services/trigger-scheduler/internal/grpcapi"
	"workflow.uniconnect/services/trigger-scheduler/internal/index"
	"workflow.uniconnect/services/trigger-scheduler/internal/intake"
	"workflow.uniconnect/services/trigger-scheduler/internal/observe"
	"workflow.uniconnect/services/trigger-scheduler/internal/postgres"
	"workflow.uniconnect/services/trigger-scheduler/internal/predicate"
	"workflow.uniconnect/services/trigger-scheduler/internal/remote"
)

// Name is the service's name in logs, tokens and the database.
const Name = "trigger-scheduler"

// moduleWorkflow is the module whose gate the service's methods stand behind.
const moduleWorkflow = "workflow"

const (
	workerConns      = 4
	readConns        = 2
	statementTimeout = 4 * time.Second
	lockTimeout      = 3 * time.Second
	closeTimeout     = 10 * time.Second
)

// options are what tests set.
type options struct {
	listener net.Listener
	limits   bus.Limits
}

// Service is a trigger-scheduler.
type Service struct {
	deps     service.Deps
	opts     options
	stack    lifecycle.Stack
	conn     *nats.Conn
	pool     *pgxpool.Pool
	index    *index.Index
	tracker  *activation.Tracker
	watch    *remote.Watch
	consumer *bus.Consumer
	server   *grpcserver.Server
}

// Migrate brings the schema up to date.
func Migrate(ctx context.Context, settings config.Settings) error {
	return postgres.Migrate(ctx, settings.DatabaseURL.Reveal())
}

// New builds the service and starts nothing. Database, stream and the other services need not be there yet. Run closes what New opened; so
// does Close when Run is never called.
func New(ctx context.Context, deps service.Deps) (*Service, error) {
	return newService(ctx, deps, options{limits: bus.DefaultLimits()})
}

func newService(ctx context.Context, deps service.Deps, opts options) (*Service, error) {
	s := &Service{deps: deps, opts: opts}
	if err := s.build(ctx); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

func (s *Service) build(ctx context.Context) error {
	store, reader, err := s.openStores(ctx)
	if err != nil {
		return err
	}
	conn, err := s.connectBus()
	if err != nil {
		return err
	}
	catalog, err := s.dial(s.deps.Settings.CatalogAddr)
	if err != nil {
		return err
	}
	executor, err := s.dial(s.deps.Settings.ExecutorAddr)
	if err != nil {
		return err
	}
	env, err := predicate.NewEnv()
	if err != nil {
		return err
	}
	tel := s.deps.Telemetry
	stream, err := bus.New(conn, s.opts.limits, tel.Logger)
	if err != nil {
		return err
	}
	observer, err := observe.New(tel.Meter(Name), tel.Tracer(Name), tel.Propagator)
	if err != nil {
		return err
	}
	registry, decoder := event.NewRegistry(eventpb.Kinds()...), event.NewDecoder(eventpb.New())
	s.index = index.New(env)
	in := intake.New(intake.Options{
		Decoder: decoder, Registry: registry, Index: s.index, Starter: remote.NewStarter(executor), Letters: store, Observer: observer,
	})
	s.tracker, err = activation.New(activation.Options{Index: s.index, Store: store, Stream: stream, Restarter: in, Logger: tel.Logger})
	if err != nil {
		return err
	}
	s.watch = remote.NewWatch(catalog, s.tracker, tel.Logger)
	s.consumer = bus.NewConsumer(stream, in, s.tracker, tel.Logger)
	if err := s.report(stream, store, reader); err != nil {
		return err
	}
	return s.listen(ctx, catalog,
		&grpcapi.Events{Publisher: bus.NewPublisher(stream, tel.Propagator), Letters: reader, Registry: registry, Decoder: decoder},
		&grpcapi.Triggers{Registry: registry, Checks: predicate.NewChecks(), Index: s.index},
		&grpcapi.Tenants{Letters: reader, Store: store, Stream: stream, Index: s.index})
}

// openStores opens the two pools: that of the loops, and that of calls which read.
func (s *Service) openStores(ctx context.Context) (*postgres.Store, *postgres.Reader, error) {
	options := pgpool.Options{
		URL: s.deps.Settings.DatabaseURL.Reveal(), Schema: postgres.Schema, Role: pgpool.Worker, Name: Name, MaxConns: workerConns,
		StatementTimeout: statementTimeout, LockTimeout: lockTimeout,
		TracerProvider: s.deps.Telemetry.TracerProvider, MeterProvider: s.deps.Telemetry.MeterProvider,
	}
	worker, err := pgpool.Open(ctx, options)
	if err != nil {
		return nil, nil, err
	}
	s.pushPool(Name, worker)
	options.Name, options.MaxConns = Name+" reads", readConns
	api, err := pgpool.OpenTenants(ctx, options)
	if err != nil {
		return nil, nil, err
	}
	s.pushPool(options.Name, api)
	s.pool = worker
	return postgres.NewStore(worker), postgres.NewReader(api), nil
}

func (s *Service) pushPool(name string, pool interface{ Close() }) {
	s.stack.Push("database pool of "+name, func(context.Context) error {
		pool.Close()
		return nil
	})
}

func (s *Service) connectBus() (*nats.Conn, error) {
	if s.deps.Settings.NATSURL == "" {
		return nil, errors.New("UC_NATS_URL: is required")
	}
	conn, err := natsbus.Connect(natsbus.Options{URL: s.deps.Settings.NATSURL.Reveal(), Name: Name, Logger: s.deps.Telemetry.Logger})
	if err != nil {
		return nil, err
	}
	// Draining sends the acks that are still in the buffer.
	s.stack.Push("bus", func(ctx context.Context) error { return natsbus.Drain(ctx, conn) })
	s.conn = conn
	return conn, nil
}

// dial connects to another service with this one's identity.
func (s *Service) dial(addr string) (*grpc.ClientConn, error) {
	conn, err := grpcclient.Dial(addr, grpcclient.Options{Telemetry: s.deps.Telemetry, TokenSource: s.deps.TokenSource, Credentials: s.deps.Dialling})
	if err != nil {
		return nil, err
	}
	s.stack.Push("connection to "+addr, func(context.Context) error { return conn.Close() })
	return conn, nil
}

// report adds gauges and readiness checks.
func (s *Service) report(stream *bus.Stream, store *postgres.Store, reader *postgres.Reader) error {
	s.deps.Readiness.Add(Name+": postgres", func(ctx context.Context) error {
		if err := store.Ready(ctx); err != nil {
			return err
		}
		return reader.Ready(ctx)
	})
	s.deps.Readiness.Add(Name+": bus", stream.Ready)
	s.deps.Readiness.Add(Name+": definitions", func(context.Context) error {
		if !s.tracker.Open() {
			return fault.Unavailable(fault.ReasonServiceUnavailable, "the definitions of workflows are not known or not followed")
		}
		return nil
	})
	return observe.Register(s.deps.Telemetry.Meter(Name), observe.Gauges{
		Pending:      func() int64 { return int64(s.consumer.Health().Pending) },
		Unacked:      func() int64 { return int64(s.consumer.Health().Unacked) },
		OldestAge:    func() time.Duration { return s.consumer.Health().OldestAge },
		Mended:       func() int64 { return int64(s.consumer.Health().Mended) },
		IndexSize:    func() int64 { return int64(s.index.Len()) },
		WatchSilence: s.tracker.Silence,
		Rebuilt:      s.watch.Rebuilt,
	})
}

func (s *Service) listen(ctx context.Context, catalog *grpc.ClientConn, events *grpcapi.Events, triggers *grpcapi.Triggers, tenants *grpcapi.Tenants) error {
	server, err := grpcserver.New(ctx, grpcserver.Options{
		Credentials: s.deps.Serving,
		Addr:        s.deps.Settings.SchedulerAddr, Listener: s.opts.listener, Telemetry: s.deps.Telemetry, Verifier: s.deps.Verifier,
		Enforcer: access.NewEnforcer(access.Options{Module: moduleWorkflow, Grants: remote.NewGrants(catalog).Of}),
		Dev:      s.deps.Settings.Dev,
	})
	if err != nil {
		return err
	}
	s.server = server
	s.stack.Push("grpc server", func(context.Context) error { return server.Close() })
	workflowv1.RegisterTriggerSchedulerServiceServer(server, events)
	peerv1.RegisterTriggerServiceServer(server, triggers)
	peerv1.RegisterTenantDataServiceServer(server, tenants)
	return nil
}

// Run serves until ctx ends: no event is pulled any more, those that were are settled, then everything is closed.
func (s *Service) Run(ctx context.Context) error {
	group := lifecycle.NewGroup(ctx)
	group.Go("watch of definitions", s.watch.Run)
	group.Go("activation", s.tracker.Run)
	group.Go("event consumer", s.consumer.Run)
	group.Go("grpc server", s.server.Run)
	err := group.Wait()
	s.release()
	return errors.Join(err, s.Close())
}

// release hands this process's watcher over, now that nothing is acked any more.
func (s *Service) release() {
	ctx, cancel := context.WithTimeout(context.Background(), statementTimeout)
	defer cancel()
	if err := s.tracker.Release(ctx); err != nil {
		// Not a failure: another process takes it over when it has expired.
		s.deps.Telemetry.Logger.InfoContext(ctx, "watcher is left to expire", "error", err)
	}
}

// Close closes what New opened.
func (s *Service) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
	defer cancel()
	if err := s.stack.Close(ctx); err != nil {
		return fmt.Errorf("close %s: %w", Name, err)
	}
	return nil
}

// Addr is where the service listens.
func (s *Service) Addr() string { return s.server.Addr() }
