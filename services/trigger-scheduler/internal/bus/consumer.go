package bus

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"workflow.uniconnect/services/trigger-scheduler/internal/event"
	"workflow.uniconnect/services/trigger-scheduler/internal/intake"
)

const (
	// batchSize is how many messages are settled together at most; how many are is decided by how many wait.
	batchSize = 256
	// pullBytes bounds what one pull brings, for the sake of memory when events are large.
	pullBytes = 8 << 20
	// workers is how many batches are in flight. One is settled by the executor while the next is decoded.
	workers = 3
	// pullWait is how long one pull stays open, and so how long a stop may take.
	pullWait = time.Second
	// callWait bounds calls about stream and consumer.
	callWait = 2 * time.Second
)

// Settler decides about messages.
type Settler interface {
	Settle(ctx context.Context, msgs []event.Message) ([]intake.Verdict, error)
}

// Gate says whether messages may be pulled, and whether they may be acked.
type Gate interface {
	Wait(ctx context.Context) error
	Open() bool
	Covered() bool
}

// timing is a struct so that tests can shorten it.
type timing struct {
	redeliver struct{ first, most time.Duration } // delay before a message that is kept comes again
	breaker   struct{ first, most time.Duration } // pause after the executor was away
	watch     time.Duration                       // period of the watchdog
	stuck     time.Duration                       // without progress while messages wait
}

func defaultTiming() timing {
	t := timing{watch: 10 * time.Second, stuck: time.Minute}
	t.redeliver.first, t.redeliver.most = time.Second, 30*time.Second
	t.breaker.first, t.breaker.most = 100*time.Millisecond, 5*time.Second
	return t
}

// Consumer pulls messages and settles them. Any number of replicas share the durable consumer.
type Consumer struct {
	stream  *Stream
	settler Settler
	gate    Gate
	logger  *slog.Logger
	timing  timing
	health  health

	handle atomic.Pointer[jetstream.Consumer] // nil until provisioned
	// probe is held by the one worker that pulls while the executor is away.
	probe    chan struct{}
	failures atomic.Int64
	// mend serialises provisioning.
	mend sync.Mutex
	// floor is the last ack floor seen.
	floor atomic.Uint64
}

// NewConsumer returns a consumer; Run pulls.
func NewConsumer(stream *Stream, settler Settler, gate Gate, logger *slog.Logger) *Consumer {
	return &Consumer{stream: stream, settler: settler, gate: gate, logger: logger, timing: defaultTiming(), probe: make(chan struct{}, 1)}
}

// Run pulls until ctx ends; what was pulled by then is settled first.
func (c *Consumer) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	defer wg.Wait()
	for range workers {
		wg.Go(func() { c.work(ctx) })
	}
	c.watch(ctx)
	return nil
}

// work pulls and settles one batch after the other.
func (c *Consumer) work(ctx context.Context) {
	for attempt := 0; ctx.Err() == nil; {
		if c.gate.Wait(ctx) != nil {
			return
		}
		err := c.turn(ctx)
		switch {
		case err == nil:
			attempt = 0
			continue
		case ctx.Err() != nil:
			return
		case attempt == 0:
			c.logger.WarnContext(ctx, "events cannot be settled", "error", err)
		}
		pause(ctx, backoff(c.timing.breaker.first, c.timing.breaker.most, attempt))
		attempt++
	}
}

