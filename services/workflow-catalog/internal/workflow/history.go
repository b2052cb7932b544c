package workflow

import (
	"context"
	"time"
)

// Origin is what made a revision. The numbers are those of the contract.
type Origin int16

// The origins.
const (
	Created   Origin = 1
	Updated   Origin = 2
	Published Origin = 3
	Reset     Origin = 4
	Restored  Origin = 5
)

// Revision is one saved configuration of a workflow.
type Revision struct {
	Number     int32
	CreateTime time.Time
	CreateUser string
	Origin     Origin
	// Source is the revision whose configuration was taken over; 0 where there is none.
	Source int32
	Title  string
	// Live says whether it is the workflow's current one.
	Live bool
	// Config is empty in lists.
	Config Config
}

// BackupID identifies a backup: a UUIDv7 in its text form.
type BackupID string

// Backup keeps a revision, and with it a whole configuration.
type Backup struct {
	ID BackupID
	// Name is what people call it; they need not.
	Name       string
	Revision   int32
	CreateTime time.Time
	CreateUser string
}

// History stores what was saved and what is kept of it.
type History interface {
	// AtRevision returns the workflow as a revision has it; 0 is the current one.
	AtRevision(ctx context.Context, tenant Tenant, id ID, revision int32) (Workflow, error)
	// Revision returns a revision, or ErrRevisionNotFound.
	Revision(ctx context.Context, tenant Tenant, id ID, number int32) (Revision, error)
	// Revisions returns up to limit revisions before a number, newest first; 0 begins with the newest.
	Revisions(ctx context.Context, tenant Tenant, id ID, before int32, limit int) ([]Revision, error)
	// Backup returns a backup, or ErrBackupNotFound.
	Backup(ctx context.Context, tenant Tenant, id ID, backup BackupID) (Backup, error)
	// Backups returns up to limit backups before another, newest first; nil begins with the newest.
	Backups(ctx context.Context, tenant Tenant, id ID, before *Backup, limit int) ([]Backup, error)
	// AddBackup adds a backup of the workflow's revision, if w is still at its version.
	AddBackup(ctx context.Context, call Call, w Workflow, b Backup) (Backup, error)
	// DropBackup removes a backup, or answers ErrBackupNotFound.
	DropBackup(ctx context.Context, call Call, w Workflow, backup BackupID) error
}

// AtRevision returns a workflow as a revision has it; 0 is the current one.
func (c *Catalog) AtRevision(ctx context.Context, tenant Tenant, id ID, revision int32) (Workflow, error) {
	return c.deps.Store.AtRevision(ctx, tenant, id, revision)
}

// Revision returns a revision with its configuration.
func (c *Catalog) Revision(ctx context.Context, tenant Tenant, id ID, number int32) (Revision, error) {
	return c.deps.Store.Revision(ctx, tenant, id, number)
}

// Revisions returns up to limit revisions before a number, newest first, and whether there are more; 0 begins with the newest.
func (c *Catalog) Revisions(ctx context.Context, tenant Tenant, id ID, before int32, limit int) ([]Revision, bool, error) {
	found, err := c.deps.Store.Revisions(ctx, tenant, id, before, limit+1)
	if err == nil && len(found) == 0 {
		_, err = c.deps.Store.Get(ctx, tenant, id) // there may be no workflow
	}
	found, more := cut(found, limit)
	return found, more, err
}

// Backups returns up to limit backups before another, newest first, and whether there are more; nil begins with the newest.
func (c *Catalog) Backups(ctx context.Context, tenant Tenant, id ID, before *Backup, limit int) ([]Backup, bool, error) {
	found, err := c.deps.Store.Backups(ctx, tenant, id, before, limit+1)
	if err == nil && len(found) == 0 {
		_, err = c.deps.Store.Get(ctx, tenant, id) // there may be no workflow
	}
	found, more := cut(found, limit)
	return found, more, err
}

// cut makes a page of what was found, which is one more than asked for where there is more.
func cut[T any](found []T, limit int) ([]T, bool) {
	if len(found) > limit {
		return found[:limit], true
	}
	return found, false
}

// Backup keeps what is live under a name, which may be empty.
func (c *Catalog) Backup(ctx context.Context, call Call, id ID, name string) (Backup, error) {
	return once(ctx, c, call, func() (Backup, error) {
		backup, err := c.deps.NewID()
		if err != nil {
			return Backup{}, err
		}
		return race(func() (Backup, error) {
			current, err := c.open(ctx, call, Target{ID: id})
			if err != nil {
				return Backup{}, err
			}
			return c.deps.Store.AddBackup(ctx, call, current, Backup{
				ID: BackupID(backup), Name: name, Revision: current.Revision, CreateUser: call.Actor,
			})
		})
	})
}

// DeleteBackup removes a backup. The revision that it kept stays.
func (c *Catalog) DeleteBackup(ctx context.Context, call Call, id ID, backup BackupID) error {
	_, err := once(ctx, c, call, func() (Nothing, error) {
		return race(func() (Nothing, error) {
			current, err := c.open(ctx, call, Target{ID: id})
			if err != nil {
				return Nothing{}, err
			}
			return Nothing{}, c.deps.Store.DropBackup(ctx, call, current, backup)
		})
	})
	return err
}

// Reset returns the configuration to the last backup, as a new revision unless it is that already. State and draft stay.
func (c *Catalog) Reset(ctx context.Context, call Call, target Target, build Build) (Workflow, error) {
	return c.change(ctx, call, target, func(current Workflow) (Change, error) {
		if current.LastBackup == nil {
			return Change{}, errNoBackup
		}
		return c.returnTo(ctx, current, *current.LastBackup, Reset, build)
	})
}

// Restore returns the configuration to a chosen backup, as a new revision unless it is that already. State and draft stay.
func (c *Catalog) Restore(ctx context.Context, call Call, target Target, backup BackupID, build Build) (Workflow, error) {
	return c.change(ctx, call, target, func(current Workflow) (Change, error) {
		chosen, err := c.deps.Store.Backup(ctx, current.Tenant, current.ID, backup)
		if err != nil {
			return Change{}, err
		}
		return c.returnTo(ctx, current, chosen, Restored, build)
	})
}

func (c *Catalog) returnTo(ctx context.Context, current Workflow, b Backup, origin Origin, build Build) (Change, error) {
	kept, err := c.deps.Store.Revision(ctx, current.Tenant, current.ID, b.Revision)
	if err != nil {
		return Change{}, err
	}
	config, err := build(ctx, kept.Config)
	return Change{State: current.State, Config: &config, Origin: origin, Source: &b}, err
}
