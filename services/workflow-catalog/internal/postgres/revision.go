package postgres

import (
	"context"
	"errors"
	"math"

	"github.com/jackc/pgx/v5"

	"workflow.uniconnect/services/workflow-catalog/internal/workflow"
)

const selectAtRevision = `
SELECT w.id, w.state, r.revision, w.version, w.active_since, w.create_time, w.create_user, r.create_time, r.author,
       r.config->>'title', coalesce(r.config->>'description', ''), r.config, r.hash, ` + annotationColumns + `
FROM workflows w
JOIN revisions r ON r.tenant = w.tenant AND r.workflow_id = w.id` + annotationJoins + `
WHERE w.tenant = $1 AND w.id = $2 AND r.revision = CASE WHEN $3::integer = 0 THEN w.revision ELSE $3 END`

// AtRevision returns the workflow as a revision has it, without what is kept beside it; its update is the saving of that revision.
func (s *Store) AtRevision(ctx context.Context, tenant workflow.Tenant, id workflow.ID, revision int32) (workflow.Workflow, error) {
	w, err := readWorkflow(s.of(tenant).QueryRow(ctx, selectAtRevision, tenant, id, revision), tenant)
	if !errors.Is(err, pgx.ErrNoRows) {
		w.LastBackup, w.Draft = nil, nil
		return w, wrap("get workflow at a revision", err)
	}
	return workflow.Workflow{}, s.missing(ctx, tenant, id, workflow.ErrRevisionNotFound)
}

const selectRevision = `
SELECT r.revision, r.create_time, r.author, coalesce(r.origin, CASE WHEN r.revision = 1 THEN 1 ELSE 2 END),
       coalesce(r.source_revision, 0), coalesce(r.config->>'title', ''), r.revision = w.revision,
       coalesce(r.config->>'description', ''), r.config, r.hash
FROM workflows w
JOIN revisions r ON r.tenant = w.tenant AND r.workflow_id = w.id
WHERE w.tenant = $1 AND w.id = $2 AND r.revision = $3`

// Revision returns a revision with its configuration.
func (s *Store) Revision(ctx context.Context, tenant workflow.Tenant, id workflow.ID, number int32) (workflow.Revision, error) {
	var c workflow.Config
	r, err := readRevision(s.of(tenant).QueryRow(ctx, selectRevision, tenant, id, number), &c.Description, &c.Document, &c.Hash)
	if errors.Is(err, pgx.ErrNoRows) {
		return workflow.Revision{}, s.missing(ctx, tenant, id, workflow.ErrRevisionNotFound)
	}
	c.Title = r.Title
	r.Config = c
	return r, wrap("get revision", err)
}

const selectRevisions = `
SELECT r.revision, r.create_time, r.author, coalesce(r.origin, CASE WHEN r.revision = 1 THEN 1 ELSE 2 END),
       coalesce(r.source_revision, 0), coalesce(r.title, r.config->>'title', ''), r.revision = w.revision
FROM workflows w
JOIN revisions r ON r.tenant = w.tenant AND r.workflow_id = w.id
WHERE w.tenant = $1 AND w.id = $2 AND r.revision < $3
ORDER BY r.revision DESC LIMIT $4`

// Revisions returns revisions before a number, newest first.
func (s *Store) Revisions(ctx context.Context, tenant workflow.Tenant, id workflow.ID, before int32, limit int) ([]workflow.Revision, error) {
	if before == 0 {
		before = math.MaxInt32
	}
	rows, err := s.of(tenant).Query(ctx, selectRevisions, tenant, id, before, limit)
	if err != nil {
		return nil, wrap("list revisions", err)
	}
	found, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (workflow.Revision, error) { return readRevision(row) })
	return found, wrap("list revisions", err)
}

// readRevision reads the columns that all queries for revisions share, and more behind them.
func readRevision(row pgx.Row, more ...any) (workflow.Revision, error) {
	var r workflow.Revision
	err := row.Scan(append([]any{&r.Number, &r.CreateTime, &r.CreateUser, &r.Origin, &r.Source, &r.Title, &r.Live}, more...)...)
	return r, err
}

// missing tells why something of a workflow was not found: otherwise when the workflow is there, else because it is not.
func (s *Store) missing(ctx context.Context, tenant workflow.Tenant, id workflow.ID, otherwise error) error {
	if _, err := s.Get(ctx, tenant, id); err != nil {
		return err
	}
	return otherwise
}

const insertRevision = `
INSERT INTO revisions (tenant, workflow_id, revision, title, config, hash, size, author, origin, source_revision, create_time)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, nullif($10::integer, 0), clock_timestamp())`

// insertNewRevision adds to a batch what saves w's configuration as its revision, and whom it calls. When that must be looked at first, the
// batch has been sent.
func insertNewRevision(ctx context.Context, p pipeline, w workflow.Workflow, origin workflow.Origin, source *workflow.Backup) error {
	var from int32
	if source != nil {
		from = source.Revision
	}
	p.batch.Queue(insertRevision, w.Tenant, w.ID, w.Revision, w.Config.Title, w.Config.Document, w.Config.Hash,
		len(w.Config.Document), w.UpdateUser, origin, from)
	return saveCalls(ctx, p, &w)
}
