// Package deletion ends the life of workflows and of tenants that are marked DELETING: it has every service that holds something of them
// remove it, and then has the workflow or tenant itself removed. The pattern is Kubernetes' finalizers.
//
// The mark is the queue: what is in state DELETING is claimed by any replica for the length of a lease, worked on, and claimed again by
// any replica when the first did not finish. Every call and the removal itself may happen twice without harm, so nothing depends on
// who holds the lease. Owners are asked in order, trigger before executions: when the trigger's owner is done, nothing starts any more.
package deletion

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"workflow.uniconnect/pkg/faultpoint"
	"workflow.uniconnect/services/workflow-catalog/internal/workflow"
)

const (
	pollInterval = 500 * time.Millisecond
	claimLimit   = 8
	// lease is longer than a turn, so that as a rule one replica works on a deletion.
	lease = 15 * time.Second
	turn  = 12 * time.Second
	// releaseTimeout bounds how long giving a deletion back may delay a process that stops.
	releaseTimeout = 2 * time.Second
	// askAgain is how soon an owner is asked again that is not done yet.
	askAgain = 200 * time.Millisecond
	// Between attempts that fail: doubled each time, and spread.
	minBackoff = 500 * time.Millisecond
	maxBackoff = time.Minute
)

// What says what is deleted.
type What string

// What there is.
const (
	Workflow What = "workflow"
	Tenant   What = "tenant"
)

// point is the place of a phase, at which tests kill the process.
func (w What) point(phase string) string {
	if w == Tenant {
		return "catalog.tenant." + phase
	}
	return "catalog.delete." + phase
}

// Deletion is a workflow, or a tenant, on its way out.
type Deletion struct {
	Tenant workflow.Tenant
	// ID is empty when it is the tenant.
	ID workflow.ID
	// Attempt numbers the claims of this deletion; a later claim makes earlier ones void.
	Attempt int
	// Failures counts the attempts that failed in a row.
	Failures int
}

// Queue is where deletions wait.
type Queue interface {
	// Claim returns deletions that are due and keeps them from others for the lease.
	Claim(ctx context.Context, limit int, lease time.Duration) ([]Deletion, error)
	// Release makes a deletion due after a while, with its count of failures.
	Release(ctx context.Context, d Deletion, after time.Duration) error
	// Remove removes the workflow or tenant and everything the catalog has of it, and leaves a tombstone and a line in an audit.
	Remove(ctx context.Context, d Deletion) error
	// Pending counts the deletions that are not finished.
	Pending(ctx context.Context) (int64, error)
}

// Owner is a service that holds something of workflows or tenants.
type Owner interface {
	// Name is for the log.
	Name() string
	// Finalize removes what belongs to the workflow, or without an id to the tenant, and says whether nothing is left and nothing can come back.
	Finalize(ctx context.Context, tenant workflow.Tenant, id workflow.ID) (done bool, err error)
}

// Loop works on the queue.
type Loop struct {
	what    What
	queue   Queue
	owners  []Owner
	logger  *slog.Logger
	wake    chan struct{}
	pending atomic.Int64
}

// NewLoop returns a Loop that asks the owners in the given order.
func NewLoop(what What, queue Queue, owners []Owner, logger *slog.Logger) *Loop {
	return &Loop{what: what, queue: queue, owners: owners, logger: logger, wake: make(chan struct{}, 1)}
}

// Wake makes the loop look at once.
func (l *Loop) Wake() {
	select {
	case l.wake <- struct{}{}:
	default: // it is about to look anyway
	}
}

// Pending is how many deletions were under way when the loop last looked.
func (l *Loop) Pending() int64 { return l.pending.Load() }

// Run works until ctx ends.
func (l *Loop) Run(ctx context.Context) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-timer.C:
		case <-l.wake:
		}
		if err := l.round(ctx); err != nil && ctx.Err() == nil {
			l.logger.WarnContext(ctx, "deletions cannot be worked on", "error", err)
		}
		timer.Reset(pollInterval)
	}
}

// round claims what is due and works on all of it at the same time.
func (l *Loop) round(ctx context.Context) error {
	pending, err := l.queue.Pending(ctx)
	if err != nil {
		return err
	}
	l.pending.Store(pending)
	if pending == 0 {
		return nil
	}
	claimed, err := l.queue.Claim(ctx, claimLimit, lease)
	if err != nil {
		return err
	}
	var group sync.WaitGroup
	for _, d := range claimed {
		group.Go(func() { l.work(ctx, d) })
	}
	group.Wait()
	if len(claimed) > 0 {
		l.Wake()
	}
	return nil
}

// work takes one deletion as far as it goes in a turn.
func (l *Loop) work(ctx context.Context, d Deletion) {
	faultpoint.Hit(l.what.point("claimed"))
	logger := l.logger.With("what", l.what, "tenant", d.Tenant)
	if d.ID != "" {
		logger = logger.With("workflow_id", d.ID)
	}
	turnCtx, cancel := context.WithTimeout(ctx, turn)
	defer cancel()
	err := l.finish(turnCtx, d)
	if err == nil {
		logger.InfoContext(ctx, "deleted")
		return
	}
	after := time.Duration(0)
	switch {
	case ctx.Err() != nil: // this process stops, another one goes on at once
	case turnCtx.Err() != nil:
		// Work goes on, it just takes longer than a turn; the error names who is not done.
		d.Failures = 0
		logger.InfoContext(ctx, "deletion takes another turn", "error", err)
	default:
		d.Failures++
		logger.WarnContext(ctx, "deletion is tried again", "error", err, "failures", d.Failures)
		after = backoff(d.Failures)
	}
	releaseCtx, cancel := context.WithTimeout(context.WithoutCancel(ctx), releaseTimeout)
	defer cancel()
	if err := l.queue.Release(releaseCtx, d, after); err != nil {
		logger.WarnContext(ctx, "deletion waits for its lease to end", "error", err)
	}
}

func (l *Loop) finish(ctx context.Context, d Deletion) error {
	for _, owner := range l.owners {
		if err := l.finalize(ctx, owner, d); err != nil {
			return fmt.Errorf("finalize at %s: %w", owner.Name(), err)
		}
		faultpoint.Hit(l.what.point(owner.Name() + ".done"))
	}
	return l.queue.Remove(ctx, d)
}

func (l *Loop) finalize(ctx context.Context, owner Owner, d Deletion) error {
	for {
		done, err := owner.Finalize(ctx, d.Tenant, d.ID)
		if done || err != nil {
			return err
		}
		timer := time.NewTimer(askAgain)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return ctx.Err()
		}
	}
}

func backoff(failures int) time.Duration {
	d := min(minBackoff<<min(failures-1, 10), maxBackoff)
	return d/2 + rand.N(d/2)
}
