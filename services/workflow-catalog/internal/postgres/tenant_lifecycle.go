package postgres

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"

	"workflow.uniconnect/services/workflow-catalog/internal/tenant"
	"workflow.uniconnect/services/workflow-catalog/internal/workflow"
)

// Platform is the storage as the platform's administrators use it: their calls are about a tenant and not of one, so their request ids are
// theirs, and the role of their transactions is the one that sees every tenant.
type Platform struct{ *Store }

// Platform returns it.
func (s *Store) Platform() *Platform { return &Platform{Store: s} }

const (
	claimPlatformRequest = `
INSERT INTO platform_requests (actor, request_id, method, hash) VALUES ($1, $2, $3, $4) ON CONFLICT (actor, request_id) DO NOTHING`
	answerPlatformRequest = `UPDATE platform_requests SET tenant = $3, answer = $4 WHERE actor = $1 AND request_id = $2`
	selectPlatformRequest = `SELECT hash = $3 AND method = $4, answer FROM platform_requests WHERE actor = $1 AND request_id = $2`
)

// change runs a transaction that begins with the request id and ends with its answer.
func (p *Platform) change(ctx context.Context, what string, call workflow.Call, do func(tx pgx.Tx) (answer any, err error)) error {
	return p.inTx(ctx, what, func(tx pgx.Tx) error {
		if call.RequestID == "" {
			_, err := do(tx)
			return err
		}
		tag, err := tx.Exec(ctx, claimPlatformRequest, call.Actor, call.RequestID, call.Method, call.Hash)
		if err != nil {
			return fmt.Errorf("claim the request id: %w", err)
		}
		if tag.RowsAffected() == 0 {
			return workflow.ErrRequestKnown
		}
		answer, err := do(tx)
		if err != nil {
			return err
		}
		body, err := json.Marshal(withoutWorkflow(answer))
		if err != nil {
			return fmt.Errorf("encode the answer: %w", err)
		}
		if _, err := tx.Exec(ctx, answerPlatformRequest, call.Actor, call.RequestID, call.Tenant, body); err != nil {
			return fmt.Errorf("keep the answer: %w", err)
		}
		return nil
	})
}

// withoutWorkflow leaves the one workflow out that an answer can name: nothing may keep the id of a workflow that is deleted.
func withoutWorkflow(answer any) any {
	switch a := answer.(type) {
	case tenant.Tenant:
		a.Settings.FailureWorkflow = ""
		return a
	case tenant.Settings:
		a.FailureWorkflow = ""
		return a
	}
	return answer
}

// Replay returns what was answered to a request id.
func (p *Platform) Replay(ctx context.Context, call workflow.Call) (workflow.Answer, bool, error) {
	var same bool
	var answer workflow.Answer
	err := p.pool.QueryRow(ctx, selectPlatformRequest, call.Actor, call.RequestID, call.Hash, call.Method).Scan(&same, &answer.Body)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return workflow.Answer{}, false, nil
	case err != nil:
		return workflow.Answer{}, false, wrap("look up request id", err)
	case !same:
		return workflow.Answer{}, false, workflow.ErrRequestIDReused
	}
	answer.Gone = answer.Body == nil
	return answer, true, nil
}

// Administer runs do for an administrator of the platform in one transaction that also writes the audit, the gate that follows, and the answer
// to the request id.
func (p *Platform) Administer(ctx context.Context, call workflow.Call, do func(ctx context.Context, desk tenant.Desk) (any, tenant.Trace, error)) error {
	return p.change(ctx, "administer tenant", call, func(tx pgx.Tx) (any, error) {
		if err := lock(ctx, tx, call.Tenant); err != nil {
			return nil, err
		}
		return administer(ctx, tx, call, do)
	})
}

func lock(ctx context.Context, tx pgx.Tx, name workflow.Tenant) error {
	err := tx.QueryRow(ctx, lockTenant, name).Scan()
	if errors.Is(err, pgx.ErrNoRows) {
		return tenant.ErrNotFound
	}
	if err != nil {
		return fmt.Errorf("lock the tenant: %w", err)
	}
	return nil
}

const (
	selectTenant  = `SELECT tenant, title, state, create_time FROM tenants WHERE tenant = $1`
	selectTenants = `SELECT tenant FROM tenants WHERE tenant > $1 ORDER BY tenant LIMIT $2`
)

func readTenant(ctx context.Context, q rowQuerier, name workflow.Tenant) (tenant.Tenant, error) {
	var t tenant.Tenant
	err := q.QueryRow(ctx, selectTenant, name).Scan(&t.Name, &t.Title, &t.State, &t.CreateTime)
	if errors.Is(err, pgx.ErrNoRows) {
		return tenant.Tenant{}, tenant.ErrNotFound
	}
	if err != nil {
		return tenant.Tenant{}, err
	}
	t.Settings, err = readSettings(ctx, q, name)
	return t, err
}

// Tenant returns a tenant.
func (p *Platform) Tenant(ctx context.Context, name workflow.Tenant) (tenant.Tenant, error) {
	t, err := readTenant(ctx, p.pool, name)
	return t, wrap("read tenant", err)
}

