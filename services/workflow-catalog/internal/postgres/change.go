package postgres

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"workflow.uniconnect/services/workflow-catalog/internal/workflow"
)

// feedLock is the advisory lock under which changes are numbered and timed. It is held until the commit has become visible, so numbers
// are given out in the order in which commits appear to readers. It is the last lock that a transaction takes: whoever holds it waits
// for nobody.
const feedLock int64 = 0x75635f66656564 // "uc_feed"

const lockFeed = `SELECT pg_advisory_xact_lock($1)`

// The time is read after the lock was granted: it rises with seq as far as the server's clock does, and it is before the answer.
const stampChange = `
WITH stamped AS (
    UPDATE workflows SET
        update_time = clock.at,
        create_time = CASE WHEN version = 1 THEN clock.at ELSE create_time END,
        active_since = CASE WHEN state = 2 THEN coalesce(active_since, clock.at) END
    FROM (SELECT clock_timestamp() AS at) clock
    WHERE tenant = $1 AND id = $2
    RETURNING tenant, id, revision, state, version, active_since, create_time, update_time, update_user
), fed AS (
    INSERT INTO changes (tenant, workflow_id, kind, revision, state, version, active_since, at, update_time, update_user)
    SELECT tenant, id, 1, revision, state, version, active_since, update_time, update_time, update_user FROM stamped
)
SELECT create_time, update_time, active_since FROM stamped`

const insertAudit = `
INSERT INTO audit_entries (tenant, at, actor, action, workflow_id, outcome, before_hash, after_hash, request_id)
VALUES ($1, coalesce($2::timestamptz, clock_timestamp()), $3, $4, $5, $6, $7, $8, $9)`

const outcomeOK = "OK"

// finishChange is the end of every change's transaction: it takes the feed's lock, gives w its times, and writes the feed, the audit
// and the answer.
func finishChange(ctx context.Context, tx pgx.Tx, call workflow.Call, before, w *workflow.Workflow) error {
	if _, err := tx.Exec(ctx, lockFeed, feedLock); err != nil {
		return fmt.Errorf("lock the feed: %w", err)
	}
	var activeSince *time.Time
	if err := tx.QueryRow(ctx, stampChange, w.Tenant, w.ID).Scan(&w.CreateTime, &w.UpdateTime, &activeSince); err != nil {
		return fmt.Errorf("write the feed: %w", err)
	}
	w.ActiveSince = time.Time{}
	if activeSince != nil {
		w.ActiveSince = *activeSince
	}
	var beforeHash []byte
	if before != nil {
		beforeHash = before.Fingerprint()
	}
	if _, err := tx.Exec(ctx, insertAudit, w.Tenant, w.UpdateTime, call.Actor, call.Method, w.ID, outcomeOK, beforeHash,
		w.Fingerprint(), call.RequestID); err != nil {
		return fmt.Errorf("write the audit: %w", err)
	}
	return answerRequest(ctx, tx, call, *w)
}

const insertRequest = `
INSERT INTO requests (tenant, request_id, method, hash) VALUES ($1, $2, $3, $4)
ON CONFLICT (tenant, request_id) DO NOTHING`

// claimRequest makes the request id the call's own until the end of the transaction. It is the first statement: a repetition that
// arrives meanwhile waits here, and then learns that there is an answer.
func claimRequest(ctx context.Context, tx pgx.Tx, call workflow.Call) error {
	if call.RequestID == "" {
		return nil
	}
	tag, err := tx.Exec(ctx, insertRequest, call.Tenant, call.RequestID, call.Method, call.Hash)
	if err != nil {
		return fmt.Errorf("claim the request id: %w", err)
	}
	if tag.RowsAffected() == 0 {
		return workflow.ErrRequestKnown
	}
	return nil
}

const updateRequest = `UPDATE requests SET workflow_id = $3, answer = $4 WHERE tenant = $1 AND request_id = $2`

func answerRequest(ctx context.Context, tx pgx.Tx, call workflow.Call, w workflow.Workflow) error {
	if call.RequestID == "" {
		return nil
	}
	answer, err := json.Marshal(w)
	if err != nil {
		return fmt.Errorf("encode the answer: %w", err)
	}
	if _, err := tx.Exec(ctx, updateRequest, call.Tenant, call.RequestID, w.ID, answer); err != nil {
		return fmt.Errorf("keep the answer: %w", err)
	}
	return nil
}

// The lock keeps the workflow from being changed, and removed, before the answer is where the removal finds it.
const lockVersion = `SELECT version FROM workflows WHERE tenant = $1 AND id = $2 AND version = $3 FOR SHARE`

// Remember keeps the answer of a call that changed nothing, or answers ErrStale when the workflow is not what the call found.
func (s *Store) Remember(ctx context.Context, call workflow.Call, w workflow.Workflow) error {
	if call.RequestID == "" {
		return nil
	}
	return s.inTx(ctx, "keep answer", func(tx pgx.Tx) error {
		if err := claimRequest(ctx, tx, call); err != nil {
			return err
		}
		err := tx.QueryRow(ctx, lockVersion, w.Tenant, w.ID, w.Version).Scan(nil)
		if errors.Is(err, pgx.ErrNoRows) {
			return workflow.ErrStale
		}
		if err != nil {
			return err
		}
		return answerRequest(ctx, tx, call, w)
	})
}

const selectRequest = `
SELECT method, hash = $3 AND method = $4, workflow_id, answer FROM requests WHERE tenant = $1 AND request_id = $2`

// Replay returns what was answered to a request id.
func (s *Store) Replay(ctx context.Context, call workflow.Call) (workflow.Answer, bool, error) {
	var method string
	var same bool
	var id *workflow.ID
	var stored []byte
	err := s.pool.QueryRow(ctx, selectRequest, call.Tenant, call.RequestID, call.Hash, call.Method).Scan(&method, &same, &id, &stored)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return workflow.Answer{}, false, nil
	case err != nil:
		return workflow.Answer{}, false, wrap("look up request id", err)
	case !same:
		return workflow.Answer{}, false, workflow.ErrRequestIDReused
	}
	if stored == nil {
		gone := workflow.Workflow{Tenant: call.Tenant}
		if id != nil {
			gone.ID = *id
		}
		if method == workflow.MethodDelete {
			gone.State = workflow.Deleting
		}
		return workflow.Answer{Workflow: gone, Gone: true}, true, nil
	}
	var answer workflow.Answer
	if err := json.Unmarshal(stored, &answer.Workflow); err != nil {
		return workflow.Answer{}, false, fmt.Errorf("decode the answer to a request: %w", err)
	}
	return answer, true, nil
}
