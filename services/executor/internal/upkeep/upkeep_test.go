package upkeep

import (
	"context"
	"errors"
	"log/slog"
	"testing"
)

// expired is a store with that many keys to remove; the loop is stopped by what comes after them.
type expired struct {
	left int
	stop context.CancelFunc
}

func (e *expired) ExpireStarts(_ context.Context, limit int) (int, error) {
	n := min(e.left, limit)
	e.left -= n
	return n, nil
}

func (e *expired) MakePartitions(context.Context) error {
	e.stop()
	return nil
}

func (e *expired) BuryTombstones(context.Context) error { return nil }

// At thousands of starts in a second as many keys expire: one turn must get through all of a minute's, and of an outage's.
func TestLoop_RemovesAllThatHasExpired(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	store := &expired{left: 1_000_001, stop: cancel}
	if err := NewLoop(store, slog.New(slog.DiscardHandler)).Run(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("run: got %v, want Canceled", err)
	}
	if store.left != 0 {
		t.Errorf("left after the first turn: got %d, want 0", store.left)
	}
}
