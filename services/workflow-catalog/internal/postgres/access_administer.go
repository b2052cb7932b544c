package postgres

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"

	"workflow.uniconnect/services/workflow-catalog/internal/tenant"
	"workflow.uniconnect/services/workflow-catalog/internal/workflow"
)

// lockTenant makes changes of a tenant's access come one after the other. It leaves those alone who only need the tenant to be there.
const lockTenant = `SELECT FROM tenants WHERE tenant = $1 FOR NO KEY UPDATE`

// Administer runs do in one transaction that also writes the audit, the gate that follows, and the answer to the request id.
func (s *Store) Administer(ctx context.Context, call workflow.Call, do func(ctx context.Context, desk tenant.Desk) (any, tenant.Trace, error)) error {
	return s.inTenant(ctx, call.Tenant, "administer access", func(tx pgx.Tx) error {
		batch := &pgx.Batch{}
		claimRequest(batch, call)
		batch.Queue(lockTenant, call.Tenant).QueryRow(func(row pgx.Row) error {
			if err := row.Scan(); errors.Is(err, pgx.ErrNoRows) {
				return tenant.ErrNotFound
			} else if err != nil {
				return fmt.Errorf("lock the tenant: %w", err)
			}
			return nil
		})
		if err := send(ctx, tx, batch); err != nil {
			return err
		}
		answer, err := administer(ctx, tx, call, do)
		if err != nil {
			return err
		}
		var of workflow.ID // the answer goes with the workflow that it names
		if settings, ok := answer.(tenant.Settings); ok {
			of = settings.FailureWorkflow
		}
		batch = &pgx.Batch{}
		if err := answerRequest(batch, call, of, answer); err != nil {
			return err
		}
		return send(ctx, tx, batch)
	})
}

// administer runs do in a transaction that holds the tenant's lock, and writes the audit and what follows. It takes the feed's lock, so
// nothing may be locked after it.
func administer(ctx context.Context, tx pgx.Tx, call workflow.Call, do func(ctx context.Context, desk tenant.Desk) (any, tenant.Trace, error)) (any, error) {
	d := &desk{tx: tx, tenant: call.Tenant}
	answer, trace, err := do(ctx, d)
	if err != nil || !trace.Changed() {
		return answer, err
	}
	entry := entryOf(call, "")
	entry.Resource, entry.BeforeHash, entry.AfterHash = trace.Resource, trace.Before, trace.After
	if err := recordAudit(ctx, tx, entry); err != nil {
		return nil, err
	}
	if d.rezoned {
		if err := announceZone(ctx, tx, call.Tenant); err != nil {
			return nil, err
		}
	}
	return answer, settleGate(ctx, tx, call.Tenant)
}

// desk is a tenant's access data within one transaction that holds the tenant's lock.
type desk struct {
	tx     pgx.Tx
	tenant workflow.Tenant
	// rezoned says that the tenant's zone has changed.
	rezoned bool
}

// Profile returns what is known of a user.
func (d *desk) Profile(ctx context.Context, who tenant.Who) (tenant.Profile, error) {
	p, err := readProfile(ctx, d.tx, string(d.tenant), who)
	if err != nil {
		return tenant.Profile{}, fmt.Errorf("read profile: %w", err)
	}
	return p, nil
}

// writeGate writes a tenant's gate to the feed and the gates' history, if it is not what it was.
const writeGate = `
WITH gate AS (
    SELECT t.tenant, CASE WHEN t.state = 3 THEN 3 WHEN t.state = 1 AND coalesce(m.enabled, k.default_enabled) THEN 2 ELSE 1 END AS state
    FROM tenants t
    JOIN known_modules k ON k.module = $2
    LEFT JOIN modules m ON m.tenant = t.tenant AND m.module = k.module
    WHERE t.tenant = $1
), fed AS (
    INSERT INTO changes (tenant, kind, revision, state, at)
    SELECT tenant, 3, 0, state, clock_timestamp() FROM gate
    WHERE state <> coalesce((SELECT g.state FROM tenant_gates g WHERE g.tenant = $1 ORDER BY g.seq DESC LIMIT 1), 2)
    RETURNING tenant, seq, state, at
)
INSERT INTO tenant_gates (tenant, seq, state, at) SELECT tenant, seq, state, at FROM fed`

// settleGate tells watchers whether the tenant's workflows start, when that has changed. It takes the feed's lock, so nothing may be locked
// after it. Whoever changes a tenant's state or its module calls it in the same transaction.
func settleGate(ctx context.Context, tx pgx.Tx, name workflow.Tenant) error {
	if _, err := tx.Exec(ctx, lockFeed, feedLock); err != nil {
		return fmt.Errorf("lock the feed: %w", err)
	}
	if _, err := tx.Exec(ctx, writeGate, name, tenant.ModuleWorkflow); err != nil {
		return fmt.Errorf("write the gate: %w", err)
	}
	return nil
}

// feedZone tells watchers of the schedules that take effect in the tenant's zone, which is part of what they are told.
const feedZone = `
INSERT INTO changes (tenant, workflow_id, kind, revision, state, version, active_since, at, update_time, update_user)
SELECT tenant, id, 1, revision, state, version, active_since, clock_timestamp(), update_time, update_user
FROM workflows WHERE tenant = $1 AND state = 2 AND trigger_type = 2 ORDER BY id`

func announceZone(ctx context.Context, tx pgx.Tx, name workflow.Tenant) error {
	if _, err := tx.Exec(ctx, lockFeed, feedLock); err != nil {
		return fmt.Errorf("lock the feed: %w", err)
	}
	if _, err := tx.Exec(ctx, feedZone, name); err != nil {
		return fmt.Errorf("announce the zone: %w", err)
	}
	return nil
}
