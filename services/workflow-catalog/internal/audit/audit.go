// Package audit owns the record of who changed what and who was refused. An entry is written once and never changed; it outlives what it
// speaks of and holds nothing of its content. Entries of changes are written by the change itself, in its transaction; entries of refusals
// by Refusals, since what is refused has none.
//
// A refusal is a call that would have changed something and was answered with an error that is the caller's to mend, and PERMISSION_DENIED
// for any method. Failures of ours, callers whom nobody knows, and what the gateway refuses by itself are not in the record. Where a call came
// from is what the gateway says, else the peer's address; whoever calls the service directly could say anything, so it proves nothing.
package audit

import (
	"context"
	"log/slog"
	"slices"
	"time"

	"workflow.uniconnect/pkg/fault"
	"workflow.uniconnect/services/workflow-catalog/internal/workflow"
)

// OK is the outcome of a change that was made.
const OK = "OK"

// Entry is one change or one refusal.
type Entry struct {
	Tenant workflow.Tenant
	// ID numbers a tenant's entries; the storage gives it.
	ID int64
	// At is when it happened; the storage knows when it is zero.
	At     time.Time
	Actor  string
	Action string
	// WorkflowID is empty where there is none.
	WorkflowID workflow.ID
	// Resource is what it is about where that is no workflow, as in `roles/{id}`.
	Resource string
	// Outcome is OK or the kind of the refusal, Reason its reason.
	Outcome, Reason string
	// Origin is the address that the call came from, UserAgent what the caller's program calls itself.
	Origin, UserAgent string
	// BeforeHash and AfterHash are fingerprints of what was changed.
	BeforeHash, AfterHash []byte
	RequestID             string
	// Note is what the caller said about it.
	Note string
}

// Field is what entries can be filtered by.
type Field uint8

// The fields.
const (
	Actor Field = iota
	Action
	WorkflowID
	Outcome
	Reason
	RequestID
	CreateTime
	Resource
)

// Relation compares a field with a value.
type Relation uint8

// The relations. Times know all but the first two, everything else those.
const (
	Is Relation = iota
	IsNot
	Before
	NotAfter
	After
	NotBefore
)

// Condition is something that an entry must be.
type Condition struct {
	Field    Field
	Relation Relation
	// Value is a text, or the id of a workflow; Time is that of CreateTime.
	Value string
	Time  time.Time
}

// Position is a place in the list of entries, which is sorted by time, newest first.
type Position struct {
	At time.Time
	ID int64
}

// Query asks for a page.
type Query struct {
	Conditions []Condition
	// After is where the page before ended; nil for the first.
	After *Position
	Limit int
}

// Log keeps entries.
type Log interface {
	// Append adds an entry.
	Append(ctx context.Context, entry Entry) error
	// Entries returns a tenant's entries, newest first.
	Entries(ctx context.Context, tenant workflow.Tenant, query Query) ([]Entry, error)
}

// appendTimeout bounds how long the answer to a refused call may wait for its entry.
const appendTimeout = time.Second

// Refusals writes down who was refused.
type Refusals struct {
	log    Log
	logger *slog.Logger
	lost   func(context.Context)
}

// NewRefusals returns Refusals; lost is called for each entry that could not be written.
func NewRefusals(log Log, logger *slog.Logger, lost func(context.Context)) *Refusals {
	return &Refusals{log: log, logger: logger, lost: lost}
}

// Record writes an entry about a call that was answered with an error, unless the error is none of the caller's doing. It returns when the
// entry is there, or after a while without: nobody is let in, or kept out, because the audit cannot be written.
func (r *Refusals) Record(ctx context.Context, entry Entry, err error) {
	f, ok := fault.As(err)
	if !ok || !refusal(f.Kind) {
		return
	}
	entry.Outcome, entry.Reason = f.Kind.String(), string(f.Reason)
	writing, cancel := context.WithTimeout(context.WithoutCancel(ctx), appendTimeout)
	defer cancel()
	if err := r.log.Append(writing, entry); err != nil {
		r.logger.ErrorContext(ctx, "a refusal is missing in the audit", "error", err, "tenant", entry.Tenant, "actor", entry.Actor,
			"action", entry.Action, "workflow_id", entry.WorkflowID, "outcome", entry.Outcome, "reason", entry.Reason)
		r.lost(ctx)
	}
}

// refusal reports whether a kind of error is a no, and not a failure of ours.
func refusal(k fault.Kind) bool {
	return slices.Contains([]fault.Kind{
		fault.KindInvalidArgument, fault.KindPermissionDenied, fault.KindNotFound, fault.KindAlreadyExists, fault.KindFailedPrecondition,
		fault.KindAborted, fault.KindResourceExhausted, fault.KindOutOfRange,
	}, k)
}
