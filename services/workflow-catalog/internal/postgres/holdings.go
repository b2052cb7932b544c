package postgres

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5"

	"workflow.uniconnect/services/workflow-catalog/internal/deletion"
	"workflow.uniconnect/services/workflow-catalog/internal/workflow"
)

const selectHoldings = `
SELECT w.title, w.version,
       (SELECT count(*) FROM revisions r WHERE r.tenant = w.tenant AND r.workflow_id = w.id),
       (SELECT count(*) FROM backups b WHERE b.tenant = w.tenant AND b.workflow_id = w.id),
       EXISTS (SELECT FROM drafts d WHERE d.tenant = w.tenant AND d.workflow_id = w.id)
FROM workflows w WHERE w.tenant = $1 AND w.id = $2`

const selectCallers = `
SELECT w.id, w.title, w.state
FROM workflow_calls c JOIN workflows w ON w.tenant = c.tenant AND w.id = c.caller
WHERE c.tenant = $1 AND c.callee = $2 AND w.state <> 3
ORDER BY w.title, w.id LIMIT $3`

// Holdings returns what there is of a workflow, with up to limit workflows that call it. One on its way out calls nobody any more.
func (s *Store) Holdings(ctx context.Context, tenant workflow.Tenant, id workflow.ID, limit int) (deletion.Holdings, error) {
	var h deletion.Holdings
	var w workflow.Workflow
	err := s.of(tenant).QueryRow(ctx, selectHoldings, tenant, id).Scan(&h.Title, &w.Version, &h.Revisions, &h.Backups, &h.Draft)
	if errors.Is(err, pgx.ErrNoRows) {
		return deletion.Holdings{}, workflow.ErrNotFound
	}
	if err != nil {
		return deletion.Holdings{}, wrap("take stock of a workflow", err)
	}
	h.ETag = w.ETag()
	rows, err := s.of(tenant).Query(ctx, selectCallers, tenant, id, limit)
	if err != nil {
		return deletion.Holdings{}, wrap("look for callers", err)
	}
	h.Callers, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (deletion.Caller, error) {
		var c deletion.Caller
		err := row.Scan(&c.ID, &c.Title, &c.State)
		return c, err
	})
	return h, wrap("look for callers", err)
}
