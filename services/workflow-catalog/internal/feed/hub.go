package feed

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sort"
	"sync"
	"time"

	"workflow.uniconnect/services/workflow-catalog/internal/workflow"
)

const (
	// PollInterval is how late a commit of another replica is seen at most.
	PollInterval = 250 * time.Millisecond
	// PageSize is how many changes one query, and one batch, holds at most.
	PageSize = 500
	// memory is how many changes the hub keeps at least for watchers that are slow; at most it holds twice as many.
	memory = 4096
)

// Entry is a change in the form that watchers are sent.
type Entry[T any] struct {
	Seq Seq
	// Topic is the tenant.
	Topic workflow.Tenant
	Item  T
}

// Batch is what a watcher is told at once.
type Batch[T any] struct {
	// Entries follow the watcher's position without a gap; none when nothing happened for a while.
	Entries []Entry[T]
	// At is the watcher's position once it has these entries.
	At Seq
	// AsOf, unless zero, is the time of the database as of which the watcher misses nothing once it has these entries.
	AsOf time.Time
}

// Hub polls a Source for all watchers of a process.
type Hub[T any] struct {
	source Source
	encode func(Change) T
	logger *slog.Logger
	wake   chan struct{}

	mu      sync.Mutex
	started bool
	stopped bool
	feed    string
	// entries are all changes after floor up to head.
	entries     []Entry[T]
	floor, head Seq
	// began is the position from which on the hub knows everything there was of any topic that forgotten does not name; forgotten holds the
	// last change of each topic that was dropped from entries.
	began     Seq
	forgotten map[workflow.Tenant]Seq
	asOf      time.Time
	polled    time.Time     // by the local clock, for the metric only
	moved     chan struct{} // closed and replaced when there are new entries, closed for good at the end
	// topics are the same for those who wait for one topic; a channel is made by who waits first.
	topics map[workflow.Tenant]chan struct{}
}

// NewHub returns a Hub that runs encode once per change.
func NewHub[T any](source Source, encode func(Change) T, logger *slog.Logger) *Hub[T] {
	return &Hub[T]{
		source: source, encode: encode, logger: logger, wake: make(chan struct{}, 1), moved: make(chan struct{}),
		forgotten: make(map[workflow.Tenant]Seq), topics: make(map[workflow.Tenant]chan struct{}),
	}
}

// Wake makes the hub look at once.
func (h *Hub[T]) Wake() {
	select {
	case h.wake <- struct{}{}:
	default: // it is about to look anyway
	}
}

// Run polls until ctx ends. While the database is away it goes on trying. It fails when the feed turns out to be another one than
// before: its numbers are worth nothing then, and every watcher has to begin anew with a new process.
func (h *Hub[T]) Run(ctx context.Context) error {
	defer h.stop()
	timer := time.NewTimer(0)
	defer timer.Stop()
	failing := false
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-timer.C:
		case <-h.wake:
		}
		err := h.poll(ctx)
		switch {
		case errors.Is(err, errOtherFeed):
			return err
		case err != nil && ctx.Err() == nil && !failing:
			h.logger.WarnContext(ctx, "change feed cannot be read", "error", err)
		case err == nil && failing:
			h.logger.InfoContext(ctx, "change feed is read again")
		}
		failing = err != nil
		timer.Reset(PollInterval)
	}
}

// Next returns what follows a watcher's position: as soon as there is something, or an empty batch after idle. The position is the
// number of the last change the watcher has seen.
func (h *Hub[T]) Next(ctx context.Context, after Seq, idle time.Duration) (Batch[T], error) {
	return h.next(ctx, idle, func() (Batch[T], <-chan struct{}, error) { return h.read(after) })
}

// NextOf is Next for the changes of one topic.
func (h *Hub[T]) NextOf(ctx context.Context, topic workflow.Tenant, after Seq, idle time.Duration) (Batch[T], error) {
	return h.next(ctx, idle, func() (Batch[T], <-chan struct{}, error) { return h.readTopic(topic, after) })
}

func (h *Hub[T]) next(ctx context.Context, idle time.Duration, read func() (Batch[T], <-chan struct{}, error)) (Batch[T], error) {
	timer := time.NewTimer(idle)
	defer timer.Stop()
	for {
		batch, moved, err := read()
		if err != nil || len(batch.Entries) > 0 {
			return batch, err
		}
		select {
		case <-moved:
		case <-timer.C:
			batch, _, err = read()
			return batch, err
		case <-ctx.Done():
			return Batch[T]{}, ctx.Err()
		}
	}
}

// Known returns the feed and the positions between which the hub knows it, or false when it knows none yet.
func (h *Hub[T]) Known() (Window, bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return Window{Feed: h.feed, Floor: h.floor, Newest: h.head, AsOf: h.asOf}, h.started
}

