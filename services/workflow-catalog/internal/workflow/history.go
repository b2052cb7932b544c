package workflow

import "time"

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

// DraftInfo is what there is to know of a draft beside its configuration.
type DraftInfo struct {
	// BaseRevision is the revision that was live when the draft was begun or last rebased.
	BaseRevision int32
	UpdateTime   time.Time
	UpdateUser   string
}
