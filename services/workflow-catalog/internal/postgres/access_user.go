package postgres

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"workflow.uniconnect/services/workflow-catalog/internal/tenant"
	"workflow.uniconnect/services/workflow-catalog/internal/workflow"
)

// The users of the page are found along an index in the order of bytes; what begins with the prefix lies together there.
const selectMembers = `
SELECT m.subject,
       ARRAY(SELECT r.id::text FROM user_roles u JOIN roles r ON r.tenant = u.tenant AND r.id = u.role_id
             WHERE u.tenant = $1 AND u.subject = m.subject ORDER BY r.title COLLATE "C", r.id),
       ARRAY(SELECT r.title FROM user_roles u JOIN roles r ON r.tenant = u.tenant AND r.id = u.role_id
             WHERE u.tenant = $1 AND u.subject = m.subject ORDER BY r.title COLLATE "C", r.id)
FROM (
    SELECT DISTINCT subject COLLATE "C" AS subject FROM user_roles
    WHERE tenant = $1 AND subject COLLATE "C" > $2 AND subject COLLATE "C" >= $3 AND subject COLLATE "C" < $3 || chr(1114111)
    ORDER BY 1 LIMIT $4
) m
ORDER BY m.subject`

// Members returns up to limit users that were given a role and whose subject begins with prefix, after another one.
func (s *Store) Members(ctx context.Context, name workflow.Tenant, prefix, after string, limit int) ([]tenant.Member, error) {
	rows, err := s.of(name).Query(ctx, selectMembers, name, after, prefix, limit)
	if err != nil {
		return nil, wrap("list users", err)
	}
	members, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (tenant.Member, error) {
		var m tenant.Member
		var ids, titles []string
		err := row.Scan(&m.Subject, &ids, &titles)
		for i := range ids {
			m.Roles = append(m.Roles, tenant.RoleName{ID: tenant.RoleID(ids[i]), Title: titles[i]})
		}
		return m, err
	})
	return members, wrap("list users", err)
}

const selectMember = `
SELECT r.id, r.title FROM user_roles u JOIN roles r ON r.tenant = u.tenant AND r.id = u.role_id
WHERE u.tenant = $1 AND u.subject = $2 ORDER BY r.title COLLATE "C", r.id`

// Member returns a user; one that nobody has heard of has no roles.
func (d *desk) Member(ctx context.Context, subject string) (tenant.Member, error) {
	m := tenant.Member{Subject: subject}
	rows, err := d.tx.Query(ctx, selectMember, d.tenant, subject)
	if err == nil {
		m.Roles, err = pgx.CollectRows(rows, pgx.RowToStructByPos[tenant.RoleName])
	}
	if err != nil {
		return tenant.Member{}, fmt.Errorf("read user: %w", err)
	}
	return m, nil
}

const (
	takeRoles = `DELETE FROM user_roles WHERE tenant = $1 AND subject = $2 AND role_id <> ALL ($3::uuid[])`
	giveRoles = `
INSERT INTO user_roles (tenant, subject, role_id) SELECT $1, $2, id FROM unnest($3::uuid[]) AS id
ON CONFLICT (tenant, subject, role_id) DO NOTHING`
)

// Assign gives a user its roles and no others.
func (d *desk) Assign(ctx context.Context, m tenant.Member) error {
	ids := make([]tenant.RoleID, len(m.Roles))
	for i, r := range m.Roles {
		ids[i] = r.ID
	}
	for _, query := range []string{takeRoles, giveRoles} {
		if _, err := d.tx.Exec(ctx, query, d.tenant, m.Subject, ids); err != nil {
			return fmt.Errorf("write roles of a user: %w", err)
		}
	}
	return nil
}

const heldByOthers = `SELECT EXISTS (SELECT FROM user_roles WHERE tenant = $1 AND role_id = $2 AND subject <> $3)`

// HeldByOthers reports whether anybody else was given a role.
func (d *desk) HeldByOthers(ctx context.Context, id tenant.RoleID, subject string) (bool, error) {
	var held bool
	if err := d.tx.QueryRow(ctx, heldByOthers, d.tenant, id, subject).Scan(&held); err != nil {
		return false, fmt.Errorf("look for others with a role: %w", err)
	}
	return held, nil
}
