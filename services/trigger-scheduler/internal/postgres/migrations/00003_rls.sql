-- The second wall between tenants: the role that serves calls sees the rows of the tenant that its transaction names, and no others. The
-- first wall is the predicate on the tenant that every statement has. The role that works for all tenants sees every row.
-- A program of the release before goes on to work: its user has what the roles have.

-- +goose Up
GRANT USAGE ON SCHEMA scheduler TO scheduler_api, scheduler_worker;
GRANT SELECT ON goose_db_version TO scheduler_api, scheduler_worker;

GRANT SELECT ON dead_letters TO scheduler_api;
GRANT SELECT, INSERT, DELETE ON dead_letters, tenant_tombstones TO scheduler_worker;
GRANT SELECT, INSERT, UPDATE, DELETE ON watchers TO scheduler_worker;

-- An unset name is NULL in a fresh session and empty in one that had it: neither is a tenant. Letters without a tenant have an empty one.
-- +goose StatementBegin
DO $$
DECLARE
    t text;
BEGIN
    FOREACH t IN ARRAY ARRAY['dead_letters', 'tenant_tombstones'] LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY', t);
        EXECUTE format($p$CREATE POLICY tenant ON %I TO scheduler_api USING (tenant = nullif(current_setting('uc.tenant', true), ''))$p$, t);
        EXECUTE format('CREATE POLICY everything ON %I TO scheduler_worker USING (true)', t);
    END LOOP;
END
$$;
-- +goose StatementEnd
