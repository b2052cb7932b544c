// Package service turns a service into a process: verbs, settings, signals, telemetry and the admin pages. Each cmd/<binary>/main.go
// is one call of Main; only that file ends the process.
package service

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime/debug"
	"slices"
	"strings"
	"syscall"
	"time"

	"go.opentelemetry.io/otel"

	"workflow.uniconnect/pkg/admin"
	"workflow.uniconnect/pkg/config"
	"workflow.uniconnect/pkg/lifecycle"
)

// closeTimeout bounds the closing of what the process itself opened, after the service has stopped.
const closeTimeout = 10 * time.Second

// What a process returns to its parent.
const (
	exitOK      = 0
	exitFailure = 1
	exitUsage   = 2
)

// Runner is a service that was built. Run returns when ctx has ended and everything is closed, or with what made it fail.
type Runner interface {
	Run(ctx context.Context) error
}

// Spec says what a process is.
type Spec struct {
	Name string
	// New builds the service and starts nothing.
	New func(ctx context.Context, deps Deps) (Runner, error)
	// Migrate brings the service's schema up to date; nil when it has none.
	Migrate func(ctx context.Context, settings config.Settings) error
	// GCPercent is how much a serving process lets its heap grow between two collections, in percent of what lives; 0 leaves Go's 100. It suits
	// a process that holds little and allocates much, which would collect all the time. The environment's GOGC wins.
	GCPercent int
	// Verbs are those of this process alone, by name. They read their own arguments.
	Verbs map[string]Verb
}

// Verb is something a process does and is done with.
type Verb func(ctx context.Context, args, environ []string, stdout io.Writer) error

// Main runs the verb on the command line and returns the exit code.
func Main(spec Spec) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	// A second signal ends the process at once.
	defer context.AfterFunc(ctx, stop)()
	return run(ctx, spec, process{args: os.Args[1:], environ: os.Environ(), stdout: os.Stdout, stderr: os.Stderr})
}

// process is what a verb sees of the operating system.
type process struct {
	args, environ  []string
	stdout, stderr io.Writer
}

func run(ctx context.Context, spec Spec, p process) int {
	verb, args := "serve", p.args
	if len(args) > 0 && !strings.HasPrefix(args[0], "-") {
		verb, args = args[0], args[1:]
	}
	if own, ok := spec.Verbs[verb]; ok {
		if err := own(ctx, args, p.environ, p.stdout); err != nil {
			p.print(p.stderr, fmt.Sprintf("%s: %s: %v\n", spec.Name, verb, err))
			return exitFailure
		}
		return exitOK
	}
	settings, err := config.Load(args, p.environ)
	switch {
	case errors.Is(err, config.ErrHelp), verb == "help":
		p.print(p.stdout, usage(spec)+"\n"+config.Help())
		return exitOK
	case verb == "version":
		p.print(p.stdout, spec.Name+" "+Version()+"\n")
		return exitOK
	case err != nil:
		p.print(p.stderr, fmt.Sprintf("%s: %v\n", spec.Name, err))
		return exitUsage
	}
	switch verb {
	case "serve":
		err = serve(ctx, spec, settings, p.stderr)
	case "migrate":
		if spec.Migrate != nil {
			err = spec.Migrate(ctx, settings)
		}
	default:
		p.print(p.stderr, fmt.Sprintf("%s: unknown verb %q\n%s", spec.Name, verb, usage(spec)))
		return exitUsage
	}
	if err != nil {
		p.print(p.stderr, fmt.Sprintf("%s: %s: %v\n", spec.Name, verb, err))
		return exitFailure
	}
	return exitOK
}

// print writes for a person; when their terminal is gone there is nobody to tell.
func (p process) print(w io.Writer, text string) { _, _ = io.WriteString(w, text) }

func usage(spec Spec) string {
	verbs := []string{"serve", "migrate", "version"}
	for verb := range spec.Verbs {
		verbs = append(verbs, verb)
	}
	slices.Sort(verbs[3:])
	return "Usage: " + spec.Name + " [" + strings.Join(verbs, " | ") + "] [flags]\n"
}

// serve builds the process from the inside out, runs it until ctx ends, and takes it apart in reverse.
func serve(ctx context.Context, spec Spec, settings config.Settings, log io.Writer) (err error) {
	if os.Getenv("GOGC") == "" && spec.GCPercent > 0 {
		debug.SetGCPercent(spec.GCPercent)
	}
	var stack lifecycle.Stack
	defer func() {
		closeCtx, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeTimeout)
		defer cancel()
		err = errors.Join(err, stack.Close(closeCtx))
	}()
	deps, err := newDeps(ctx, spec.Name, settings, &stack, log)
	if err != nil {
		return err
	}
	// The exporter's library reports its troubles to a global; the process decides where they go.
	otel.SetErrorHandler(otel.ErrorHandlerFunc(func(err error) { deps.Telemetry.Logger.Warn("telemetry", "error", err) }))
	server, err := admin.New(ctx, admin.Options{
		Addr: settings.AdminAddr, Metrics: deps.Telemetry.MetricsHandler(), Readiness: deps.Readiness,
		Logger: deps.Telemetry.Logger, Dev: settings.Dev,
	})
	if err != nil {
		return err
	}
	stack.Push("admin", server.Close)
	runner, err := spec.New(ctx, deps)
	if err != nil {
		return fmt.Errorf("start %s: %w", spec.Name, err)
	}
	return serveUntil(ctx, spec.Name, runner, server, deps)
}

// serveUntil runs the service, with the admin pages around it for as long as it takes to stop.
func serveUntil(ctx context.Context, name string, runner Runner, server *admin.Server, deps Deps) error {
	defer context.AfterFunc(ctx, deps.Readiness.Drain)()
	group := lifecycle.NewGroup(ctx)
	group.Go("admin", func(context.Context) error { return server.Run() })
	group.Go(name, func(ctx context.Context) (err error) {
		// Deferred, since the admin pages must also end when the service panics.
		defer func() {
			closeCtx, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeTimeout)
			defer cancel()
			err = errors.Join(err, server.Close(closeCtx))
		}()
		deps.Telemetry.Logger.InfoContext(ctx, "serving", "admin_addr", server.Addr())
		return runner.Run(ctx)
	})
	err := group.Wait()
	deps.Telemetry.Logger.Info("stopped")
	return err
}

// Version returns what was built: the module's version, or the commit and whether the tree differed from it.
func Version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	revision, modified := "", ""
	for _, s := range info.Settings {
		switch {
		case s.Key == "vcs.revision":
			revision = s.Value[:min(len(s.Value), 12)]
		case s.Key == "vcs.modified" && s.Value == "true":
			modified = "+modified"
		}
	}
	if revision != "" {
		return revision + modified
	}
	return info.Main.Version
}
