package grpcapi

import (
	"encoding/json"
	"time"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	workflowv1 "workflow.uniconnect/proto/gen/go/uniconnect/workflow/v1"
	"workflow.uniconnect/services/executor/internal/execution"
	"workflow.uniconnect/services/executor/internal/run"
)

func executionMessage(v *execution.View) *workflowv1.Execution {
	return &workflowv1.Execution{
		Id: v.ID.String(), WorkflowId: v.WorkflowID.String(), WorkflowRevision: v.Revision,
		State: workflowv1.Execution_State(v.State), Cause: causeMessage(&v.Cause), Input: inputMessage(v.Event),
		Steps: stepMessages(v.Steps), Error: errorMessage(v.Err),
		CreateTime: stamp(v.CreateTime), StartTime: stamp(v.StartTime), EndTime: stamp(v.EndTime), WakeTime: stamp(v.WakeTime),
		Attempt: v.Attempt,
	}
}

func causeMessage(c *execution.Cause) *workflowv1.Cause {
	switch c.Kind {
	case execution.CauseEvent:
		return &workflowv1.Cause{Kind: &workflowv1.Cause_Event{Event: &workflowv1.EventCause{Id: c.ID, Type: c.Type, Source: c.Source}}}
	case execution.CauseSchedule:
		return &workflowv1.Cause{Kind: &workflowv1.Cause_Schedule{Schedule: &workflowv1.ScheduleCause{NominalTime: stamp(c.NominalTime)}}}
	case execution.CauseManual:
		return &workflowv1.Cause{Kind: &workflowv1.Cause_Manual{Manual: &workflowv1.ManualCause{User: c.Source}}}
	case execution.CauseParent:
		return &workflowv1.Cause{Kind: &workflowv1.Cause_Parent{Parent: &workflowv1.ParentCause{ExecutionId: c.ID, Step: c.Type}}}
	}
	return nil
}

func causeFrom(c *workflowv1.Cause) (execution.Cause, bool) {
	switch kind := c.GetKind().(type) {
	case *workflowv1.Cause_Event:
		return execution.EventCause(kind.Event.GetId(), kind.Event.GetType(), kind.Event.GetSource()), true
	case *workflowv1.Cause_Schedule:
		return execution.ScheduleCause(kind.Schedule.GetNominalTime().AsTime()), kind.Schedule.GetNominalTime().IsValid()
	case *workflowv1.Cause_Manual:
		return execution.ManualCause(kind.Manual.GetUser()), true
	case *workflowv1.Cause_Parent:
		return execution.ParentCause(kind.Parent.GetExecutionId(), kind.Parent.GetStep()), true
	}
	return execution.Cause{}, false
}

// inputMessage shows the data of the event. What is no object is shown under `value`.
func inputMessage(event []byte) *structpb.Struct {
	var e struct {
		Data json.RawMessage `json:"data"`
	}
	if err := json.Unmarshal(event, &e); err != nil || len(e.Data) == 0 {
		return &structpb.Struct{}
	}
	value := &structpb.Value{}
	if err := protojson.Unmarshal(e.Data, value); err != nil {
		return &structpb.Struct{}
	}
	if s := value.GetStructValue(); s != nil {
		return s
	}
	return &structpb.Struct{Fields: map[string]*structpb.Value{"value": value}}
}

// stepMessages folds the attempts of each step into one message, in the order in which the steps began.
func stepMessages(results []run.Result) []*workflowv1.StepResult {
	var out []*workflowv1.StepResult
	byPath := make(map[string]*workflowv1.StepResult, len(results))
	for i := range results {
		r := &results[i]
		m := byPath[r.Path]
		if m == nil {
			m = &workflowv1.StepResult{StepId: r.StepID, Path: r.Path, StartTime: stamp(r.StartTime)}
			byPath[r.Path] = m
			out = append(out, m)
		}
		m.Attempts = max(m.GetAttempts(), int32(r.Attempt))
		m.State = workflowv1.StepResult_State(r.State)
		m.EndTime, m.WakeTime, m.Error, m.Output = stamp(r.EndTime), nil, errorMessage(r.Err), outputMessage(r.Output)
		if !r.WakeTime.IsZero() && (r.State == run.StepWaiting || r.State == run.StepFailed) {
			// A failed attempt with a wake time is not the end of its step.
			m.State, m.WakeTime = workflowv1.StepResult_WAITING, stamp(r.WakeTime)
		}
	}
	return out
}

func outputMessage(output json.RawMessage) *structpb.Value {
	if len(output) == 0 {
		return nil
	}
	value := &structpb.Value{}
	if err := protojson.Unmarshal(output, value); err != nil {
		return nil
	}
	return value
}

func errorMessage(e *run.Error) *workflowv1.ExecutionError {
	if e == nil {
		return nil
	}
	return &workflowv1.ExecutionError{Reason: string(e.Reason), Message: e.Message, StepId: e.StepID, Retryable: e.Retryable}
}

func stamp(t time.Time) *timestamppb.Timestamp {
	if t.IsZero() {
		return nil
	}
	return timestamppb.New(t)
}
