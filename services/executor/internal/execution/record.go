package execution

import (
	"time"

	"workflow.uniconnect/services/executor/internal/run"
)

// Claimed is an execution that a process owns and may run.
type Claimed struct {
	ID         ID
	Tenant     string
	WorkflowID WorkflowID
	Revision   int32
	Epoch      int32
	Seq        int32
	// WakeTime is when it was due by the database's clock.
	WakeTime    time.Time
	CauseKind   CauseKind
	NominalTime time.Time
	Traceparent string
	Event       []byte
	// Journal holds the results recorded so far in the order they began.
	Journal []run.Result
	// Results counts what was recorded; the next result has this number.
	Results int32
}

// Record is what an owner writes about one execution in one flush.
type Record struct {
	Tenant string
	ID     ID
	Epoch  int32
	// Seq counts the records of an execution. After a lost connection it tells whether a record was stored.
	Seq int32
	// State is StateKept while the execution goes on, else where it stands now.
	State run.ExecState
	// WakeTime is when a waiting execution goes on.
	WakeTime time.Time
	// StartTime is when the first step began, or zero while none has.
	StartTime time.Time
	Err       *run.Error
	Results   []run.Result
	// FirstResult is the number of Results[0] within the execution.
	FirstResult int32
	// Release hands the execution back without a change of state: claimable after RetryIn.
	Release bool
	RetryIn time.Duration
}

// StateKept as the state of a record leaves the stored state as it is.
const StateKept run.ExecState = 0

// Flushed is what became of a record.
type Flushed uint8

// The answers to a record.
const (
	// Lost: the execution belongs to somebody else by now, or is gone. Nothing was stored.
	Lost Flushed = iota
	// Stored: all of it is durable.
	Stored
	// Unstorable: the data of this record cannot be stored; the execution was ended as failed instead.
	Unstorable
)

// View is an execution as it is shown.
type View struct {
	ID         ID
	WorkflowID WorkflowID
	Revision   int32
	State      run.ExecState
	Cause      Cause
	Event      []byte
	Err        *run.Error
	Attempt    int32
	CreateTime time.Time
	StartTime  time.Time
	EndTime    time.Time
	WakeTime   time.Time
	Steps      []run.Result
}

// ClaimRequest says how much an owner may claim.
type ClaimRequest struct {
	// Limit is the number of free slots.
	Limit int
	// TenantLimit is how many slots one tenant may hold while another waits.
	TenantLimit int
	// Used holds the slots of each tenant that has any.
	Used map[string]int
	// Waiting names the tenants that wait for slots in memory: while others than a tenant wait, here or in the table, the limit applies.
	Waiting []string
}
