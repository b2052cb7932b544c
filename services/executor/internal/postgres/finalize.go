package postgres

import (
	"context"
	"fmt"

	"workflow.uniconnect/pkg/faultpoint"
	"workflow.uniconnect/pkg/postgres"
	"workflow.uniconnect/services/executor/internal/execution"
)

const tombstoneSQL = `INSERT INTO tombstones (tenant, workflow_id) VALUES ($1, $2) ON CONFLICT (tenant, workflow_id) DO NOTHING`

const clockSQL = `SELECT clock_timestamp()`

// deleteLiveSQL takes the rows from their owners first: from then on nobody can record anything for them.
const deleteLiveSQL = `
WITH batch AS MATERIALIZED (
	SELECT l.tenant, l.id FROM live l WHERE l.tenant = $1 AND l.workflow_id = $2 ORDER BY l.tenant, l.id LIMIT $3 FOR UPDATE
)
DELETE FROM live l USING batch b WHERE l.tenant = b.tenant AND l.id = b.id`

const deleteExecutionsSQL = `
WITH batch AS MATERIALIZED (
	SELECT e.tenant, e.id FROM executions e WHERE e.tenant = $1 AND e.workflow_id = $2 LIMIT $3
), results AS (
	DELETE FROM step_results s USING batch b WHERE s.tenant = b.tenant AND s.execution_id = b.id
)
DELETE FROM executions e USING batch b WHERE e.tenant = b.tenant AND e.id = b.id`

const deleteStartsSQL = `
WITH batch AS MATERIALIZED (
	SELECT s.tenant, s.key FROM starts s WHERE s.tenant = $1 AND s.workflow_id = $2 LIMIT $3
)
DELETE FROM starts s USING batch b WHERE s.tenant = b.tenant AND s.key = b.key AND s.workflow_id = $2`

const leftoversSQL = `
SELECT EXISTS (SELECT 1 FROM live WHERE tenant = $1 AND workflow_id = $2)
	OR EXISTS (SELECT 1 FROM executions WHERE tenant = $1 AND workflow_id = $2)
	OR EXISTS (SELECT 1 FROM starts WHERE tenant = $1 AND workflow_id = $2)`

const finalizeBatch = 1000

// Finalize removes everything of a deleted workflow and reports whether nothing is left and nothing can come back. It may be called
// again at any time, also after a crash, and goes on where it was. It works until done or until ctx ends, which is not an error.
func (s *Store) Finalize(ctx context.Context, tenant string, workflow execution.WorkflowID) (bool, error) {
	done, err := s.finalize(ctx, tenant, [16]byte(workflow))
	select {
	case <-ctx.Done(): // out of time
		return false, nil
	default:
		return done, postgres.Classify(err)
	}
}

func (s *Store) finalize(ctx context.Context, tenant string, workflow [16]byte) (bool, error) {
	if _, err := s.pool.Exec(ctx, tombstoneSQL, tenant, workflow); err != nil {
		return false, fmt.Errorf("write tombstone: %w", err)
	}
	faultpoint.Hit("executor.finalize.tombstone")
	if err := postgres.AwaitOlder(ctx, s.pool); err != nil {
		return false, err
	}
	for _, rows := range []struct{ kind, sql string }{
		{"live", deleteLiveSQL}, {"executions", deleteExecutionsSQL}, {"starts", deleteStartsSQL},
	} {
		if err := s.deleteAll(ctx, rows.sql, tenant, workflow, finalizeBatch); err != nil {
			return false, fmt.Errorf("delete %s of workflow: %w", rows.kind, err)
		}
		faultpoint.Hit("executor.finalize." + rows.kind)
	}
	var left bool
	if err := s.pool.QueryRow(ctx, leftoversSQL, tenant, workflow).Scan(&left); err != nil {
		return false, fmt.Errorf("look for leftovers: %w", err)
	}
	return !left, nil
}

// deleteAll deletes in batches until nothing is left, so that no transaction holds many rows for long. The size of a batch is the last of
// the statement's parameters.
func (s *Store) deleteAll(ctx context.Context, sql string, params ...any) error {
	for {
		tag, err := s.pool.Exec(ctx, sql, params...)
		if err != nil || tag.RowsAffected() < finalizeBatch {
			return err
		}
	}
}
