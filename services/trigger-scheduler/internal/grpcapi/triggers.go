package grpcapi

import (
	"context"
	"fmt"

	"google.golang.org/protobuf/types/known/structpb"

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
	Checks   *predicate.Checks
	Index    *index.Index
}

// ValidateTrigger implements the RPC.
func (s *Triggers) ValidateTrigger(_ context.Context, req *peerv1.ValidateTriggerRequest) (*peerv1.ValidateTriggerResponse, error) {
	w := req.GetWorkflow()
	schema := s.Registry.Schema(event.Type(w.GetTrigger().GetEvent().GetEventType()))
	found, err := s.violations(w, schema)
	if err != nil {
		return nil, err
	}
	resp := &peerv1.ValidateTriggerResponse{}
	for _, v := range found {
		resp.Violations = append(resp.Violations, &peerv1.Violation{Field: v.Field, Description: v.Description, Reason: string(v.Reason)})
	}
	if schema != nil {
		if resp.DataSchema, err = structpb.NewStruct(schema); err != nil {
			return nil, fmt.Errorf("write schema: %w", err)
		}
	}
	return resp, nil
}

func (s *Triggers) violations(w *workflowv1.Workflow, schema map[string]any) ([]fault.Violation, error) {
	var found []fault.Violation
	switch kind := w.GetTrigger().GetKind().(type) {
	case *workflowv1.Trigger_Event:
		env, err := s.Checks.Of(kind.Event.GetEventType(), schema)
		if err != nil {
			return nil, err
		}
		found = s.eventTrigger(kind.Event, env)
	case *workflowv1.Trigger_Schedule:
		found = append(found, fault.Violation{
			Field: "trigger.schedule", Description: "schedules are not available in this release", Reason: "NOT_AVAILABLE",
		})
	case *workflowv1.Trigger_Manual:
	default:
		found = append(found, fault.Violation{Field: "trigger", Description: "is missing: choose event or manual", Reason: fault.ReasonFieldRule})
	}
	return append(found, dateRange(w.GetDateRange())...), nil
}

func (s *Triggers) eventTrigger(t *workflowv1.EventTrigger, env *predicate.Env) []fault.Violation {
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
	_, violations := env.Compile(filter, "trigger.event.filter")
	found = append(found, violations...)
	if key := t.GetDedupeKey(); key != "" {
		_, violations := env.CompileKey(key, "trigger.event.dedupeKey")
		found = append(found, violations...)
	} else if t.GetDedupeWindow() != nil {
		found = append(found, fault.Violation{
			Field: "trigger.event.dedupeWindow", Description: "needs a dedupeKey", Reason: fault.ReasonFieldRule,
		})
	}
	return found
}

// dateRange lets a range that is wholly in the past pass: the time of the event decides, and old events may still come.
// maxYears is how long a date range may be: a longer one is a slip of the hand.
const maxYears = 100

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
	if len(found) > 0 || r.GetStartTime() == nil || r.GetEndTime() == nil {
		return found
	}
	switch start, end := r.GetStartTime().AsTime(), r.GetEndTime().AsTime(); {
	case !end.After(start):
		bad("endTime", "is not after startTime")
	case end.After(start.AddDate(maxYears, 0, 0)):
		bad("endTime", "is more than 100 years after startTime")
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
