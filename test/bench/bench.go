//go:build linux

package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"workflow.uniconnect/pkg/devpg"
	"workflow.uniconnect/test/stack"
)

// Config says what to measure.
type Config struct {
	// Rounds of the reference loop and of the product, in turn, each of Runs runs.
	Rounds, Runs int
	// Workflows is how many are active; Sharing of them have the event's type and another filter.
	Workflows, Sharing int
	// Filters of the workflows: "equality" on a field, which is indexed, or "range", which is not.
	Filters string
	// Rate is how many events a second the latency is measured at, for how long.
	Rate     int
	RateTime time.Duration
	// Growth is the factor by which the number of events grows in the last round; 0 leaves it out.
	Growth int
	// Separate measures the services as processes of their own in place of workflowd.
	Separate bool
	// ProfileDir receives a CPU profile of each service process, taken during an extra round; empty: none.
	ProfileDir string
	// Progress is told what happens.
	Progress io.Writer
}

const (
	startTimeout = 2 * time.Minute
	// spareRounds and spareLatency are how often a measurement that others disturbed may be made again.
	spareRounds  = 4
	spareLatency = 1
)

// Run measures and returns the figures.
func Run(ctx context.Context, cfg Config) (report *Report, err error) {
	b := &bench{cfg: cfg, report: &Report{Config: cfg}}
	defer func() { err = errors.Join(err, b.close(context.WithoutCancel(ctx))) }()
	if err := b.start(ctx); err != nil {
		return nil, err
	}
	if err := b.measure(ctx); err != nil {
		return nil, err
	}
	return b.report, nil
}

// bench holds what a run opens.
type bench struct {
	cfg     Config
	report  *Report
	closers []func(context.Context) error // in the order of opening
	pg      *devpg.Server
	target  *target
	stack   *stack.Stack
	ours    *side
	loop    *side
	next    int // number of the next trigger
}

func (b *bench) note(format string, args ...any) {
	_, _ = fmt.Fprintf(b.cfg.Progress, format+"\n", args...) // progress is not worth failing for
}

func (b *bench) onClose(fn func(context.Context) error) { b.closers = append(b.closers, fn) }

func (b *bench) close(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	var err error
	for i := len(b.closers) - 1; i >= 0; i-- {
		err = errors.Join(err, b.closers[i](ctx))
	}
	return err
}

