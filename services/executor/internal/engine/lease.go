package engine

import (
	"context"
	"sync/atomic"
	"time"

	"workflow.uniconnect/services/executor/internal/execution"
)

const (
	leaseTime     = 10 * time.Second
	renewInterval = 3 * time.Second
	renewTimeout  = 2 * time.Second
	renewRetry    = 250 * time.Millisecond
	// leaseMargin makes the process stop before the database frees its rows.
	leaseMargin = 1500 * time.Millisecond
)

// tenure is one life as an owner: from the registration of a lease until it is lost or given back.
type tenure struct {
	id execution.OwnerID
	// scope is the context of everything that runs under this tenure; it ends when the tenure is lost or broken off.
	scope context.Context
	end   context.CancelFunc
	// until is when the lease is over by the local monotonic clock, counted from before it was asked for.
	until  atomic.Pointer[time.Time]
	isLost atomic.Bool
}

func newTenure(ctx context.Context, asked time.Time) *tenure {
	t := &tenure{id: execution.NewOwnerID()}
	t.scope, t.end = context.WithCancel(ctx)
	t.renewed(asked)
	return t
}

func (t *tenure) renewed(asked time.Time) {
	until := asked.Add(leaseTime - leaseMargin)
	t.until.Store(&until)
}

// lost reports whether executions of this tenure must not be recorded any more.
func (t *tenure) lost() bool {
	return fenced && (t.isLost.Load() || time.Now().After(*t.until.Load()))
}

// lose abandons everything that runs under the tenure.
func (t *tenure) lose() {
	t.isLost.Store(true)
	if fenced {
		t.end()
	}
}

// breakOff ends the calls under way; what they were doing is handed back.
func (t *tenure) breakOff() { t.end() }

// holdLease registers an owner and renews its lease for as long as it can; after a loss it begins anew.
func (e *Engine) holdLease(ctx context.Context) error {
	for ctx.Err() == nil {
		t := e.register(ctx)
		if t == nil {
			break
		}
		e.tenure.Store(t)
		e.claimer.wake()
		e.renew(ctx, t)
		e.tenure.CompareAndSwap(t, nil)
		if ctx.Err() == nil {
			t.lose()
			e.log.WarnContext(ctx, "lease lost: executions abandoned", "owner", t.id.String())
			continue
		}
		t.end()
	}
	return ctx.Err()
}

// register returns a new tenure, or nil when ctx ended.
func (e *Engine) register(ctx context.Context) *tenure {
	for {
		t := newTenure(ctx, time.Now())
		attempt, cancel := context.WithTimeout(ctx, renewTimeout)
		err := e.cfg.Store.Register(attempt, t.id, leaseTime)
		cancel()
		if err == nil {
			return t
		}
		t.end()
		e.unavailable(ctx, "register owner", err)
		if !sleep(ctx, time.Second) {
			return nil
		}
	}
}

// renew returns when the lease is lost or ctx ended.
func (e *Engine) renew(ctx context.Context, t *tenure) {
	pause := renewInterval
	for sleep(ctx, pause) {
		asked := time.Now()
		if asked.After(*t.until.Load()) {
			return
		}
		attempt, cancel := context.WithTimeout(ctx, renewTimeout)
		held, err := e.cfg.Store.Renew(attempt, t.id, leaseTime)
		cancel()
		switch {
		case err != nil:
			e.unavailable(ctx, "renew lease", err)
			pause = renewRetry
		case !held:
			return
		default:
			t.renewed(asked)
			pause = renewInterval
		}
	}
}
