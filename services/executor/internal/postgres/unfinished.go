package postgres

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"workflow.uniconnect/pkg/postgres"
	"workflow.uniconnect/services/executor/internal/execution"
)

// unfinishedSQL counts a workflow's executions that have not ended and shows some of them, those that wait before those that run, the
// oldest first. Where one stands is the newest step that was recorded of it.
const unfinishedSQL = `
SELECT u.found, u.id, u.wake_at, coalesce(s.path, '')
FROM (
	SELECT count(*) OVER () AS found, l.id, CASE WHEN l.owner IS NULL AND l.wake_at > now() THEN l.wake_at END AS wake_at
	FROM live l WHERE l.tenant = $1 AND l.workflow_id = $2
	ORDER BY l.owner IS NULL AND l.wake_at > now() DESC, l.id
	LIMIT $3
) u
LEFT JOIN LATERAL (
	SELECT r.path FROM step_results r WHERE r.tenant = $1 AND r.execution_id = u.id ORDER BY r.ord DESC LIMIT 1
) s ON true
ORDER BY u.wake_at IS NULL, u.id`

// Unfinished returns what of a workflow has not ended, up to limit of it by name.
func (r *Reader) Unfinished(ctx context.Context, tenant string, workflow execution.WorkflowID, limit int) (execution.Unfinished, error) {
	rows, err := r.pool.Of(tenant).Query(ctx, unfinishedSQL, tenant, [16]byte(workflow), limit)
	if err != nil {
		return execution.Unfinished{}, postgres.Classify(fmt.Errorf("look for unfinished executions: %w", err))
	}
	var all execution.Unfinished
	all.Some, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (execution.Standing, error) {
		var at execution.Standing
		var wake *time.Time
		err := row.Scan(&all.Count, (*[16]byte)(&at.ID), &wake, &at.Path)
		at.WakeTime = value(wake)
		return at, err
	})
	if err != nil {
		return execution.Unfinished{}, postgres.Classify(fmt.Errorf("look for unfinished executions: %w", err))
	}
	return all, nil
}
