package stack

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"workflow.uniconnect/pkg/devpg"
)

const (
	database    = "workflow"
	stopTimeout = 30 * time.Second
)

// Options describes a system. The zero value is the separate deployment with one replica of everything.
type Options struct {
	// Workflowd runs everything in one process, as `make run` does, in place of one process for each service.
	Workflowd bool
	// Schedulers and Executors count the replicas; 0 means one.
	Schedulers, Executors int
	// HeldBack counts the executors, from the last, that are known to the others and not started.
	HeldBack int
	// ExecutorBinary replaces the executor's binary.
	ExecutorBinary string
	// FaultPoints runs builds of catalog, trigger-scheduler and executor that Process.RestartDoomed can tell where to die.
	FaultPoints bool
	// TenantBlind runs a workflowd whose calls do not filter by tenant.
	TenantBlind bool
	// DatabaseURL names the database to use. When it is empty, workflowd runs a private server in its data directory, and the separate
	// processes get one that is fast and not durable: killing a process loses nothing either way.
	DatabaseURL string
	// AllowTargets are host:port that outbound calls may reach beside the sandbox.
	AllowTargets []string
	// Env is added to the environment of every process.
	Env []string
}

// Stack is a running system. The fields that name what a deployment lacks are nil or empty.
type Stack struct {
	// Dir is the data directory that all processes share.
	Dir string
	// RESTURL and SandboxURL begin the addresses of the gateway and of the sandbox.
	RESTURL, SandboxURL string
	// NATSURL is where events are published.
	NATSURL string
	// CatalogAddr, SchedulerAddrs and ExecutorAddrs are where the services take gRPC calls; of workflowd there is one of each.
	CatalogAddr                   string
	SchedulerAddrs, ExecutorAddrs []string

	NATS, Sandbox, Catalog, Gateway, Workflowd *Process
	Schedulers, Executors                      []*Process

	seeder   *Process // only while the system starts
	opts     Options
	bin      string
	doomed   string // directory of the services with fault points, if they are asked for
	postgres *devpg.Server
	all      []*Process // in the order of their start
	services []*Process // those of the product
	ending   sync.Once
	endErr   error
}

