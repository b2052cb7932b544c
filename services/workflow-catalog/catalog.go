// Package catalog is the workflow-catalog service: it owns workflows, their revisions and states, and who may do what. This package wires
// it; the rules are in internal/workflow, internal/tenant, internal/feed and internal/deletion.
package catalog

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/google/uuid"
	"google.golang.org/grpc"

	"workflow.uniconnect/pkg/access"
	"workflow.uniconnect/pkg/auth"
	"workflow.uniconnect/pkg/config"
	"workflow.uniconnect/pkg/grpcclient"
	"workflow.uniconnect/pkg/grpcserver"
	"workflow.uniconnect/pkg/lifecycle"
	pgpool "workflow.uniconnect/pkg/postgres"
	"workflow.uniconnect/pkg/service"
	accessv1 "workflow.uniconnect/proto/gen/go/uniconnect/access/v1"
	peerv1 "workflow.uniconnect/proto/gen/go/uniconnect/workflow/peer/v1"
	workflowv1 "workflow.uniconnect/proto/gen/go/uniconnect/workflow/v1"
	"workflow.uniconnect/services/workflow-catalog/internal/audit"
	"workflow.uniconnect/services/workflow-catalog/internal/deletion"
	"workflow.uniconnect/services/workflow-catalog/internal/feed"
	"workflow.uniconnect/services/workflow-catalog/internal/grpcapi"
	"workflow.uniconnect/services/workflow-catalog/internal/peer"
	"workflow.uniconnect/services/workflow-catalog/internal/postgres"
	"workflow.uniconnect/services/workflow-catalog/internal/template"
	"workflow.uniconnect/services/workflow-catalog/internal/tenant"
	"workflow.uniconnect/services/workflow-catalog/internal/workflow"
)

// Name is the service's name in logs, tokens and the database.
const Name = "workflow-catalog"

const (
	apiConns, workerConns = 10, 4
	// Both are below the deadline that clients set by default, so that the database gives up before they do.
	statementTimeout = 4 * time.Second
	lockTimeout      = 3 * time.Second
	closeTimeout     = 10 * time.Second
	// maxStreams is how many calls one connection carries. A gateway has one for all its people, and a watch of each of them lasts for hours; at
	// the limit every other call of theirs would wait.
	maxStreams = 10000
)

// Config is what a Service is made of.
type Config struct {
	service.Deps
	// Listener takes the place of the address in the settings.
	Listener net.Listener
}

// Service is a workflow-catalog.
type Service struct {
	cfg         Config
	stack       lifecycle.Stack
	store       *postgres.Store
	directory   *tenant.Directory
	admin       *tenant.Administration
	hub         *grpcapi.Hub
	tenants     *tenant.Lifecycle
	deletions   *deletion.Loop
	offboarding *deletion.Loop
	definitions *grpcapi.Definitions
	watches     *grpcapi.Watches
	enforcer    *access.Enforcer
	server      *grpcserver.Server
}

// Migrate brings the schema up to date.
func Migrate(ctx context.Context, settings config.Settings) error {
	files, err := postgres.Migrations()
	if err != nil {
		return fmt.Errorf("read migrations: %w", err)
	}
	return pgpool.Migrate(ctx, settings.DatabaseURL.Reveal(), postgres.Schema, files, pgpool.API, pgpool.Worker)
}

