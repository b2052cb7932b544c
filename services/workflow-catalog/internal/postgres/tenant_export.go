package postgres

import (
	"context"

	"github.com/jackc/pgx/v5"

	"workflow.uniconnect/services/workflow-catalog/internal/workflow"
)

// exported is one kind of document of an export. The statement takes the tenant, the key of the last document, and how many documents it may
// return, in the order of their keys.
type exported struct {
	kind, sql string
	// first is a key below all others.
	first []string
	page  int
}

const (
	noID          = "00000000-0000-0000-0000-000000000000"
	manyRows      = 500
	fewRows       = 20 // each may hold a configuration of 1 MiB
	exportModules = `
SELECT ARRAY[m.module], jsonb_build_object('module', m.module, 'enabled', m.enabled, 'updateTime', m.update_time, 'updateUser', m.update_user)
FROM modules m WHERE m.tenant = $1 AND m.module > ($2::text[])[1] ORDER BY m.module LIMIT $3`
	exportRoles = `
SELECT ARRAY[r.id::text], jsonb_build_object(
    'id', r.id, 'title', r.title, 'description', r.description, 'builtIn', r.built_in, 'grantsAll', r.grants_all, 'createTime', r.create_time,
    'updateTime', r.update_time, 'permissions', ARRAY(
        SELECT p.permission FROM role_permissions p WHERE p.tenant = r.tenant AND p.role_id = r.id ORDER BY p.permission),
    'tokenRoles', ARRAY(SELECT x.value FROM role_mappings x WHERE x.tenant = r.tenant AND x.role_id = r.id ORDER BY x.value))
FROM roles r WHERE r.tenant = $1 AND r.id > ($2::text[])[1]::uuid ORDER BY r.id LIMIT $3`
	exportUsers = `
SELECT ARRAY[u.subject], jsonb_build_object('subject', u.subject, 'roles', jsonb_agg(r.title ORDER BY r.title))
FROM user_roles u JOIN roles r ON r.tenant = u.tenant AND r.id = u.role_id
WHERE u.tenant = $1 AND u.subject > ($2::text[])[1] GROUP BY u.subject ORDER BY u.subject LIMIT $3`
	exportWorkflows = `
SELECT ARRAY[w.id::text], r.config || jsonb_build_object(
    'id', w.id, 'state', CASE w.state WHEN 1 THEN 'INACTIVE' WHEN 2 THEN 'ACTIVE' ELSE 'DELETING' END, 'revision', w.revision,
    'etag', w.version::text, 'createTime', w.create_time, 'createUser', w.create_user, 'updateTime', w.update_time, 'updateUser', w.update_user)
FROM workflows w JOIN revisions r ON r.tenant = w.tenant AND r.workflow_id = w.id AND r.revision = w.revision
WHERE w.tenant = $1 AND w.id > ($2::text[])[1]::uuid ORDER BY w.id LIMIT $3`
	exportRevisions = `
SELECT ARRAY[r.workflow_id::text, r.revision::text], jsonb_build_object(
    'workflowId', r.workflow_id, 'revision', r.revision, 'createTime', r.create_time, 'createUser', r.author,
    'hash', encode(r.hash, 'hex'), 'workflow', r.config)
FROM revisions r WHERE r.tenant = $1 AND (r.workflow_id, r.revision) > (($2::text[])[1]::uuid, ($2::text[])[2]::integer)
ORDER BY r.workflow_id, r.revision LIMIT $3`
	exportBackups = `
SELECT ARRAY[b.workflow_id::text, b.id::text], jsonb_build_object(
    'workflowId', b.workflow_id, 'id', b.id, 'name', b.name, 'revision', b.revision, 'createTime', b.create_time, 'createUser', b.create_user)
FROM backups b WHERE b.tenant = $1 AND (b.workflow_id, b.id) > (($2::text[])[1]::uuid, ($2::text[])[2]::uuid)
ORDER BY b.workflow_id, b.id LIMIT $3`
	exportDrafts = `
SELECT ARRAY[d.workflow_id::text], jsonb_build_object(
    'workflowId', d.workflow_id, 'baseRevision', d.base_revision, 'updateTime', d.update_time, 'updateUser', d.update_user, 'workflow', d.config)
FROM drafts d WHERE d.tenant = $1 AND d.workflow_id > ($2::text[])[1]::uuid ORDER BY d.workflow_id LIMIT $3`
	exportAudit = `
SELECT ARRAY[a.id::text], jsonb_build_object(
    'id', a.id::text, 'createTime', a.at, 'actor', a.actor, 'action', a.action, 'workflowId', a.workflow_id, 'resource', a.resource,
    'outcome', a.outcome, 'reason', a.reason, 'origin', a.origin, 'userAgent', a.user_agent, 'beforeHash', encode(a.before_hash, 'hex'),
    'afterHash', encode(a.after_hash, 'hex'), 'requestId', a.request_id, 'note', a.note)
FROM audit_entries a WHERE a.tenant = $1 AND a.id > ($2::text[])[1]::bigint ORDER BY a.id LIMIT $3`
)

func exportedKinds() []exported {
	return []exported{
		{kind: "module", sql: exportModules, first: []string{""}, page: manyRows},
		{kind: "role", sql: exportRoles, first: []string{noID}, page: manyRows},
		{kind: "user", sql: exportUsers, first: []string{""}, page: manyRows},
		{kind: "workflow", sql: exportWorkflows, first: []string{noID}, page: fewRows},
		{kind: "revision", sql: exportRevisions, first: []string{noID, "0"}, page: fewRows},
		{kind: "backup", sql: exportBackups, first: []string{noID, noID}, page: manyRows},
		{kind: "draft", sql: exportDrafts, first: []string{noID}, page: fewRows},
		{kind: "auditEntry", sql: exportAudit, first: []string{"0"}, page: manyRows},
	}
}

// Export hands what the catalog has of a tenant, but the tenant itself, to yield, one document after the other. It reads page by page: a page
// is what the database held at one instant, and at most that is in memory. No transaction waits for who reads slowly.
func (s *Store) Export(ctx context.Context, name workflow.Tenant, yield func(kind string, document []byte) error) error {
	for _, e := range exportedKinds() {
		for after := e.first; after != nil; {
			var err error
			if after, err = s.exportPage(ctx, e, name, after, yield); err != nil {
				return err
			}
		}
	}
	return nil
}

// exportPage returns the key of the page's last document, nil when there is no other page.
func (s *Store) exportPage(ctx context.Context, e exported, name workflow.Tenant, after []string, yield func(string, []byte) error) ([]string, error) {
	rows, err := s.pool.Query(ctx, e.sql, name, after, e.page)
	if err != nil {
		return nil, wrap("export "+e.kind, err)
	}
	type document struct {
		key  []string
		json []byte
	}
	page, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (document, error) {
		var d document
		err := row.Scan(&d.key, &d.json)
		return d, err
	})
	if err != nil {
		return nil, wrap("export "+e.kind, err)
	}
	for _, d := range page {
		if err := yield(e.kind, d.json); err != nil {
			return nil, err
		}
	}
	if len(page) < e.page {
		return nil, nil
	}
	return page[len(page)-1].key, nil
}
