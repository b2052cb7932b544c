-- The second wall between tenants: the role that serves calls sees the rows of the tenant that its transaction names, and no others. The
-- first wall is the predicate on the tenant that every statement has. The role of loops and of the platform's calls sees every row.
-- A program of the release before goes on to work: its user has what the roles have.

-- +goose Up
GRANT USAGE ON SCHEMA catalog TO catalog_api, catalog_worker;
GRANT SELECT ON goose_db_version, feed, known_modules TO catalog_api, catalog_worker;

-- Calls add to history and never change it, and leave the removal of a workflow to the loop that does it.
GRANT SELECT ON tombstones, tenant_tombstones TO catalog_api;
GRANT SELECT, INSERT ON audit_entries, changes, revisions, tenant_gates TO catalog_api;
GRANT SELECT, INSERT, UPDATE ON modules, requests, workflows TO catalog_api;
GRANT SELECT, INSERT, DELETE ON backups, workflow_calls TO catalog_api;
GRANT SELECT, INSERT, UPDATE, DELETE ON drafts, role_mappings, role_permissions, roles, user_roles TO catalog_api;
-- State and quotas are the platform's.
GRANT SELECT, UPDATE (title, time_zone, execution_retention, failure_workflow_id, status_map) ON tenants TO catalog_api;

GRANT SELECT, INSERT ON audit_entries, platform_audit TO catalog_worker;
GRANT SELECT, INSERT, DELETE ON revisions TO catalog_worker;
GRANT SELECT, INSERT, UPDATE, DELETE ON backups, changes, drafts, modules, platform_requests, requests, role_mappings, role_permissions, roles,
    tenant_gates, tenant_tombstones, tenants, tombstones, user_roles, workflow_calls, workflows TO catalog_worker;
GRANT INSERT, UPDATE ON known_modules TO catalog_worker;
GRANT UPDATE ON feed TO catalog_worker;
-- Removals take their number from the sequence of changes.
GRANT USAGE ON SEQUENCE changes_seq_seq TO catalog_worker;

-- The audit of a tenant that is on its way out is erased by a function that nothing else is left to.
ALTER FUNCTION erase_audit(text, integer) SECURITY DEFINER SET search_path = catalog, pg_temp;
GRANT EXECUTE ON FUNCTION erase_audit(text, integer) TO catalog_worker;

-- An unset name is NULL in a fresh session and empty in one that had it: neither is a tenant. What is the platform's has no policy for calls.
-- +goose StatementBegin
DO $$
DECLARE
    t text;
BEGIN
    FOREACH t IN ARRAY ARRAY[
        'audit_entries', 'backups', 'changes', 'drafts', 'modules', 'platform_audit', 'platform_requests', 'requests', 'revisions',
        'role_mappings', 'role_permissions', 'roles', 'tenant_gates', 'tenant_tombstones', 'tenants', 'tombstones', 'user_roles',
        'workflow_calls', 'workflows'
    ] LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY', t);
        IF t NOT LIKE 'platform%' THEN
            EXECUTE format($p$CREATE POLICY tenant ON %I TO catalog_api USING (tenant = nullif(current_setting('uc.tenant', true), ''))$p$, t);
        END IF;
        EXECUTE format('CREATE POLICY everything ON %I TO catalog_worker USING (true)', t);
    END LOOP;
END
$$;
-- +goose StatementEnd

-- Under row level security PostgreSQL looks nothing up along an index by an operator that might tell of rows that it may not see, and the
-- one that matches terms counts as such. This function looks up with the owner's rights, and hands out what the caller may see. at_most
-- bounds what is looked up; NULL is everything.
-- +goose StatementBegin
CREATE FUNCTION matching_workflows(wanted tsquery, at_most integer)
RETURNS TABLE (tenant text, id uuid, create_time timestamptz, update_time timestamptz, title_key text)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = catalog, pg_temp AS $$
BEGIN
    -- As text with values the statement is planned for them each time. What is taken from the index is cut off before tenants are looked
    -- at, so that no other index is considered.
    RETURN QUERY EXECUTE
        'SELECT f.tenant, f.id, f.create_time, f.update_time, f.title_key FROM (
             SELECT w.tenant, w.id, w.create_time, w.update_time, w.title_key FROM workflows w WHERE w.terms @@ $1 LIMIT $2
         ) f WHERE f.tenant = nullif(current_setting(''uc.tenant'', true), '''')'
        USING wanted, at_most;
END
$$;
-- +goose StatementEnd
REVOKE ALL ON FUNCTION matching_workflows(tsquery, integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION matching_workflows(tsquery, integer) TO catalog_api;
