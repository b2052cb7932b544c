package postgres

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"workflow.uniconnect/pkg/postgres"
	"workflow.uniconnect/services/executor/internal/execution"
	"workflow.uniconnect/services/executor/internal/run"
)

// viewColumns are what a view shows. That an execution is running is not written anywhere: its live row has an owner. The attempt is the
// number of times it was taken up, which the epoch counts, less the one that is still to come when nobody owns it.
const viewColumns = `e.id, e.workflow_id, e.revision,
	CASE WHEN l.owner IS NOT NULL THEN 2 ELSE e.state END,
	CASE WHEN l.id IS NULL THEN e.attempt WHEN l.owner IS NULL THEN l.epoch - 1 ELSE l.epoch END,
	e.cause_kind, e.cause_id, e.cause_type, e.cause_source, e.nominal_time,
	e.create_time, e.start_time, e.end_time, CASE WHEN l.owner IS NULL THEN e.wake_time END, e.error`

const getSQL = `SELECT ` + viewColumns + `, e.event
FROM executions e LEFT JOIN live l ON l.tenant = e.tenant AND l.id = e.id
WHERE e.tenant = $1 AND e.id = $2`

const stepsSQL = `
SELECT s.path, s.step_id, s.attempt, s.state, s.start_time, s.end_time, s.wake_time, s.output, s.error
FROM step_results s WHERE s.tenant = $1 AND s.execution_id = $2 ORDER BY s.ord`

// maxPageBytes is how many bytes of events a page holds before its last row.
const maxPageBytes = 1 << 20

// pageColumns leaves the event out of the rows that a page has no room for; their length is known without reading them.
const pageColumns = viewColumns + `,
	CASE WHEN sum(octet_length(e.event)) OVER (ORDER BY e.id DESC) - octet_length(e.event) < $4 THEN e.event END`

const listSQL = `SELECT ` + pageColumns + `
FROM (
	SELECT * FROM executions WHERE tenant = $1 AND id < $2 ORDER BY id DESC LIMIT $3
) e LEFT JOIN live l ON l.tenant = e.tenant AND l.id = e.id
ORDER BY e.id DESC`

const listOfWorkflowSQL = `SELECT ` + pageColumns + `
FROM (
	SELECT * FROM executions WHERE tenant = $1 AND workflow_id = $5 AND id < $2 ORDER BY id DESC LIMIT $3
) e LEFT JOIN live l ON l.tenant = e.tenant AND l.id = e.id
ORDER BY e.id DESC`

// Reader reads what calls ask for, of one tenant at a time.
type Reader struct{ pool *postgres.TenantPool }

// NewReader returns a reader on pool, whose search path is Schema.
func NewReader(pool *postgres.TenantPool) *Reader { return &Reader{pool: pool} }

// Ready reports whether the database answers.
func (r *Reader) Ready(ctx context.Context) error { return r.pool.Ready(ctx) }

// Get returns an execution with its steps; false means that the tenant has none with this id.
func (r *Reader) Get(ctx context.Context, tenant string, id execution.ID) (execution.View, bool, error) {
	var view execution.View
	found := true
	batch := &pgx.Batch{}
	batch.Queue(getSQL, tenant, [16]byte(id)).Query(func(rows pgx.Rows) error {
		var err error
		view, err = pgx.CollectExactlyOneRow(rows, scanView)
		if errors.Is(err, pgx.ErrNoRows) {
			found, err = false, nil
		}
		return err
	})
	var steps []run.Result
	batch.Queue(stepsSQL, tenant, [16]byte(id)).Query(func(rows pgx.Rows) error {
		var err error
		steps, err = pgx.CollectRows(rows, func(pgx.CollectableRow) (run.Result, error) { return scanResult(rows) })
		return err
	})
	if err := r.pool.Of(tenant).SendBatch(ctx, batch).Close(); err != nil {
		return execution.View{}, false, postgres.Classify(fmt.Errorf("read execution: %w", err))
	}
	view.Steps = steps
	return view, found, nil
}

// List returns a page of up to limit executions of the tenant below an id, newest first, without their steps, and whether there are more.
// A page of large events is shorter. The zero workflow means all.
func (r *Reader) List(ctx context.Context, tenant string, workflow execution.WorkflowID, below execution.ID, limit int) ([]execution.View, bool, error) {
	sql, args := listSQL, []any{tenant, [16]byte(below), limit + 1, maxPageBytes}
	if workflow != (execution.WorkflowID{}) {
		sql, args = listOfWorkflowSQL, append(args, [16]byte(workflow))
	}
	rows, err := r.pool.Of(tenant).Query(ctx, sql, args...)
	if err != nil {
		return nil, false, postgres.Classify(fmt.Errorf("list executions: %w", err))
	}
	views, err := pgx.CollectRows(rows, scanView)
	if err != nil {
		return nil, false, postgres.Classify(fmt.Errorf("list executions: %w", err))
	}
	for i := range views {
		if i == limit || views[i].Event == nil {
			return views[:i], true, nil
		}
	}
	return views, false, nil
}

func scanView(row pgx.CollectableRow) (execution.View, error) {
	var v execution.View
	var nominal, start, end, wake *time.Time
	var failure []byte
	err := row.Scan((*[16]byte)(&v.ID), (*[16]byte)(&v.WorkflowID), &v.Revision, &v.State, &v.Attempt,
		&v.Cause.Kind, &v.Cause.ID, &v.Cause.Type, &v.Cause.Source, &nominal,
		&v.CreateTime, &start, &end, &wake, &failure, &v.Event)
	if err != nil {
		return v, err
	}
	v.Cause.NominalTime, v.StartTime, v.EndTime, v.WakeTime = value(nominal), value(start), value(end), value(wake)
	v.Err, err = parseError(failure)
	return v, err
}

func value(t *time.Time) time.Time {
	if t == nil {
		return time.Time{}
	}
	return *t
}
