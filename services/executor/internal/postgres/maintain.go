package postgres

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"workflow.uniconnect/pkg/postgres"
	"workflow.uniconnect/services/executor/internal/execution"
)

// expireSQL removes start keys that block nothing any more: they have expired, and the stream (7 days) has nothing left that was published
// before. Rows that an accept is just winning again are passed over.
const expireSQL = `
WITH batch AS MATERIALIZED (
	SELECT tenant, key FROM starts WHERE purge_at < now() ORDER BY purge_at LIMIT $1 FOR UPDATE SKIP LOCKED
)
DELETE FROM starts s USING batch b WHERE s.tenant = b.tenant AND s.key = b.key AND s.purge_at < now()`

const (
	buryTombstonesSQL       = `DELETE FROM tombstones WHERE create_time < now() - interval '30 days'`
	buryTenantTombstonesSQL = `DELETE FROM tenant_tombstones WHERE create_time < now() - interval '30 days'`
)

const (
	partitionLockSQL   = `SELECT pg_advisory_xact_lock(hashtext('executor partitions'))`
	partitionExistsSQL = `SELECT to_regclass($1) IS NOT NULL`
	week               = 7 * 24 * time.Hour
	weeksAhead         = 4
	partitionTimeout   = `SET LOCAL lock_timeout = '2s'`
)

// ExpireStarts removes up to limit expired keys and returns how many it removed.
func (s *Store) ExpireStarts(ctx context.Context, limit int) (int, error) {
	tag, err := s.pool.Exec(ctx, expireSQL, limit)
	if err != nil {
		return 0, postgres.Classify(fmt.Errorf("expire start keys: %w", err))
	}
	return int(tag.RowsAffected()), nil
}

// BuryTombstones forgets workflows and tenants that were deleted long ago.
func (s *Store) BuryTombstones(ctx context.Context) error {
	for _, sql := range []string{buryTombstonesSQL, buryTenantTombstonesSQL} {
		if _, err := s.pool.Exec(ctx, sql); err != nil {
			return postgres.Classify(fmt.Errorf("remove old tombstones: %w", err))
		}
	}
	return nil
}

// MakePartitions makes the partitions of this week and the coming ones where they are missing. The default partition takes what no
// partition covers, so a process that was away for long loses nothing but the ease of dropping.
func (s *Store) MakePartitions(ctx context.Context) error {
	var now time.Time
	if err := s.pool.QueryRow(ctx, clockSQL).Scan(&now); err != nil {
		return postgres.Classify(fmt.Errorf("read database clock: %w", err))
	}
	// Weeks are counted from a Monday, so that the name of a partition is the day it begins.
	begin := now.UTC().Truncate(week)
	var errs []error
	for i := range weeksAhead + 1 {
		from := begin.Add(time.Duration(i) * week)
		for _, p := range partitions() {
			if err := s.makePartition(ctx, p, from); err != nil {
				errs = append(errs, fmt.Errorf("make partition of %s from %s: %w", p.table, from.Format(time.DateOnly), err))
			}
		}
	}
	return postgres.Classify(errors.Join(errs...))
}

// partitioned is a table with the storage parameters of its partitions, which they do not inherit.
type partitioned struct{ table, with string }

func partitions() []partitioned {
	return []partitioned{{"executions", "fillfactor = 50"}, {"step_results", "fillfactor = 100"}}
}

func (s *Store) makePartition(ctx context.Context, p partitioned, from time.Time) error {
	name := p.table + "_" + from.Format("20060102")
	var exists bool
	if err := s.pool.QueryRow(ctx, partitionExistsSQL, name).Scan(&exists); err != nil || exists {
		return err
	}
	low, high := execution.FloorID(from), execution.FloorID(from.Add(week))
	statements := []string{
		partitionTimeout,
		fmt.Sprintf("CREATE TABLE IF NOT EXISTS %s (LIKE %s INCLUDING ALL) WITH (%s)", name, p.table, p.with),
		fmt.Sprintf("ALTER TABLE %s ATTACH PARTITION %s FOR VALUES FROM ('%s') TO ('%s')", p.table, name, low, high),
	}
	return postgres.InTx(ctx, s.pool, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, partitionLockSQL); err != nil {
			return err
		}
		// Another process may have made it while this one waited for the lock.
		if err := tx.QueryRow(ctx, partitionExistsSQL, name).Scan(&exists); err != nil || exists {
			return err
		}
		for _, sql := range statements {
			if _, err := tx.Exec(ctx, sql); err != nil {
				return err
			}
		}
		return nil
	})
}
