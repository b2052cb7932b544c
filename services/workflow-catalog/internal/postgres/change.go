package postgres

import (
	"context"
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

// The time is read after the lock was granted: it rises with seq as far as the server's clock does, and it is before the answer. What is
// kept beside the workflow cannot change before the commit, because that takes the lock on the workflow's row.
const stampChange = `
WITH stamped AS (
    UPDATE workflows SET
        update_time = clock.at,
        create_time = CASE WHEN version = 1 THEN clock.at ELSE create_time END,
        active_since = CASE WHEN state = 2 THEN coalesce(active_since, clock.at) END,
        trigger_type = $3, event_type = $4, title_key = $5, terms = array_to_tsvector($6::text[]), listed_version = version
    FROM (SELECT clock_timestamp() AS at) clock
    WHERE tenant = $1 AND id = $2
    RETURNING tenant, id, revision, state, version, active_since, create_time, update_time, update_user
), fed AS (
    INSERT INTO changes (tenant, workflow_id, kind, revision, state, version, active_since, at, update_time, update_user)
    SELECT tenant, id, 1, revision, state, version, active_since, update_time, update_time, update_user FROM stamped
)
SELECT w.create_time, w.update_time, w.active_since, ` + annotationColumns + ` FROM stamped w` + annotationJoins

// pipeline is a transaction with the statements that are to be sent to it next, in one exchange with the server.
type pipeline struct {
	tx    pgx.Tx
	batch *pgx.Batch
}

// finishChange is the end of every change's transaction, behind the statements of a batch: it takes the feed's lock, gives w its times and
// what is kept beside it, and writes the feed, the audit and the answer.
func finishChange(ctx context.Context, p pipeline, call workflow.Call, before, w *workflow.Workflow) error {
	l, err := listedOf(w)
	if err != nil {
		return err
	}
	var activeSince *time.Time
	var notes annotations
	p.batch.Queue(planOnce)
	p.batch.Queue(lockFeed, feedLock)
	p.batch.Queue(stampChange, w.Tenant, w.ID, l.trigger, l.eventType, l.titleKey, l.terms).QueryRow(func(row pgx.Row) error {
		return row.Scan(append([]any{&w.CreateTime, &w.UpdateTime, &activeSince}, notes.targets()...)...)
	})
	if err := send(ctx, p.tx, p.batch); err != nil {
		return err
	}
	w.ActiveSince = deref(activeSince)
	w.LastBackup, w.Draft = notes.backup(), notes.draft()
	entry := entryOf(call, w.ID)
	entry.At, entry.AfterHash = w.UpdateTime, w.Fingerprint()
	if before != nil {
		entry.BeforeHash = before.Fingerprint()
	}
	batch := &pgx.Batch{}
	writeAudit(batch, entry)
	if err := answerRequest(batch, call, w.ID, call.AnswerTo(*w)); err != nil {
		return err
	}
	return send(ctx, p.tx, batch)
}

// noteLock keeps a workflow from being changed, removed, or given another backup or draft, until the end of the transaction.
const noteLock = `SELECT version FROM workflows WHERE tenant = $1 AND id = $2 AND version = $3 AND state <> 3 FOR NO KEY UPDATE`

// beginNote is the beginning of every transaction that changes what is kept beside a workflow.
func beginNote(ctx context.Context, tx pgx.Tx, call workflow.Call, w workflow.Workflow) error {
	batch := &pgx.Batch{}
	claimRequest(batch, call)
	batch.Queue(noteLock, w.Tenant, w.ID, w.Version).QueryRow(locked)
	return send(ctx, tx, batch)
}

// noted is what a change beside a workflow leaves: for the audit hashes of what there was and of what there is, and its answer.
type noted struct {
	before, after []byte
	answer        any
}

// finishNote is the end of every transaction that began with beginNote: it writes the audit, the answer and the feed.
func finishNote(ctx context.Context, tx pgx.Tx, call workflow.Call, w workflow.Workflow, n noted) error {
	entry := entryOf(call, w.ID)
	entry.BeforeHash, entry.AfterHash = n.before, n.after
	batch := &pgx.Batch{}
	writeAudit(batch, entry)
	if err := answerRequest(batch, call, w.ID, n.answer); err != nil {
		return err
	}
	if err := send(ctx, tx, batch); err != nil {
		return err
	}
	_, err := annotate(ctx, tx, w.Tenant, w.ID)
	return err
}

const selectNotes = `SELECT ` + annotationColumns + ` FROM (SELECT $1::text AS tenant, $2::uuid AS id) w` + annotationJoins

// readNotes gives w what is kept beside it now.
func readNotes(ctx context.Context, tx pgx.Tx, w *workflow.Workflow) error {
	var notes annotations
	if err := tx.QueryRow(ctx, selectNotes, w.Tenant, w.ID).Scan(notes.targets()...); err != nil {
		return fmt.Errorf("read what is kept beside the workflow: %w", err)
	}
	w.LastBackup, w.Draft = notes.backup(), notes.draft()
	return nil
}
