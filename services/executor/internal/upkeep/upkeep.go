// Package upkeep does what the tables need from time to time: it removes start keys that have expired and tombstones that have served, and
// makes the partitions of the coming weeks. Any number of processes may do it.
package upkeep

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"time"
)

// Store is what needs upkeep.
type Store interface {
	ExpireStarts(ctx context.Context, limit int) (int, error)
	BuryTombstones(ctx context.Context) error
	MakePartitions(ctx context.Context) error
}

const (
	interval    = time.Minute
	expireBatch = 2000
	// expireRounds bounds one turn, so that a great many expired keys do not keep the database busy with nothing else.
	expireRounds = 50
	hourly       = 60 // turns
	turnTimeout  = 30 * time.Second
)

// Loop is the upkeep of one process.
type Loop struct {
	store Store
	log   *slog.Logger
}

// NewLoop returns a loop that has not begun.
func NewLoop(store Store, log *slog.Logger) *Loop { return &Loop{store: store, log: log} }

// Run works until ctx ends. A failure is logged and tried again at the next turn.
func (l *Loop) Run(ctx context.Context) error {
	for turn := 0; ; turn++ {
		if err := l.turn(ctx, turn%hourly == 0); err != nil && ctx.Err() == nil {
			l.log.WarnContext(ctx, "upkeep of the tables", "error", err)
		}
		// Several replicas should not do it in the same second.
		timer := time.NewTimer(interval + rand.N(interval/4))
		select {
		case <-ctx.Done():
			timer.Stop()
			return ctx.Err()
		case <-timer.C:
		}
	}
}

func (l *Loop) turn(ctx context.Context, everything bool) error {
	ctx, cancel := context.WithTimeout(ctx, turnTimeout)
	defer cancel()
	var errs []error
	if everything {
		errs = append(errs, l.store.MakePartitions(ctx), l.store.BuryTombstones(ctx))
	}
	for range expireRounds {
		n, err := l.store.ExpireStarts(ctx, expireBatch)
		if err != nil || n < expireBatch {
			errs = append(errs, err)
			break
		}
	}
	return errors.Join(errs...)
}
