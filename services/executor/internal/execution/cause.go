package execution

import "time"

// CauseKind says what sort of thing started an execution. The numbers are stored.
type CauseKind int16

// The kinds of causes.
const (
	CauseEvent    CauseKind = 1
	CauseSchedule CauseKind = 2
	CauseManual   CauseKind = 3
	CauseParent   CauseKind = 4
)

// Cause is what started an execution. Which fields count follows from the kind.
type Cause struct {
	Kind CauseKind
	// ID is the event's id, or the id of the calling execution.
	ID string
	// Type is the event's type, or the path of the calling step.
	Type string
	// Source is the event's source, or the user who ran the workflow.
	Source string
	// NominalTime is when a schedule was due.
	NominalTime time.Time
}

// EventCause returns the cause of an execution started by an event.
func EventCause(id, eventType, source string) Cause {
	return Cause{Kind: CauseEvent, ID: id, Type: eventType, Source: source}
}

// ScheduleCause returns the cause of an execution started by a schedule.
func ScheduleCause(nominal time.Time) Cause {
	return Cause{Kind: CauseSchedule, NominalTime: nominal}
}

// ManualCause returns the cause of an execution started by hand.
func ManualCause(user string) Cause { return Cause{Kind: CauseManual, Source: user} }

// ParentCause returns the cause of an execution started by a step of another.
func ParentCause(executionID, step string) Cause {
	return Cause{Kind: CauseParent, ID: executionID, Type: step}
}
