-- +goose Up
CREATE TABLE records (
    tenant      text        NOT NULL,
    module      text        NOT NULL,
    id          text        NOT NULL,
    fields      jsonb       NOT NULL,
    version     integer     NOT NULL,
    create_time timestamptz NOT NULL DEFAULT now(),
    update_time timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant, module, id)
);

-- What an update answered, so that its repetition gets the same.
CREATE TABLE updates (
    tenant      text        NOT NULL,
    request_id  text        NOT NULL,
    module      text        NOT NULL,
    record_id   text        NOT NULL,
    fields      jsonb       NOT NULL,
    version     integer     NOT NULL,
    create_time timestamptz NOT NULL,
    update_time timestamptz NOT NULL,
    PRIMARY KEY (tenant, request_id)
);
CREATE INDEX updates_record ON updates (tenant, module, record_id);

CREATE TABLE sink_requests (
    name    text        NOT NULL,
    seq     bigint      GENERATED ALWAYS AS IDENTITY,
    method  text        NOT NULL,
    path    text        NOT NULL,
    headers json        NOT NULL,
    body    bytea       NOT NULL,
    time    timestamptz NOT NULL,
    PRIMARY KEY (name, seq)
);
