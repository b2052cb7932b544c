package postgres

import (
	"context"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"

	"workflow.uniconnect/services/workflow-catalog/internal/workflow"
)

const selectBackup = `
SELECT id, name, revision, create_time, create_user FROM backups WHERE tenant = $1 AND workflow_id = $2 AND id = $3`

// Backup returns a backup.
func (s *Store) Backup(ctx context.Context, tenant workflow.Tenant, id workflow.ID, backup workflow.BackupID) (workflow.Backup, error) {
	b, err := readBackup(s.of(tenant).QueryRow(ctx, selectBackup, tenant, id, backup))
	if errors.Is(err, pgx.ErrNoRows) {
		return workflow.Backup{}, s.missing(ctx, tenant, id, workflow.ErrBackupNotFound)
	}
	return b, wrap("get backup", err)
}

const selectBackups = `
SELECT id, name, revision, create_time, create_user FROM backups
WHERE tenant = $1 AND workflow_id = $2 AND (create_time, id) < (coalesce($3::timestamptz, 'infinity'), $4::uuid)
ORDER BY create_time DESC, id DESC LIMIT $5`

// Backups returns backups before another, newest first.
func (s *Store) Backups(ctx context.Context, tenant workflow.Tenant, id workflow.ID, before *workflow.Backup, limit int) ([]workflow.Backup, error) {
	var at *time.Time
	last := workflow.BackupID(firstID)
	if before != nil {
		at, last = &before.CreateTime, before.ID
	}
	rows, err := s.of(tenant).Query(ctx, selectBackups, tenant, id, at, last, limit)
	if err != nil {
		return nil, wrap("list backups", err)
	}
	found, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (workflow.Backup, error) { return readBackup(row) })
	return found, wrap("list backups", err)
}

func readBackup(row pgx.Row) (workflow.Backup, error) {
	var b workflow.Backup
	err := row.Scan(&b.ID, &b.Name, &b.Revision, &b.CreateTime, &b.CreateUser)
	return b, err
}

const insertBackup = `
INSERT INTO backups (tenant, workflow_id, id, name, revision, create_time, create_user)
VALUES ($1, $2, $3, $4, $5, clock_timestamp(), $6) RETURNING create_time`

// AddBackup adds a backup of the workflow's revision. Backups of a workflow are made one after the other, so their times rise.
func (s *Store) AddBackup(ctx context.Context, call workflow.Call, w workflow.Workflow, b workflow.Backup) (workflow.Backup, error) {
	err := s.inTenant(ctx, w.Tenant, "add backup", func(tx pgx.Tx) error {
		if err := beginNote(ctx, tx, call, w); err != nil {
			return err
		}
		row := tx.QueryRow(ctx, insertBackup, w.Tenant, w.ID, b.ID, b.Name, b.Revision, b.CreateUser)
		if err := row.Scan(&b.CreateTime); err != nil {
			return err
		}
		return finishNote(ctx, tx, call, w, noted{after: w.Config.Hash, answer: b})
	})
	return b, err
}

const deleteBackup = `
DELETE FROM backups b USING revisions r
WHERE b.tenant = $1 AND b.workflow_id = $2 AND b.id = $3
  AND r.tenant = b.tenant AND r.workflow_id = b.workflow_id AND r.revision = b.revision
RETURNING r.hash`

// DropBackup removes a backup.
func (s *Store) DropBackup(ctx context.Context, call workflow.Call, w workflow.Workflow, backup workflow.BackupID) error {
	return s.inTenant(ctx, w.Tenant, "drop backup", func(tx pgx.Tx) error {
		if err := beginNote(ctx, tx, call, w); err != nil {
			return err
		}
		n := noted{answer: workflow.Nothing{}}
		err := tx.QueryRow(ctx, deleteBackup, w.Tenant, w.ID, backup).Scan(&n.before)
		if errors.Is(err, pgx.ErrNoRows) {
			return workflow.ErrBackupNotFound
		}
		if err != nil {
			return err
		}
		return finishNote(ctx, tx, call, w, n)
	})
}

const selectSource = `
SELECT EXISTS (SELECT FROM backups WHERE tenant = $1 AND workflow_id = $2 AND id = $3),
       coalesce((SELECT id = $3 FROM backups WHERE tenant = $1 AND workflow_id = $2 ORDER BY create_time DESC, id DESC LIMIT 1), false)`

// checkSource answers ErrStale when the backup that a change returns to is gone, or is no longer the last although it must be.
func checkSource(ctx context.Context, tx pgx.Tx, change workflow.Change) error {
	if change.Source == nil {
		return nil
	}
	var there, last bool
	w := &change.Before
	if err := tx.QueryRow(ctx, selectSource, w.Tenant, w.ID, change.Source.ID).Scan(&there, &last); err != nil {
		return err
	}
	if !there || change.Origin == workflow.Reset && !last {
		return workflow.ErrStale
	}
	return nil
}
