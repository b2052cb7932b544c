package postgres

import (
	"context"

	"github.com/jackc/pgx/v5"

	"workflow.uniconnect/services/workflow-catalog/internal/tenant"
	"workflow.uniconnect/services/workflow-catalog/internal/workflow"
)

// selectProfile answers both gates in one statement. A role that is held twice, as given and as mapped, counts once.
const selectProfile = `
WITH held AS (
    SELECT role_id FROM user_roles WHERE tenant = $1 AND subject = $2
    UNION
    SELECT role_id FROM role_mappings WHERE tenant = $1 AND value = ANY($3::text[])
), given AS (
    SELECT r.id, r.title, r.grants_all FROM held h JOIN roles r ON r.tenant = $1 AND r.id = h.role_id
)
SELECT coalesce(t.state <> 1, true),
       coalesce(t.quota_requests_per_second, 0), coalesce(t.quota_workflows, 0), coalesce(t.quota_streams, 0),
       ARRAY(
           SELECT k.module FROM known_modules k LEFT JOIN modules m ON m.tenant = $1 AND m.module = k.module
           WHERE t.state = 1 AND coalesce(m.enabled, k.default_enabled) ORDER BY k.module
       ),
       ARRAY(SELECT title FROM given ORDER BY title, id),
       EXISTS (SELECT FROM given WHERE grants_all),
       ARRAY(
           SELECT DISTINCT p.permission FROM given g JOIN role_permissions p ON p.tenant = $1 AND p.role_id = g.id ORDER BY p.permission
       )
FROM (SELECT) one LEFT JOIN tenants t ON t.tenant = $1`

// rowQuerier runs a statement that returns one row: a transaction, or a tenant's database.
type rowQuerier interface {
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}

// Profile returns what is known of a user.
func (s *Store) Profile(ctx context.Context, tenantName string, who tenant.Who) (tenant.Profile, error) {
	p, err := readProfile(ctx, s.of(workflow.Tenant(tenantName)), tenantName, who)
	return p, wrap("read profile", err)
}

func readProfile(ctx context.Context, q rowQuerier, tenantName string, who tenant.Who) (tenant.Profile, error) {
	var p tenant.Profile
	roles := who.TokenRoles
	if roles == nil {
		roles = []string{}
	}
	err := q.QueryRow(ctx, selectProfile, tenantName, who.Subject, roles).Scan(&p.Closed,
		&p.Quotas.RequestsPerSecond, &p.Quotas.Workflows, &p.Quotas.Streams, &p.Modules, &p.Roles, &p.GrantsAll, &p.Permissions)
	return p, err
}
