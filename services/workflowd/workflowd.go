// Package workflowd runs the whole Workflow Manager in one process: the four services, an embedded NATS server and a private
// PostgreSQL unless others are named, and in development the sandbox and the seeds. It is what `make run` starts, what small
// installations run, and what tests drive. It owns nothing that the four services do not do themselves.
package workflowd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"workflow.uniconnect/pkg/bus"
	"workflow.uniconnect/pkg/config"
	"workflow.uniconnect/pkg/devpg"
	"workflow.uniconnect/pkg/lifecycle"
	"workflow.uniconnect/pkg/service"
	"workflow.uniconnect/services/executor"
	"workflow.uniconnect/services/gateway"
	"workflow.uniconnect/services/sandbox"
	scheduler "workflow.uniconnect/services/trigger-scheduler"
	catalog "workflow.uniconnect/services/workflow-catalog"
	"workflow.uniconnect/services/workflowd/internal/seed"
)

const (
	// database is the one that all services share here, each in its own schema.
	database = "workflow"
	// natsStore is how much the embedded NATS server may keep.
	natsStore = 8 << 30
	// closeTimeout bounds the closing of the embedded servers after the services have stopped.
	closeTimeout = 30 * time.Second
)

// Config is what a Service is made of.
type Config struct {
	service.Deps
	// Out takes the few lines that tell a person in development where everything is. Nil means none.
	Out io.Writer
}

// Service is everything, built and not yet running.
type Service struct {
	deps   service.Deps
	out    io.Writer
	stack  lifecycle.Stack
	parts  []part
	failed <-chan struct{} // closed when the private PostgreSQL has exited; nil without one
	seeder *seed.Seeder    // nil outside development
}

type part struct {
	name string
	run  service.Runner
}

// New starts the embedded servers, brings the schemas up to date and builds the services. The servers must run first, since the
// services are built upon them; nothing else is started.
func New(ctx context.Context, cfg Config) (*Service, error) {
	s := &Service{deps: cfg.Deps, out: cfg.Out}
	if err := s.build(ctx); err != nil {
		closeCtx, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeTimeout)
		defer cancel()
		return nil, errors.Join(err, s.stack.Close(closeCtx))
	}
	return s, nil
}

func (s *Service) build(ctx context.Context) error {
	if err := os.MkdirAll(s.deps.Settings.DataDir, 0o755); err != nil { //nolint:gosec // PostgreSQL's own user must pass through it when we are root
		return fmt.Errorf("make the data directory: %w", err)
	}
	if err := s.startPostgres(ctx); err != nil {
		return err
	}
	if err := s.startNATS(); err != nil {
		return err
	}
	if err := Migrate(ctx, s.deps.Settings); err != nil {
		return err
	}
	return s.buildServices(ctx)
}

func (s *Service) startPostgres(ctx context.Context) error {
	if s.deps.Settings.DatabaseURL != "" {
		return nil
	}
	server, err := devpg.Start(ctx, devpg.Options{
		DataDir: filepath.Join(s.deps.Settings.DataDir, "postgres"), BinDir: s.deps.Settings.PGBin, Logger: s.deps.Telemetry.Logger,
	})
	if err != nil {
		return fmt.Errorf("start the private PostgreSQL: %w", err)
	}
	s.stack.Push("private PostgreSQL", server.Stop)
	if err := server.EnsureDatabase(ctx, database); err != nil {
		return fmt.Errorf("make the database: %w", err)
	}
	s.deps.Settings.DatabaseURL = config.Secret(server.URL(database))
	s.failed = server.Exited()
	return nil
}

func (s *Service) startNATS() error {
	if s.deps.Settings.NATSURL != "" {
		return nil
	}
	server, err := bus.StartEmbedded(bus.EmbeddedOptions{
		StoreDir: filepath.Join(s.deps.Settings.DataDir, "nats"), Addr: s.deps.Settings.NATSAddr, MaxStore: natsStore,
		Logger: s.deps.Telemetry.Logger,
	})
	if err != nil {
		return fmt.Errorf("start the embedded NATS server: %w", err)
	}
	s.stack.Push("embedded NATS", server.Shutdown)
	s.deps.Settings.NATSURL = config.Secret(server.URL())
	return nil
}

func (s *Service) buildServices(ctx context.Context) error {
	cat, err := catalog.New(ctx, catalog.Config{Deps: s.deps.For(catalog.Name)})
	if err != nil {
		return fmt.Errorf("build workflow-catalog: %w", err)
	}
	s.add("workflow-catalog", cat)
	sch, err := scheduler.New(ctx, s.deps.For("trigger-scheduler"))
	if err != nil {
		return fmt.Errorf("build trigger-scheduler: %w", err)
	}
	s.add("trigger-scheduler", sch)
	exe, err := executor.New(ctx, executor.Config{Deps: s.deps.For(executor.Name)})
	if err != nil {
		return fmt.Errorf("build executor: %w", err)
	}
	s.add("executor", exe)
	gate, err := gateway.New(ctx, s.deps.For("gateway"))
	if err != nil {
		return fmt.Errorf("build gateway: %w", err)
	}
	s.add("gateway", gate)
	if !s.deps.Settings.Dev {
		return nil
	}
	box, err := sandbox.New(ctx, s.deps.For("sandbox"))
	if err != nil {
		return fmt.Errorf("build sandbox: %w", err)
	}
	s.add("sandbox", box)
	s.seeder, err = seed.New(s.deps, cat)
	return err
}

func (s *Service) add(name string, run service.Runner) {
	s.parts = append(s.parts, part{name, run})
}

// Run serves until ctx ends, then stops the services and after them the embedded servers.
func (s *Service) Run(ctx context.Context) error {
	group := lifecycle.NewGroup(ctx)
	for _, p := range s.parts {
		group.Go(p.name, p.run.Run)
	}
	if s.failed != nil {
		group.Go("private PostgreSQL", s.watchPostgres)
	}
	if s.seeder != nil {
		group.Go("seed", s.seed)
	}
	err := group.Wait()
	closeCtx, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeTimeout)
	defer cancel()
	return errors.Join(err, s.stack.Close(closeCtx))
}

// seed puts the seeds in place and then tells a person what there is.
func (s *Service) seed(ctx context.Context) error {
	if err := s.seeder.Run(ctx); err != nil {
		return err
	}
	if s.out == nil {
		return nil
	}
	_, err := io.WriteString(s.out, welcome(s.deps.Settings))
	return err
}

// watchPostgres ends the process when its database has died: a supervisor's restart brings both back in order.
func (s *Service) watchPostgres(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return nil
	case <-s.failed:
		return errors.New("the private PostgreSQL has exited; its log is in the data directory")
	}
}

// Migrate brings the schemas of all services up to date.
func Migrate(ctx context.Context, settings config.Settings) error {
	migrations := []struct {
		name    string
		migrate func(context.Context, config.Settings) error
	}{
		{"workflow-catalog", catalog.Migrate}, {"trigger-scheduler", scheduler.Migrate}, {"executor", executor.Migrate},
	}
	if settings.Dev {
		migrations = append(migrations, struct {
			name    string
			migrate func(context.Context, config.Settings) error
		}{"sandbox", sandbox.Migrate})
	}
	for _, m := range migrations {
		if err := m.migrate(ctx, settings); err != nil {
			return fmt.Errorf("migrate %s: %w", m.name, err)
		}
	}
	return nil
}
