// Package engine runs executions. It accepts starts in batches, gives slots to tenants in turn, takes each execution through its steps,
// and records what they did in batches.
//
// # Ownership
//
// A process holds one lease (a tenure). Live rows name their owner, and only an execution that holds a slot has one. Whoever cannot renew
// in time stops: its executions are abandoned without a trace, and it begins again under a new id. The store fences what a process
// that did not notice writes all the same.
//
//	Start ─► accepter ──slot──► execute ─► flusher ─► store
//	             └─no slot─► store (no owner) ─► claimer ──slot──► execute
//
// A wait, a retry, an overflow and a dead owner are all the same: a row without an owner that becomes claimable at a time.
package engine

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"workflow.uniconnect/pkg/fault"
	"workflow.uniconnect/pkg/lifecycle"
	"workflow.uniconnect/services/executor/internal/action"
	"workflow.uniconnect/services/executor/internal/execution"
	"workflow.uniconnect/services/executor/internal/run"
)

// Store keeps executions. Accept and Flush may be given the same batch again after an error.
type Store interface {
	Accept(ctx context.Context, owner execution.OwnerID, items []execution.Accept) ([]execution.Verdict, error)
	Flush(ctx context.Context, owner execution.OwnerID, records []execution.Record, try int) ([]execution.Flushed, error)
	Claim(ctx context.Context, owner execution.OwnerID, request execution.ClaimRequest) ([]execution.Claimed, error)
	HandBack(ctx context.Context, owner execution.OwnerID, claimed []execution.Claimed) error
	NextWake(ctx context.Context, limit time.Duration) (time.Duration, error)
	Register(ctx context.Context, owner execution.OwnerID, lease time.Duration) error
	Renew(ctx context.Context, owner execution.OwnerID, lease time.Duration) (bool, error)
	Sweep(ctx context.Context, limit int) (int, error)
	Release(ctx context.Context, owner execution.OwnerID) (int, error)
}

// Actions does what Action steps ask for.
type Actions interface {
	Do(ctx context.Context, c action.Call) run.Outcome
}

// Revisions hands out programs. A fault of kind NotFound means that there is no such revision any more, one of kind InvalidArgument that
// it cannot run; anything else may pass.
type Revisions interface {
	Program(ctx context.Context, tenant string, workflow execution.WorkflowID, revision int32) (Revision, error)
}

// Revision is a definition ready to run.
type Revision struct {
	Program *run.Program
	Title   string
}

// Config is what an engine is built from. All fields are required but Drain.
type Config struct {
	Store      Store
	Actions    Actions
	Revisions  Revisions
	Slots      int
	Logger     *slog.Logger
	Tracer     trace.Tracer
	Propagator propagation.TextMapPropagator
	Meter      metric.Meter
	// Drain is how long executions under way may go on when the engine stops; then their steps are broken off. Default 15 s.
	Drain time.Duration
}

const (
	defaultDrain  = 15 * time.Second
	stopTimeout   = 10 * time.Second
	sweepInterval = 2 * time.Second
	sweepBatch    = 2000
	acceptWriters = 2
	flushWriters  = 3
)

// Engine runs executions.
type Engine struct {
	cfg      Config
	log      *slog.Logger
	metrics  *metrics
	slots    *slots
	accepter *accepter
	flusher  *flusher
	claimer  *claimer

	tenure   atomic.Pointer[tenure] // nil while there is no lease
	draining atomic.Bool
	running  sync.WaitGroup // executions, and claims that are handed back
}

// New returns an engine that does nothing yet.
func New(cfg Config) (*Engine, error) {
	if cfg.Store == nil || cfg.Actions == nil || cfg.Revisions == nil || cfg.Slots < 1 || cfg.Logger == nil ||
		cfg.Tracer == nil || cfg.Propagator == nil || cfg.Meter == nil {
		return nil, errors.New("engine: incomplete configuration")
	}
	if cfg.Drain == 0 {
		cfg.Drain = defaultDrain
	}
	e := &Engine{cfg: cfg, log: cfg.Logger, slots: newSlots(cfg.Slots)}
	var err error
	if e.metrics, err = newMetrics(cfg.Meter, e.slots); err != nil {
		return nil, fmt.Errorf("engine metrics: %w", err)
	}
	e.flusher = newFlusher(e)
	e.accepter = newAccepter(e)
	e.claimer = newClaimer(e)
	return e, nil
}

