package postgres

import (
	"context"
	"fmt"

	"workflow.uniconnect/pkg/faultpoint"
	"workflow.uniconnect/pkg/postgres"
	"workflow.uniconnect/services/trigger-scheduler/internal/event"
)

const (
	insertTenantTombstone = `INSERT INTO tenant_tombstones (tenant) VALUES ($1) ON CONFLICT (tenant) DO NOTHING`
	// Tombstones that have served go when the next one comes; until then they say nothing any more.
	buryTenantTombstones = `DELETE FROM tenant_tombstones WHERE create_time < now() - interval '30 days'`
	deleteLetters        = `
DELETE FROM dead_letters WHERE (tenant, id) IN (SELECT tenant, id FROM dead_letters WHERE tenant = $1 LIMIT $2)`
)

// lettersBatch is how many letters one statement deletes, each of which may hold 1 MiB.
const lettersBatch = 200

// ForgetTenant removes everything of a deleted tenant. When it returns without an error nothing is left and nothing can come back. It may be
// called again at any time.
func (s *Store) ForgetTenant(ctx context.Context, tenant event.Tenant) error {
	if err := s.exec(ctx, "remove old tombstones of tenants", buryTenantTombstones); err != nil {
		return err
	}
	if err := s.exec(ctx, "write tombstone of tenant", insertTenantTombstone, string(tenant)); err != nil {
		return err
	}
	faultpoint.Hit("scheduler.tenant.tombstone")
	// Whoever was about to add a letter has done so, and whoever begins now finds the tombstone.
	if err := postgres.AwaitOlder(ctx, s.pool); err != nil {
		return postgres.Classify(err)
	}
	for {
		tag, err := s.pool.Exec(ctx, deleteLetters, string(tenant), lettersBatch)
		if err != nil {
			return postgres.Classify(fmt.Errorf("delete dead letters of tenant: %w", err))
		}
		if tag.RowsAffected() < lettersBatch {
			return nil
		}
	}
}
