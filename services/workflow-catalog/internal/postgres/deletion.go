package postgres

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"workflow.uniconnect/pkg/faultpoint"
	"workflow.uniconnect/services/workflow-catalog/internal/audit"
	"workflow.uniconnect/services/workflow-catalog/internal/deletion"
	"workflow.uniconnect/services/workflow-catalog/internal/workflow"
)

const claimDeletions = `
UPDATE workflows w
SET finalize_at = clock_timestamp() + make_interval(secs => $2), finalize_attempts = finalize_attempts + 1
FROM (
    SELECT tenant, id FROM workflows
    WHERE state = 3 AND finalize_at <= clock_timestamp()
    ORDER BY finalize_at LIMIT $1
    FOR UPDATE SKIP LOCKED
) due
WHERE w.tenant = due.tenant AND w.id = due.id
RETURNING w.tenant, w.id, w.finalize_attempts, w.finalize_failures`

// Claim returns deletions that are due and keeps them from others for the lease.
func (s *Store) Claim(ctx context.Context, limit int, lease time.Duration) ([]deletion.Deletion, error) {
	rows, err := s.pool.Query(ctx, claimDeletions, limit, lease.Seconds())
	if err != nil {
		return nil, wrap("claim deletions", err)
	}
	claimed, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (deletion.Deletion, error) {
		var d deletion.Deletion
		err := row.Scan(&d.Tenant, &d.ID, &d.Attempt, &d.Failures)
		return d, err
	})
	return claimed, wrap("claim deletions", err)
}

const releaseDeletion = `
UPDATE workflows SET finalize_at = clock_timestamp() + make_interval(secs => $4), finalize_failures = $5
WHERE tenant = $1 AND id = $2 AND state = 3 AND finalize_attempts = $3`

// Release makes a deletion due after a while, unless it was claimed again since.
func (s *Store) Release(ctx context.Context, d deletion.Deletion, after time.Duration) error {
	_, err := s.pool.Exec(ctx, releaseDeletion, d.Tenant, d.ID, d.Attempt, after.Seconds(), d.Failures)
	return wrap("release deletion", err)
}

const (
	lockDeleting = `
SELECT w.version, w.update_user, r.hash FROM workflows w
JOIN revisions r ON r.tenant = w.tenant AND r.workflow_id = w.id AND r.revision = w.revision
WHERE w.tenant = $1 AND w.id = $2 AND w.state = 3 FOR UPDATE OF w`
	// Backups go with their revisions, the draft and the calls from and to the workflow with its row.
	deleteRevisions = `DELETE FROM revisions WHERE tenant = $1 AND workflow_id = $2`
	deleteWorkflow  = `DELETE FROM workflows WHERE tenant = $1 AND id = $2`
	deleteChanges   = `DELETE FROM changes WHERE tenant = $1 AND workflow_id = $2`
	forgetAnswers   = `UPDATE requests SET workflow_id = NULL, answer = NULL WHERE tenant = $1 AND workflow_id = $2`
	insertTombstone = `
INSERT INTO tombstones (tenant, workflow_id, at, seq)
VALUES ($1, $2, clock_timestamp(), nextval(pg_get_serial_sequence('changes', 'seq')))
ON CONFLICT (tenant, workflow_id) DO NOTHING`
)

