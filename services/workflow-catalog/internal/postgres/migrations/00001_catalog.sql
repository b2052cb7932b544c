-- The catalog's tables. Every key of a tenant's data begins with the tenant, so that a foreign id can never be reached by a key alone and
-- a database that shards by the first key column takes the schema as it is.

-- +goose Up
CREATE TABLE tenants (
    tenant      text        NOT NULL PRIMARY KEY CHECK (tenant ~ '^[a-z0-9]{1,32}$'),
    title       text        NOT NULL,
    state       smallint    NOT NULL DEFAULT 1 CHECK (state IN (1, 2)), -- 1 active, 2 suspended
    time_zone   text        NOT NULL,
    create_time timestamptz NOT NULL DEFAULT clock_timestamp()
);

CREATE TABLE modules (
    tenant  text    NOT NULL REFERENCES tenants,
    module  text    NOT NULL,
    enabled boolean NOT NULL,
    PRIMARY KEY (tenant, module)
);

-- A role that grants everything says so, and thereby grants what later releases add.
CREATE TABLE roles (
    tenant      text        NOT NULL REFERENCES tenants,
    id          uuid        NOT NULL,
    title       text        NOT NULL,
    built_in    boolean     NOT NULL,
    grants_all  boolean     NOT NULL,
    create_time timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (tenant, id),
    CONSTRAINT roles_title UNIQUE (tenant, title)
);

CREATE TABLE role_permissions (
    tenant     text NOT NULL,
    role_id    uuid NOT NULL,
    permission text NOT NULL,
    PRIMARY KEY (tenant, role_id, permission),
    FOREIGN KEY (tenant, role_id) REFERENCES roles ON DELETE CASCADE
);

CREATE TABLE user_roles (
    tenant  text NOT NULL,
    subject text NOT NULL,
    role_id uuid NOT NULL,
    PRIMARY KEY (tenant, subject, role_id),
    FOREIGN KEY (tenant, role_id) REFERENCES roles ON DELETE CASCADE
);
CREATE INDEX user_roles_role ON user_roles (tenant, role_id);

-- version counts changes of configuration and state; it is the etag. update_time is the effective time of the newest change.
-- active_since is set while the state is ACTIVE. The finalize columns are the queue of deletions under way.
CREATE TABLE workflows (
    tenant             text        NOT NULL REFERENCES tenants,
    id                 uuid        NOT NULL,
    title              text        NOT NULL,
    description        text        NOT NULL,
    state              smallint    NOT NULL CHECK (state IN (1, 2, 3)), -- 1 INACTIVE, 2 ACTIVE, 3 DELETING, as Workflow.State
    revision           integer     NOT NULL,
    version            bigint      NOT NULL,
    active_since       timestamptz,
    create_time        timestamptz NOT NULL,
    create_user        text        NOT NULL,
    update_time        timestamptz NOT NULL,
    update_user        text        NOT NULL,
    finalize_at        timestamptz,
    finalize_attempts  integer     NOT NULL DEFAULT 0,
    finalize_failures  integer     NOT NULL DEFAULT 0,
    PRIMARY KEY (tenant, id)
);
-- A title is free again as soon as its workflow is on its way out.
CREATE UNIQUE INDEX workflows_title ON workflows (tenant, title) WHERE state <> 3;
CREATE INDEX workflows_active ON workflows (tenant, id) WHERE state = 2;
CREATE INDEX workflows_finalize ON workflows (finalize_at) WHERE state = 3;

-- A revision never changes. config is the configuration as protojson; hash and size belong to its canonical text.
CREATE TABLE revisions (
    tenant      text        NOT NULL,
    workflow_id uuid        NOT NULL,
    revision    integer     NOT NULL CHECK (revision > 0),
    config      jsonb       NOT NULL,
    hash        bytea       NOT NULL,
    size        integer     NOT NULL,
    author      text        NOT NULL,
    create_time timestamptz NOT NULL,
    PRIMARY KEY (tenant, workflow_id, revision),
    FOREIGN KEY (tenant, workflow_id) REFERENCES workflows
);

-- The change feed. seq is the order of commits, because it is taken under a lock that is held until the commit; the feed is the one table
-- that is read across tenants, hence its key. A change of a workflow that is gone has no revision row any more.
CREATE TABLE changes (
    seq          bigint      NOT NULL GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant       text        NOT NULL,
    workflow_id  uuid        NOT NULL,
    revision     integer     NOT NULL,
    state        smallint    NOT NULL,
    active_since timestamptz,
    at           timestamptz NOT NULL
);
CREATE INDEX changes_at ON changes (at);

-- One row. id tells this feed from that of another database, or of this one before a restore; rows up to pruned_through may be missing.
CREATE TABLE feed (
    only_row       boolean NOT NULL PRIMARY KEY DEFAULT true CHECK (only_row),
    id             uuid    NOT NULL DEFAULT gen_random_uuid(),
    pruned_through bigint  NOT NULL DEFAULT 0
);
INSERT INTO feed DEFAULT VALUES;

-- What a request id was used for. answer is the workflow as it was answered; it goes when the workflow goes.
CREATE TABLE requests (
    tenant      text        NOT NULL REFERENCES tenants,
    request_id  text        NOT NULL,
    method      text        NOT NULL,
    hash        bytea       NOT NULL,
    workflow_id uuid,
    answer      jsonb,
    at          timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (tenant, request_id)
);
CREATE INDEX requests_workflow ON requests (tenant, workflow_id);
CREATE INDEX requests_at ON requests (at);

CREATE TABLE audit_entries (
    tenant      text        NOT NULL,
    id          bigint      NOT NULL GENERATED ALWAYS AS IDENTITY,
    at          timestamptz NOT NULL,
    actor       text        NOT NULL,
    action      text        NOT NULL,
    workflow_id uuid,
    outcome     text        NOT NULL,
    before_hash bytea,
    after_hash  bytea,
    request_id  text        NOT NULL,
    PRIMARY KEY (tenant, id)
);

-- +goose StatementBegin
CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'table % is append-only', TG_TABLE_NAME;
END
$$;
-- +goose StatementEnd

CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON audit_entries
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER append_only BEFORE UPDATE ON revisions
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

-- What is left of a deleted workflow, for 30 days.
CREATE TABLE tombstones (
    tenant      text        NOT NULL,
    workflow_id uuid        NOT NULL,
    at          timestamptz NOT NULL,
    PRIMARY KEY (tenant, workflow_id)
);
CREATE INDEX tombstones_at ON tombstones (at);
