package sink

import (
	"context"
	"net/url"
	"strconv"
	"sync"
	"time"

	"workflow.uniconnect/pkg/fault"
)

const (
	maxDelay  = time.Minute
	maxCounts = 10_000
)

// Shape is how the sender of a request wants it answered, so that failures can be played.
type Shape struct {
	Status int
	// Times is how many requests get Status before the others get 200; 0 means all.
	Times int
	// Delay passes before the answer.
	Delay time.Duration
}

// ParseShape reads ?status=503&times=2&delay=2s.
func ParseShape(query url.Values) (Shape, error) {
	s := Shape{Status: 200}
	var violations []fault.Violation
	if text := query.Get("status"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 200 || n > 599 {
			violations = append(violations, fault.Violation{Field: "status", Description: "is not a number from 200 to 599"})
		}
		s.Status = n
	}
	if text := query.Get("times"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 {
			violations = append(violations, fault.Violation{Field: "times", Description: "is not a number from 1"})
		}
		s.Times = n
	}
	if text := query.Get("delay"); text != "" {
		d, err := time.ParseDuration(text)
		if err != nil || d < 0 || d > maxDelay {
			violations = append(violations, fault.Violation{Field: "delay", Description: "is not a duration up to 60s, such as 2s"})
		}
		s.Delay = d
	}
	return s, fault.Check(violations...)
}

// Counter counts the requests of each sink and path, for Shape.Times. It begins where the store stands, so a restart does not begin
// the failures again.
type Counter struct {
	store Store

	mu     sync.Mutex
	counts map[counted]int
}

type counted struct{ name, path string }

// NewCounter returns a counter over what store keeps.
func NewCounter(store Store) *Counter {
	return &Counter{store: store, counts: make(map[counted]int)}
}

// Next counts a request that is not stored yet, and returns how many there were before it.
func (c *Counter) Next(ctx context.Context, name, path string) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	key := counted{name, path}
	n, known := c.counts[key]
	if !known {
		stored, err := c.store.Count(ctx, name, path)
		if err != nil {
			return 0, err
		}
		n = stored
		if len(c.counts) >= maxCounts {
			clear(c.counts) // they are counted anew when they come again
		}
	}
	c.counts[key] = n + 1
	return n, nil
}

// Forget begins a sink's counts again.
func (c *Counter) Forget(name string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for key := range c.counts {
		if key.name == name {
			delete(c.counts, key)
		}
	}
}
