package execution

import (
	"crypto/rand"
	"crypto/sha256"
	"time"

	"workflow.uniconnect/pkg/fault"
)

// DefaultKeyTTL is how long a start key blocks when the starter does not say.
const DefaultKeyTTL = 7 * 24 * time.Hour

// MaxEventBytes bounds the event of a start: a payload of 1 MiB and the attributes around it.
const MaxEventBytes = 1<<20 + 8<<10

// The reasons that a start may be refused for.
const (
	ReasonUnstorable      fault.Reason = "UNSTORABLE"
	ReasonWorkflowDeleted fault.Reason = "WORKFLOW_DELETED"
)

// Key identifies (workflow, what started it): 128 bits of a hash.
type Key [16]byte

// ManualKey returns the start key of a manual run. Without a request id every run is its own.
func ManualKey(workflow WorkflowID, requestID string) Key {
	var key Key
	if requestID == "" {
		_, _ = rand.Read(key[:])
		return key
	}
	h := sha256.New()
	h.Write(workflow[:])
	h.Write([]byte("\x00manual\x00"))
	h.Write([]byte(requestID))
	copy(key[:], h.Sum(nil))
	return key
}

// Start asks for one execution.
type Start struct {
	Tenant     string
	WorkflowID WorkflowID
	Revision   int32
	Key        Key
	KeyTTL     time.Duration
	// PublishTime is when what started it was published; zero means now.
	PublishTime time.Time
	Cause       Cause
	// Event is what expressions see as `event`: a JSON object in valid UTF-8.
	Event       []byte
	Traceparent string
}

// Outcome is how a start was settled. The numbers are stored and are those of the proto enum.
type Outcome int16

// The outcomes.
const (
	Started   Outcome = 1
	Duplicate Outcome = 2
	Skipped   Outcome = 3
	Refused   Outcome = 4
)

// Verdict is the answer to a start.
type Verdict struct {
	Outcome Outcome
	// ID is the new execution, or the one that won before.
	ID ID
	// Reason says why a start was skipped or refused.
	Reason fault.Reason
	// Retryable says that asking again may be answered otherwise.
	Retryable bool
}

// Accept is a start on its way into the store.
type Accept struct {
	Start
	ID ID
	// Owned says that the accepting process has a slot for it and runs it at once.
	Owned bool
}
