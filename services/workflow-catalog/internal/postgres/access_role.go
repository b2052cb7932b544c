package postgres

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"

	"workflow.uniconnect/services/workflow-catalog/internal/tenant"
	"workflow.uniconnect/services/workflow-catalog/internal/workflow"
)

const roleColumns = `
r.id, r.title, r.description, r.grants_all, r.built_in, r.create_time, r.update_time,
ARRAY(SELECT p.permission FROM role_permissions p WHERE p.tenant = r.tenant AND p.role_id = r.id ORDER BY p.permission),
(SELECT count(*) FROM user_roles u WHERE u.tenant = r.tenant AND u.role_id = r.id)`

func scanRole(row pgx.CollectableRow) (tenant.Role, error) {
	var r tenant.Role
	err := row.Scan(&r.ID, &r.Title, &r.Description, &r.GrantsAll, &r.BuiltIn, &r.CreateTime, &r.UpdateTime, &r.Permissions, &r.Users)
	return r, err
}

const selectRole = `SELECT ` + roleColumns + ` FROM roles r WHERE r.tenant = $1 AND r.id = $2`

// Role returns a role.
func (s *Store) Role(ctx context.Context, name workflow.Tenant, id tenant.RoleID) (tenant.Role, error) {
	rows, err := s.of(name).Query(ctx, selectRole, name, id)
	if err != nil {
		return tenant.Role{}, wrap("read role", err)
	}
	role, err := pgx.CollectExactlyOneRow(rows, scanRole)
	if errors.Is(err, pgx.ErrNoRows) {
		return tenant.Role{}, tenant.ErrRoleNotFound
	}
	return role, wrap("read role", err)
}

const selectRoles = `
SELECT ` + roleColumns + ` FROM roles r
WHERE r.tenant = $1 AND ($2::text IS NULL OR (r.title COLLATE "C", r.id) > ($2::text COLLATE "C", $3::uuid))
ORDER BY r.title COLLATE "C", r.id LIMIT $4`

// Roles returns up to limit roles after another, by title.
func (s *Store) Roles(ctx context.Context, name workflow.Tenant, after *tenant.RoleName, limit int) ([]tenant.Role, error) {
	roles, err := readRoles(ctx, s.of(name), name, after, limit)
	return roles, wrap("list roles", err)
}

func readRoles(ctx context.Context, q querier, name workflow.Tenant, after *tenant.RoleName, limit int) ([]tenant.Role, error) {
	var title *string
	var id *tenant.RoleID
	if after != nil {
		title, id = &after.Title, &after.ID
	}
	rows, err := q.Query(ctx, selectRoles, name, title, id, limit)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, scanRole)
}

// Roles returns all roles by title. One more than the limit says that there were too many before there was a limit.
func (d *desk) Roles(ctx context.Context) ([]tenant.Role, error) {
	roles, err := readRoles(ctx, d.tx, d.tenant, nil, 2*tenant.MaxRoles)
	if err != nil {
		return nil, fmt.Errorf("read roles: %w", err)
	}
	return roles, nil
}

const (
	upsertRole = `
INSERT INTO roles (tenant, id, title, description, built_in, grants_all, create_time, update_time)
VALUES ($1, $2, $3, $4, false, false, clock_timestamp(), clock_timestamp())
ON CONFLICT (tenant, id) DO UPDATE SET title = excluded.title, description = excluded.description, update_time = excluded.update_time
RETURNING create_time, update_time`
	dropPermissions = `DELETE FROM role_permissions WHERE tenant = $1 AND role_id = $2 AND permission <> ALL ($3::text[])`
	addPermissions  = `
INSERT INTO role_permissions (tenant, role_id, permission) SELECT $1, $2, p FROM unnest($3::text[]) AS p
ON CONFLICT (tenant, role_id, permission) DO NOTHING`
)

// PutRole adds a role or takes the place of the one with its id.
func (d *desk) PutRole(ctx context.Context, r tenant.Role) (tenant.Role, error) {
	permissions := append([]string{}, r.Permissions...)
	err := d.tx.QueryRow(ctx, upsertRole, d.tenant, r.ID, r.Title, r.Description).Scan(&r.CreateTime, &r.UpdateTime)
	if err != nil {
		return tenant.Role{}, fmt.Errorf("write role: %w", err)
	}
	for _, query := range []string{dropPermissions, addPermissions} {
		if _, err := d.tx.Exec(ctx, query, d.tenant, r.ID, permissions); err != nil {
			return tenant.Role{}, fmt.Errorf("write permissions: %w", err)
		}
	}
	return r, nil
}

const deleteRole = `DELETE FROM roles WHERE tenant = $1 AND id = $2 AND NOT built_in`

// DropRole removes a role, and with it what names it.
func (d *desk) DropRole(ctx context.Context, id tenant.RoleID) error {
	if _, err := d.tx.Exec(ctx, deleteRole, d.tenant, id); err != nil {
		return fmt.Errorf("remove role: %w", err)
	}
	return nil
}