// turn is one pull. While the executor is away one worker goes on trying, with few messages, and the others wait for it.
func (c *Consumer) turn(ctx context.Context) error {
	size := batchSize
	if c.failures.Load() > 0 {
		select {
		case c.probe <- struct{}{}:
			defer func() { <-c.probe }()
		case <-ctx.Done():
			return ctx.Err()
		}
		if c.failures.Load() > 0 {
			size = 1
		}
	}
	handle := c.handle.Load()
	if handle == nil {
		return c.provision(ctx)
	}
	// The pull is never abandoned: what the server sends into an abandoned one is held up until the ack wait is over.
	pulled, err := (*handle).Fetch(size, jetstream.FetchMaxBytes(pullBytes), jetstream.FetchMaxWait(pullWait))
	if err != nil {
		return errors.Join(err, c.provision(ctx))
	}
	err = c.settleAll(ctx, pulled)
	if err != nil {
		c.failures.Add(1)
		return err
	}
	c.failures.Store(0)
	if err := pulled.Error(); err != nil && !ended(err) && ctx.Err() == nil {
		return errors.Join(err, c.provision(ctx))
	}
	return nil
}

// ended reports whether a pull has merely run its time.
func ended(err error) bool {
	return errors.Is(err, nats.ErrTimeout) || errors.Is(err, context.DeadlineExceeded)
}

// settleAll settles what a pull brings, as much at once as has come. After a failure, and when the service stops, it gives back what
// still comes.
func (c *Consumer) settleAll(ctx context.Context, pulled jetstream.MessageBatch) error {
	var (
		failure error
		msgs    = make([]jetstream.Msg, 0, batchSize)
		events  = make([]event.Message, 0, batchSize)
	)
	for first := range pulled.Messages() {
		msgs = append(msgs[:0], first)
	more:
		for len(msgs) < batchSize {
			select {
			case msg, ok := <-pulled.Messages():
				if !ok {
					break more
				}
				msgs = append(msgs, msg)
			default:
				break more
			}
		}
		c.health.delivered(time.Now())
		if failure == nil && ctx.Err() == nil {
			// A batch that was begun is finished also when the service stops.
			failure = c.settle(context.WithoutCancel(ctx), msgs, events[:0])
		} else {
			c.giveBack(ctx, msgs)
		}
	}
	return failure
}

// settle gets verdicts and acks.
func (c *Consumer) settle(ctx context.Context, msgs []jetstream.Msg, events []event.Message) error {
	deliveries := make([]uint64, len(msgs))
	for i, msg := range msgs {
		m, meta, err := messageOf(msg)
		if err != nil { // not a message of JetStream: cannot happen on this subscription
			return err
		}
		deliveries[i] = meta.NumDelivered
		events = append(events, m)
	}
	verdicts, failure := c.settler.Settle(ctx, events)
	covered := c.gate.Covered()
	for i, verdict := range verdicts {
		var err error
		if verdict == intake.Settled && covered {
			err = msgs[i].Ack()
		} else {
			err = msgs[i].NakWithDelay(backoff(c.timing.redeliver.first, c.timing.redeliver.most, int(deliveries[i])-1))
		}
		if err != nil && failure == nil {
			failure = err // the connection is away; what is not acked comes again
		}
	}
	return failure
}

// giveBack lets others have messages that this process will not settle.
func (c *Consumer) giveBack(ctx context.Context, msgs []jetstream.Msg) {
	for _, msg := range msgs {
		delay := time.Duration(0)
		if ctx.Err() == nil {
			delay = backoff(c.timing.redeliver.first, c.timing.redeliver.first, 0)
		}
		if err := msg.NakWithDelay(delay); err != nil {
			return // the connection is away: they come again by themselves
		}
	}
}

// provision makes or mends the consumer. Workers that find it broken at the same time do it one after the other.
func (c *Consumer) provision(ctx context.Context) error {
	c.mend.Lock()
	defer c.mend.Unlock()
	limited, cancel := context.WithTimeout(ctx, callWait)
	defer cancel()
	handle, err := c.stream.Provision(limited, c.floor.Load())
	if err != nil {
		return err
	}
	c.handle.Store(&handle)
	return nil
}

// backoff doubles from first to most, with jitter of half of it so that what failed together does not come back together.
func backoff(first, most time.Duration, n int) time.Duration {
	d := min(first<<min(max(n, 0), 10), most)
	return d/2 + rand.N(d/2+1)
}

func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