// New builds the service and starts nothing. The database need not be there yet. Run closes what New opened; so does Close when Run is
// never called.
func New(ctx context.Context, cfg Config) (*Service, error) {
	s := &Service{cfg: cfg}
	if err := s.build(ctx); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

func (s *Service) build(ctx context.Context) error {
	if err := s.openStore(ctx); err != nil {
		return err
	}
	scheduler, err := s.dial(s.cfg.Settings.SchedulerAddr)
	if err != nil {
		return err
	}
	executor, err := s.dial(s.cfg.Settings.ExecutorAddr)
	if err != nil {
		return err
	}
	triggers, steps := peer.NewScheduler(scheduler), peer.NewExecutor(executor)
	logger := s.cfg.Telemetry.Logger

	s.cfg.Readiness.Add(Name+": postgres", s.store.Ready)
	s.directory = tenant.NewDirectory(s.store, grpcapi.Permissions())
	s.admin = tenant.NewAdministration(tenant.AdministrationDeps{
		Store: s.store, NewID: newRoleID, Permissions: grpcapi.Permissions(), Changed: s.accessChanged,
	})
	encode := grpcapi.Encoder(logger)
	s.hub = feed.NewHub(s.store, encode, logger)
	s.deletions = deletion.NewLoop(deletion.Workflow, s.store, []deletion.Owner{triggers, steps}, logger)
	starts, runs := peer.NewTenantData(triggers.Name(), scheduler), peer.NewTenantData(steps.Name(), executor)
	// What was published while executions were removed is found by asking for the starts once more.
	s.offboarding = deletion.NewLoop(deletion.Tenant, s.store.Offboarding(), []deletion.Owner{starts, runs, starts}, logger)
	platform := s.store.Platform()
	s.tenants = tenant.NewLifecycle(tenant.LifecycleDeps{
		Store: platform, Exporters: []tenant.Exporter{runs, starts}, Changed: s.tenantsChanged,
		Administration: tenant.NewAdministration(tenant.AdministrationDeps{
			Store: platform, NewID: newRoleID, Permissions: grpcapi.Permissions(), Changed: s.accessChanged,
		}),
	})
	catalog := workflow.NewCatalog(workflow.Deps{Store: s.store, NewID: newID, Changed: s.changed})
	s.definitions = grpcapi.NewDefinitions(grpcapi.DefinitionDeps{Catalog: catalog, Hub: s.hub, Source: s.store, Encode: encode})
	s.watches = grpcapi.NewWatches(grpcapi.WatchDeps{Hub: s.hub, Source: s.store, Encode: encode})
	refusals, err := s.observe()
	if err != nil {
		return err
	}
	s.enforcer = access.NewEnforcer(access.Options{
		Module: tenant.ModuleWorkflow, Grants: s.grants, Platform: s.cfg.Settings.PlatformAdmins,
	})
	templates, err := template.Load()
	if err != nil {
		return err
	}
	return s.listen(ctx, refusals, grpcapi.NewCatalog(grpcapi.CatalogDeps{
		Catalog: catalog, Owners: []grpcapi.Owner{triggers, steps}, Calls: s.store, Previewer: deletion.NewPreviewer(s.store, steps),
		Templates: templates, Allowed: s.allowed, Audit: s.store, Watches: s.watches,
	}))
}

// openStore opens the two pools: that of calls, which see one tenant each, and that of the loops.
func (s *Service) openStore(ctx context.Context) error {
	options := pgpool.Options{
		URL: s.cfg.Settings.DatabaseURL.Reveal(), Schema: postgres.Schema, Name: Name, MaxConns: apiConns,
		StatementTimeout: statementTimeout, LockTimeout: lockTimeout, Prepare: true,
		TracerProvider: s.cfg.Telemetry.TracerProvider, MeterProvider: s.cfg.Telemetry.MeterProvider,
	}
	api, err := pgpool.OpenTenants(ctx, options)
	if err != nil {
		return err
	}
	s.pushPool(Name, api)
	options.Name, options.MaxConns, options.Role = Name+" loops", workerConns, pgpool.Worker
	worker, err := pgpool.Open(ctx, options)
	if err != nil {
		return err
	}
	s.pushPool(options.Name, worker)
	s.store = postgres.NewStore(api, worker)
	return nil
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

func (s *Service) listen(ctx context.Context, refusals *audit.Refusals, catalog *grpcapi.Catalog) error {
	server, err := grpcserver.New(ctx, grpcserver.Options{
		Credentials: s.cfg.Serving,
		Addr:        s.cfg.Settings.CatalogAddr, Listener: s.cfg.Listener, Telemetry: s.cfg.Telemetry, Verifier: s.cfg.Verifier,
		Enforcer: s.enforcer,
		Dev:      s.cfg.Settings.Dev, HandlerValidated: grpcapi.HandlerValidated(), Refused: grpcapi.Refused(refusals),
		MaxConcurrentStreams: maxStreams,
	})
	if err != nil {
		return err
	}
	s.server = server
	s.stack.Push("grpc server", func(context.Context) error { return server.Close() })
	accessServer := grpcapi.NewAccess(s.directory, s.admin)
	workflowv1.RegisterWorkflowCatalogServiceServer(server, catalog)
	accessv1.RegisterAccessServiceServer(server, accessServer)
	accessv1.RegisterTenantServiceServer(server, grpcapi.NewTenants(s.tenants, s.admin))
	peerv1.RegisterGrantsServiceServer(server, accessServer)
	peerv1.RegisterDefinitionServiceServer(server, s.definitions)
	return nil
}

// Run serves until ctx ends, then closes everything.
func (s *Service) Run(ctx context.Context) error {
	group := lifecycle.NewGroup(ctx)
	group.Go("change feed", s.hub.Run)
	group.Go("deletions", s.deletions.Run)
	group.Go("offboarding", s.offboarding.Run)
	group.Go("upkeep", s.upkeep)
	group.Go("grpc server", s.server.Run)
	err := group.Wait()
	s.definitions.Wait()
	s.watches.Wait()
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

// changed passes a commit of this process on without delay.
func (s *Service) changed() {
	s.hub.Wake()
	s.deletions.Wake()
}

// accessChanged makes a commit about who may do what apply at once.
func (s *Service) accessChanged() {
	s.enforcer.Forget()
	s.hub.Wake()
}

// tenantsChanged makes a commit about tenants apply at once.
func (s *Service) tenantsChanged() {
	s.accessChanged()
	s.offboarding.Wake()
}

// allowed answers whether the caller of ctx may call a method.
func (s *Service) allowed(ctx context.Context, method string) error {
	caller, _ := auth.FromContext(ctx)
	return s.enforcer.Authorize(ctx, method, caller)
}

// grants answers the service's own gate from its own database.
func (s *Service) grants(ctx context.Context, who auth.Principal) (access.Grants, error) {
	p, err := s.directory.Profile(ctx, who.Tenant, tenant.Who{Subject: who.Subject, TokenRoles: who.Roles})
	if err != nil {
		return access.Grants{}, err
	}
	g := access.Grants{
		TenantClosed: p.Closed, ModuleEnabled: p.ModuleEnabled(tenant.ModuleWorkflow), Permissions: make(map[string]struct{}, len(p.Permissions)),
		Quotas: access.Quotas{
			RequestsPerSecond: int(p.Quotas.RequestsPerSecond), Workflows: int(p.Quotas.Workflows), Streams: int(p.Quotas.Streams),
		},
	}
	for _, name := range p.Permissions {
		g.Permissions[name] = struct{}{}
	}
	return g, nil
}

func newRoleID() (tenant.RoleID, error) {
	id, err := newID()
	return tenant.RoleID(id), err
}

func newID() (workflow.ID, error) {
	id, err := uuid.NewV7()
	if err != nil {
		return "", fmt.Errorf("make an id: %w", err)
	}
	return workflow.ID(id.String()), nil
}
