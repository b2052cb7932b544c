package grpcapi

import (
	"context"

	"workflow.uniconnect/pkg/fault"
	"workflow.uniconnect/pkg/faultpoint"
	peerv1 "workflow.uniconnect/proto/gen/go/uniconnect/workflow/peer/v1"
	workflowv1 "workflow.uniconnect/proto/gen/go/uniconnect/workflow/v1"
	"workflow.uniconnect/services/trigger-scheduler/internal/definition"
	"workflow.uniconnect/services/trigger-scheduler/internal/event"
	"workflow.uniconnect/services/trigger-scheduler/internal/index"
	"workflow.uniconnect/services/trigger-scheduler/internal/predicate"
	"workflow.uniconnect/services/trigger-scheduler/internal/start"
)

// Triggers serves uniconnect.workflow.peer.v1.TriggerService.
type Triggers struct {
	peerv1.UnimplementedTriggerServiceServer

	Registry *event.Registry
	Env      *predicate.Env
	Index    *index.Index
}

// ValidateTrigger implements the RPC.
func (s *Triggers) ValidateTrigger(_ context.Context, req *peerv1.ValidateTriggerRequest) (*peerv1.ValidateTriggerResponse, error) {
	resp := &peerv1.ValidateTriggerResponse{}
	for _, v := range s.violations(req.GetWorkflow()) {
		resp.Violations = append(resp.Violations, &peerv1.Violation{Field: v.Field, Description: v.Description, Reason: string(v.Reason)})
	}
	return resp, nil
}

func (s *Triggers) violations(w *workflowv1.Workflow) []fault.Violation {
	var found []fault.Violation
	switch kind := w.GetTrigger().GetKind().(type) {
	case *workflowv1.Trigger_Event:
		found = s.eventTrigger(kind.Event)
	case *workflowv1.Trigger_Schedule:
		found = append(found, fault.Violation{
			Field: "trigger.schedule", Description: "schedules are not available in this release", Reason: "NOT_AVAILABLE",
		})
	case *workflowv1.Trigger_Manual:
	default:
		found = append(found, fault.Violation{Field: "trigger", Description: "is missing: choose event or manual", Reason: fault.ReasonFieldRule})
	}
	return append(found, dateRange(w.GetDateRange())...)
}

func (s *Triggers) eventTrigger(t *workflowv1.EventTrigger) []fault.Violation {
	var found []fault.Violation
	if typ := event.Type(t.GetEventType()); !s.Registry.Known(typ) {
		found = append(found, fault.Violation{
			Field: "trigger.event.eventType", Description: "is neither a known event type nor custom.{module}.{event}", Reason: "UNKNOWN_EVENT_TYPE",
		})
	}
	filter := definition.Filter(t.GetFilter())
	if t.GetFilter() != nil && filter.Empty() {
		found = append(found, fault.Violation{
			Field: "trigger.event.filter", Description: "has neither an expression nor rules", Reason: fault.ReasonFieldRule,
		})
	}
	_, violations := s.Env.Compile(filter, "trigger.event.filter")
	found = append(found, violations...)
	if key := t.GetDedupeKey(); key != "" {
		_, violations := s.Env.CompileKey(key, "trigger.event.dedupeKey")
		found = append(found, violations...)
	} else if t.GetDedupeWindow() != nil {
		found = append(found, fault.Violation{
			Field: "trigger.event.dedupeWindow", Description: "needs a dedupeKey", Reason: fault.ReasonFieldRule,
		})
	}
	return found
}

// dateRange lets a range that is wholly in the past pass: the time of the event decides, and old events may still come.
func dateRange(r *workflowv1.DateRange) []fault.Violation {
	var found []fault.Violation
	bad := func(field, description string) {
		found = append(found, fault.Violation{Field: "dateRange." + field, Description: description, Reason: fault.ReasonFieldRule})
	}
	if t := r.GetStartTime(); t != nil && !t.IsValid() {
		bad("startTime", "is not a time")
	}
	if t := r.GetEndTime(); t != nil && !t.IsValid() {
		bad("endTime", "is not a time")
	}
	if len(found) == 0 && r.GetStartTime() != nil && r.GetEndTime() != nil && !r.GetEndTime().AsTime().After(r.GetStartTime().AsTime()) {
		bad("endTime", "is not after startTime")
	}
	return found
}

// FinalizeTriggers implements the RPC. The index is all that names a workflow here; other replicas drop it when the watch tells them, and
// until then the executor refuses what they start. Dead letters belong to the tenant's events and name no workflow, so they stay.
func (s *Triggers) FinalizeTriggers(_ context.Context, req *peerv1.FinalizeTriggersRequest) (*peerv1.FinalizeTriggersResponse, error) {
	s.Index.Remove(index.ID{Tenant: event.Tenant(req.GetTenant()), Workflow: start.WorkflowID(req.GetWorkflowId())})
	faultpoint.Hit("scheduler.finalize.done")
	return &peerv1.FinalizeTriggersResponse{Done: true}, nil
}