// Run works until ctx ends, then drains: it accepts and claims nothing more, lets steps under way finish, hands everything else back and
// gives up its lease.
func (e *Engine) Run(ctx context.Context) error {
	// What serves executions under way outlives ctx until the drain is over.
	inner, stopInner := context.WithCancel(context.WithoutCancel(ctx))
	defer stopInner()
	serving := lifecycle.NewGroup(inner)
	serving.Go("lease", e.holdLease)
	for range flushWriters {
		serving.Go("flush", e.flusher.write)
	}
	intake := lifecycle.NewGroup(ctx)
	for range acceptWriters {
		intake.Go("accept", e.accepter.write)
	}
	intake.Go("claim", e.claimer.run)
	intake.Go("sweep", e.sweep)
	intake.Go("watch backlog", e.watchBacklog)
	// Without what serves executions nothing may be taken in.
	serving.Go("stop intake", func(ctx context.Context) error {
		<-ctx.Done()
		intake.Stop()
		return nil
	})

	err := intake.Wait()
	// Before starts are refused, so that whoever is refused knows that no further step begins.
	e.draining.Store(true)
	e.accepter.close()
	e.drain(inner)
	e.flusher.close()
	serving.Stop()
	return errors.Join(err, serving.Wait())
}

// Start settles starts; the answers are in the order of the items. After an error nothing is known about the items: they can be sent
// again.
func (e *Engine) Start(ctx context.Context, starts []execution.Start) ([]execution.Verdict, error) {
	return e.accepter.start(ctx, starts)
}

// drain waits for the executions under way: first for their steps to end, then, after a while, for them to notice that they must stop.
func (e *Engine) drain(ctx context.Context) {
	idle := make(chan struct{}) // closed when no execution is left
	go func() {
		e.running.Wait()
		close(idle)
	}()
	timer := time.NewTimer(e.cfg.Drain)
	defer timer.Stop()
	t := e.tenure.Load()
	select {
	case <-idle:
	case <-timer.C:
		if t != nil {
			t.breakOff()
		}
		<-idle
	}
	if t == nil || t.lost() {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, stopTimeout)
	defer cancel()
	n, err := e.cfg.Store.Release(ctx, t.id)
	if err != nil {
		e.log.WarnContext(ctx, "hand back executions", "error", err)
		return
	}
	e.log.InfoContext(ctx, "drained", "handed_back", n)
}

// sweep frees what dead owners left.
func (e *Engine) sweep(ctx context.Context) error {
	return every(ctx, sweepInterval, func() {
		ctx, cancel := context.WithTimeout(ctx, sweepInterval)
		defer cancel()
		n, err := e.cfg.Store.Sweep(ctx, sweepBatch)
		if err != nil {
			e.unavailable(ctx, "free rows of dead owners", err)
			return
		}
		if n > 0 {
			e.log.InfoContext(ctx, "freed executions of dead owners", "executions", n)
			e.claimer.wake()
		}
	})
}

// watchBacklog measures how long the oldest claimable row has been waiting.
func (e *Engine) watchBacklog(ctx context.Context) error {
	return every(ctx, 15*time.Second, func() {
		ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
		defer cancel()
		next, err := e.cfg.Store.NextWake(ctx, 0)
		if err != nil {
			e.unavailable(ctx, "measure backlog", err)
			return
		}
		e.metrics.oldestClaimable.Store(int64(max(-next, 0)))
	})
}

// unavailable logs a failure of the store. That the database is away is expected at times and said quietly by each loop.
func (e *Engine) unavailable(ctx context.Context, what string, err error) {
	if errors.Is(err, context.Canceled) {
		return
	}
	level := slog.LevelError
	if fault.KindOf(err) == fault.KindUnavailable {
		level = slog.LevelWarn
	}
	e.log.Log(ctx, level, what, "error", err)
}

func every(ctx context.Context, interval time.Duration, fn func()) error {
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-ticker.C:
			fn()
		}
	}
}

// sleep waits for d and reports false when ctx ended first.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
