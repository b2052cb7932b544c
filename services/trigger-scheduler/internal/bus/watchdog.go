package bus

import (
	"context"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// oldAge is when an unread event becomes an alarm: it is a day old of the seven that the stream keeps.
const oldAge = 24 * time.Hour

// Health says how far behind the consumer is.
type Health struct {
	// Pending counts messages that were not delivered yet, Unacked those that were and are not settled.
	Pending, Unacked uint64
	// OldestAge is the age of the oldest message that is not settled; zero when there is none.
	OldestAge time.Duration
	// Mended counts how often the watchdog had to make the consumer anew.
	Mended int
}

// health is what the watchdog knows.
type health struct {
	mu       sync.Mutex
	last     Health
	progress time.Time // when the consumer last delivered to anyone, as far as we have seen
	sequence uint64    // its delivery count then
	strikes  int
}

func (h *health) delivered(at time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.progress, h.strikes = at, 0
}

// Health returns what the watchdog saw last.
func (c *Consumer) Health() Health {
	c.health.mu.Lock()
	defer c.health.mu.Unlock()
	return c.health.last
}

// watch looks at the consumer every period. A consumer that delivers nothing while messages wait is first subscribed to anew, then made
// anew after what was acked: the start keys settle what is met twice.
func (c *Consumer) watch(ctx context.Context) {
	failing := false
	for ctx.Err() == nil {
		err := c.look(ctx, time.Now())
		if err != nil && !failing && ctx.Err() == nil {
			c.logger.WarnContext(ctx, "consumer of the event stream cannot be looked at", "error", err)
		}
		failing = err != nil
		if failing {
			pause(ctx, c.timing.watch/10)
		} else {
			pause(ctx, c.timing.watch)
		}
	}
}

func (c *Consumer) look(ctx context.Context, now time.Time) error {
	handle := c.handle.Load()
	if handle == nil {
		return c.provision(ctx)
	}
	limited, cancel := context.WithTimeout(ctx, callWait)
	defer cancel()
	info, err := (*handle).Info(limited)
	if err != nil {
		return c.provision(ctx) // deleted by somebody, or the server is away
	}
	c.floor.Store(info.AckFloor.Stream) // lower than before when somebody has made the stream anew
	age := c.oldestAge(limited, info, now)
	if age > oldAge {
		c.logger.ErrorContext(ctx, "events wait for more than a day", "age", age, "pending", info.NumPending)
	}
	if !c.note(info, age, now) {
		return nil
	}
	return c.mendStuck(ctx)
}

// note records what was seen and reports whether the consumer is stuck.
func (c *Consumer) note(info *jetstream.ConsumerInfo, age time.Duration, now time.Time) bool {
	h := &c.health
	h.mu.Lock()
	defer h.mu.Unlock()
	h.last.Pending, h.last.Unacked, h.last.OldestAge = info.NumPending, uint64(info.NumAckPending), age
	if h.progress.IsZero() || info.Delivered.Consumer != h.sequence || info.NumPending == 0 || !c.gate.Open() || c.failures.Load() > 0 {
		h.sequence, h.progress, h.strikes = info.Delivered.Consumer, now, 0
		return false
	}
	return now.Sub(h.progress) >= c.timing.stuck
}

func (c *Consumer) mendStuck(ctx context.Context) error {
	h := &c.health
	h.mu.Lock()
	h.strikes++
	strikes := h.strikes
	h.progress = time.Now()
	h.last.Mended++
	h.mu.Unlock()
	c.logger.ErrorContext(ctx, "events wait and none is delivered: making the consumer anew", "strike", strikes)
	if strikes > 1 {
		if err := c.stream.forget(ctx); err != nil {
			return err
		}
	}
	return c.provision(ctx)
}

// oldestAge returns the age of the first message after the ack floor.
func (c *Consumer) oldestAge(ctx context.Context, info *jetstream.ConsumerInfo, now time.Time) time.Duration {
	if info.NumPending == 0 && info.NumAckPending == 0 {
		return 0
	}
	stream, err := c.stream.js.Stream(ctx, StreamName)
	if err != nil {
		return 0
	}
	state := stream.CachedInfo().State
	at := state.FirstTime
	if next := info.AckFloor.Stream + 1; next > state.FirstSeq {
		msg, err := stream.GetMsg(ctx, next)
		if err != nil {
			return 0
		}
		at = msg.Time
	}
	return max(now.Sub(at), 0)
}
