package sink

import (
	"context"
	"log/slog"
	"sync"

	"workflow.uniconnect/pkg/fault"
)

const (
	maxBatch      = 1000
	maxBatchBytes = 8 << 20
	trimEvery     = Keep / 10
)

// Recorder writes requests in batches without a timer: while one batch is written the next one gathers. Record returns when the
// request is stored for good.
type Recorder struct {
	store Store
	log   *slog.Logger
	wake  chan struct{} // holds one value when something is pending

	mu      sync.Mutex
	pending []entry
	closed  bool

	// grown counts a sink's requests since it was last trimmed. Only Run touches it.
	grown map[string]int
}

type entry struct {
	request Request
	done    chan error // holds the one answer
}

// NewRecorder returns a recorder; it works while Run does.
func NewRecorder(store Store, log *slog.Logger) *Recorder {
	return &Recorder{store: store, log: log, wake: make(chan struct{}, 1), grown: make(map[string]int)}
}

// Record stores r. When ctx ends first, r may be stored all the same.
func (r *Recorder) Record(ctx context.Context, request Request) error {
	e := entry{request: request, done: make(chan error, 1)}
	r.mu.Lock()
	if r.closed {
		r.mu.Unlock()
		return errStopping
	}
	r.pending = append(r.pending, e)
	r.mu.Unlock()
	r.signal()
	select {
	case err := <-e.done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

var errStopping = fault.Unavailable(fault.ReasonShuttingDown, "the sandbox is stopping")

// Run writes what is recorded until ctx ends, and what is pending then.
func (r *Recorder) Run(ctx context.Context) error {
	writeCtx := context.WithoutCancel(ctx)
	for {
		select {
		case <-r.wake:
			r.flush(writeCtx)
		case <-ctx.Done():
			r.mu.Lock()
			r.closed = true
			r.mu.Unlock()
			for r.flush(writeCtx) {
			}
			return nil
		}
	}
}

// flush writes one batch and reports whether there was one.
func (r *Recorder) flush(ctx context.Context) bool {
	batch := r.take()
	if len(batch) == 0 {
		return false
	}
	requests := make([]Request, len(batch))
	for i := range batch {
		requests[i] = batch[i].request
	}
	err := r.store.Append(ctx, requests)
	for i := range batch {
		batch[i].done <- err
	}
	if err == nil {
		r.trim(ctx, requests)
	}
	return true
}

// take removes the next batch from what is pending.
func (r *Recorder) take() []entry {
	r.mu.Lock()
	defer r.mu.Unlock()
	n, size := 0, 0
	for n < len(r.pending) && n < maxBatch && (n == 0 || size < maxBatchBytes) {
		size += len(r.pending[n].request.Body)
		n++
	}
	batch := r.pending[:n:n]
	r.pending = r.pending[n:]
	if len(r.pending) == 0 {
		r.pending = nil
	} else {
		r.signal()
	}
	return batch
}

func (r *Recorder) signal() {
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

func (r *Recorder) trim(ctx context.Context, requests []Request) {
	for i := range requests {
		r.grown[requests[i].Name]++
	}
	for name, n := range r.grown {
		if n < trimEvery {
			continue
		}
		delete(r.grown, name)
		if err := r.store.Trim(ctx, name, Keep); err != nil {
			r.log.WarnContext(ctx, "sink not trimmed", "sink", name, "error", err)
		}
	}
}