// What there may be very much of goes first, a part at a time, so that the removal itself stays within the time that a statement has. They do
// nothing for a workflow that is not on its way out, and leave the revision that the removal looks at, and the change by which watchers that
// are behind learn that the workflow is on its way out.
const (
	trimBackups = `
DELETE FROM backups WHERE (tenant, workflow_id, id) IN (
    SELECT b.tenant, b.workflow_id, b.id FROM backups b
    JOIN workflows w ON w.tenant = b.tenant AND w.id = b.workflow_id AND w.state = 3
    WHERE b.tenant = $1 AND b.workflow_id = $2 LIMIT $3)`
	trimRevisions = `
DELETE FROM revisions WHERE (tenant, workflow_id, revision) IN (
    SELECT r.tenant, r.workflow_id, r.revision FROM revisions r
    JOIN workflows w ON w.tenant = r.tenant AND w.id = r.workflow_id AND w.state = 3 AND w.revision <> r.revision
    WHERE r.tenant = $1 AND r.workflow_id = $2 LIMIT $3)`
	trimChanges = `
DELETE FROM changes WHERE seq IN (
    SELECT c.seq FROM changes c
    JOIN workflows w ON w.tenant = c.tenant AND w.id = c.workflow_id AND w.state = 3
    WHERE c.tenant = $1 AND c.workflow_id = $2 AND c.seq < (SELECT max(seq) FROM changes WHERE tenant = $1 AND workflow_id = $2)
    ORDER BY c.seq LIMIT $3)`

	trimBatch = 1000
)

func (s *Store) trim(ctx context.Context, d deletion.Deletion) error {
	for _, query := range []string{trimBackups, trimRevisions, trimChanges} {
		for {
			tag, err := s.pool.Exec(ctx, query, d.Tenant, d.ID, trimBatch)
			if err != nil {
				return wrap("trim a workflow on its way out", err)
			}
			if tag.RowsAffected() < trimBatch {
				break
			}
		}
	}
	return nil
}

// auditDeleted is the action of the line that says that everything is gone.
const auditDeleted = "WorkflowDeleted"

// Remove removes the workflow and all that the catalog has of it. When somebody else did so already it does nothing. The tombstone takes
// the place of the workflow's changes in the feed.
func (s *Store) Remove(ctx context.Context, d deletion.Deletion) error {
	if err := s.trim(ctx, d); err != nil {
		return err
	}
	err := s.inTx(ctx, "remove workflow", func(tx pgx.Tx) error {
		before := workflow.Workflow{State: workflow.Deleting}
		err := tx.QueryRow(ctx, lockDeleting, d.Tenant, d.ID).Scan(&before.Version, &before.UpdateUser, &before.Config.Hash)
		if errors.Is(err, pgx.ErrNoRows) {
			return nil
		}
		if err != nil {
			return err
		}
		// Whoever writes to the feed or answers a request holds the workflow's row, so by now all of them have committed, and nobody can any
		// more. Only the number of the removal needs the feed's lock.
		if err := removeRows(ctx, tx, d, deleteRevisions, deleteWorkflow, deleteChanges, forgetAnswers); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, lockFeed, feedLock); err != nil {
			return fmt.Errorf("lock the feed: %w", err)
		}
		if err := removeRows(ctx, tx, d, insertTombstone); err != nil {
			return err
		}
		entry := audit.Entry{
			Tenant: d.Tenant, Actor: before.UpdateUser, Action: auditDeleted, WorkflowID: d.ID, Outcome: audit.OK,
			BeforeHash: before.Fingerprint(),
		}
		batch := &pgx.Batch{}
		writeAudit(batch, entry)
		if err := send(ctx, tx, batch); err != nil {
			return err
		}
		faultpoint.Hit("catalog.delete.removing")
		return nil
	})
	if err == nil {
		faultpoint.Hit("catalog.delete.removed")
	}
	return err
}

func removeRows(ctx context.Context, tx pgx.Tx, d deletion.Deletion, queries ...string) error {
	for _, query := range queries {
		if _, err := tx.Exec(ctx, query, d.Tenant, d.ID); err != nil {
			return err
		}
	}
	return nil
}

const countDeletions = `SELECT count(*) FROM workflows WHERE state = 3`

// Pending counts the deletions that are not finished.
func (s *Store) Pending(ctx context.Context) (int64, error) {
	var n int64
	err := s.pool.QueryRow(ctx, countDeletions).Scan(&n)
	return n, wrap("count deletions", err)
}
