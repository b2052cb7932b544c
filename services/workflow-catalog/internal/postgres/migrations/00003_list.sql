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

-- What lists filter by and sort by. listed_version is the version that these columns describe: where it differs from version, a program of
-- the release before has changed the workflow since, and the columns are made anew by the first program that notices.
-- trigger_type: 0 none, 1 event, 2 schedule, 3 manual. event_type is empty where no event starts the workflow. title_key is the title with
-- case folded. terms holds `tenant/word` for each word of the title, and `tenant=…` for state, trigger and event type.
ALTER TABLE workflows
    ADD COLUMN trigger_type   smallint         NOT NULL DEFAULT 0,
    ADD COLUMN event_type     text             NOT NULL DEFAULT '',
    ADD COLUMN title_key      text COLLATE "C" NOT NULL DEFAULT '',
    ADD COLUMN terms          tsvector         NOT NULL DEFAULT '',
    ADD COLUMN listed_version bigint;

-- The words of a title with letters beyond ASCII are for the program to find.
UPDATE workflows w SET
    trigger_type = said.trigger_type, event_type = said.event_type, title_key = lower(w.title),
    terms = array_to_tsvector(ARRAY[
            w.tenant || '=*', w.tenant || '=s' || w.state, w.tenant || '=t' || said.trigger_type, w.tenant || '=e' || said.event_type
        ] || ARRAY(SELECT w.tenant || '/' || word FROM regexp_split_to_table(lower(w.title), '[^a-z0-9]+') word WHERE word <> '')),
    listed_version = CASE WHEN octet_length(w.title) = length(w.title) THEN w.version END
FROM (
    SELECT tenant, workflow_id, revision, coalesce(config #>> '{trigger,event,eventType}', '') AS event_type,
           CASE WHEN config -> 'trigger' ? 'event' THEN 1 WHEN config -> 'trigger' ? 'schedule' THEN 2
                WHEN config -> 'trigger' ? 'manual' THEN 3 ELSE 0 END AS trigger_type
    FROM revisions
) said
WHERE said.tenant = w.tenant AND said.workflow_id = w.id AND said.revision = w.revision;

-- The columns beside the keys let a filter be checked without the row.
CREATE INDEX workflows_created ON workflows (tenant, create_time, id) INCLUDE (state, trigger_type, event_type);
CREATE INDEX workflows_updated ON workflows (tenant, update_time, id) INCLUDE (state, trigger_type, event_type);
CREATE INDEX workflows_titled ON workflows (tenant, title_key, id) INCLUDE (state, trigger_type, event_type);
-- Without fastupdate: a list of entries that wait to be sorted in would be read through by every search.
CREATE INDEX workflows_terms ON workflows USING gin (terms) WITH (fastupdate = off);
CREATE INDEX workflows_unlisted ON workflows (tenant, id) WHERE listed_version IS DISTINCT FROM version;

-- The audit tells who was refused and why, and where calls came from.
ALTER TABLE audit_entries
    ADD COLUMN reason     text NOT NULL DEFAULT '',
    ADD COLUMN origin     text NOT NULL DEFAULT '',
    ADD COLUMN user_agent text NOT NULL DEFAULT '';
CREATE INDEX audit_entries_at ON audit_entries (tenant, at, id);
CREATE INDEX audit_entries_workflow ON audit_entries (tenant, workflow_id, at, id);
CREATE INDEX audit_entries_actor ON audit_entries (tenant, actor, at, id);
CREATE INDEX audit_entries_action ON audit_entries (tenant, action, at, id);
CREATE INDEX audit_entries_refused ON audit_entries (tenant, at, id) WHERE outcome <> 'OK';
CREATE INDEX audit_entries_outcome ON audit_entries (tenant, outcome, at, id) WHERE outcome <> 'OK';
CREATE INDEX audit_entries_reason ON audit_entries (tenant, reason, at, id) WHERE reason <> '';
CREATE INDEX audit_entries_request ON audit_entries (tenant, request_id, at, id) WHERE request_id <> '';
