package engine

import (
	"context"
	"sync"
	"time"

	"golang.org/x/sync/semaphore"

	"workflow.uniconnect/pkg/fault"
	"workflow.uniconnect/services/executor/internal/execution"
)

const (
	maxAcceptItems = 1024
	maxAcceptBytes = 8 << 20
	// maxQueuedBytes bounds the bodies in memory; callers wait beyond it.
	maxQueuedBytes = 64 << 20
	// acceptPatience is how long a start may wait in memory for a slot, and acceptBacklog for how long the starts in memory may keep the
	// slots busy at the rate at which slots come free. What goes beyond is written without an owner: writing a row and claiming it back
	// costs half as much again as starting from memory, but callers must not wait for slow targets.
	acceptPatience = time.Second
	acceptBacklog  = 500 * time.Millisecond
	turnoverWindow = 50 * time.Millisecond
	// hopefulDuration is how long an execution holds its slot, before anything is known about it.
	hopefulDuration = 50 * time.Millisecond
	acceptTimeout   = 10 * time.Second
	itemOverhead    = 256
)

var (
	errStopping = fault.Unavailable(fault.ReasonShuttingDown, "the service is stopping")
	errNoAnswer = fault.Unavailable(fault.ReasonServiceUnavailable, "starts could not be stored in time").WithRetryAfter(time.Second)
)

// accepter settles starts. Calls that come together are written together: while a batch is on its way the next one gathers, so that batches
// grow with the load and a lone start waits for nobody.
type accepter struct {
	e      *Engine
	memory *semaphore.Weighted

	mu      sync.Mutex
	cond    *sync.Cond // of mu: something was queued, a slot came free, or it is over
	tenants map[string]*tenantQueue
	order   []*tenantQueue // tenants with items, in turn
	queued  int
	rate    turnover
	stuck   int // writers that pursue a batch which failed
	closed  bool
}

// turnover is how many slots come free in a second while starts wait for them, as a moving average. It begins with a hopeful guess,
// which a few windows of waiting correct.
type turnover struct {
	at        time.Time
	released  int64
	perSecond float64
}

func (t *turnover) observe(now time.Time, released int64) {
	span := now.Sub(t.at)
	switch {
	case t.at.IsZero():
		t.at, t.released = now, released
		return
	case span < turnoverWindow:
		return
	}
	t.perSecond = (t.perSecond + float64(released-t.released)/span.Seconds()) / 2
	t.at, t.released = now, released
}

type tenantQueue struct {
	tenant string
	items  []*pendingStart
}

type pendingStart struct {
	accept execution.Accept
	call   *startCall
	index  int
	since  time.Time
}

// startCall is a caller waiting for its answers.
type startCall struct {
	verdicts []execution.Verdict
	mu       sync.Mutex
	left     int
	err      error
	done     chan struct{} // closed when every item is answered
}

func newAccepter(e *Engine) *accepter {
	a := &accepter{e: e, memory: semaphore.NewWeighted(maxQueuedBytes), tenants: make(map[string]*tenantQueue)}
	a.rate.perSecond = float64(e.slots.total) / hopefulDuration.Seconds()
	a.cond = sync.NewCond(&a.mu)
	return a
}

func (a *accepter) start(ctx context.Context, starts []execution.Start) ([]execution.Verdict, error) {
	if len(starts) == 0 {
		return nil, nil
	}
	weight := int64(0)
	for i := range starts {
		weight += int64(len(starts[i].Event) + itemOverhead)
	}
	weight = min(weight, maxQueuedBytes)
	if err := a.memory.Acquire(ctx, weight); err != nil {
		return nil, errNoAnswer.WithCause(err)
	}
	call := &startCall{verdicts: make([]execution.Verdict, len(starts)), left: len(starts), done: make(chan struct{})}
	if err := a.enqueue(call, starts); err != nil {
		a.memory.Release(weight)
		return nil, err
	}
	select {
	case <-call.done:
		a.memory.Release(weight)
	case <-ctx.Done():
		// The items go on; their memory counts until they are through.
		go func() {
			<-call.done
			a.memory.Release(weight)
		}()
		return nil, errNoAnswer.WithCause(ctx.Err())
	}
	return call.verdicts, call.err
}

