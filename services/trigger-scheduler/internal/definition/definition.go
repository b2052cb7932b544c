// Package definition turns the contract's triggers into the domain's. Nothing is judged here.
package definition

import (
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"workflow.uniconnect/pkg/expr"
	peerv1 "workflow.uniconnect/proto/gen/go/uniconnect/workflow/peer/v1"
	workflowv1 "workflow.uniconnect/proto/gen/go/uniconnect/workflow/v1"
	"workflow.uniconnect/services/trigger-scheduler/internal/event"
	"workflow.uniconnect/services/trigger-scheduler/internal/index"
	"workflow.uniconnect/services/trigger-scheduler/internal/predicate"
	"workflow.uniconnect/services/trigger-scheduler/internal/start"
)

// FromProto returns a definition as the catalog sends it.
func FromProto(d *peerv1.Definition) index.Definition {
	return index.Definition{
		Tenant: event.Tenant(d.GetTenant()), Workflow: start.WorkflowID(d.GetWorkflowId()), Title: d.GetTitle(), Revision: d.GetRevision(),
		Active: d.GetState() == workflowv1.Workflow_ACTIVE, HasSteps: d.GetHasSteps(),
		Effective: timeOf(d.GetEffectiveTime()), ActiveSince: timeOf(d.GetActiveSinceTime()),
		Trigger: Trigger(d.GetTrigger().GetEvent()),
		From:    timeOf(d.GetDateRange().GetStartTime()), Until: timeOf(d.GetDateRange().GetEndTime()),
	}
}

// GateFromProto returns a change of a gate as the catalog sends it.
func GateFromProto(g *peerv1.TenantGate) index.Gate {
	return index.Gate{
		Tenant: event.Tenant(g.GetTenant()), Open: g.GetOpen() && !g.GetDeleted(), Effective: timeOf(g.GetEffectiveTime()), Deleted: g.GetDeleted(),
	}
}

// Trigger returns an event trigger, nil when there is none.
func Trigger(t *workflowv1.EventTrigger) *index.Trigger {
	if t == nil {
		return nil
	}
	return &index.Trigger{
		Type: event.Type(t.GetEventType()), Filter: Filter(t.GetFilter()),
		DedupeKey: t.GetDedupeKey(), DedupeWindow: t.GetDedupeWindow().AsDuration(),
	}
}

// Filter returns a predicate.
func Filter(p *workflowv1.Predicate) predicate.Source {
	return predicate.Source{Expression: p.GetExpression(), Rules: group(p.GetRules())}
}

func group(g *workflowv1.RuleGroup) *predicate.Group {
	if g == nil {
		return nil
	}
	out := &predicate.Group{Join: predicate.Join(g.GetOp().String())}
	for _, r := range g.GetRules() {
		rule := predicate.Rule{Field: r.GetField(), Group: group(r.GetGroup())}
		if op := r.GetOperator(); op != workflowv1.Rule_OPERATOR_UNSPECIFIED {
			rule.Operator = op.String()
		}
		if r.GetValue() != nil {
			rule.Value = expr.FromFloats(r.GetValue().AsInterface())
		}
		out.Rules = append(out.Rules, rule)
	}
	return out
}

// timeOf returns the zero time for an unset one.
func timeOf(t *timestamppb.Timestamp) time.Time {
	if t == nil {
		return time.Time{}
	}
	return t.AsTime()
}
