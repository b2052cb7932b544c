package postgres

import (
	"context"
	"fmt"
	"time"

	"workflow.uniconnect/pkg/postgres"
	"workflow.uniconnect/services/executor/internal/execution"
)

const registerSQL = `INSERT INTO owners (id, lease_until) VALUES ($1, now() + $2 * interval '1 microsecond')`

// renewSQL prolongs a lease that still holds: one that ran out may have cost its rows, so it is never revived.
const renewSQL = `UPDATE owners SET lease_until = now() + $2 * interval '1 microsecond' WHERE id = $1 AND lease_until > now()`

const forgetSQL = `DELETE FROM owners WHERE id = $1`

// sweepSQL frees the rows of every owner without a valid lease, whether it ran out or is gone. The owners are found by jumps through the
// index, so that millions of waiting rows cost nothing here.
const sweepSQL = `
WITH RECURSIVE holder (id) AS (
	(SELECT l.owner FROM live l WHERE l.owner IS NOT NULL ORDER BY l.owner LIMIT 1)
	UNION ALL
	SELECT (SELECT l.owner FROM live l WHERE l.owner IS NOT NULL AND l.owner > h.id ORDER BY l.owner LIMIT 1)
	FROM holder h WHERE h.id IS NOT NULL
), dead AS MATERIALIZED (
	SELECT h.id FROM holder h
	WHERE h.id IS NOT NULL AND NOT EXISTS (SELECT 1 FROM owners o WHERE o.id = h.id AND o.lease_until > now())
), lost AS MATERIALIZED (
	SELECT l.tenant, l.id FROM live l JOIN dead d ON l.owner = d.id
	ORDER BY l.tenant, l.id
	LIMIT $1
	FOR UPDATE OF l SKIP LOCKED
)
UPDATE live l SET owner = NULL, epoch = l.epoch + 1, wake_at = now()
FROM lost WHERE l.tenant = lost.tenant AND l.id = lost.id`

// forgottenSQL removes leases that ran out long ago; their rows count as without a valid lease either way.
const forgottenSQL = `DELETE FROM owners WHERE lease_until < now() - interval '1 minute'`

// releaseSQL hands back whatever an owner still has.
const releaseSQL = `
WITH mine AS MATERIALIZED (
	SELECT l.tenant, l.id FROM live l WHERE l.owner = $1 ORDER BY l.tenant, l.id FOR UPDATE
)
UPDATE live l SET owner = NULL, epoch = l.epoch + 1, wake_at = now()
FROM mine WHERE l.tenant = mine.tenant AND l.id = mine.id`

// Register makes a new owner known and gives it a lease.
func (s *Store) Register(ctx context.Context, owner execution.OwnerID, lease time.Duration) error {
	if _, err := s.pool.Exec(ctx, registerSQL, [16]byte(owner), lease.Microseconds()); err != nil {
		return postgres.Classify(fmt.Errorf("register owner: %w", err))
	}
	return nil
}

// Renew prolongs a lease. It reports false when the lease has run out: the owner must then consider everything lost.
func (s *Store) Renew(ctx context.Context, owner execution.OwnerID, lease time.Duration) (bool, error) {
	tag, err := s.pool.Exec(ctx, renewSQL, [16]byte(owner), lease.Microseconds())
	if err != nil {
		return false, postgres.Classify(fmt.Errorf("renew lease: %w", err))
	}
	return tag.RowsAffected() == 1, nil
}

// Sweep frees up to limit rows of owners without a valid lease and returns how many it freed.
func (s *Store) Sweep(ctx context.Context, limit int) (int, error) {
	tag, err := s.pool.Exec(ctx, sweepSQL, limit)
	if err != nil {
		return 0, postgres.Classify(fmt.Errorf("free rows of dead owners: %w", err))
	}
	if _, err := s.pool.Exec(ctx, forgottenSQL); err != nil {
		return 0, postgres.Classify(fmt.Errorf("forget dead owners: %w", err))
	}
	return int(tag.RowsAffected()), nil
}

// Release hands back every row of the owner and ends its lease. It returns how many rows there were.
func (s *Store) Release(ctx context.Context, owner execution.OwnerID) (int, error) {
	tag, err := s.pool.Exec(ctx, releaseSQL, [16]byte(owner))
	if err != nil {
		return 0, postgres.Classify(fmt.Errorf("release rows: %w", err))
	}
	if _, err := s.pool.Exec(ctx, forgetSQL, [16]byte(owner)); err != nil {
		return 0, postgres.Classify(fmt.Errorf("end lease: %w", err))
	}
	return int(tag.RowsAffected()), nil
}
