package crm

import (
	"context"
	"maps"
	"time"

	"workflow.uniconnect/pkg/fault"
	"workflow.uniconnect/services/executor/internal/action"
	"workflow.uniconnect/services/executor/internal/run"
)

// The modules and fields of what belongs to a record.
const (
	notes       = "notes"
	tasks       = "tasks"
	fieldModule = "record_module"
	fieldRecord = "record"
	fieldText   = "text"
	fieldTitle  = "title"
	fieldDue    = "due_time"
	fieldOwner  = "owner"
	fieldStatus = "status"
	open        = "open"
)

type addNote struct{ *Client }

// Check wants a text, wherever it is given.
func (addNote) Check(params map[string]any) []fault.Violation { return required(params, fieldText) }

func (h addNote) Do(ctx context.Context, call action.Call) run.Outcome {
	if found := h.Check(call.Params); len(found) > 0 {
		return action.Refused(found)
	}
	values := related(call)
	set(values, fieldText, call.Params[fieldText])
	return h.create(ctx, call, notes, values)
}

type addTask struct{ *Client }

// Check wants a title, wherever it is given, and a time that is one.
func (addTask) Check(params map[string]any) []fault.Violation {
	found := required(params, fieldTitle)
	if due, ok := params[fieldDue].(string); ok && due != "" && !action.Templated(due) {
		if _, err := time.Parse(time.RFC3339Nano, due); err != nil {
			found = append(found, violation(fieldDue, "must be a date and time with its zone, such as 2026-11-03T09:00:00+01:00"))
		}
	}
	return found
}

func (h addTask) Do(ctx context.Context, call action.Call) run.Outcome {
	if found := h.Check(call.Params); len(found) > 0 {
		return action.Refused(found)
	}
	values := related(call)
	if _, given := values[fieldStatus]; !given {
		values[fieldStatus] = open
	}
	set(values, fieldTitle, call.Params[fieldTitle])
	set(values, fieldDue, call.Params[fieldDue])
	set(values, fieldOwner, call.Params["assignee"])
	return h.create(ctx, call, tasks, values)
}

// required finds that neither the parameter nor the field of that name is given. A `fields` that is one template may hold it.
func required(params map[string]any, name string) []fault.Violation {
	if _, given := params[name]; given {
		return nil // the schema says what it may be
	}
	switch fields := params["fields"].(type) {
	case map[string]any:
		if value, given := fields[name]; given && value != nil && value != "" {
			return nil
		}
	case string:
		return nil
	}
	return []fault.Violation{violation(name, "is required")}
}

// related begins the fields of a note or a task: those given, and the record that it belongs to.
func related(call action.Call) map[string]any {
	values := maps.Clone(fieldsOf(call))
	if values == nil {
		values = map[string]any{}
	}
	if id := text(call.Params["id"]); id != "" {
		set(values, fieldRecord, id)
		set(values, fieldModule, call.Params["module"])
	}
	return values
}

// set sets a field unless the value is empty.
func set(values map[string]any, name string, value any) {
	if value != nil && value != "" {
		values[name] = value
	}
}
