package postgres

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"

	"workflow.uniconnect/services/workflow-catalog/internal/tenant"
)

const (
	insertTenant = `INSERT INTO tenants (tenant, title, time_zone) VALUES ($1, $2, $3) ON CONFLICT (tenant) DO NOTHING`
	insertModule = `INSERT INTO modules (tenant, module, enabled) VALUES ($1, $2, true)`
	insertRole   = `
INSERT INTO roles (tenant, id, title, built_in, grants_all) VALUES ($1, gen_random_uuid(), $2, $3, $4)`
	insertPermission = `
INSERT INTO role_permissions (tenant, role_id, permission)
SELECT tenant, id, unnest($3::text[]) FROM roles WHERE tenant = $1 AND title = $2`
	insertUserRoles = `
INSERT INTO user_roles (tenant, subject, role_id)
SELECT tenant, $2, id FROM roles WHERE tenant = $1 AND title = ANY($3::text[])`
)

// tombstoned asks whether a name was a tenant's until lately.
const tombstoned = `SELECT EXISTS (SELECT FROM tenant_tombstones WHERE tenant = $1 AND at > clock_timestamp() - interval '30 days')`

// AddTenant writes a tenant with everything in the seed unless the tenant exists, or did until lately.
func (s *Store) AddTenant(ctx context.Context, seed tenant.Seed) (bool, error) {
	err := s.inTx(ctx, "add tenant", func(tx pgx.Tx) error { return addTenant(ctx, tx, seed) })
	if errors.Is(err, tenant.ErrExists) {
		return false, nil
	}
	return err == nil, err
}

// addTenant writes a tenant with everything in the seed, or answers ErrExists.
func addTenant(ctx context.Context, tx pgx.Tx, seed tenant.Seed) error {
	tag, err := tx.Exec(ctx, insertTenant, seed.Tenant, seed.Title, seed.TimeZone)
	if err != nil {
		return err
	}
	// The tombstone of a tenant that is just being removed is there once the insertion did not meet the tenant any more.
	var was bool
	if err := tx.QueryRow(ctx, tombstoned, seed.Tenant).Scan(&was); err != nil {
		return err
	}
	if was || tag.RowsAffected() == 0 {
		return tenant.ErrExists
	}
	if _, err := tx.Exec(ctx, insertModule, seed.Tenant, tenant.ModuleWorkflow); err != nil {
		return err
	}
	for _, role := range seed.Roles {
		if _, err := tx.Exec(ctx, insertRole, seed.Tenant, role.Title, role.BuiltIn, role.GrantsAll); err != nil {
			return fmt.Errorf("role %q: %w", role.Title, err)
		}
		if _, err := tx.Exec(ctx, insertPermission, seed.Tenant, role.Title, role.Permissions); err != nil {
			return fmt.Errorf("role %q: %w", role.Title, err)
		}
	}
	for _, user := range seed.Users {
		if _, err := tx.Exec(ctx, insertUserRoles, seed.Tenant, user.Subject, user.Roles); err != nil {
			return fmt.Errorf("user %q: %w", user.Subject, err)
		}
	}
	return nil
}