func (b *bench) start(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	dir, err := os.MkdirTemp("", "uc-bench-*")
	if err != nil {
		return err
	}
	b.onClose(func(context.Context) error { return os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil { //nolint:gosec // PostgreSQL runs as another user when we are root
		return err
	}
	if b.pg, err = devpg.Start(ctx, devpg.Options{DataDir: filepath.Join(dir, "pg")}); err != nil {
		return err
	}
	b.onClose(b.pg.Stop)
	// Warm-up, pairs of rounds, the grown round, the one that is profiled; latencies.
	runs := (2 + 2*(b.cfg.Rounds+spareRounds) + b.cfg.Growth + profileRounds) * b.cfg.Runs
	runs += 2 * (1 + spareLatency) * b.cfg.Rate * int(b.cfg.RateTime/time.Second)
	if b.target, err = newTarget(ctx, runs); err != nil {
		return err
	}
	b.onClose(func(context.Context) error { b.target.Close(); return nil })
	if err := b.startOurs(ctx); err != nil {
		return err
	}
	return b.startLoop(ctx, dir)
}

// startOurs starts the product and gives it its workflows.
func (b *bench) startOurs(ctx context.Context) error {
	const name = "bench_ours"
	if err := b.pg.EnsureDatabase(ctx, name); err != nil {
		return err
	}
	b.note("starting the system")
	var err error
	b.stack, err = stack.Start(ctx, stack.Options{
		Workflowd: !b.cfg.Separate, DatabaseURL: b.pg.URL(name), AllowTargets: []string{b.target.Addr},
	})
	if err != nil {
		return err
	}
	b.onClose(func(context.Context) error { return b.stack.Close() })
	if err := b.stack.AwaitSeeds(ctx); err != nil {
		return err
	}
	b.report.MemoryIdle = memory(b.stack.Services())
	b.note("creating %d workflows", b.cfg.Workflows)
	all, err := workflows(b.cfg.Workflows, b.cfg.Sharing, b.cfg.Filters, b.target.URL)
	if err != nil {
		return err
	}
	client, err := b.stack.Client("owner@acme.test")
	if err != nil {
		return err
	}
	workflow, err := create(ctx, client, all)
	if err != nil {
		return err
	}
	db, err := b.connect(ctx, name)
	if err != nil {
		return err
	}
	conn, err := nats.Connect(b.stack.NATSURL)
	if err != nil {
		return err
	}
	b.onClose(func(context.Context) error { conn.Close(); return nil })
	js, err := jetstream.New(conn, jetstream.WithPublishAsyncMaxPending(pending))
	if err != nil {
		return err
	}
	m := &meter{processes: b.stack.Services(), postgres: b.pg.PID()}
	if b.stack.NATS != nil {
		m.processes = append(m.processes, b.stack.NATS)
	}
	b.ours = ours(m, js, db, workflow)
	return nil
}

// startLoop starts the reference loop on the same PostgreSQL.
func (b *bench) startLoop(ctx context.Context, dir string) error {
	const name = "bench_reference"
	if err := b.pg.EnsureDatabase(ctx, name); err != nil {
		return err
	}
	addrs, err := stack.FreeAddrs(ctx, 2)
	if err != nil {
		return err
	}
	p, err := b.stack.Add(ctx, "referenceloop", "referenceloop", addrs[1], "-addr", addrs[0], "-ready", addrs[1],
		"-store", filepath.Join(dir, "nats"), "-database", b.pg.URL(name), "-target", b.target.URL)
	if err != nil {
		return err
	}
	conn, err := nats.Connect("nats://" + addrs[0])
	if err != nil {
		return err
	}
	b.onClose(func(context.Context) error { conn.Close(); return nil })
	db, err := b.connect(ctx, name)
	if err != nil {
		return err
	}
	b.loop = reference(&meter{processes: []*stack.Process{p}, postgres: b.pg.PID()}, conn, db)
	return nil
}

func (b *bench) connect(ctx context.Context, database string) (*pgx.Conn, error) {
	db, err := pgx.Connect(ctx, b.pg.URL(database))
	if err == nil {
		b.onClose(db.Close)
	}
	return db, err
}

// take reserves numbers for n triggers.
func (b *bench) take(n int) int {
	first := b.next
	b.next += n
	return first
}

func (b *bench) round(ctx context.Context, s *side, n int) (round, error) {
	r, err := s.run(ctx, b.target, b.take(n), n)
	if err == nil {
		b.note("  %-14s %6d runs: %6.0f/s, %4d µs CPU per run, other load %4.1f %%", s.name, n, r.perSecond(),
			r.cost.perRun(n).Microseconds(), 100*r.cost.Other)
	}
	return r, err
}

func (b *bench) measure(ctx context.Context) error {
	b.note("warming up")
	for _, s := range []*side{b.loop, b.ours} {
		if _, err := b.round(ctx, s, b.cfg.Runs); err != nil {
			return err
		}
	}
	b.note("rounds")
	stop := watchMemory(ctx, b.stack.Services())
	defer stop()
	if err := b.rounds(ctx); err != nil {
		return err
	}
	if b.cfg.Growth > 0 {
		r, err := b.round(ctx, b.ours, b.cfg.Growth*b.cfg.Runs)
		if err != nil {
			return err
		}
		b.report.Grown = &r
	}
	b.report.MemoryLoaded = stop()
	b.note("latency at %d/s for %v each", b.cfg.Rate, b.cfg.RateTime)
	var err error
	if b.report.LoopLatency, err = b.latency(ctx, b.loop); err != nil {
		return err
	}
	if b.report.OursLatency, err = b.latency(ctx, b.ours); err != nil {
		return err
	}
	return b.profile(ctx)
}

// rounds makes the rounds in pairs, one of each side. A pair that others disturbed is made again, for as long as there are spare ones.
func (b *bench) rounds(ctx context.Context) error {
	spare := spareRounds
	for kept := 0; kept < b.cfg.Rounds; {
		loop, err := b.round(ctx, b.loop, b.cfg.Runs)
		if err != nil {
			return err
		}
		own, err := b.round(ctx, b.ours, b.cfg.Runs)
		if err != nil {
			return err
		}
		if max(loop.cost.Other, own.cost.Other) > maxOther && spare > 0 {
			spare--
			b.note("  others took too much of the machine: once more")
			continue
		}
		b.report.Reference, b.report.Ours = append(b.report.Reference, loop), append(b.report.Ours, own)
		kept++
	}
	return nil
}

// latency measures one side; a measurement that others disturbed is made again once.
func (b *bench) latency(ctx context.Context, s *side) (latency, error) {
	n := b.cfg.Rate * int(b.cfg.RateTime/time.Second)
	for try := 0; ; try++ {
		all, c, err := s.latencies(ctx, b.target, b.take(n), n, time.Second/time.Duration(b.cfg.Rate))
		if err != nil {
			return latency{}, err
		}
		b.note("  %-14s p50 %v, p99 %v, other load %4.1f %%", s.name, short(percentile(all, 0.50)), short(percentile(all, 0.99)), 100*c.Other)
		if c.Other > maxOther && try < spareLatency {
			b.note("  others took too much of the machine: once more")
			continue
		}
		return newLatency(all, c), nil
	}
}
