-- The scheduler's tables.

-- +goose Up
-- Messages of the stream that are no events. tenant is empty where the subject names none: no tenant is shown such a row. A message is
-- known by its place and time in the stream, so that a redelivery is the same row also after the stream had to be made anew.
CREATE TABLE dead_letters (
    tenant       text        NOT NULL CHECK (tenant ~ '^[a-z0-9]{0,32}$'),
    id           uuid        NOT NULL,
    stream_seq   bigint      NOT NULL,
    publish_time timestamptz NOT NULL,
    reason       text        NOT NULL,
    message      text        NOT NULL,
    event_id     text        NOT NULL,
    subject      text        NOT NULL,
    headers      jsonb       NOT NULL,
    body         bytea       NOT NULL,
    create_time  timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (tenant, id),
    CONSTRAINT dead_letters_message UNIQUE (tenant, stream_seq, publish_time)
);

-- How far each running replica has followed the catalog's changes; package activation explains it. An insert and an update every two
-- seconds per replica.
CREATE TABLE watchers (
    id           uuid        NOT NULL PRIMARY KEY,
    seen_through timestamptz NOT NULL,
    renewed_at   timestamptz NOT NULL,
    heir         uuid,
    heir_since   timestamptz
) WITH (fillfactor = 50);