// Lag is how long ago the feed was last read to its end.
func (h *Hub[T]) Lag() time.Duration {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.started {
		return 0
	}
	return time.Since(h.polled)
}

// read returns what is known after a position, and a channel that closes when there is more.
func (h *Hub[T]) read(after Seq) (Batch[T], <-chan struct{}, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case h.stopped:
		return Batch[T]{}, nil, ErrStopped
	case !h.started:
		return Batch[T]{}, h.moved, nil
	case after < h.floor:
		return Batch[T]{}, nil, ErrBehind
	}
	rest := h.entries[h.index(after):]
	if len(rest) > PageSize {
		return Batch[T]{Entries: rest[:PageSize:PageSize], At: rest[PageSize-1].Seq}, h.moved, nil
	}
	return Batch[T]{Entries: rest[:len(rest):len(rest)], At: max(after, h.head), AsOf: h.asOf}, h.moved, nil
}

// readTopic is read for one topic. A watcher that is back further than the hub remembers has missed nothing as long as its topic was still.
func (h *Hub[T]) readTopic(topic workflow.Tenant, after Seq) (Batch[T], <-chan struct{}, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case h.stopped:
		return Batch[T]{}, nil, ErrStopped
	case !h.started:
		return Batch[T]{At: after}, h.moved, nil
	case after < h.began || after < h.forgotten[topic]:
		return Batch[T]{}, nil, ErrBehind
	}
	batch := Batch[T]{At: max(after, h.head), AsOf: h.asOf}
	for _, e := range h.entries[h.index(after):] {
		if e.Topic != topic {
			continue
		}
		if len(batch.Entries) == PageSize {
			batch.At, batch.AsOf = batch.Entries[PageSize-1].Seq, time.Time{}
			break
		}
		batch.Entries = append(batch.Entries, e)
	}
	moved, ok := h.topics[topic]
	if !ok {
		moved = make(chan struct{})
		h.topics[topic] = moved
	}
	return batch, moved, nil
}

// index is where the entries after a position begin.
func (h *Hub[T]) index(after Seq) int {
	return sort.Search(len(h.entries), func(i int) bool { return h.entries[i].Seq > after })
}

var errOtherFeed = errors.New("the change feed is not the one that this process began with")

// poll reads until there is nothing more.
func (h *Hub[T]) poll(ctx context.Context) error {
	if !h.started { // only this goroutine sets it
		if err := h.begin(ctx); err != nil {
			return err
		}
	}
	for {
		window, changes, err := h.source.Changes(ctx, h.head, PageSize)
		if err != nil {
			return err
		}
		if window.Feed != h.feed || window.Newest < h.head {
			return errOtherFeed
		}
		entries := make([]Entry[T], len(changes))
		for i, c := range changes {
			entries[i] = Entry[T]{Seq: c.Seq, Topic: c.Tenant, Item: h.encode(c)}
		}
		h.add(window, entries)
		if len(entries) < PageSize {
			return nil
		}
	}
}

// begin takes the feed's end as the hub's beginning. Watchers that are further back read from the storage.
func (h *Hub[T]) begin(ctx context.Context) error {
	window, _, err := h.source.Changes(ctx, 0, 0)
	if err != nil {
		return err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.feed, h.floor, h.head, h.began = window.Feed, window.Newest, window.Newest, window.Newest
	h.started, h.polled = true, time.Now()
	// Who waits for the beginning may be behind it.
	close(h.moved)
	h.moved = make(chan struct{})
	return nil
}

// add appends what one read found. A page that is not full is the last.
func (h *Hub[T]) add(window Window, entries []Entry[T]) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if window.Floor > h.head {
		// This process slept so long that changes were dropped unread; nobody's position is good any more.
		h.entries, h.floor, h.head, h.began = nil, window.Floor, window.Floor, window.Floor
		clear(h.forgotten)
	}
	if len(entries) < PageSize {
		h.asOf, h.polled = window.AsOf, time.Now()
	}
	if len(entries) == 0 {
		return
	}
	h.entries = append(h.entries, entries...)
	h.head = entries[len(entries)-1].Seq
	if len(h.entries) > 2*memory {
		drop := len(h.entries) - memory
		h.floor = h.entries[drop-1].Seq
		for _, e := range h.entries[:drop] {
			h.forgotten[e.Topic] = e.Seq
		}
		// A new array, since batches handed out still point into the old one.
		h.entries = slices.Clone(h.entries[drop:])
	}
	close(h.moved)
	h.moved = make(chan struct{})
	for _, e := range entries {
		if moved, ok := h.topics[e.Topic]; ok {
			close(moved)
			delete(h.topics, e.Topic)
		}
	}
}

func (h *Hub[T]) stop() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.stopped = true
	close(h.moved)
	for _, moved := range h.topics {
		close(moved)
	}
}
