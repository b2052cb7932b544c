package activation

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/google/uuid"

	"workflow.uniconnect/services/trigger-scheduler/internal/event"
	"workflow.uniconnect/services/trigger-scheduler/internal/index"
)

// WatcherID identifies one run of one process.
type WatcherID uuid.UUID

// Estate is the watcher of a process that is gone.
type Estate struct {
	ID          WatcherID
	SeenThrough time.Time
	// RenewedAt tells whether its owner came back.
	RenewedAt time.Time
}

// Store keeps watchers. Its clock decides which are expired.
type Store interface {
	// Renew writes this process's row.
	Renew(ctx context.Context, id WatcherID, seenThrough time.Time) error
	// Release makes the row expired at once.
	Release(ctx context.Context, id WatcherID) error
	// Inherit claims rows that were not renewed for expiry, and that no other heir has claimed within it.
	Inherit(ctx context.Context, heir WatcherID, expiry time.Duration) ([]Estate, error)
	// Bury deletes a row unless its owner came back.
	Bury(ctx context.Context, e Estate) error
}

// Stream reads what was published.
type Stream interface {
	// Last returns the stream's last sequence and the time of that message; 0 when it is empty.
	Last(ctx context.Context) (sequence uint64, at time.Time, err error)
	// Read calls fn with the messages of a subject from a time up to and including a sequence, in order and in batches.
	Read(ctx context.Context, subject string, from time.Time, until uint64, fn func([]event.Message) error) error
}

// Restarter starts what messages start of some workflows.
type Restarter interface {
	Restart(ctx context.Context, msgs []event.Message, only map[index.ID]struct{}) error
}

// News is what the watch has heard of.
type News struct {
	Definitions []index.Definition
	// Gates are in the order of their changes.
	Gates []index.Gate
	// AsOf is the database's time as of which nothing is missing; zero says nothing.
	AsOf time.Time
}

// Add appends what was heard later.
func (n *News) Add(later News) {
	n.Definitions, n.Gates = append(n.Definitions, later.Definitions...), append(n.Gates, later.Gates...)
	n.AsOf = later.AsOf
}

// timing is a struct so that tests can shorten it.
type timing struct {
	silence, renew, lease, expiry, takeover time.Duration
	// margin goes back behind a seen_through: a change takes effect before it is committed, as a rule by a millisecond. The catalog's
	// transaction may stand still for 10 s in between, and its last two statements may take 4 s each, before the database ends it.
	margin   time.Duration
	attempts struct{ first, most time.Duration }
}

func defaultTiming() timing {
	t := timing{
		silence: 30 * time.Second, renew: 2 * time.Second, lease: 20 * time.Second, expiry: 30 * time.Second,
		takeover: 10 * time.Second, margin: 30 * time.Second,
	}
	t.attempts.first, t.attempts.most = 100*time.Millisecond, 5*time.Second
	return t
}

// Options holds what a Tracker works with. All are required.
type Options struct {
	Index     *index.Index
	Store     Store
	Stream    Stream
	Restarter Restarter
	Logger    *slog.Logger
}

// Tracker applies changes. Snapshot, Resumed, Changes and Heard are for one goroutine, the watch's; the rest is safe for concurrent use.
type Tracker struct {
	Options
	timing timing
	id     WatcherID
	wake   chan struct{} // holds a token when there is work for the re-reader
	loaded chan struct{} // holds a token when there is a snapshot to prepare

	mu sync.Mutex
	// heard is when the watch last said something, by the monotonic clock; renewed likewise of the row.
	heard, renewed time.Time
	// snapshot says that the index is complete.
	snapshot bool
	// asOf is the database's time of the last message applied to the index, seen that of the last message whose re-reads are done.
	asOf, seen time.Time
	pending    []job
	// floor, when set, is how far back changes may reach that a resumed watch has folded together; until asOf passes its end.
	floor, floorEnd time.Time
	moved           chan struct{} // closed and replaced when one of the above changes
}

