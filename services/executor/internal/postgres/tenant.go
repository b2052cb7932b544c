package postgres

import (
	"context"
	"fmt"

	"workflow.uniconnect/pkg/faultpoint"
	"workflow.uniconnect/pkg/postgres"
)

const tenantTombstoneSQL = `INSERT INTO tenant_tombstones (tenant) VALUES ($1) ON CONFLICT (tenant) DO NOTHING`

// deleteTenantLiveSQL takes the rows from their owners first: from then on nobody can record anything for them.
const deleteTenantLiveSQL = `
WITH batch AS MATERIALIZED (
	SELECT l.tenant, l.id FROM live l WHERE l.tenant = $1 ORDER BY l.tenant, l.id LIMIT $2 FOR UPDATE
)
DELETE FROM live l USING batch b WHERE l.tenant = b.tenant AND l.id = b.id`

const deleteTenantExecutionsSQL = `
WITH batch AS MATERIALIZED (
	SELECT e.tenant, e.id FROM executions e WHERE e.tenant = $1 LIMIT $2
), results AS (
	DELETE FROM step_results s USING batch b WHERE s.tenant = b.tenant AND s.execution_id = b.id
)
DELETE FROM executions e USING batch b WHERE e.tenant = b.tenant AND e.id = b.id`

// deleteTenantResultsSQL finds results whose execution is gone already, which there should be none of.
const deleteTenantResultsSQL = `
WITH batch AS MATERIALIZED (
	SELECT s.tenant, s.execution_id, s.path, s.attempt FROM step_results s WHERE s.tenant = $1 LIMIT $2
)
DELETE FROM step_results s USING batch b
WHERE s.tenant = b.tenant AND s.execution_id = b.execution_id AND s.path = b.path AND s.attempt = b.attempt`

const deleteTenantStartsSQL = `
WITH batch AS MATERIALIZED (
	SELECT s.tenant, s.key FROM starts s WHERE s.tenant = $1 LIMIT $2
)
DELETE FROM starts s USING batch b WHERE s.tenant = b.tenant AND s.key = b.key`

// The tombstones of the tenant's workflows go with it: its own takes their place.
const deleteTenantTombstonesSQL = `
WITH batch AS MATERIALIZED (
	SELECT t.tenant, t.workflow_id FROM tombstones t WHERE t.tenant = $1 LIMIT $2
)
DELETE FROM tombstones t USING batch b WHERE t.tenant = b.tenant AND t.workflow_id = b.workflow_id`

const tenantLeftoversSQL = `
SELECT EXISTS (SELECT 1 FROM live WHERE tenant = $1)
	OR EXISTS (SELECT 1 FROM executions WHERE tenant = $1)
	OR EXISTS (SELECT 1 FROM step_results WHERE tenant = $1)
	OR EXISTS (SELECT 1 FROM starts WHERE tenant = $1)
	OR EXISTS (SELECT 1 FROM tombstones WHERE tenant = $1)`

// FinalizeTenant removes everything of a deleted tenant and reports whether nothing is left and nothing can come back. It may be called
// again at any time, also after a crash, and goes on where it was. It works until done or until ctx ends, which is not an error.
func (s *Store) FinalizeTenant(ctx context.Context, tenant string) (bool, error) {
	done, err := s.finalizeTenant(ctx, tenant)
	select {
	case <-ctx.Done(): // out of time
		return false, nil
	default:
		return done, postgres.Classify(err)
	}
}

func (s *Store) finalizeTenant(ctx context.Context, tenant string) (bool, error) {
	if _, err := s.pool.Exec(ctx, tenantTombstoneSQL, tenant); err != nil {
		return false, fmt.Errorf("write tombstone of tenant: %w", err)
	}
	faultpoint.Hit("executor.tenant.tombstone")
	if err := postgres.AwaitOlder(ctx, s.pool); err != nil {
		return false, err
	}
	for _, rows := range []struct{ kind, sql string }{
		{"live", deleteTenantLiveSQL}, {"executions", deleteTenantExecutionsSQL}, {"results", deleteTenantResultsSQL},
		{"starts", deleteTenantStartsSQL}, {"tombstones", deleteTenantTombstonesSQL},
	} {
		if err := s.deleteAll(ctx, rows.sql, tenant, finalizeBatch); err != nil {
			return false, fmt.Errorf("delete %s of tenant: %w", rows.kind, err)
		}
		faultpoint.Hit("executor.tenant." + rows.kind)
	}
	var left bool
	if err := s.pool.QueryRow(ctx, tenantLeftoversSQL, tenant).Scan(&left); err != nil {
		return false, fmt.Errorf("look for leftovers of tenant: %w", err)
	}
	return !left, nil
}
