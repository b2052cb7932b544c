//go:build linux

package catalogbench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/jackc/pgx/v5"

	"workflow.uniconnect/pkg/devpg"
	"workflow.uniconnect/test/bench/catalogindex"
	"workflow.uniconnect/test/stack"
)

// Config says what to measure.
type Config struct {
	// Workflows is how many the tenant has; Active of them are ACTIVE.
	Workflows, Active int
	// Rate is how many requests are sent a second, for how long.
	Rate int
	Time time.Duration
	// View is what lists return: BASIC, as cards need, or FULL.
	View string
	// Rounds is how often the index takes each kind of change.
	Rounds int
	// Progress is told what happens.
	Progress io.Writer
}

const startTimeout = 3 * time.Minute

// Run measures and writes the table.
func Run(ctx context.Context, cfg Config, out io.Writer) (err error) {
	note := func(format string, args ...any) { _, _ = fmt.Fprintf(cfg.Progress, format+"\n", args...) }
	dir, err := os.MkdirTemp("", "uc-bench-*")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	if err := os.Chmod(dir, 0o755); err != nil { //nolint:gosec // PostgreSQL runs as another user when we are root
		return err
	}
	const database = "bench_catalog"
	pg, err := devpg.Start(ctx, devpg.Options{DataDir: filepath.Join(dir, "pg")})
	if err != nil {
		return err
	}
	closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), startTimeout)
	defer cancel()
	defer func() { err = errors.Join(err, pg.Stop(closing)) }()
	if err := pg.EnsureDatabase(ctx, database); err != nil {
		return err
	}
	note("starting the system")
	system, err := stack.Start(ctx, stack.Options{DatabaseURL: pg.URL(database)})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, system.Close()) }()
	if err := system.AwaitSeeds(ctx); err != nil {
		return err
	}
	client, err := system.Client("owner@acme.test")
	if err != nil {
		return err
	}
	db, err := pgx.Connect(ctx, pg.URL(database))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close(closing)) }()
	note("making %d workflows, %d of them active", cfg.Workflows, cfg.Active)
	ids, err := fill(ctx, db, client, cfg.Workflows, cfg.Active)
	if err != nil {
		return err
	}
	note("measuring the index")
	index, err := catalogindex.Measure(ctx, system, client, catalogindex.Config{EventType: "call.ended", Active: cfg.Active, Rounds: cfg.Rounds})
	if err != nil {
		return err
	}
	note("warming up, then %d requests a second for %v", cfg.Rate, cfg.Time)
	l := &load{client: client, ids: ids, view: cfg.View, next: cfg.Workflows}
	if _, err := l.run(ctx, cfg.Rate, cfg.Time/6); err != nil {
		return err
	}
	f, err := l.run(ctx, cfg.Rate, cfg.Time)
	if err != nil {
		return err
	}
	write(out, cfg, f, index)
	return nil
}

func write(out io.Writer, cfg Config, f *figures, index *catalogindex.Figures) {
	p := func(format string, args ...any) { _, _ = fmt.Fprintf(out, format+"\n", args...) }
	p("\n%d workflows in one tenant, %d active; %d requests/s over REST for %v; lists of 50, view %s", cfg.Workflows, cfg.Active, cfg.Rate, cfg.Time, cfg.View)
	p("%-8s %8s %10s %10s %10s   to reach: p99 ≤ 20 ms", "", "requests", "p50", "p99", "worst")
	for k := range kinds {
		t := f.times[k]
		p("%-8s %8d %10v %10v %10v", k, len(t), short(percentile(t, 0.50)), short(percentile(t, 0.99)), short(percentile(t, 1)))
	}
	p("%s; to reach: %v, changes %v", index.Summary(), catalogindex.MaxRebuild, catalogindex.MaxChange)
}

func short(d time.Duration) time.Duration { return d.Round(10 * time.Microsecond) }
