package postgres

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"workflow.uniconnect/services/workflow-catalog/internal/workflow"
)

const insertRequest = `
INSERT INTO requests (tenant, request_id, method, hash) VALUES ($1, $2, $3, $4)
ON CONFLICT (tenant, request_id) DO NOTHING`

// claimRequest makes the request id the call's own until the end of the transaction. It is the first statement: a repetition that
// arrives meanwhile waits here, and then learns that there is an answer.
func claimRequest(batch *pgx.Batch, call workflow.Call) {
	if call.RequestID == "" {
		return
	}
	batch.Queue(insertRequest, call.Tenant, call.RequestID, call.Method, call.Hash).Exec(orElse(workflow.ErrRequestKnown))
}

// orElse answers an error when a statement has changed nothing.
func orElse(err error) func(pgconn.CommandTag) error {
	return func(tag pgconn.CommandTag) error {
		if tag.RowsAffected() == 0 {
			return err
		}
		return nil
	}
}

const updateRequest = `UPDATE requests SET workflow_id = $3, answer = $4 WHERE tenant = $1 AND request_id = $2`

// answerRequest keeps what the call is answered, which goes with the workflow that it tells of.
func answerRequest(batch *pgx.Batch, call workflow.Call, id workflow.ID, answer any) error {
	if call.RequestID == "" {
		return nil
	}
	body, err := json.Marshal(answer)
	if err != nil {
		return fmt.Errorf("encode the answer: %w", err)
	}
	var of *workflow.ID // NULL where it tells of none
	if id != "" {
		of = &id
	}
	batch.Queue(updateRequest, call.Tenant, call.RequestID, of, body)
	return nil
}

// The lock keeps the workflow from being changed, and removed, before the answer is where the removal finds it.
const lockVersion = `SELECT version FROM workflows WHERE tenant = $1 AND id = $2 AND version = $3 FOR SHARE`

// Remember keeps the answer of a call that changed nothing, or answers ErrStale when the workflow is not what the call found.
func (s *Store) Remember(ctx context.Context, call workflow.Call, w workflow.Workflow, answer any) error {
	if call.RequestID == "" {
		return nil
	}
	return s.inTenant(ctx, call.Tenant, "keep answer", func(tx pgx.Tx) error {
		batch := &pgx.Batch{}
		claimRequest(batch, call)
		batch.Queue(lockVersion, w.Tenant, w.ID, w.Version).QueryRow(locked)
		if err := answerRequest(batch, call, w.ID, answer); err != nil {
			return err
		}
		return send(ctx, tx, batch)
	})
}

// locked reads the answer of a query that locks a workflow at its version.
func locked(row pgx.Row) error {
	err := row.Scan(nil)
	if errors.Is(err, pgx.ErrNoRows) {
		return workflow.ErrStale
	}
	return err
}

const selectRequest = `
SELECT hash = $3 AND method = $4, answer FROM requests WHERE tenant = $1 AND request_id = $2`

// Replay returns what was answered to a request id.
func (s *Store) Replay(ctx context.Context, call workflow.Call) (workflow.Answer, bool, error) {
	var same bool
	var answer workflow.Answer
	err := s.of(call.Tenant).QueryRow(ctx, selectRequest, call.Tenant, call.RequestID, call.Hash, call.Method).Scan(&same, &answer.Body)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return workflow.Answer{}, false, nil
	case err != nil:
		return workflow.Answer{}, false, wrap("look up request id", err)
	case !same:
		return workflow.Answer{}, false, workflow.ErrRequestIDReused
	}
	answer.Gone = answer.Body == nil
	return answer, true, nil
}
