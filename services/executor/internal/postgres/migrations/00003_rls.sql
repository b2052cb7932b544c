-- The second wall between tenants: the role that serves calls sees the rows of the tenant that its transaction names, and no others. The
-- first wall is the predicate on the tenant that every statement has. The role that works for all tenants sees every row.
-- A program of the release before goes on to work: its user has what the roles have.

-- +goose Up
GRANT USAGE ON SCHEMA executor TO executor_api, executor_worker;
GRANT SELECT ON goose_db_version TO executor_api, executor_worker;

-- Partitions are reached through their table, with its grants and policies; nobody is granted anything on a partition itself.
GRANT SELECT ON executions, step_results, live TO executor_api;
GRANT SELECT, INSERT, UPDATE, DELETE ON owners, starts, live, executions, step_results TO executor_worker;
GRANT SELECT, INSERT, DELETE ON tombstones, tenant_tombstones TO executor_worker;

-- An unset name is NULL in a fresh session and empty in one that had it: neither is a tenant.
-- +goose StatementBegin
DO $$
DECLARE
    t text;
BEGIN
    FOREACH t IN ARRAY ARRAY['starts', 'live', 'executions', 'step_results', 'tombstones', 'tenant_tombstones'] LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY', t);
        EXECUTE format($p$CREATE POLICY tenant ON %I TO executor_api USING (tenant = nullif(current_setting('uc.tenant', true), ''))$p$, t);
        EXECUTE format('CREATE POLICY everything ON %I TO executor_worker USING (true)', t);
    END LOOP;
END
$$;
-- +goose StatementEnd

-- The running service makes partitions, for which it would have to own the table. This makes one with the owner's rights, and nothing else.
-- A table's storage parameters are not inherited. False says that the partition was there.
-- +goose StatementBegin
CREATE FUNCTION make_partition(parent text, begins date, low uuid, high uuid) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = executor, pg_temp SET lock_timeout = '2s' AS $$
DECLARE
    name text := parent || to_char(begins, '"_"YYYYMMDD');
    room integer := CASE parent WHEN 'executions' THEN 50 WHEN 'step_results' THEN 100 END;
BEGIN
    IF room IS NULL THEN
        RAISE EXCEPTION 'table % has no partitions', parent;
    END IF;
    PERFORM pg_advisory_xact_lock(hashtext('executor partitions'));
    -- Another process may have made it while this one waited for the lock.
    IF to_regclass(name) IS NOT NULL THEN
        RETURN false;
    END IF;
    EXECUTE format('CREATE TABLE %I (LIKE %I INCLUDING ALL) WITH (fillfactor = %s)', name, parent, room);
    EXECUTE format('ALTER TABLE %I ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)', parent, name, low, high);
    RETURN true;
END
$$;
-- +goose StatementEnd
REVOKE ALL ON FUNCTION make_partition(text, date, uuid, uuid) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION make_partition(text, date, uuid, uuid) TO executor_worker;
