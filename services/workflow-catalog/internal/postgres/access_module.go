package postgres

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"workflow.uniconnect/services/workflow-catalog/internal/tenant"
	"workflow.uniconnect/services/workflow-catalog/internal/workflow"
)

// selectModules is completed by a condition.
const selectModules = `
SELECT k.module, k.title, coalesce(m.enabled, k.default_enabled), m.update_time, coalesce(m.update_user, '')
FROM known_modules k LEFT JOIN modules m ON m.tenant = $1 AND m.module = k.module`

func scanModule(row pgx.CollectableRow) (tenant.Module, error) {
	var m tenant.Module
	var at *time.Time
	err := row.Scan(&m.Name, &m.Title, &m.Enabled, &at, &m.UpdateUser)
	m.UpdateTime = deref(at)
	return m, err
}

// Modules returns the platform's modules by name.
func (s *Store) Modules(ctx context.Context, name workflow.Tenant) ([]tenant.Module, error) {
	rows, err := s.of(name).Query(ctx, selectModules+` ORDER BY k.module`, name)
	if err != nil {
		return nil, wrap("list modules", err)
	}
	modules, err := pgx.CollectRows(rows, scanModule)
	return modules, wrap("list modules", err)
}

// Module returns a module of the tenant.
func (d *desk) Module(ctx context.Context, name string) (tenant.Module, error) {
	rows, err := d.tx.Query(ctx, selectModules+` WHERE k.module = $2`, d.tenant, name)
	if err != nil {
		return tenant.Module{}, fmt.Errorf("read module: %w", err)
	}
	m, err := pgx.CollectExactlyOneRow(rows, scanModule)
	if errors.Is(err, pgx.ErrNoRows) {
		return tenant.Module{}, tenant.ErrModuleNotFound
	}
	if err != nil {
		return tenant.Module{}, fmt.Errorf("read module: %w", err)
	}
	return m, nil
}

const upsertModule = `
INSERT INTO modules (tenant, module, enabled, update_time, update_user) VALUES ($1, $2, $3, clock_timestamp(), $4)
ON CONFLICT (tenant, module) DO UPDATE
SET enabled = excluded.enabled, update_time = excluded.update_time, update_user = excluded.update_user`

// SetModule switches a module.
func (d *desk) SetModule(ctx context.Context, name string, enabled bool, actor string) (tenant.Module, error) {
	if _, err := d.tx.Exec(ctx, upsertModule, d.tenant, name, enabled, actor); err != nil {
		return tenant.Module{}, fmt.Errorf("switch module: %w", err)
	}
	return d.Module(ctx, name)
}

const upsertKnownModule = `
INSERT INTO known_modules (module, title, default_enabled) VALUES ($1, $2, $3)
ON CONFLICT (module) DO UPDATE SET title = excluded.title, default_enabled = excluded.default_enabled`

// RegisterModule makes a module known to all tenants.
func (s *Store) RegisterModule(ctx context.Context, m tenant.KnownModule) error {
	_, err := s.pool.Exec(ctx, upsertKnownModule, m.Name, m.Title, m.DefaultEnabled)
	return wrap("register module", err)
}
