// Package action owns what a workflow's Action step can do: the action types, the JSON Schema of their parameters and outputs, and the
// check of parameters when a workflow is saved and again when its templates are filled in. How an action reaches the outside is the
// business of the adapters that implement Handler.
package action

import (
	"context"
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"time"

	"workflow.uniconnect/pkg/fault"
	"workflow.uniconnect/services/executor/internal/run"
)

// The reasons that actions give, beside those of package fault.
const (
	ReasonUnknownType        fault.Reason = "UNKNOWN_ACTION_TYPE"
	ReasonParams             fault.Reason = "ACTION_PARAMS"
	ReasonBlockedDestination fault.Reason = "BLOCKED_DESTINATION"
	ReasonTargetStatus       fault.Reason = "TARGET_STATUS"
	ReasonTargetUnreachable  fault.Reason = "TARGET_UNREACHABLE"
	ReasonRecordNotFound     fault.Reason = "RECORD_NOT_FOUND"
	ReasonRecordVersion      fault.Reason = "RECORD_VERSION"
	ReasonStepTimeout        fault.Reason = "STEP_TIMEOUT"
)

// Call is one attempt of an Action step. Its context carries the time limit and the span.
type Call struct {
	Tenant, ExecutionID, WorkflowID string
	Type                            string
	// Connection names the credentials to use; empty for none.
	Connection string
	// IdempotencyKey is the same for all attempts of a step.
	IdempotencyKey string
	Attempt        int
	// Params have their templates filled in. They may be shared between calls and must not be changed.
	Params map[string]any
}

// Handler does the work of an action type.
type Handler interface {
	// Check finds what is wrong with the parameters beyond what the schema says. It must tolerate templates and wrong types, since the
	// schema's own problems are reported beside its own. Fields are relative to the step's action, for example "params.url".
	Check(params map[string]any) []fault.Violation
	// Do makes one attempt. The parameters obey the schema; what Check would refuse, Do refuses as well.
	Do(ctx context.Context, c Call) run.Outcome
}

// Registry knows the action types. It is built once and then safe for concurrent use.
type Registry struct {
	types map[string]Type
	names []string
}

// NewRegistry returns a registry of types. Of two with the same name the later one counts.
func NewRegistry(types ...Type) *Registry {
	r := &Registry{types: make(map[string]Type, len(types))}
	for _, t := range types {
		r.types[t.Name] = t
	}
	r.names = slices.Sorted(maps.Keys(r.types))
	return r
}

// Types returns the action types in the order of their names.
func (r *Registry) Types() []Type {
	all := make([]Type, 0, len(r.names))
	for _, name := range r.names {
		all = append(all, r.types[name])
	}
	return all
}

// Check returns what is wrong with an action as it is saved. A string that holds `${…}` satisfies every rule, since its value is known
// only when the step begins. Fields are relative to the action: "type", "params.url".
func (r *Registry) Check(actionType string, params map[string]any) []fault.Violation {
	t, ok := r.types[actionType]
	if !ok {
		return []fault.Violation{r.unknown(actionType)}
	}
	return append(t.schema.check(params, saved), t.handler.Check(params)...)
}

// Do checks the parameters again, now that templates are filled in, and makes one attempt.
func (r *Registry) Do(ctx context.Context, c Call) run.Outcome {
	start := time.Now()
	o := r.do(ctx, c)
	o.StartTime, o.EndTime = start, time.Now()
	return o
}

func (r *Registry) do(ctx context.Context, c Call) run.Outcome {
	t, ok := r.types[c.Type]
	if !ok {
		return Failed(ReasonUnknownType, r.unknown(c.Type).Description)
	}
	if violations := t.schema.check(c.Params, filled); len(violations) > 0 {
		return Refused(violations)
	}
	return t.handler.Do(ctx, c)
}

func (r *Registry) unknown(actionType string) fault.Violation {
	text := "is not a known action type; "
	if near := r.near(actionType); near != "" {
		text += "did you mean " + near + "? "
	}
	return fault.Violation{Field: "type", Description: text + "known are " + strings.Join(r.names, ", "), Reason: ReasonUnknownType}
}

// Succeeded is the outcome of an attempt that did what it should.
func Succeeded(output json.RawMessage) run.Outcome { return run.Outcome{Output: output} }

// Failed is the outcome of an attempt that another one would not mend.
func Failed(reason fault.Reason, message string) run.Outcome {
	return run.Outcome{Err: &run.Error{Reason: reason, Message: message}}
}

// Retryable is the outcome of an attempt that may succeed later.
func Retryable(reason fault.Reason, message string) run.Outcome {
	return run.Outcome{Err: &run.Error{Reason: reason, Message: message, Retryable: true}}
}

// Refused is the outcome of an attempt that was not made because of its parameters. A destination that is not allowed keeps its reason.
func Refused(violations []fault.Violation) run.Outcome {
	reason := ReasonParams
	for _, v := range violations {
		if v.Reason == ReasonBlockedDestination {
			reason = ReasonBlockedDestination
		}
	}
	return Failed(reason, fault.Invalid(violations...).Message)
}

// Ended is the outcome of an attempt whose context has ended before it did: the step's time is over, or the run is given up.
func Ended(ctx context.Context) run.Outcome {
	if ctx.Err() == context.DeadlineExceeded {
		return Retryable(ReasonStepTimeout, "the target did not answer within the step's time limit")
	}
	return Retryable(fault.ReasonCancelled, "the attempt was given up")
}
