package postgres

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"workflow.uniconnect/pkg/fault"
	"workflow.uniconnect/services/workflow-catalog/internal/workflow"
)

// callsLock is the class of the advisory locks under which the calls of a tenant change: two saves that would close a circle together must
// see one another. Only a configuration that calls something takes it, and before the feed's lock.
const callsLock int32 = 0x75630001

const (
	lockCalls   = `SELECT pg_advisory_xact_lock($1, hashtext($2))`
	deleteCalls = `DELETE FROM workflow_calls WHERE tenant = $1 AND caller = $2 AND callee <> ALL ($3::uuid[])`
	insertCalls = `
INSERT INTO workflow_calls (tenant, caller, callee) SELECT $1, $2, callee FROM unnest($3::uuid[]) AS c (callee)
ON CONFLICT (tenant, caller, callee) DO NOTHING`
)

// saveCalls makes the calls of the configuration that is being saved those of the workflow, or answers what is wrong with them. The
// workflows that are called stay until the end of the transaction, so that none is removed before the removal can find the call.
func saveCalls(ctx context.Context, p pipeline, w *workflow.Workflow) error {
	callees := workflow.Callees(w.Config.Calls)
	if len(callees) > 0 {
		p.batch.Queue(lockCalls, callsLock, w.Tenant)
		p.batch.Queue(holdCallees, w.Tenant, callees)
		if err := send(ctx, p.tx, p.batch); err != nil {
			return fmt.Errorf("hold the workflows that are called: %w", err)
		}
		*p.batch = pgx.Batch{}
		found, err := checkCalls(ctx, p.tx, w.Tenant, w.ID, w.Config)
		if err != nil {
			return err
		}
		if err := fault.Check(found...); err != nil {
			return err
		}
	}
	if w.Revision > 1 {
		p.batch.Queue(deleteCalls, w.Tenant, w.ID, callees)
	}
	if len(callees) > 0 {
		p.batch.Queue(insertCalls, w.Tenant, w.ID, callees)
	}
	return nil
}

const holdCallees = `SELECT FROM workflows WHERE tenant = $1 AND id = ANY ($2::uuid[]) ORDER BY id FOR KEY SHARE`

// selectCalls returns the workflows that are called and exist, with whom they call, directly and indirectly. One that is being deleted
// runs no more, so it neither counts as existing nor leads anywhere. UNION keeps each call once, so that it ends however many ways there
// are.
const selectCalls = `
WITH RECURSIVE reached (caller, title, callee) AS (
    SELECT w.id, w.title, c.callee
    FROM workflows w LEFT JOIN workflow_calls c ON c.tenant = w.tenant AND c.caller = w.id
    WHERE w.tenant = $1 AND w.id = ANY ($2::uuid[]) AND w.state <> 3
    UNION
    SELECT w.id, w.title, c.callee
    FROM reached r
    JOIN workflows w ON w.tenant = $1 AND w.id = r.callee AND w.state <> 3
    LEFT JOIN workflow_calls c ON c.tenant = $1 AND c.caller = w.id
)
SELECT caller, title, callee FROM reached ORDER BY caller, callee`

type querier interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
}

// CheckCalls finds what is wrong with the calls of a configuration as things are now. What is saved is checked again in its transaction.
func (s *Store) CheckCalls(ctx context.Context, tenant workflow.Tenant, caller workflow.ID, config workflow.Config) ([]fault.Violation, error) {
	if len(config.Calls) == 0 {
		return nil, nil
	}
	found, err := checkCalls(ctx, s.of(tenant), tenant, caller, config)
	return found, wrap("check calls", err)
}

func checkCalls(ctx context.Context, q querier, tenant workflow.Tenant, caller workflow.ID, config workflow.Config) ([]fault.Violation, error) {
	rows, err := q.Query(ctx, selectCalls, tenant, workflow.Callees(config.Calls))
	if err != nil {
		return nil, fmt.Errorf("read calls: %w", err)
	}
	graph := workflow.CallGraph{Callees: make(map[workflow.ID][]workflow.ID), Titles: make(map[workflow.ID]string)}
	var from workflow.ID
	var to *workflow.ID
	var title string
	_, err = pgx.ForEachRow(rows, []any{&from, &title, &to}, func() error {
		graph.Titles[from] = title
		called := graph.Callees[from]
		if to != nil {
			called = append(called, *to)
		}
		graph.Callees[from] = called
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read calls: %w", err)
	}
	return workflow.CheckCalls(caller, config.Title, config.Calls, graph), nil
}
