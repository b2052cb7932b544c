-- How tenants begin and end. A program of the release before knows nothing of tenants on their way out: it must be gone before one is deleted.

-- +goose Up
-- state: 1 active, 2 suspended, 3 on its way out. The finalize columns are the queue of the tenants on their way out; finalized_at is when
-- every other service had confirmed that it holds nothing any more. delete_user is who asked for the deletion.
ALTER TABLE tenants
    DROP CONSTRAINT IF EXISTS tenants_state_check,
    ADD CONSTRAINT tenants_state_check CHECK (state IN (1, 2, 3)),
    ADD COLUMN finalize_at       timestamptz,
    ADD COLUMN finalize_attempts integer NOT NULL DEFAULT 0,
    ADD COLUMN finalize_failures integer NOT NULL DEFAULT 0,
    ADD COLUMN finalized_at      timestamptz,
    ADD COLUMN delete_user       text NOT NULL DEFAULT '';
CREATE INDEX tenants_finalize ON tenants (finalize_at) WHERE state = 3;

-- What is left of a deleted tenant, for 30 days. It takes the place of the tenant's changes in the feed: seq comes from their sequence.
CREATE TABLE tenant_tombstones (
    tenant text        NOT NULL PRIMARY KEY,
    seq    bigint      NOT NULL,
    at     timestamptz NOT NULL
);
CREATE INDEX tenant_tombstones_seq ON tenant_tombstones (seq);
CREATE INDEX tenant_tombstones_at ON tenant_tombstones (at);

-- What the platform keeps for ever of a tenant that is gone: one line.
CREATE TABLE platform_audit (
    id          bigint      NOT NULL GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at          timestamptz NOT NULL,
    actor       text        NOT NULL,
    action      text        NOT NULL,
    tenant      text        NOT NULL,
    create_time timestamptz NOT NULL -- of the tenant
);
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON platform_audit
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

-- What a request id of an administrator was used for. tenant and answer go when the tenant goes.
CREATE TABLE platform_requests (
    actor      text        NOT NULL,
    request_id text        NOT NULL,
    method     text        NOT NULL,
    hash       bytea       NOT NULL,
    tenant     text,
    answer     jsonb,
    at         timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (actor, request_id)
);
CREATE INDEX platform_requests_tenant ON platform_requests (tenant);
CREATE INDEX platform_requests_at ON platform_requests (at);

-- note is what the caller said about it. There is no audit of tenants that do not exist: calls that come late, with the token of a tenant that
-- is gone, leave nothing. Entries of the past are not looked at.
ALTER TABLE audit_entries
    ADD COLUMN note text NOT NULL DEFAULT '',
    ADD CONSTRAINT audit_entries_tenant FOREIGN KEY (tenant) REFERENCES tenants NOT VALID;

-- The audit of a tenant ends with the tenant, and by nothing else: whoever tries to delete an entry of a tenant that is not on its way out,
-- or of which another service still holds something, or otherwise than through erase_audit, is refused, the owner of the table included.
DROP TRIGGER append_only ON audit_entries;
CREATE TRIGGER append_only BEFORE UPDATE OR TRUNCATE ON audit_entries
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

-- +goose StatementBegin
CREATE FUNCTION refuse_unless_offboarding() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF current_setting('uc.offboarding', true) IS DISTINCT FROM OLD.tenant OR NOT EXISTS (
        SELECT FROM tenants t WHERE t.tenant = OLD.tenant AND t.state = 3 AND t.finalized_at IS NOT NULL
    ) THEN
        RAISE EXCEPTION 'table % is append-only', TG_TABLE_NAME;
    END IF;
    RETURN OLD;
END
$$;
-- +goose StatementEnd
CREATE TRIGGER append_only_until_offboarding BEFORE DELETE ON audit_entries
    FOR EACH ROW EXECUTE FUNCTION refuse_unless_offboarding();

-- erase_audit deletes up to most entries of a tenant that is on its way out, and returns how many it deleted.
-- +goose StatementBegin
CREATE FUNCTION erase_audit(name text, most integer) RETURNS integer LANGUAGE plpgsql AS $$
DECLARE
    erased integer;
BEGIN
    PERFORM set_config('uc.offboarding', name, true);
    DELETE FROM audit_entries WHERE (tenant, id) IN (SELECT a.tenant, a.id FROM audit_entries a WHERE a.tenant = name LIMIT most);
    GET DIAGNOSTICS erased = ROW_COUNT;
    PERFORM set_config('uc.offboarding', '', true);
    RETURN erased;
END
$$;
-- +goose StatementEnd
REVOKE ALL ON FUNCTION erase_audit(text, integer) FROM PUBLIC;