func (a *accepter) enqueue(call *startCall, starts []execution.Start) error {
	now := time.Now()
	items := make([]pendingStart, len(starts))
	a.mu.Lock()
	defer a.mu.Unlock()
	switch {
	case a.closed:
		return errStopping
	case a.stuck == acceptWriters:
		return errNoAnswer
	}
	for i := range starts {
		p := &items[i]
		p.accept.Start, p.accept.ID = starts[i], execution.NewID(now)
		p.call, p.index, p.since = call, i, now
		q := a.tenants[starts[i].Tenant]
		if q == nil {
			q = &tenantQueue{tenant: starts[i].Tenant}
			a.tenants[starts[i].Tenant] = q
			a.order = append(a.order, q)
			a.e.slots.enqueue(q.tenant)
		}
		q.items = append(q.items, p)
	}
	a.queued += len(starts)
	a.cond.Signal()
	return nil
}

// wake lets a writer look again because slots came free.
func (a *accepter) wake() {
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.order) > 0 {
		a.cond.Signal()
	}
}

// close answers what is still queued.
func (a *accepter) close() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.closed = true
	a.refuse(errStopping)
	a.cond.Broadcast()
}

// refuse answers everything that is queued. It must be called with the lock held.
func (a *accepter) refuse(err error) {
	for _, q := range a.order {
		for _, p := range q.items {
			p.call.fail(err)
		}
		a.e.slots.dequeue(q.tenant)
	}
	clear(a.tenants)
	a.order, a.queued = nil, 0
}

// pursue notes that a writer has begun to pursue a batch which failed. When all of them do, nobody is left to wait for.
func (a *accepter) pursue() {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.stuck++; a.stuck == acceptWriters {
		a.refuse(errNoAnswer)
	}
}

func (a *accepter) pursued() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.stuck--
}

// write settles one batch after the other until ctx ends.
func (a *accepter) write(ctx context.Context) error {
	defer context.AfterFunc(ctx, func() {
		a.mu.Lock()
		defer a.mu.Unlock()
		a.cond.Broadcast()
	})()
	var batch []*pendingStart
	for {
		batch = a.next(ctx, batch[:0])
		if len(batch) == 0 {
			return ctx.Err()
		}
		a.settle(ctx, batch)
		clear(batch)
	}
}

// next waits for a batch; it is empty when ctx has ended.
func (a *accepter) next(ctx context.Context, batch []*pendingStart) []*pendingStart {
	a.mu.Lock()
	defer a.mu.Unlock()
	for ctx.Err() == nil {
		if len(a.order) > 0 {
			var patience time.Duration
			if batch, patience = a.take(batch); len(batch) > 0 {
				return batch
			}
			// Everybody waits for a slot: one comes free, or patience ends.
			timer := time.AfterFunc(patience, a.wake)
			a.cond.Wait()
			timer.Stop()
			continue
		}
		a.cond.Wait()
	}
	return nil
}

// take removes from the queues what can be written now: what gets a slot, tenants in turn, and what has waited long enough without one.
// When there is nothing it returns how long to wait.
func (a *accepter) take(batch []*pendingStart) ([]*pendingStart, time.Duration) {
	t := a.e.tenure.Load()
	budget, bytes := a.e.slots.forMemory(), 0
	if t == nil || t.lost() {
		budget = 0
	}
	now := time.Now()
	a.rate.observe(now, a.e.slots.released.Load())
	mayWait := max(int(a.rate.perSecond*acceptBacklog.Seconds()), a.e.slots.total)
	patience := acceptPatience
	for progress := true; progress && len(batch) < maxAcceptItems && bytes < maxAcceptBytes; {
		progress = false
		for i := 0; i < len(a.order) && len(batch) < maxAcceptItems && bytes < maxAcceptBytes; {
			q := a.order[i]
			p := q.items[0]
			waited := now.Sub(p.since)
			switch {
			case budget > 0 && a.e.slots.reserve(q.tenant):
				budget--
				p.accept.Owned = true
			case t == nil || waited >= acceptPatience || a.queued > mayWait:
				p.accept.Owned = false
			default:
				patience = min(patience, acceptPatience-waited)
				i++
				continue
			}
			progress = true
			a.queued--
			batch, bytes = append(batch, p), bytes+len(p.accept.Event)
			if q.items = q.items[1:]; len(q.items) == 0 {
				delete(a.tenants, q.tenant)
				a.e.slots.dequeue(q.tenant)
				a.order = append(a.order[:i], a.order[i+1:]...)
				continue
			}
			i++
		}
	}
	switch {
	case len(a.order) == 0:
		a.rate.at = time.Time{} // nobody waits: what comes free now says nothing about how fast it could
	case len(a.order) > 1:
		// The next batch begins with the next tenant.
		a.order = append(a.order[1:], a.order[0])
	}
	return batch, patience
}

