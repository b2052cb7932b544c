package postgres

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"workflow.uniconnect/pkg/faultpoint"
	"workflow.uniconnect/services/workflow-catalog/internal/deletion"
	"workflow.uniconnect/services/workflow-catalog/internal/tenant"
	"workflow.uniconnect/services/workflow-catalog/internal/workflow"
)

// Offboarding is the queue of tenants on their way out. It implements deletion.Queue.
type Offboarding struct{ store *Store }

// Offboarding returns the queue.
func (s *Store) Offboarding() *Offboarding { return &Offboarding{store: s} }

const claimTenants = `
UPDATE tenants t
SET finalize_at = clock_timestamp() + make_interval(secs => $2), finalize_attempts = finalize_attempts + 1
FROM (
    SELECT tenant FROM tenants
    WHERE state = 3 AND finalize_at <= clock_timestamp()
    ORDER BY finalize_at LIMIT $1
    FOR UPDATE SKIP LOCKED
) due
WHERE t.tenant = due.tenant
RETURNING t.tenant, t.finalize_attempts, t.finalize_failures`

// Claim returns tenants that are due and keeps them from others for the lease.
func (o *Offboarding) Claim(ctx context.Context, limit int, lease time.Duration) ([]deletion.Deletion, error) {
	rows, err := o.store.pool.Query(ctx, claimTenants, limit, lease.Seconds())
	if err != nil {
		return nil, wrap("claim tenants", err)
	}
	claimed, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (deletion.Deletion, error) {
		var d deletion.Deletion
		err := row.Scan(&d.Tenant, &d.Attempt, &d.Failures)
		return d, err
	})
	return claimed, wrap("claim tenants", err)
}

const releaseTenant = `
UPDATE tenants SET finalize_at = clock_timestamp() + make_interval(secs => $3), finalize_failures = $4
WHERE tenant = $1 AND state = 3 AND finalize_attempts = $2`

// Release makes a tenant due after a while, unless it was claimed again since.
func (o *Offboarding) Release(ctx context.Context, d deletion.Deletion, after time.Duration) error {
	_, err := o.store.pool.Exec(ctx, releaseTenant, d.Tenant, d.Attempt, after.Seconds(), d.Failures)
	return wrap("release tenant", err)
}

const countLeavingTenants = `SELECT count(*) FROM tenants WHERE state = 3`

// Pending counts the tenants on their way out.
func (o *Offboarding) Pending(ctx context.Context) (int64, error) {
	var n int64
	err := o.store.pool.QueryRow(ctx, countLeavingTenants).Scan(&n)
	return n, wrap("count tenants on their way out", err)
}

// confirmFinalized is what opens the audit for its erasure.
const confirmFinalized = `
UPDATE tenants SET finalized_at = coalesce(finalized_at, clock_timestamp()) WHERE tenant = $1 AND state = 3`

// tenantTables names every table with rows of tenants but tenants itself, its tombstones and the audits, in the order in which they can be
// emptied. A test holds that no table is missing.
func tenantTables() []string {
	return []string{
		"drafts", "backups", "workflow_calls", "revisions", "workflows", "tombstones", "requests",
		"role_mappings", "user_roles", "role_permissions", "roles", "modules", "tenant_gates", "changes",
	}
}

// emptyTable deletes a part of a tenant's rows of a table. The rows are found by where they lie, so that one statement fits all tables; one
// that moved meanwhile is met in the next round.
func emptyTable(table string) string {
	return `DELETE FROM ` + table + ` WHERE tenant = $1 AND ctid = ANY(ARRAY(SELECT ctid FROM ` + table + ` WHERE tenant = $1 LIMIT $2))`
}

// emptyEarly is emptyTable for what can go before the last transaction. Of the feed that is what is older than the gate that the deletion
// closed: the number of the newest change never goes back, or readers would take the feed for another one.
func emptyEarly(table string) string {
	const beforeGate = ` AND seq < (SELECT max(g.seq) FROM changes g WHERE g.tenant = $1 AND g.kind = 3)`
	older := ""
	if table == "changes" || table == "tombstones" {
		older = beforeGate
	}
	return `DELETE FROM ` + table + ` WHERE tenant = $1 AND ctid = ANY(ARRAY(SELECT ctid FROM ` + table + ` WHERE tenant = $1` + older + ` LIMIT $2))`
}

