package postgres

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"workflow.uniconnect/pkg/postgres"
	"workflow.uniconnect/services/workflow-catalog/internal/workflow"
)

const titleIndex = "workflows_title"

// annotationColumns and annotationJoins bring what is kept beside a workflow w to its other columns, in the order of readWorkflow.
const (
	annotationColumns = `b.id, b.name, b.revision, b.create_time, b.create_user, d.base_revision, d.update_time, d.update_user`
	annotationJoins   = `
LEFT JOIN LATERAL (
    SELECT id, name, revision, create_time, create_user FROM backups
    WHERE tenant = w.tenant AND workflow_id = w.id ORDER BY create_time DESC, id DESC LIMIT 1
) b ON true
LEFT JOIN LATERAL (
    SELECT base_revision, update_time, update_user FROM drafts WHERE tenant = w.tenant AND workflow_id = w.id OFFSET 0
) d ON true
`
)

const selectWorkflows = `
SELECT w.id, w.state, w.revision, w.version, w.active_since, w.create_time, w.create_user, w.update_time, w.update_user,
       w.title, w.description, r.config, r.hash, ` + annotationColumns + `
FROM workflows w
JOIN revisions r ON r.tenant = w.tenant AND r.workflow_id = w.id AND r.revision = w.revision` + annotationJoins

// selectWorkflow is planned once: OFFSET 0 leaves one way to come from a workflow to its revision.
const selectWorkflow = `
SELECT w.id, w.state, w.revision, w.version, w.active_since, w.create_time, w.create_user, w.update_time, w.update_user,
       w.title, w.description, r.config, r.hash, ` + annotationColumns + `
FROM workflows w
CROSS JOIN LATERAL (
    SELECT config, hash FROM revisions WHERE tenant = w.tenant AND workflow_id = w.id AND revision = w.revision OFFSET 0
) r` + annotationJoins + `WHERE w.tenant = $1 AND w.id = $2`

// Get returns the workflow at its current revision.
func (s *Store) Get(ctx context.Context, tenant workflow.Tenant, id workflow.ID) (workflow.Workflow, error) {
	var w workflow.Workflow
	err := plannedOnce(ctx, s.of(tenant), selectWorkflow, []any{tenant, id}, func(r pgx.Rows) error {
		var err error
		w, err = pgx.CollectExactlyOneRow(r, func(row pgx.CollectableRow) (workflow.Workflow, error) { return readWorkflow(row, tenant) })
		return err
	})
	if errors.Is(err, pgx.ErrNoRows) {
		return workflow.Workflow{}, workflow.ErrNotFound
	}
	return w, wrap("get workflow", err)
}

const selectTitled = selectWorkflows + `WHERE w.tenant = $1 AND w.title = $2 AND w.state <> 3`

// Titled returns the workflow of a title.
func (s *Store) Titled(ctx context.Context, tenant workflow.Tenant, title string) (workflow.Workflow, error) {
	w, err := readWorkflow(s.of(tenant).QueryRow(ctx, selectTitled, tenant, title), tenant)
	if errors.Is(err, pgx.ErrNoRows) {
		return workflow.Workflow{}, workflow.ErrNotFound
	}
	return w, wrap("find workflow by title", err)
}

const insertWorkflow = `
INSERT INTO workflows (tenant, id, title, description, state, revision, version, create_time, create_user, update_time, update_user)
VALUES ($1, $2, $3, $4, $5, $6, $7, clock_timestamp(), $8, clock_timestamp(), $8)`

// Create adds a workflow with its first revision.
func (s *Store) Create(ctx context.Context, call workflow.Call, w workflow.Workflow) (workflow.Workflow, error) {
	err := s.inTenant(ctx, w.Tenant, "create workflow", func(tx pgx.Tx) error {
		batch := &pgx.Batch{}
		claimRequest(batch, call)
		batch.Queue(insertWorkflow, w.Tenant, w.ID, w.Config.Title, w.Config.Description, w.State, w.Revision, w.Version, w.CreateUser)
		if err := insertNewRevision(ctx, pipeline{tx, batch}, w, workflow.Created, nil); err != nil {
			return err
		}
		return finishChange(ctx, pipeline{tx, batch}, call, nil, &w)
	})
	return s.changed(ctx, w, err)
}

const updateWorkflow = `
UPDATE workflows
SET title = $4, description = $5, state = $6::smallint, revision = $7, version = version + 1, update_user = $8,
    active_since = CASE WHEN $6::smallint = 2 THEN active_since END,
    finalize_at = CASE WHEN $6::smallint = 3 THEN clock_timestamp() END
WHERE tenant = $1 AND id = $2 AND version = $3 AND state <> 3`

