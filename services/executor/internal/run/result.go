package run

import (
	"encoding/json"
	"time"

	"workflow.uniconnect/pkg/fault"
)

const (
	// maxOutput bounds what one step may leave behind, in bytes of JSON, and maxOutputs what all steps of a run may together: whoever runs
	// it holds that in memory, and one flush may carry most of it.
	maxOutput  = 256 << 10
	maxOutputs = 8 << 20
)

// StepState is where a step stands. The numbers are those of the contract's StepResult.State; they are stored.
type StepState int8

// The states of a step.
const (
	StepRunning StepState = iota + 1
	StepWaiting
	StepSucceeded
	StepFailed
	StepSkipped
	StepCancelled
)

// ExecState is where a run stands. The numbers are those of the contract's Execution.State; they are stored.
type ExecState int8

// The states of a run.
const (
	Queued ExecState = iota + 1
	Running
	Waiting
	Succeeded
	Failed
	Cancelled
)

// Terminal reports whether a run in this state has ended.
func (s ExecState) Terminal() bool { return s >= Succeeded }

// Error says what went wrong, for people and programs.
type Error struct {
	Reason  fault.Reason
	Message string
	StepID  string
	// Retryable means that another attempt might succeed.
	Retryable bool
}

// Result is what one attempt of a step did. A waiting delay's Result is replaced by its final one, with the same path and attempt.
type Result struct {
	Path    string
	StepID  string
	Attempt int
	State   StepState

	StartTime time.Time
	EndTime   time.Time
	// WakeTime is when a waiting step goes on. On a failed attempt it is when the next one begins; zero means that none follows.
	WakeTime time.Time

	Output json.RawMessage
	Err    *Error
}

// Outcome is what a Call came to.
type Outcome struct {
	Output json.RawMessage
	// Err is nil when the call succeeded.
	Err *Error
	// RetryAfter is what the target asked for; 0 means nothing.
	RetryAfter time.Duration
	StartTime  time.Time
	EndTime    time.Time
}

// CommandKind is what comes next in a run.
type CommandKind int8

// The kinds of Command.
const (
	// CommandCall asks for the action in Command.Call; its outcome goes to Done.
	CommandCall CommandKind = iota + 1
	// CommandWait lets go of the run until Command.Until.
	CommandWait
	// CommandEnd means that the run has ended in Command.State.
	CommandEnd
)

// Command is what comes next in a run.
type Command struct {
	Kind  CommandKind
	Call  Call
	Until time.Time
	State ExecState
	// Err is set when State is Failed.
	Err *Error
}

// Call is one attempt of an action.
type Call struct {
	Path       string
	StepID     string
	Action     string
	Connection string
	// Params is JSON data with every expression filled in. It must not be changed.
	Params  map[string]any
	Attempt int
	// IdempotencyKey is the same for all attempts of the step.
	IdempotencyKey string
	Timeout        time.Duration

	node *node
}
