-- +goose Up

-- One row per process: whoever holds no valid lease owns nothing.
CREATE TABLE owners (
    id          uuid        PRIMARY KEY,
    lease_until timestamptz NOT NULL
);

-- What was asked to start, once per event. Whatever was published before the key expires gets the first answer.
CREATE TABLE starts (
    tenant       text        NOT NULL,
    key          bytea       NOT NULL,
    workflow_id  uuid        NOT NULL,
    outcome      smallint    NOT NULL,
    execution_id uuid        NOT NULL,
    published_at timestamptz NOT NULL,
    expires_at   timestamptz NOT NULL,
    -- The key is kept beyond its expiry for as long as the stream may deliver what it blocks.
    purge_at     timestamptz NOT NULL,
    PRIMARY KEY (tenant, key)
);
CREATE INDEX starts_purge ON starts (purge_at);
CREATE INDEX starts_workflow ON starts (tenant, workflow_id);

-- Executions that have not ended. Small and hot: rows are deleted at the end. A row without an owner becomes claimable at wake_at.
CREATE TABLE live (
    tenant      text        NOT NULL,
    id          uuid        NOT NULL,
    workflow_id uuid        NOT NULL,
    revision    integer     NOT NULL,
    owner       uuid,
    epoch       integer     NOT NULL,
    seq         integer     NOT NULL,
    wake_at     timestamptz NOT NULL,
    PRIMARY KEY (tenant, id)
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.0, autovacuum_vacuum_threshold = 20000,
        autovacuum_vacuum_insert_scale_factor = 0.0, autovacuum_vacuum_insert_threshold = 1000000);
CREATE INDEX live_claimable ON live (tenant, wake_at) WHERE owner IS NULL;
CREATE INDEX live_owner ON live (owner) WHERE owner IS NOT NULL;

-- History. The id is a UUIDv7, so a range of ids is a range of acceptance times. Indexes are on columns that never change, and pages
-- keep room for the update at the end, so that it touches no index (docs/decisions/0001).
CREATE TABLE executions (
    tenant       text        NOT NULL,
    id           uuid        NOT NULL,
    workflow_id  uuid        NOT NULL,
    revision     integer     NOT NULL,
    state        smallint    NOT NULL,
    attempt      integer     NOT NULL,
    cause_kind   smallint    NOT NULL,
    cause_id     text        NOT NULL,
    cause_type   text        NOT NULL,
    cause_source text        NOT NULL,
    nominal_time timestamptz,
    create_time  timestamptz NOT NULL,
    start_time   timestamptz,
    end_time     timestamptz,
    wake_time    timestamptz,
    error        text,
    traceparent  text        NOT NULL,
    event        text        NOT NULL,
    PRIMARY KEY (tenant, id)
) PARTITION BY RANGE (id);
CREATE INDEX executions_workflow ON executions (tenant, workflow_id, id);
CREATE TABLE executions_default PARTITION OF executions DEFAULT WITH (fillfactor = 50);

-- What the attempts of steps did, in the order of ord. A waiting step's row is replaced by its final one.
CREATE TABLE step_results (
    tenant       text        NOT NULL,
    execution_id uuid        NOT NULL,
    path         text        NOT NULL,
    attempt      integer     NOT NULL,
    ord          integer     NOT NULL,
    step_id      text        NOT NULL,
    state        smallint    NOT NULL,
    start_time   timestamptz NOT NULL,
    end_time     timestamptz,
    wake_time    timestamptz,
    output       text,
    error        text,
    PRIMARY KEY (tenant, execution_id, path, attempt)
) PARTITION BY RANGE (execution_id);
CREATE TABLE step_results_default PARTITION OF step_results DEFAULT;

-- Deleted workflows. Late starts find them here.
CREATE TABLE tombstones (
    tenant      text        NOT NULL,
    workflow_id uuid        NOT NULL,
    create_time timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant, workflow_id)
);