// job asks for a re-read.
type job struct {
	workflow index.ID
	typ      event.Type
	from     time.Time
}

// New returns a tracker of a new watcher.
func New(opts Options) (*Tracker, error) {
	id, err := uuid.NewV7()
	if err != nil {
		return nil, err
	}
	return &Tracker{
		Options: opts, timing: defaultTiming(), id: WatcherID(id), wake: make(chan struct{}, 1), loaded: make(chan struct{}, 1),
		moved: make(chan struct{}),
	}, nil
}

// Snapshot makes the news the whole index. The first snapshot needs no re-read, since nothing was pulled before it; a later one may hold
// changes that were missed since the last message.
func (t *Tracker) Snapshot(ctx context.Context, news News) {
	// First the gates: no definition may be there before what closes it.
	t.Index.ReplaceGates(news.Gates)
	if err := t.Index.Replace(news.Definitions); err != nil {
		t.Logger.ErrorContext(ctx, "workflows left out of the index", "error", err)
	}
	select {
	case t.loaded <- struct{}{}:
	default: // about to be prepared anyway
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.snapshot {
		from := t.asOf.Add(-t.timing.margin)
		t.enqueue(t.Index.ChangedSince(from), from)
	} else {
		t.snapshot, t.seen = true, news.AsOf
	}
	t.floor, t.floorEnd = time.Time{}, time.Time{}
	t.applied(news.AsOf)
}

// Resumed says that the watch goes on after a pause. What it sends of the pause may be the last of several changes of a workflow.
func (t *Tracker) Resumed() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.snapshot {
		return
	}
	t.floor = t.asOf.Add(-t.timing.margin)
	t.floorEnd = t.asOf.Add(time.Since(t.heard))
}

// Changes applies news to the index and has the stream re-read for the workflows that events can start: for those that changed, and for all of
// a tenant whose gate has opened.
func (t *Tracker) Changes(ctx context.Context, news News) {
	opened := t.Index.Gates(news.Gates)
	if err := t.Index.Apply(news.Definitions); err != nil {
		t.Logger.ErrorContext(ctx, "workflows left out of the index", "error", err)
	}
	// Definitions may stand in the same message before the gate with which their tenant ended.
	for _, g := range news.Gates {
		if g.Deleted {
			t.Index.RemoveTenant(g.Tenant)
		}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.enqueue(news.Definitions, t.floor)
	for _, g := range news.Gates {
		t.enqueueOpened(opened, g)
	}
	if !t.floorEnd.IsZero() && news.AsOf.After(t.floorEnd) {
		t.floor, t.floorEnd = time.Time{}, time.Time{}
	}
	t.applied(news.AsOf)
}

// enqueue asks for re-reads from each definition's effective time, or from floor when that is earlier.
func (t *Tracker) enqueue(defs []index.Definition, floor time.Time) {
	for _, def := range defs {
		if !def.Active || !def.HasSteps || def.Trigger == nil {
			continue
		}
		from := def.Effective
		if !floor.IsZero() && floor.Before(from) {
			from = floor
		}
		t.pending = append(t.pending, job{index.ID{Tenant: def.Tenant, Workflow: def.Workflow}, def.Trigger.Type, from})
	}
}

// enqueueOpened asks for re-reads of a tenant's workflows from when its gate opened: what was published since and handled before this
// process heard of it has started nothing.
func (t *Tracker) enqueueOpened(defs []index.Definition, g index.Gate) {
	for _, def := range defs {
		if g.Open && def.Tenant == g.Tenant {
			t.pending = append(t.pending, job{index.ID{Tenant: def.Tenant, Workflow: def.Workflow}, def.Trigger.Type, g.Effective})
		}
	}
}

// applied notes that the index holds what the watch has said up to asOf.
func (t *Tracker) applied(asOf time.Time) {
	t.heard = time.Now()
	if asOf.After(t.asOf) {
		t.asOf = asOf
	}
	t.signal()
	select {
	case t.wake <- struct{}{}:
	default: // it is about to look anyway
	}
}

// signal wakes who waits for the gate.
func (t *Tracker) signal() {
	close(t.moved)
	t.moved = make(chan struct{})
}

// Silence returns for how long the watch has said nothing; zero before its first word.
func (t *Tracker) Silence() time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.heard.IsZero() {
		return 0
	}
	return time.Since(t.heard)
}

