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
	// expireTime bounds one turn, so that the database gets some rest. Removing is faster than accepting, so half of the time is enough.
	expireTime  = interval / 2
	hourly      = 60 // turns
	turnTimeout = 30 * time.Second
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
		err := l.expire(ctx)
		if turn%hourly == 0 {
			err = errors.Join(err, l.prepare(ctx))
		}
		if err != nil && ctx.Err() == nil {
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

// expire removes start keys, as many as a turn may.
func (l *Loop) expire(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, expireTime+turnTimeout)
	defer cancel()
	for begin := time.Now(); time.Since(begin) < expireTime; {
		if n, err := l.store.ExpireStarts(ctx, expireBatch); err != nil || n < expireBatch {
			return err
		}
	}
	return nil
}

// prepare does what is needed far more rarely.
func (l *Loop) prepare(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, turnTimeout)
	defer cancel()
	return errors.Join(l.store.MakePartitions(ctx), l.store.BuryTombstones(ctx))
}