// Change applies a change to the version it was made for.
func (s *Store) Change(ctx context.Context, call workflow.Call, change workflow.Change) (workflow.Workflow, error) {
	w := change.Before
	w.State, w.UpdateUser, w.Version = change.State, call.Actor, w.Version+1
	if change.Config != nil {
		w.Config, w.Revision = *change.Config, w.Revision+1
	}
	err := s.inTenant(ctx, w.Tenant, "change workflow", func(tx pgx.Tx) error {
		batch := &pgx.Batch{}
		claimRequest(batch, call)
		batch.Queue(updateWorkflow, w.Tenant, w.ID, change.Before.Version, w.Config.Title, w.Config.Description,
			w.State, w.Revision, call.Actor).Exec(orElse(workflow.ErrStale))
		// Whether the row is ours must be known before the feed's lock is asked for: the stamp would wait for whoever has the row.
		if err := send(ctx, tx, batch); err != nil {
			return err
		}
		batch = &pgx.Batch{}
		if err := saveRevision(ctx, pipeline{tx, batch}, change, w); err != nil {
			return err
		}
		return finishChange(ctx, pipeline{tx, batch}, call, &change.Before, &w)
	})
	return s.changed(ctx, w, err)
}

// saveRevision adds the revision of a change, if it has one, from where the change has it.
func saveRevision(ctx context.Context, p pipeline, change workflow.Change, w workflow.Workflow) error {
	if change.Config == nil {
		return nil
	}
	if err := checkSource(ctx, p.tx, change); err != nil {
		return err
	}
	if change.Draft != nil {
		if err := dropDraft(ctx, p.tx, w, change.Draft); err != nil {
			return err
		}
	}
	return insertNewRevision(ctx, p, w, change.Origin, change.Source)
}

const selectTaken = `SELECT title FROM workflows WHERE tenant = $1 AND title = ANY($2) AND state <> 3`

// Taken returns those of the titles that workflows of the tenant have.
func (s *Store) Taken(ctx context.Context, tenant workflow.Tenant, titles []string) ([]string, error) {
	rows, err := s.of(tenant).Query(ctx, selectTaken, tenant, titles)
	if err != nil {
		return nil, wrap("look titles up", err)
	}
	taken, err := pgx.CollectRows(rows, pgx.RowTo[string])
	return taken, wrap("look titles up", err)
}

const selectTitle = `SELECT id FROM workflows WHERE tenant = $1 AND title = $2 AND state <> 3`

// changed finishes a change: a title that is taken is told with its owner, which only a new query can name.
func (s *Store) changed(ctx context.Context, w workflow.Workflow, err error) (workflow.Workflow, error) {
	if err == nil {
		return w, nil
	}
	if !postgres.IsUnique(err, titleIndex) {
		return workflow.Workflow{}, err
	}
	var owner workflow.ID
	lookup := s.of(w.Tenant).QueryRow(ctx, selectTitle, w.Tenant, w.Config.Title).Scan(&owner)
	if lookup != nil && !errors.Is(lookup, pgx.ErrNoRows) {
		return workflow.Workflow{}, wrap("find the owner of a title", lookup)
	}
	return workflow.Workflow{}, workflow.TitleTaken(owner)
}

// readWorkflow reads the columns that all queries for workflows share, and more behind them.
func readWorkflow(row pgx.Row, tenant workflow.Tenant, more ...any) (workflow.Workflow, error) {
	w := workflow.Workflow{Tenant: tenant}
	var activeSince *time.Time
	var notes annotations
	err := row.Scan(slices.Concat([]any{
		&w.ID, &w.State, &w.Revision, &w.Version, &activeSince, &w.CreateTime, &w.CreateUser, &w.UpdateTime, &w.UpdateUser,
		&w.Config.Title, &w.Config.Description, &w.Config.Document, &w.Config.Hash,
	}, notes.targets(), more)...)
	w.ActiveSince = deref(activeSince)
	w.LastBackup, w.Draft = notes.backup(), notes.draft()
	return w, err
}

// annotations are annotationColumns: every column may be absent.
type annotations struct {
	backupID                 *workflow.BackupID
	name                     *string
	revision, base           *int32
	backedUp, drafted        *time.Time
	backupUser, draftingUser *string
}

func (a *annotations) targets() []any {
	return []any{&a.backupID, &a.name, &a.revision, &a.backedUp, &a.backupUser, &a.base, &a.drafted, &a.draftingUser}
}

func (a *annotations) backup() *workflow.Backup {
	if a.backupID == nil {
		return nil
	}
	return &workflow.Backup{
		ID: *a.backupID, Name: deref(a.name), Revision: deref(a.revision), CreateTime: deref(a.backedUp), CreateUser: deref(a.backupUser),
	}
}

func (a *annotations) draft() *workflow.DraftInfo {
	if a.base == nil {
		return nil
	}
	return &workflow.DraftInfo{BaseRevision: *a.base, UpdateTime: deref(a.drafted), UpdateUser: deref(a.draftingUser)}
}

func wrap(what string, err error) error {
	if err == nil {
		return nil
	}
	return postgres.Classify(fmt.Errorf("%s: %w", what, err))
}