const eraseAudit = `SELECT erase_audit($1, $2)`

const (
	removeBatch = 1000
	everything  = 1 << 30
)

// Remove removes a tenant and all that the catalog has of it. What there may be very much of goes first, a part at a time; the last
// transaction takes what came since, leaves the tombstone and the line in the platform's audit, and removes the tenant. When somebody else
// did so already it does nothing.
func (o *Offboarding) Remove(ctx context.Context, d deletion.Deletion) error {
	s := o.store
	tag, err := s.pool.Exec(ctx, confirmFinalized, d.Tenant)
	if err != nil || tag.RowsAffected() == 0 {
		return wrap("note that a tenant is finalized", err)
	}
	faultpoint.Hit("catalog.tenant.finalized")
	for _, table := range tenantTables() {
		if table == "tenant_gates" {
			continue // until the tombstone takes their place
		}
		if err := s.empty(ctx, table, d.Tenant); err != nil {
			return err
		}
	}
	faultpoint.Hit("catalog.tenant.emptied")
	for erased := removeBatch; erased == removeBatch; {
		if err := s.pool.QueryRow(ctx, eraseAudit, d.Tenant, removeBatch).Scan(&erased); err != nil {
			return wrap("erase the audit of a tenant", err)
		}
	}
	faultpoint.Hit("catalog.tenant.erased")
	err = s.inTx(ctx, "remove tenant", func(tx pgx.Tx) error {
		if err := s.removeTenant(ctx, tx, d.Tenant); err != nil {
			return err
		}
		faultpoint.Hit("catalog.tenant.removing")
		return nil
	})
	if err == nil {
		faultpoint.Hit("catalog.tenant.removed")
	}
	return err
}

func (s *Store) empty(ctx context.Context, table string, name workflow.Tenant) error {
	for {
		tag, err := s.pool.Exec(ctx, emptyEarly(table), name, removeBatch)
		if err != nil {
			return wrap("empty "+table+" of a tenant", err)
		}
		if tag.RowsAffected() < removeBatch {
			return nil
		}
	}
}

const (
	lockLeaving           = `SELECT create_time, delete_user FROM tenants WHERE tenant = $1 AND state = 3 AND finalized_at IS NOT NULL FOR UPDATE`
	forgetPlatformAnswers = `UPDATE platform_requests SET tenant = NULL, answer = NULL WHERE tenant = $1`
	insertTenantTombstone = `
INSERT INTO tenant_tombstones (tenant, seq, at)
VALUES ($1, nextval(pg_get_serial_sequence('changes', 'seq')), clock_timestamp())
ON CONFLICT (tenant) DO UPDATE SET seq = excluded.seq, at = excluded.at`
	insertPlatformAudit = `
INSERT INTO platform_audit (at, actor, action, tenant, create_time) VALUES (clock_timestamp(), $2, $3, $1, $4)`
	deleteTenant = `DELETE FROM tenants WHERE tenant = $1`
)

// removeTenant is the last transaction. The lock on the tenant's row keeps everything out that refers to the tenant, and so everything that
// calls could still write: they wait, and then find no tenant.
func (s *Store) removeTenant(ctx context.Context, tx pgx.Tx, name workflow.Tenant) error {
	var created time.Time
	var by string
	err := tx.QueryRow(ctx, lockLeaving, name).Scan(&created, &by)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil
	}
	if err != nil {
		return err
	}
	if _, err := tx.Exec(ctx, lockFeed, feedLock); err != nil {
		return fmt.Errorf("lock the feed: %w", err)
	}
	for _, table := range tenantTables() {
		if _, err := tx.Exec(ctx, emptyTable(table), name, everything); err != nil {
			return fmt.Errorf("empty %s: %w", table, err)
		}
	}
	if _, err := tx.Exec(ctx, eraseAudit, name, everything); err != nil {
		return fmt.Errorf("erase the audit: %w", err)
	}
	if _, err := tx.Exec(ctx, insertPlatformAudit, name, by, tenant.ActionDeleted, created); err != nil {
		return fmt.Errorf("write the platform's audit: %w", err)
	}
	for _, query := range []string{forgetPlatformAnswers, insertTenantTombstone, deleteTenant} {
		if _, err := tx.Exec(ctx, query, name); err != nil {
			return err
		}
	}
	return nil
}
