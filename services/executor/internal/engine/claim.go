package engine

import (
	"context"
	"sync"
	"time"

	"workflow.uniconnect/services/executor/internal/execution"
)

const (
	// pollInterval is how long a row can be claimable without anybody looking, when the process that wrote it is gone.
	pollInterval = time.Second
	maxClaim     = 256
	claimTimeout = 5 * time.Second
	// backlogPause lets slots gather, so that a backlog is claimed in batches rather than row by row.
	backlogPause = 10 * time.Millisecond
	// heldPause is when to look again at rows that are due and could not be claimed.
	heldPause = 50 * time.Millisecond
)

// claimer takes due rows. It looks when something may have become due: at the nearest wake time it knows of, when slots come free while
// rows are left, when rows were written without an owner, and at least once a second.
type claimer struct {
	e      *Engine
	signal chan struct{} // never closed; holds at most one signal

	mu   sync.Mutex
	next time.Time // when to look again, unless signalled
}

func newClaimer(e *Engine) *claimer {
	c := &claimer{e: e, signal: make(chan struct{}, 1)}
	e.slots.onFree, e.slots.onBacklog = func() { e.accepter.wake() }, c.wake
	return c
}

// wake makes the claimer look at once.
func (c *claimer) wake() { c.wakeAt(time.Time{}) }

// wakeAt makes the claimer look at an instant, or earlier.
func (c *claimer) wakeAt(at time.Time) {
	c.mu.Lock()
	earlier := at.Before(c.next)
	if earlier {
		c.next = at
	}
	c.mu.Unlock()
	if earlier {
		select {
		case c.signal <- struct{}{}:
		default:
		}
	}
}

func (c *claimer) run(ctx context.Context) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-c.signal:
			c.mu.Lock()
			wait := time.Until(c.next)
			c.mu.Unlock()
			timer.Reset(max(wait, 0))
			continue
		case <-timer.C:
		}
		c.mu.Lock()
		c.next = time.Now().Add(pollInterval)
		c.mu.Unlock()
		c.wakeAt(time.Now().Add(c.claimAll(ctx)))
		c.mu.Lock()
		wait := time.Until(c.next)
		c.mu.Unlock()
		timer.Reset(max(wait, 0))
	}
}

// claimAll claims until nothing more is due or no slot is free, and returns when to look again.
func (c *claimer) claimAll(ctx context.Context) time.Duration {
	t := c.e.tenure.Load()
	if t == nil || t.lost() {
		return pollInterval
	}
	for ctx.Err() == nil {
		g := c.e.slots.grantClaim(maxClaim)
		if g.count == 0 {
			c.e.slots.foundBacklog()
			return backlogPause
		}
		n, err := c.claim(ctx, t, g)
		if err != nil {
			c.e.unavailable(ctx, "claim executions", err)
			return pollInterval
		}
		if n == 0 {
			break
		}
	}
	attempt, cancel := context.WithTimeout(ctx, claimTimeout)
	defer cancel()
	next, err := c.e.cfg.Store.NextWake(attempt, pollInterval)
	if err != nil {
		c.e.unavailable(ctx, "read next wake time", err)
		return pollInterval
	}
	if next <= 0 {
		// Due and yet not claimed: its tenant has all it may hold, or another process is at it.
		c.e.slots.foundBacklog()
		return heldPause
	}
	c.e.slots.foundNoBacklog()
	return max(next, backlogPause)
}

func (c *claimer) claim(ctx context.Context, t *tenure, g grant) (int, error) {
	attempt, cancel := context.WithTimeout(ctx, claimTimeout)
	defer cancel()
	claimed, err := c.e.cfg.Store.Claim(attempt, t.id, g.request(c.e.slots.tenantLimit()))
	tenants := make([]string, len(claimed))
	for i := range claimed {
		tenants[i] = claimed[i].Tenant
	}
	c.e.slots.settleClaim(g, tenants)
	if err != nil {
		c.e.running.Go(func() { c.handBack(t, claimed) })
		return 0, err
	}
	c.e.metrics.claimed(ctx, len(claimed))
	for i := range claimed {
		c.e.launch(t, &claimed[i])
	}
	return len(claimed), nil
}

// handBack gives up what a claim that went wrong may have taken or may still take: it would stay with this process, which does not run it,
// for as long as the lease. When the engine stops or loses its lease all that it owns is freed anyway.
func (c *claimer) handBack(t *tenure, claimed []execution.Claimed) {
	for try := 1; len(claimed) > 0 && !t.lost() && !c.e.draining.Load(); try++ {
		attempt, cancel := context.WithTimeout(t.scope, claimTimeout)
		err := c.e.cfg.Store.HandBack(attempt, t.id, claimed)
		cancel()
		if err == nil {
			c.wake()
			break
		}
		c.e.unavailable(t.scope, "hand back executions", err)
		if !sleep(t.scope, backoff(try)) {
			break
		}
	}
	for i := range claimed {
		c.e.slots.release(claimed[i].Tenant)
	}
}
