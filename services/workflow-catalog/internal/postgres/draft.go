package postgres

import (
	"context"
	"encoding/json"
	"errors"

	"github.com/jackc/pgx/v5"

	"workflow.uniconnect/services/workflow-catalog/internal/workflow"
)

const selectDraft = `
SELECT w.id, w.state, w.revision, w.version, w.active_since, w.create_time, w.create_user, w.update_time, w.update_user,
       w.title, w.description, r.config, r.hash, ` + annotationColumns + `, x.config, x.hash
FROM workflows w
JOIN revisions r ON r.tenant = w.tenant AND r.workflow_id = w.id AND r.revision = w.revision` + annotationJoins + `
LEFT JOIN drafts x ON x.tenant = w.tenant AND x.workflow_id = w.id
WHERE w.tenant = $1 AND w.id = $2`

// Draft returns a workflow and its draft.
func (s *Store) Draft(ctx context.Context, tenant workflow.Tenant, id workflow.ID) (workflow.Drafted, error) {
	var config workflow.Config
	w, err := readWorkflow(s.of(tenant).QueryRow(ctx, selectDraft, tenant, id), tenant, &config.Document, &config.Hash)
	if errors.Is(err, pgx.ErrNoRows) {
		return workflow.Drafted{}, workflow.ErrNotFound
	}
	if err != nil {
		return workflow.Drafted{}, wrap("get draft", err)
	}
	read := workflow.Drafted{Live: w}
	if w.Draft != nil {
		var said struct{ Title, Description string }
		if err := json.Unmarshal(config.Document, &said); err != nil {
			return workflow.Drafted{}, wrap("read draft", err)
		}
		config.Title, config.Description = said.Title, said.Description
		read.Draft = &workflow.Draft{DraftInfo: *w.Draft, Config: config}
	}
	return read, nil
}

const (
	insertDraft = `
INSERT INTO drafts (tenant, workflow_id, base_revision, config, hash, update_time, update_user)
VALUES ($1, $2, $3, $4, $5, clock_timestamp(), $6)
ON CONFLICT (tenant, workflow_id) DO NOTHING RETURNING update_time`
	updateDraft = `
UPDATE drafts SET base_revision = $3, config = $4, hash = $5, update_time = clock_timestamp(), update_user = $6
WHERE tenant = $1 AND workflow_id = $2 AND base_revision = $7 AND hash = $8 RETURNING update_time`
)

// SaveDraft puts a draft in the place of the one that was read.
func (s *Store) SaveDraft(ctx context.Context, call workflow.Call, read workflow.Drafted, draft workflow.Draft) (workflow.Drafted, error) {
	saved := workflow.Drafted{Live: read.Live, Draft: &draft}
	err := s.inTenant(ctx, read.Live.Tenant, "save draft", func(tx pgx.Tx) error {
		if err := beginNote(ctx, tx, call, read.Live); err != nil {
			return err
		}
		query := insertDraft
		n := noted{after: draft.Config.Hash}
		args := []any{
			read.Live.Tenant, read.Live.ID, draft.BaseRevision, draft.Config.Document, draft.Config.Hash, draft.UpdateUser,
		}
		if read.Draft != nil {
			query, n.before = updateDraft, read.Draft.Config.Hash
			args = append(args, read.Draft.BaseRevision, read.Draft.Config.Hash)
		}
		err := tx.QueryRow(ctx, query, args...).Scan(&draft.UpdateTime)
		if errors.Is(err, pgx.ErrNoRows) {
			return workflow.ErrStale
		}
		if err != nil {
			return err
		}
		if err := readNotes(ctx, tx, &saved.Live); err != nil {
			return err
		}
		n.answer = saved
		return finishNote(ctx, tx, call, read.Live, n)
	})
	return saved, err
}

const deleteDraft = `DELETE FROM drafts WHERE tenant = $1 AND workflow_id = $2 AND base_revision = $3 AND hash = $4`

// dropDraft removes a draft, or answers ErrStale when it is not as it was read.
func dropDraft(ctx context.Context, tx pgx.Tx, w workflow.Workflow, draft *workflow.Draft) error {
	tag, err := tx.Exec(ctx, deleteDraft, w.Tenant, w.ID, draft.BaseRevision, draft.Config.Hash)
	if err == nil && tag.RowsAffected() == 0 {
		err = workflow.ErrStale
	}
	return err
}

// DropDraft removes the draft that was read.
func (s *Store) DropDraft(ctx context.Context, call workflow.Call, read workflow.Drafted, answer any) error {
	return s.inTenant(ctx, read.Live.Tenant, "drop draft", func(tx pgx.Tx) error {
		if err := beginNote(ctx, tx, call, read.Live); err != nil {
			return err
		}
		if err := dropDraft(ctx, tx, read.Live, read.Draft); err != nil {
			return err
		}
		return finishNote(ctx, tx, call, read.Live, noted{before: read.Draft.Config.Hash, answer: answer})
	})
}
