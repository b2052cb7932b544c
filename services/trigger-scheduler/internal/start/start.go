// Package start owns the request to run a workflow: its key, which makes a repeat of any kind get the first answer again, and how it is
// answered. It does not know how a request travels.
package start

import (
	"crypto/sha256"
	"encoding/binary"
	"time"

	"workflow.uniconnect/pkg/fault"
	"workflow.uniconnect/services/trigger-scheduler/internal/event"
)

// How long a key blocks.
const (
	// DefaultTTL is longer than the stream keeps an event, so that no redelivery finds its key gone.
	DefaultTTL = 7 * 24 * time.Hour
	// DefaultWindow is the dedupe window of a trigger that names none.
	DefaultWindow = 24 * time.Hour
)

// WorkflowID identifies a workflow within its tenant.
type WorkflowID string

// Key identifies (workflow, what started it): 128 bits of SHA-256.
type Key [16]byte

// The kinds of cause, which keep their keys apart.
const (
	kindEvent    byte = 1
	kindStream   byte = 2
	kindDedupe   byte = 3
	keyNamespace      = "uniconnect.workflow.start.v1"
)

// EventKey is the key of a workflow's start by an event. An event without an id of its own is a new one each time it is published, so its
// place in the stream identifies it; the time beside the sequence tells streams apart when one had to be made anew.
func EventKey(workflow WorkflowID, ev *event.Event) Key {
	if ev.FromStream {
		var at [16]byte
		binary.BigEndian.PutUint64(at[:8], ev.Sequence)
		binary.BigEndian.PutUint64(at[8:], uint64(ev.Published.UnixNano()))
		return newKey(kindStream, string(workflow), string(at[:]))
	}
	return newKey(kindEvent, string(workflow), ev.Source, ev.ID)
}

// DedupeKey is the key of a workflow's start by an event with a value of the workflow's dedupe key. value is JSON, so that the text "1" and
// the number 1 differ.
func DedupeKey(workflow WorkflowID, value []byte) Key {
	return newKey(kindDedupe, string(workflow), string(value))
}

// newKey hashes the parts, each with its length before it: no two lists of parts have the same bytes.
func newKey(kind byte, parts ...string) Key {
	var buf [512]byte
	b := append(buf[:0], keyNamespace...)
	b = append(b, kind)
	for _, part := range parts {
		b = binary.BigEndian.AppendUint32(b, uint32(len(part)))
		b = append(b, part...)
	}
	sum := sha256.Sum256(b)
	return Key(sum[:16])
}

// Start asks for one run.
type Start struct {
	Tenant   event.Tenant
	Workflow WorkflowID
	Revision int32
	Key      Key
	// TTL is how long Key blocks.
	TTL time.Duration
	// Event is what started it.
	Event *event.Event
	// Traceparent is the trace to go on with; it may be empty.
	Traceparent string
}

// Outcome is how a start was settled.
type Outcome string

// The outcomes, spelled as the contract does.
const (
	Started   Outcome = "STARTED"
	Duplicate Outcome = "DUPLICATE"
	Skipped   Outcome = "SKIPPED"
	Refused   Outcome = "REFUSED"
)

// ReasonWorkflowDeleted is the reason of a refusal that concerns no event: there is no workflow to start any more.
const ReasonWorkflowDeleted fault.Reason = "WORKFLOW_DELETED"

// Result is the answer to a Start.
type Result struct {
	Outcome     Outcome
	ExecutionID string
	// Reason tells why a start was skipped or refused.
	Reason fault.Reason
	// Retryable says that the same start may have another answer later.
	Retryable bool
}