// Tenants returns up to limit tenants whose names follow another, by name. One that goes meanwhile is left out.
func (p *Platform) Tenants(ctx context.Context, after workflow.Tenant, limit int) ([]tenant.Tenant, error) {
	rows, err := p.pool.Query(ctx, selectTenants, after, limit)
	if err != nil {
		return nil, wrap("list tenants", err)
	}
	names, err := pgx.CollectRows(rows, pgx.RowTo[workflow.Tenant])
	if err != nil {
		return nil, wrap("list tenants", err)
	}
	found := make([]tenant.Tenant, 0, len(names))
	for _, name := range names {
		t, err := readTenant(ctx, p.pool, name)
		switch {
		case errors.Is(err, tenant.ErrNotFound):
		case err != nil:
			return nil, wrap("list tenants", err)
		default:
			found = append(found, t)
		}
	}
	return found, nil
}

const (
	forgetTenantTombstone = `DELETE FROM tenant_tombstones WHERE tenant = $1`
	// A new tenant's gate is said to be open, since whoever heard of a tenant of this name before takes it for closed.
	openGate = `
WITH fed AS (
    INSERT INTO changes (tenant, kind, revision, state, at) VALUES ($1, 3, 0, 2, clock_timestamp()) RETURNING tenant, seq, state, at
)
INSERT INTO tenant_gates (tenant, seq, state, at) SELECT tenant, seq, state, at FROM fed`
)

// CreateTenant adds a tenant with everything in the seed and has settle put its settings in place, or answers ErrExists.
func (p *Platform) CreateTenant(ctx context.Context, call workflow.Call, seed tenant.Seed, settle func(context.Context, tenant.Desk) error) (tenant.Tenant, error) {
	var t tenant.Tenant
	err := p.change(ctx, "create tenant", call, func(tx pgx.Tx) (any, error) {
		if err := addTenant(ctx, tx, seed); err != nil {
			return nil, err
		}
		if _, err := tx.Exec(ctx, forgetTenantTombstone, call.Tenant); err != nil {
			return nil, err
		}
		if err := settle(ctx, &desk{tx: tx, tenant: call.Tenant}); err != nil {
			return nil, err
		}
		var err error
		if t, err = readTenant(ctx, tx, call.Tenant); err != nil {
			return nil, err
		}
		entry := entryOf(call, "")
		entry.AfterHash = t.Fingerprint()
		if err := recordAudit(ctx, tx, entry); err != nil {
			return nil, err
		}
		if _, err := tx.Exec(ctx, lockFeed, feedLock); err != nil {
			return nil, fmt.Errorf("lock the feed: %w", err)
		}
		_, err = tx.Exec(ctx, openGate, call.Tenant)
		return t, err
	})
	return t, err
}

// The attempts to finalize begin with the mark.
const updateState = `
UPDATE tenants SET state = $2::smallint, finalize_at = CASE WHEN $2 = 3 THEN clock_timestamp() END, delete_user = CASE WHEN $2 = 3 THEN $3 ELSE '' END
WHERE tenant = $1`

// ShiftTenant changes the state of a tenant.
func (p *Platform) ShiftTenant(ctx context.Context, call workflow.Call, shift tenant.Shift) (tenant.Tenant, error) {
	return p.alter(ctx, call, shift.Note, func(tx pgx.Tx, t *tenant.Tenant) error {
		if t.State == tenant.Deleting && shift.To != tenant.Deleting {
			return tenant.ErrDeleting
		}
		if t.State == shift.To {
			return nil
		}
		t.State = shift.To
		_, err := tx.Exec(ctx, updateState, call.Tenant, shift.To, call.Actor)
		return err
	})
}

const updateTitle = `UPDATE tenants SET title = $2 WHERE tenant = $1`

// RenameTenant changes the title of a tenant.
func (p *Platform) RenameTenant(ctx context.Context, call workflow.Call, title string) (tenant.Tenant, error) {
	return p.alter(ctx, call, "", func(tx pgx.Tx, t *tenant.Tenant) error {
		if t.State == tenant.Deleting {
			return tenant.ErrDeleting
		}
		t.Title = title
		_, err := tx.Exec(ctx, updateTitle, call.Tenant, title)
		return err
	})
}

// alter changes a tenant with what belongs to it: the audit and the gate. Where nothing changed there is nothing to write down.
func (p *Platform) alter(ctx context.Context, call workflow.Call, note string, do func(tx pgx.Tx, t *tenant.Tenant) error) (tenant.Tenant, error) {
	var t tenant.Tenant
	err := p.change(ctx, "change tenant", call, func(tx pgx.Tx) (any, error) {
		if err := lock(ctx, tx, call.Tenant); err != nil {
			return nil, err
		}
		var err error
		if t, err = readTenant(ctx, tx, call.Tenant); err != nil {
			return nil, err
		}
		before := t.Fingerprint()
		if err := do(tx, &t); err != nil {
			return nil, err
		}
		entry := entryOf(call, "")
		entry.BeforeHash, entry.AfterHash, entry.Note = before, t.Fingerprint(), note
		if bytes.Equal(entry.BeforeHash, entry.AfterHash) {
			return t, nil
		}
		if err := recordAudit(ctx, tx, entry); err != nil {
			return nil, err
		}
		return t, settleGate(ctx, tx, call.Tenant)
	})
	return t, err
}
