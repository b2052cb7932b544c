package postgres

import (
	"context"
	"errors"
	"fmt"
	"time"

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
	partitionExistsSQL = `SELECT to_regclass($1) IS NOT NULL`
	// makePartitionSQL has the database do what the role of the running service may not.
	makePartitionSQL = `SELECT make_partition($1, $2::date, $3, $4)`
	week             = 7 * 24 * time.Hour
	weeksAhead       = 4
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
		for _, parent := range []string{"executions", "step_results"} {
			if err := s.makePartition(ctx, parent, from); err != nil {
				errs = append(errs, fmt.Errorf("make partition of %s from %s: %w", parent, from.Format(time.DateOnly), err))
			}
		}
	}
	return postgres.Classify(errors.Join(errs...))
}

func (s *Store) makePartition(ctx context.Context, parent string, from time.Time) error {
	name := parent + "_" + from.Format("20060102")
	var exists bool
	if err := s.pool.QueryRow(ctx, partitionExistsSQL, name).Scan(&exists); err != nil || exists {
		return err
	}
	low, high := execution.FloorID(from), execution.FloorID(from.Add(week))
	_, err := s.pool.Exec(ctx, makePartitionSQL, parent, from, [16]byte(low), [16]byte(high))
	return err
}
