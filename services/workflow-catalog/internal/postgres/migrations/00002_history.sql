-- What is kept beside the live configuration: where a revision came from, backups and drafts.

-- +goose Up
-- origin is what made a revision, as Revision.Origin. Rows without one are of a release that did not say: there the first was CREATED, all
-- others UPDATED. source_revision is where RESET and RESTORED took the configuration from. title repeats config's, so that a list need not
-- unpack it; rows of the earlier release have none.
ALTER TABLE revisions
    ADD COLUMN origin smallint CHECK (origin BETWEEN 1 AND 5),
    ADD COLUMN source_revision integer,
    ADD COLUMN title text;

-- A backup is a name for a revision. It goes with its workflow, and then the earlier release, which knows no backups, can delete as well.
CREATE TABLE backups (
    tenant      text        NOT NULL,
    workflow_id uuid        NOT NULL,
    id          uuid        NOT NULL,
    name        text        NOT NULL,
    revision    integer     NOT NULL,
    create_time timestamptz NOT NULL,
    create_user text        NOT NULL,
    PRIMARY KEY (tenant, workflow_id, id),
    FOREIGN KEY (tenant, workflow_id, revision) REFERENCES revisions ON DELETE CASCADE
);
CREATE INDEX backups_time ON backups (tenant, workflow_id, create_time, id);

-- A workflow has one draft at most. base_revision and hash are what its etag is made of.
CREATE TABLE drafts (
    tenant        text        NOT NULL,
    workflow_id   uuid        NOT NULL,
    base_revision integer     NOT NULL,
    config        jsonb       NOT NULL,
    hash          bytea       NOT NULL,
    update_time   timestamptz NOT NULL,
    update_user   text        NOT NULL,
    PRIMARY KEY (tenant, workflow_id),
    FOREIGN KEY (tenant, workflow_id) REFERENCES workflows ON DELETE CASCADE
);
