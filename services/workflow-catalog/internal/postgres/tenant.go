package postgres

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"workflow.uniconnect/services/workflow-catalog/internal/tenant"
)

const selectProfile = `
SELECT ARRAY(
           SELECT m.module FROM modules m JOIN tenants t ON t.tenant = m.tenant
           WHERE m.tenant = $1 AND m.enabled AND t.state = 1 ORDER BY m.module
       ),
       ARRAY(
           SELECT r.title FROM user_roles u JOIN roles r ON r.tenant = u.tenant AND r.id = u.role_id
           WHERE u.tenant = $1 AND u.subject = $2 ORDER BY r.title
       ),
       EXISTS (
           SELECT FROM user_roles u JOIN roles r ON r.tenant = u.tenant AND r.id = u.role_id
           WHERE u.tenant = $1 AND u.subject = $2 AND r.grants_all
       ),
       ARRAY(
           SELECT DISTINCT p.permission FROM user_roles u
           JOIN role_permissions p ON p.tenant = u.tenant AND p.role_id = u.role_id
           WHERE u.tenant = $1 AND u.subject = $2 ORDER BY p.permission
       )`

// Profile returns what is known of a user.
func (s *Store) Profile(ctx context.Context, tenantName, subject string) (tenant.Profile, error) {
	var p tenant.Profile
	err := s.pool.QueryRow(ctx, selectProfile, tenantName, subject).Scan(&p.Modules, &p.Roles, &p.GrantsAll, &p.Permissions)
	return p, wrap("read profile", err)
}

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

// AddTenant writes a tenant with everything in the seed unless the tenant exists.
func (s *Store) AddTenant(ctx context.Context, seed tenant.Seed) (bool, error) {
	added := false
	err := s.inTx(ctx, "add tenant", func(tx pgx.Tx) error {
		tag, err := tx.Exec(ctx, insertTenant, seed.Tenant, seed.Title, seed.TimeZone)
		added = tag.RowsAffected() > 0
		if err != nil || !added {
			return err
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
	})
	return added, err
}
