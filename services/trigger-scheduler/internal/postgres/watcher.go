package postgres

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"workflow.uniconnect/pkg/postgres"
	"workflow.uniconnect/services/trigger-scheduler/internal/activation"
)

const renewWatcher = `
INSERT INTO watchers (id, seen_through, renewed_at)
VALUES ($1, $2, clock_timestamp())
ON CONFLICT (id) DO UPDATE SET seen_through = excluded.seen_through, renewed_at = excluded.renewed_at, heir = NULL, heir_since = NULL`

// Renew implements activation.Store.
func (s *Store) Renew(ctx context.Context, id activation.WatcherID, seenThrough time.Time) error {
	return s.exec(ctx, "renew watcher", renewWatcher, uuid.UUID(id), seenThrough)
}

const releaseWatcher = `UPDATE watchers SET renewed_at = 'epoch' WHERE id = $1`

// Release implements activation.Store.
func (s *Store) Release(ctx context.Context, id activation.WatcherID) error {
	return s.exec(ctx, "release watcher", releaseWatcher, uuid.UUID(id))
}

const inheritWatchers = `
UPDATE watchers SET heir = $1, heir_since = clock_timestamp()
WHERE id IN (
    SELECT id FROM watchers
    WHERE id <> $1
        AND renewed_at < clock_timestamp() - $2::interval
        AND (heir IS NULL OR heir = $1 OR heir_since < clock_timestamp() - $2::interval)
    ORDER BY id
    FOR UPDATE SKIP LOCKED)
RETURNING id, seen_through, renewed_at`

// Inherit implements activation.Store.
func (s *Store) Inherit(ctx context.Context, heir activation.WatcherID, expiry time.Duration) ([]activation.Estate, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	rows, err := s.pool.Query(ctx, inheritWatchers, uuid.UUID(heir), expiry)
	if err != nil {
		return nil, postgres.Classify(fmt.Errorf("take over watchers: %w", err))
	}
	estates, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (activation.Estate, error) {
		var e activation.Estate
		var id uuid.UUID
		err := row.Scan(&id, &e.SeenThrough, &e.RenewedAt)
		e.ID = activation.WatcherID(id)
		return e, err
	})
	if err != nil {
		return nil, postgres.Classify(fmt.Errorf("take over watchers: %w", err))
	}
	return estates, nil
}

const buryWatcher = `DELETE FROM watchers WHERE id = $1 AND renewed_at = $2`

// Bury implements activation.Store.
func (s *Store) Bury(ctx context.Context, e activation.Estate) error {
	return s.exec(ctx, "remove watcher", buryWatcher, uuid.UUID(e.ID), e.RenewedAt)
}