// Start builds what is missing, starts a system and returns when every part is ready.
func Start(ctx context.Context, opts Options) (*Stack, error) {
	opts.Schedulers, opts.Executors = max(1, opts.Schedulers), max(1, opts.Executors)
	bin, err := Build(ctx)
	if err != nil {
		return nil, fmt.Errorf("build the binaries: %w", err)
	}
	doomed := ""
	if opts.FaultPoints {
		if doomed, err = BuildFaultPoints(ctx); err != nil {
			return nil, fmt.Errorf("build the services with fault points: %w", err)
		}
	}
	if opts.TenantBlind {
		if bin, err = BuildTenantBlind(ctx); err != nil {
			return nil, fmt.Errorf("build workflowd without its filters: %w", err)
		}
	}
	dir, err := os.MkdirTemp("", "uc-stack-*")
	if err != nil {
		return nil, err
	}
	s := &Stack{Dir: dir, opts: opts, bin: bin, doomed: doomed}
	if err := s.start(ctx); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

func (s *Stack) start(ctx context.Context) error {
	// PostgreSQL runs as another user when we are root and must be able to enter.
	if err := os.Chmod(s.Dir, 0o755); err != nil { //nolint:gosec // see above
		return err
	}
	l, err := s.plan(ctx)
	if err != nil {
		return err
	}
	if !s.opts.Workflowd {
		if err := s.startPostgres(ctx); err != nil {
			return err
		}
		s.NATS = s.process("nats", "natsserver", l.natsReady, nil)
		s.NATS.args = []string{"-addr", l.nats, "-ready", l.natsReady, "-store", filepath.Join(s.Dir, "nats")}
		if err := s.NATS.Restart(ctx); err != nil {
			return err
		}
	}
	s.declare(l)
	if err := s.migrate(ctx); err != nil {
		return err
	}
	if err := s.seed(ctx); err != nil {
		return fmt.Errorf("seed: %w", err)
	}
	return s.startServices(ctx)
}

func (s *Stack) startPostgres(ctx context.Context) error {
	if s.opts.DatabaseURL != "" {
		return nil
	}
	var err error
	s.postgres, err = devpg.Start(ctx, devpg.Options{DataDir: filepath.Join(s.Dir, "pg"), Fast: true})
	if err != nil {
		return err
	}
	return s.postgres.EnsureDatabase(ctx, database)
}

// layout is who listens where.
type layout struct {
	nats, natsReady                          string
	http, catalog, sandbox, sandboxCRM, smtp string
	schedulers, executors                    []string
	admins                                   []string // one for each service process
}

func (s *Stack) plan(ctx context.Context) (layout, error) {
	const fixed, single = 7, 3
	replicas := s.opts.Schedulers + s.opts.Executors
	addrs, err := FreeAddrs(ctx, fixed+replicas+single+replicas)
	if err != nil {
		return layout{}, err
	}
	take := func(n int) []string {
		taken := addrs[:n]
		addrs = addrs[n:]
		return taken
	}
	f := take(fixed)
	return layout{
		nats: f[0], natsReady: f[1], http: f[2], catalog: f[3], sandbox: f[4], sandboxCRM: f[5], smtp: f[6],
		schedulers: take(s.opts.Schedulers), executors: take(s.opts.Executors), admins: take(single + replicas),
	}, nil
}

// declare lists the service processes in the order in which they are started.
func (s *Stack) declare(l layout) {
	s.RESTURL, s.SandboxURL, s.NATSURL = "http://"+l.http, "http://"+l.sandbox, "nats://"+l.nats
	s.CatalogAddr, s.SchedulerAddrs, s.ExecutorAddrs = l.catalog, l.schedulers, l.executors
	common := map[string]string{
		"UC_DEV": "true", "UC_DATA_DIR": s.Dir,
		"UC_HTTP_ADDR": l.http, "UC_CATALOG_ADDR": l.catalog,
		"UC_SCHEDULER_ADDR": strings.Join(l.schedulers, ","), "UC_EXECUTOR_ADDR": strings.Join(l.executors, ","),
		"UC_SANDBOX_ADDR": l.sandbox, "UC_SANDBOX_GRPC_ADDR": l.sandboxCRM, "UC_CRM_ADDR": l.sandboxCRM, "UC_SANDBOX_SMTP_ADDR": l.smtp,
		"UC_ALLOW_TARGETS": strings.Join(append([]string{l.sandbox}, s.opts.AllowTargets...), ","),
	}
	if s.opts.Workflowd {
		common["UC_NATS_ADDR"] = l.nats
	} else {
		common["UC_NATS_URL"] = s.NATSURL
	}
	switch {
	case s.opts.DatabaseURL != "":
		common["UC_DATABASE_URL"] = s.opts.DatabaseURL
	case s.postgres != nil:
		common["UC_DATABASE_URL"] = s.postgres.URL(database)
	}
	admins := l.admins
	service := func(name, binary string, own map[string]string) *Process {
		env := merge(common, own)
		env["UC_ADMIN_ADDR"], admins = admins[0], admins[1:]
		p := s.process(name, binary, env["UC_ADMIN_ADDR"], env)
		s.services = append(s.services, p)
		return p
	}
	if s.opts.Workflowd {
		s.Workflowd = service("workflowd", "workflowd", nil)
		return
	}
	// One of several replicas listens for those that seed.
	s.seeder = s.prepare("workflowd", "workflowd", l.admins[0], merge(common, map[string]string{
		"UC_ADMIN_ADDR": l.admins[0], "UC_SCHEDULER_ADDR": l.schedulers[0], "UC_EXECUTOR_ADDR": l.executors[0],
	}))
	s.Sandbox = service("sandbox", "sandbox", nil)
	s.Catalog = service("workflow-catalog", "workflow-catalog", nil)
	for i, addr := range l.executors {
		p := service("executor-"+strconv.Itoa(i), "executor", map[string]string{"UC_EXECUTOR_ADDR": addr})
		if s.opts.ExecutorBinary != "" {
			p.binary = s.opts.ExecutorBinary
		}
		s.Executors = append(s.Executors, p)
	}
	for i, addr := range l.schedulers {
		p := service("trigger-scheduler-"+strconv.Itoa(i), "trigger-scheduler", map[string]string{"UC_SCHEDULER_ADDR": addr})
		s.Schedulers = append(s.Schedulers, p)
	}
	s.Gateway = service("gateway", "gateway", nil)
	if s.doomed != "" {
		for _, p := range slices.Concat([]*Process{s.Catalog}, s.Executors, s.Schedulers) {
			p.binary = filepath.Join(s.doomed, filepath.Base(p.binary))
		}
	}
}

// process prepares a process that belongs to the system.
func (s *Stack) process(name, binary, readyAddr string, settings map[string]string) *Process {
	p := s.prepare(name, binary, readyAddr, settings)
	s.all = append(s.all, p)
	return p
}

func (s *Stack) prepare(name, binary, readyAddr string, settings map[string]string) *Process {
	p := &Process{
		name: name, binary: filepath.Join(s.bin, binary), args: []string{"serve"},
		admin: "http://" + readyAddr, logFile: filepath.Join(s.Dir, name+".log"),
	}
	// A UC_ variable of ours, such as one that steers these tests, would be an unknown setting there.
	for _, kv := range os.Environ() {
		if !strings.HasPrefix(kv, "UC_") && !strings.HasPrefix(kv, "OTEL_") {
			p.env = append(p.env, kv)
		}
	}
	for name, value := range settings {
		p.env = append(p.env, name+"="+value)
	}
	p.env = append(p.env, s.opts.Env...)
	return p
}

// Add starts another binary beside the system, with which it ends.
func (s *Stack) Add(ctx context.Context, name, binary, readyAddr string, args ...string) (*Process, error) {
	p := s.process(name, binary, readyAddr, nil)
	p.args = args
	return p, p.Restart(ctx)
}

// migrate brings every schema up to date, as a deployment does before it starts the services. workflowd does that by itself.
func (s *Stack) migrate(ctx context.Context) error {
	if s.opts.Workflowd {
		return nil
	}
	return each([]*Process{s.Catalog, s.Schedulers[0], s.Executors[0], s.Sandbox}, func(p *Process) error {
		return p.run(ctx, "migrate")
	})
}

// seed gives the separate processes the tenants of development: workflowd puts them into the database and ends.
func (s *Stack) seed(ctx context.Context) error {
	if s.seeder == nil {
		return nil
	}
	if err := s.seeder.Restart(ctx); err != nil {
		return err
	}
	if err := s.AwaitSeeds(ctx); err != nil {
		return errors.Join(err, s.seeder.Kill())
	}
	return s.seeder.Stop(stopTimeout)
}

// AwaitSeeds returns when the tenants of development and the last of their workflows are there: when the file that says so is, and the
// gateway answers.
func (s *Stack) AwaitSeeds(ctx context.Context) error {
	client, err := s.Client("owner@acme.test")
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	ticker := time.NewTicker(pollEvery)
	defer ticker.Stop()
	for {
		var list struct{ Workflows []struct{ Title string } }
		err := client.Call(ctx, http.MethodGet, "/v1/workflows", nil, &list)
		if err == nil && len(list.Workflows) > 0 {
			if _, err = os.Stat(filepath.Join(s.Dir, "seeded")); err == nil {
				return nil
			}
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return errors.Join(ctx.Err(), err)
		}
	}
}

func (s *Stack) startServices(ctx context.Context) error {
	held := s.Executors[max(0, len(s.Executors)-s.opts.HeldBack):]
	wanted := slices.DeleteFunc(s.Services(), func(p *Process) bool { return slices.Contains(held, p) })
	return each(wanted, func(p *Process) error { return p.Restart(ctx) })
}

// each calls fn for all at the same time and joins their errors.
func each(processes []*Process, fn func(*Process) error) error {
	errs := make([]error, len(processes))
	var wg sync.WaitGroup
	for i, p := range processes {
		wg.Go(func() { errs[i] = fn(p) })
	}
	wg.Wait()
	return errors.Join(errs...)
}

// Services lists the processes of the product: all of them without NATS and what was added.
func (s *Stack) Services() []*Process { return slices.Clone(s.services) }

// DatabaseURL is where the data of all services is.
func (s *Stack) DatabaseURL() (string, error) {
	switch {
	case s.opts.DatabaseURL != "":
		return s.opts.DatabaseURL, nil
	case s.postgres != nil:
		return s.postgres.URL(database), nil
	}
	return privateDatabaseURL(s.Dir)
}

// privateDatabaseURL finds the server that workflowd runs in its data directory: PostgreSQL writes its socket's directory into
// postmaster.pid.
func privateDatabaseURL(dir string) (string, error) {
	const socketLine = 4
	var found string
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Name() == "postmaster.pid" {
			found = path
			return fs.SkipAll
		}
		return err
	})
	if err != nil {
		return "", err
	}
	text, err := os.ReadFile(found)
	if err != nil {
		return "", fmt.Errorf("no PostgreSQL runs in %s: %w", dir, err)
	}
	lines := strings.Split(string(text), "\n")
	if len(lines) <= socketLine {
		return "", fmt.Errorf("%s is not complete", found)
	}
	return fmt.Sprintf("postgres:///%s?host=%s&user=%s", database, lines[socketLine], devpg.User), nil
}

