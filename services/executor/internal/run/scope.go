package run

import (
	"encoding/json"
	"fmt"
	"time"

	"workflow.uniconnect/pkg/expr"
)

// scope is what expressions of one run see. Times are in UTC wherever the process runs. Outputs and variables pass through their stored JSON, so that a resumed run sees what an
// uninterrupted one saw.
type scope struct {
	in    Input
	now   time.Time
	event any // decoded when first asked for
	kept  []Result
	steps map[string]any // of kept results, what was asked for
	vars  map[string]any
}

func newScope(in Input) *scope {
	return &scope{in: in, vars: map[string]any{}}
}

// Resolve implements expr.Scope.
func (s *scope) Resolve(name string) (any, bool) {
	switch name {
	case "event":
		if s.event == nil {
			v, err := expr.Decode(s.in.Event)
			if err != nil {
				// Accept stores JSON objects only, so this is a damaged row; expressions over it then fail and say so.
				v = map[string]any{}
			}
			s.event = v
		}
		return s.event, true
	case "steps":
		return s.outputs(), true
	case "vars":
		return s.vars, true
	case "now":
		return s.now.UTC(), true
	case "workflow":
		return map[string]any{"id": s.in.WorkflowID, "title": s.in.Title, "revision": int64(s.in.Revision)}, true
	case "execution":
		return map[string]any{"id": s.in.ExecutionID, "create_time": s.in.CreateTime.UTC()}, true
	case "schedule":
		if s.in.NominalTime.IsZero() {
			return map[string]any{}, true
		}
		return map[string]any{"nominal_time": s.in.NominalTime.UTC()}, true
	default:
		return nil, false
	}
}

// keep makes the final result of a step visible to expressions. Most outputs are never looked at, so they are decoded when the first
// expression does.
func (s *scope) keep(r Result) { s.kept = append(s.kept, r) }

func (s *scope) outputs() map[string]any {
	if s.steps == nil {
		s.steps = make(map[string]any, len(s.kept))
	}
	for _, r := range s.kept {
		entry := map[string]any{"state": stateName(r.State), "output": nil}
		// What cannot be decoded is a damaged row; as with the event, expressions over it fail and say so.
		if v, err := expr.Decode(r.Output); err == nil {
			entry["output"] = v
		}
		if r.Err != nil {
			entry["error"] = map[string]any{"reason": string(r.Err.Reason), "message": r.Err.Message}
		}
		s.steps[r.StepID] = entry
	}
	s.kept = s.kept[:0]
	return s.steps
}

// set takes the variables of a Set step's output.
func (s *scope) set(output json.RawMessage) error {
	v, err := expr.Decode(output)
	if err != nil {
		return fmt.Errorf("variables: %w", err)
	}
	values, ok := v.(map[string]any)
	if !ok {
		return fmt.Errorf("variables: got %T, want an object", v)
	}
	for name, value := range values {
		s.vars[name] = value
	}
	return nil
}

// stateName is a state as expressions see it.
func stateName(s StepState) string {
	switch s {
	case StepRunning:
		return "RUNNING"
	case StepWaiting:
		return "WAITING"
	case StepSucceeded:
		return "SUCCEEDED"
	case StepFailed:
		return "FAILED"
	case StepSkipped:
		return "SKIPPED"
	case StepCancelled:
		return "CANCELLED"
	default:
		return ""
	}
}
