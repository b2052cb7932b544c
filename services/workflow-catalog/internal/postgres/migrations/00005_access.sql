-- What administrators of a tenant set: modules, roles, settings, and the gates that follow. A program of the release before goes on to work:
-- every column that it does not know has a default or may be absent.

-- +goose Up

-- The modules of the platform. Whether a tenant has one is in modules, and where it says nothing, in default_enabled.
CREATE TABLE known_modules (
    module          text        NOT NULL PRIMARY KEY CHECK (module ~ '^[a-z][a-z0-9_]{0,62}$'),
    title           text        NOT NULL,
    default_enabled boolean     NOT NULL,
    create_time     timestamptz NOT NULL DEFAULT clock_timestamp()
);
INSERT INTO known_modules (module, title, default_enabled) VALUES ('workflow', 'Workflow', false);
INSERT INTO known_modules (module, title, default_enabled)
SELECT DISTINCT module, module, false FROM modules ON CONFLICT (module) DO NOTHING;

ALTER TABLE modules
    ADD COLUMN update_time timestamptz NOT NULL DEFAULT clock_timestamp(),
    ADD COLUMN update_user text        NOT NULL DEFAULT '',
    ADD FOREIGN KEY (module) REFERENCES known_modules;

ALTER TABLE roles
    ADD COLUMN description text        NOT NULL DEFAULT '',
    ADD COLUMN update_time timestamptz NOT NULL DEFAULT clock_timestamp();
UPDATE roles SET update_time = create_time;

-- Users are listed and searched in the order of their bytes.
CREATE INDEX user_roles_subject ON user_roles (tenant, subject COLLATE "C");

-- Values of the token's claim and the roles that they stand for. The role is named by its id: another role that takes over a title takes
-- nothing over with it.
CREATE TABLE role_mappings (
    tenant  text NOT NULL,
    value   text NOT NULL,
    role_id uuid NOT NULL,
    PRIMARY KEY (tenant, value),
    FOREIGN KEY (tenant, role_id) REFERENCES roles ON DELETE CASCADE
);
CREATE INDEX role_mappings_role ON role_mappings (tenant, role_id);

-- Settings of a tenant; a quota of 0 is the default. execution_retention is in seconds.
ALTER TABLE tenants
    ADD COLUMN execution_retention       bigint  NOT NULL DEFAULT 7776000 CHECK (execution_retention > 0),
    ADD COLUMN failure_workflow_id       uuid,
    ADD COLUMN status_map                jsonb   NOT NULL DEFAULT '{}',
    ADD COLUMN quota_requests_per_second integer NOT NULL DEFAULT 0 CHECK (quota_requests_per_second >= 0),
    ADD COLUMN quota_workflows           integer NOT NULL DEFAULT 0 CHECK (quota_workflows >= 0),
    ADD COLUMN quota_streams             integer NOT NULL DEFAULT 0 CHECK (quota_streams >= 0),
    ADD FOREIGN KEY (tenant, failure_workflow_id) REFERENCES workflows ON DELETE SET NULL (failure_workflow_id);

-- kind 3: the gate of a tenant. Such a row has no workflow and revision 0; state is 1 closed, 2 open, 3 closed for good.
ALTER TABLE changes
    ALTER COLUMN workflow_id DROP NOT NULL,
    DROP CONSTRAINT changes_kind_check,
    ADD CONSTRAINT changes_kind_check CHECK (kind IN (1, 2, 3)),
    ADD CONSTRAINT changes_workflow_check CHECK ((workflow_id IS NULL) = (kind = 3));

-- The gates' history: whoever handles an event late has to know whether the gate was closed when it was published. seq is that of the feed,
-- 0 for what was so before. A tenant without a row has always been open. Rows older than events are kept for go, but a tenant's last.
CREATE TABLE tenant_gates (
    tenant text        NOT NULL REFERENCES tenants,
    seq    bigint      NOT NULL,
    state  smallint    NOT NULL CHECK (state IN (1, 2, 3)),
    at     timestamptz NOT NULL,
    PRIMARY KEY (tenant, seq)
);
INSERT INTO tenant_gates (tenant, seq, state, at)
SELECT t.tenant, 0, 1, clock_timestamp() FROM tenants t
WHERE t.state <> 1 OR NOT EXISTS (SELECT FROM modules m WHERE m.tenant = t.tenant AND m.module = 'workflow' AND m.enabled);

-- What an entry is about where that is no workflow.
ALTER TABLE audit_entries ADD COLUMN resource text NOT NULL DEFAULT '';
CREATE INDEX audit_entries_resource ON audit_entries (tenant, resource, at, id) WHERE resource <> '';
