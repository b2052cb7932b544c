-- What lists, watches and the audit need beside what the catalog began with. A program of the release before goes on to work: every column
-- that it does not know has a default or may be absent.

-- +goose Up

-- kind: 1 configuration or state changed, 2 something beside it did (a backup, a draft), which only concerns who looks at the workflow.
-- version, update_time and update_user are the workflow's after the change; absent in rows of the release before.
ALTER TABLE changes
    ADD COLUMN kind        smallint NOT NULL DEFAULT 1 CHECK (kind IN (1, 2)),
    ADD COLUMN version     bigint,
    ADD COLUMN update_time timestamptz,
    ADD COLUMN update_user text;
CREATE INDEX changes_tenant ON changes (tenant, seq);

-- A removal is part of the feed: seq comes from the sequence of changes. 0 is not part of it, as of removals by the release before.
ALTER TABLE tombstones ADD COLUMN seq bigint NOT NULL DEFAULT 0;
CREATE INDEX tombstones_seq ON tombstones (seq) WHERE seq > 0;
