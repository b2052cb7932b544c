package engine

import (
	"context"
	"sync"
	"time"

	"go.opentelemetry.io/otel/trace"

	"workflow.uniconnect/services/executor/internal/execution"
)

const (
	maxFlush = 512
	// maxFlushBytes is when a batch is full before it has maxFlush records. One record may be larger; a statement takes up to 1 GB.
	maxFlushBytes = 8 << 20
	flushTimeout  = 10 * time.Second
)

// flusher records what executions did. As with accepting, a batch gathers while the one before is on its way. An execution waits for its
// record before it goes on, so it is in a batch once at most, and no more records are queued than there are slots.
type flusher struct {
	e *Engine

	mu     sync.Mutex
	cond   *sync.Cond // of mu: something was queued, or it is over
	queue  []pendingRecord
	closed bool
}

type pendingRecord struct {
	tenure *tenure
	record execution.Record
	span   trace.Span // of the execution; nil when its trace is not sampled
	// done is called once, on the writer's goroutine; it must not block.
	done func(execution.Flushed)
}

func newFlusher(e *Engine) *flusher {
	f := &flusher{e: e}
	f.cond = sync.NewCond(&f.mu)
	return f
}

func (f *flusher) submit(p pendingRecord) {
	f.mu.Lock()
	f.queue = append(f.queue, p)
	f.mu.Unlock()
	f.cond.Signal()
}

// close lets the writers end once the queue is empty.
func (f *flusher) close() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.closed = true
	f.cond.Broadcast()
}

func (f *flusher) write(ctx context.Context) error {
	var batch []pendingRecord
	var records []execution.Record
	for {
		batch = f.next(batch[:0])
		if len(batch) == 0 {
			return nil
		}
		// Records of an earlier tenure are answered before those of the present one are written.
		for begin := 0; begin < len(batch); {
			end := begin + 1
			for end < len(batch) && batch[end].tenure == batch[begin].tenure {
				end++
			}
			records = f.flush(ctx, batch[begin:end], records[:0])
			begin = end
		}
		clear(batch)
		clear(records)
	}
}

func (f *flusher) next(batch []pendingRecord) []pendingRecord {
	f.mu.Lock()
	defer f.mu.Unlock()
	for len(f.queue) == 0 && !f.closed {
		f.cond.Wait()
	}
	n := 0
	for bytes := 0; n < min(len(f.queue), maxFlush) && bytes < maxFlushBytes; n++ {
		for i := range f.queue[n].record.Results {
			bytes += len(f.queue[n].record.Results[i].Output)
		}
	}
	batch = append(batch, f.queue[:n]...)
	rest := copy(f.queue, f.queue[n:])
	clear(f.queue[rest:])
	f.queue = f.queue[:rest]
	return batch
}

// flush writes records of one tenure. While the database is away it tries again for as long as the lease is ours: nobody else may record
// anything for these executions, so nothing is lost.
func (f *flusher) flush(ctx context.Context, batch []pendingRecord, records []execution.Record) []execution.Record {
	t := batch[0].tenure
	for i := range batch {
		records = append(records, batch[i].record)
	}
	begin := time.Now()
	for try := 1; !t.lost(); try++ {
		attempt, cancel := context.WithTimeout(ctx, flushTimeout)
		answers, err := f.e.cfg.Store.Flush(attempt, t.id, records, try)
		cancel()
		if err == nil {
			written := statement{begin: begin, end: time.Now(), size: len(records)}
			f.e.metrics.flushed(ctx, written.size, written.end.Sub(begin))
			for i := range batch {
				if answers[i] != execution.Lost {
					f.e.traceRecord(ctx, &batch[i], written)
				}
				batch[i].done(answers[i])
			}
			return records
		}
		f.e.unavailable(ctx, "record executions", err)
		if !sleep(ctx, backoff(try)) {
			break
		}
	}
	for i := range batch {
		batch[i].done(execution.Lost)
	}
	return records
}