// StopPostgres ends the server that Start began for the separate processes. RestartPostgres begins it anew, with its data.
func (s *Stack) StopPostgres(ctx context.Context) error {
	if s.postgres == nil {
		return errors.New("this system has no PostgreSQL of its own that runs")
	}
	err := s.postgres.Stop(ctx)
	s.postgres = nil
	return err
}

// RestartPostgres begins the server again that StopPostgres has ended.
func (s *Stack) RestartPostgres(ctx context.Context) error { return s.startPostgres(ctx) }

// Close ends everything, services first, and removes what they stored. It reports processes that ended by themselves or did not stop
// when asked.
func (s *Stack) Close() error {
	return errors.Join(s.end(), os.RemoveAll(s.Dir))
}

// end ends everything and leaves the files.
func (s *Stack) end() error {
	s.ending.Do(func() { s.endErr = s.endAll() })
	return s.endErr
}

func (s *Stack) endAll() error {
	others := slices.DeleteFunc(slices.Clone(s.all), func(p *Process) bool { return p == s.NATS })
	err := each(others, func(p *Process) error {
		_ = p.Resume() // a paused process could not stop; one that has ended is none
		return errors.Join(p.Stop(stopTimeout), p.Unexpected())
	})
	if s.NATS != nil {
		err = errors.Join(err, s.NATS.Stop(stopTimeout))
	}
	if s.postgres != nil {
		ctx, cancel := context.WithTimeout(context.Background(), stopTimeout)
		defer cancel()
		err = errors.Join(err, s.postgres.Stop(ctx))
	}
	return err
}

func merge(a, b map[string]string) map[string]string {
	all := make(map[string]string, len(a)+len(b)+1)
	for k, v := range a {
		all[k] = v
	}
	for k, v := range b {
		all[k] = v
	}
	return all
}