// settle writes a batch and answers it. When the store fails the callers are told at once, since they can ask again; but the outcome is
// pursued, because rows that were written name this process as their owner.
func (a *accepter) settle(ctx context.Context, batch []*pendingStart) {
	t := a.e.tenure.Load()
	var owner execution.OwnerID
	if t != nil {
		owner = t.id
	}
	items := make([]execution.Accept, len(batch))
	for i, p := range batch {
		items[i] = p.accept
		items[i].Owned = p.accept.Owned && t != nil
	}
	a.e.metrics.acceptBatch(ctx, len(items))
	for try := 1; ; try++ {
		begin := time.Now()
		attempt, cancel := context.WithTimeout(context.WithoutCancel(ctx), acceptTimeout)
		verdicts, err := a.e.cfg.Store.Accept(attempt, owner, items)
		cancel()
		if err == nil {
			written := statement{begin: begin, end: time.Now(), size: len(items)}
			for i := range items {
				a.e.traceAccept(ctx, &items[i], written)
			}
			a.answer(t, batch, items, verdicts)
			return
		}
		a.e.unavailable(ctx, "accept starts", err)
		if try == 1 {
			for _, p := range batch {
				p.call.fail(err)
			}
			a.pursue()
			defer a.pursued()
		}
		if t == nil || t.lost() || !sleep(ctx, backoff(try)) {
			break
		}
	}
	for _, p := range batch {
		if p.accept.Owned {
			a.e.slots.release(p.accept.Tenant)
		}
	}
}

func (a *accepter) answer(t *tenure, batch []*pendingStart, items []execution.Accept, verdicts []execution.Verdict) {
	overflow := false
	for i, p := range batch {
		started := verdicts[i].Outcome == execution.Started
		switch {
		case started && items[i].Owned:
			a.e.launch(t, claimedAtAccept(&items[i]))
		case p.accept.Owned:
			a.e.slots.release(p.accept.Tenant)
		case started:
			overflow = true
		}
		p.call.answer(p.index, verdicts[i])
	}
	if overflow {
		a.e.slots.foundBacklog()
		a.e.claimer.wake()
	}
}

func claimedAtAccept(a *execution.Accept) *execution.Claimed {
	return &execution.Claimed{
		ID: a.ID, Tenant: a.Tenant, WorkflowID: a.WorkflowID, Revision: a.Revision, Epoch: 1,
		CauseKind: a.Cause.Kind, NominalTime: a.Cause.NominalTime, Traceparent: a.Traceparent, Event: a.Event,
	}
}

func (c *startCall) answer(index int, v execution.Verdict) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err == nil {
		c.verdicts[index] = v
	}
	c.settled(1)
}

// fail ends the call with an error, which says nothing about its items.
func (c *startCall) fail(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err == nil && c.left > 0 {
		c.err = err
		c.settled(c.left)
	}
}

// settled must be called with the lock held.
func (c *startCall) settled(n int) {
	if c.left == 0 {
		return
	}
	if c.left -= n; c.left == 0 {
		close(c.done)
	}
}

func backoff(try int) time.Duration {
	return min(50*time.Millisecond<<min(try-1, 5), time.Second)
}