// Wait returns nil when events may be pulled.
func (t *Tracker) Wait(ctx context.Context) error {
	for {
		t.mu.Lock()
		open, moved := t.open(), t.moved
		t.mu.Unlock()
		if open {
			return nil
		}
		select {
		case <-moved:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Open reports whether events may be pulled.
func (t *Tracker) Open() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.open()
}

func (t *Tracker) open() bool {
	return t.snapshot && time.Since(t.heard) < t.timing.silence && t.covered()
}

// Covered reports whether this process's row stands, so that events may be acked.
func (t *Tracker) Covered() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.covered()
}

func (t *Tracker) covered() bool {
	return !t.renewed.IsZero() && time.Since(t.renewed) < t.timing.lease
}

// Run renews the row, re-reads and takes over until ctx ends. The caller has stopped pulling by then and calls Release.
func (t *Tracker) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() { t.reread(ctx) })
	wg.Go(func() { t.inherit(ctx) })
	wg.Go(func() { t.prepare(ctx) })
	t.renew(ctx)
	return nil
}

// prepare compiles what a snapshot holds while events are handled already: an event that comes sooner compiles what it needs.
func (t *Tracker) prepare(ctx context.Context) {
	for {
		select {
		case <-t.loaded:
		case <-ctx.Done():
			return
		}
		if err := t.Index.Prepare(ctx); err != nil {
			t.Logger.ErrorContext(ctx, "workflows start nothing: their expressions do not compile", "error", err)
		}
	}
}

// Release lets another process take this one's row over without waiting. Nothing may be acked any more.
func (t *Tracker) Release(ctx context.Context) error {
	t.mu.Lock()
	had := !t.renewed.IsZero()
	t.renewed = time.Time{}
	t.mu.Unlock()
	if !had {
		return nil
	}
	return t.Store.Release(ctx, t.id)
}

// renew writes the row as soon as there is a snapshot, then every period.
func (t *Tracker) renew(ctx context.Context) {
	ticker := time.NewTicker(t.timing.renew)
	defer ticker.Stop()
	failing := false
	for {
		t.mu.Lock()
		seen, known, moved := t.seen, t.snapshot, t.moved
		t.mu.Unlock()
		if !known {
			select {
			case <-moved:
				continue
			case <-ctx.Done():
				return
			}
		}
		at := time.Now() // before the call: the row is at least this fresh
		err := t.Store.Renew(ctx, t.id, seen)
		if ctx.Err() != nil {
			return
		}
		if err == nil {
			t.mu.Lock()
			t.renewed = at
			t.signal()
			t.mu.Unlock()
		} else if !failing {
			t.Logger.WarnContext(ctx, "watcher cannot be renewed", "error", err)
		}
		failing = err != nil
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
	}
}

// awaitWork waits for work, and after failed attempts for the time to try again as well. It reports false when ctx has ended.
func (t *Tracker) awaitWork(ctx context.Context, failed int) bool {
	var again <-chan time.Time
	if failed > 0 {
		d := min(t.timing.attempts.first<<min(failed, 10), t.timing.attempts.most)
		timer := time.NewTimer(d/2 + rand.N(d/2+1))
		defer timer.Stop()
		again = timer.C
	}
	select {
	case <-t.wake:
		return true
	case <-again:
		return true
	case <-ctx.Done():
		return false
	}
}
