// Package feed hands the change feed of workflows to any number of watchers.
//
// A watcher may ask for the changes of one topic, which is a tenant, alone: then it is not even woken by those of others.
//
// Changes are numbered in the order of their commits (the storage sees to that), so a watcher's whole state is one number: the last one
// it has seen. One Hub per process polls the storage and keeps the newest changes in memory; watchers read from there at their own
// pace. A thousand watchers cost no query, a slow one costs the others nothing, and one that has fallen out of memory reads from
// the storage itself. The poll is what finds the commits of other replicas; commits of this process wake it at once.
//
// A poll that finds nothing is worth as much as one that finds something: it proves that nothing committed before it began is
// missing. That time travels with every batch, and while the database is away it stands still.
package feed

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"workflow.uniconnect/services/workflow-catalog/internal/workflow"
)

// Seq numbers changes in the order of their commits.
type Seq int64

// Kind tells changes apart by whom they concern.
type Kind int16

// The kinds.
const (
	// Definition is a change of configuration or state.
	Definition Kind = 1
	// Annotation is a change of what is beside them: a backup, a draft.
	Annotation Kind = 2
	// Gate is a change of whether anything of a tenant starts. It is of no workflow: ID is empty, and Gate says what the gate is.
	Gate Kind = 3
)

// GateState is what a tenant's gate is.
type GateState int16

// The states of a gate.
const (
	Closed GateState = 1
	Opened GateState = 2
	// Gone is closed for good: the tenant is on its way out.
	Gone GateState = 3
)

// Change is one change as watchers need it: what the workflow was after it. Backup and draft are those of when the change was read.
type Change struct {
	Seq      Seq
	Kind     Kind
	Tenant   workflow.Tenant
	ID       workflow.ID
	Title    string
	Revision int32
	State    workflow.State
	Version  int64
	// Gate is set for the kind Gate.
	Gate GateState
	// Gone says that nothing is left of the workflow by now.
	Gone bool
	// At is when it took effect; ActiveSince is when the workflow last became ACTIVE.
	At, ActiveSince time.Time
	// Trigger and DateRange are parts of the configuration as JSON; empty when not set, or when the workflow is gone.
	Trigger, DateRange json.RawMessage
	HasSteps           bool
	// TimeZone is the tenant's.
	TimeZone string

	// What follows is for people to see, and not part of a snapshot.

	Description            string
	CreateTime, UpdateTime time.Time
	CreateUser, UpdateUser string
	LastBackup             *workflow.Backup
	Draft                  *workflow.DraftInfo
}

// Window is what one read of the feed saw.
type Window struct {
	// Feed identifies the feed; numbers of another feed mean nothing here.
	Feed string
	// Floor is up to where changes may have been dropped, Newest the last change there is.
	Floor, Newest Seq
	// AsOf is a time of the database before the read: every change committed by then was visible to it.
	AsOf time.Time
}

// Source reads the stored feed.
type Source interface {
	// Changes returns up to limit changes after a number, in order.
	Changes(ctx context.Context, after Seq, limit int) (Window, []Change, error)
}

// ErrBehind says that a watcher is further back than the Hub remembers: it has to read from the storage.
var ErrBehind = errors.New("watcher is behind the hub's memory")

// ErrStopped says that the Hub has ended.
var ErrStopped = errors.New("hub has stopped")
