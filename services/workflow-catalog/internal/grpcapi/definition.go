package grpcapi

import (
	"context"
	"errors"
	"log/slog"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	peerv1 "workflow.uniconnect/proto/gen/go/uniconnect/workflow/peer/v1"
	workflowv1 "workflow.uniconnect/proto/gen/go/uniconnect/workflow/v1"
	"workflow.uniconnect/services/workflow-catalog/internal/feed"
	"workflow.uniconnect/services/workflow-catalog/internal/workflow"
)

// Fed is a change in the forms in which watchers are sent it, made once for all of them.
type Fed struct {
	// definition is for those who start workflows; nil when the change does not concern them.
	definition *peerv1.Definition
	// gate is for them too; nil for all but changes of a gate, which have nothing else.
	gate *peerv1.TenantGate
	// card is for those who look at workflows: without steps and settings. It is nil when the workflow is gone.
	card *workflowv1.Workflow
	id   string
}

// Encoder returns what makes all forms of changes. A stored trigger that cannot be read is logged and starts nothing: one bad row must not
// end the feed of all others.
func Encoder(logger *slog.Logger) func(feed.Change) Fed {
	return func(c feed.Change) Fed {
		if c.Kind == feed.Gate {
			return Fed{gate: &peerv1.TenantGate{
				Tenant: string(c.Tenant), Open: c.Gate == feed.Opened, EffectiveTime: timestamp(c.At), Deleted: c.Gate == feed.Gone,
			}}
		}
		out := Fed{id: string(c.ID)}
		trigger, dateRange, err := startOf(c)
		if err != nil {
			logger.Error("stored configuration cannot be read; the workflow does not start", "error", err,
				"tenant", c.Tenant, "workflow_id", c.ID, "revision", c.Revision)
		}
		if c.Kind == feed.Definition {
			out.definition = definitionOf(c, trigger, dateRange)
			if err != nil {
				out.definition.State = workflowv1.Workflow_INACTIVE
			}
		}
		if !c.Gone {
			out.card = cardOf(c, trigger, dateRange)
		}
		return out
	}
}

// startOf decodes what starts a workflow.
func startOf(c feed.Change) (*workflowv1.Trigger, *workflowv1.DateRange, error) {
	var trigger *workflowv1.Trigger
	var dateRange *workflowv1.DateRange
	var errs []error
	if len(c.Trigger) > 0 {
		trigger = &workflowv1.Trigger{}
		errs = append(errs, (protojson.UnmarshalOptions{DiscardUnknown: true}).Unmarshal(c.Trigger, trigger))
	}
	if len(c.DateRange) > 0 {
		dateRange = &workflowv1.DateRange{}
		errs = append(errs, (protojson.UnmarshalOptions{DiscardUnknown: true}).Unmarshal(c.DateRange, dateRange))
	}
	return trigger, dateRange, errors.Join(errs...)
}

func definitionOf(c feed.Change, trigger *workflowv1.Trigger, dateRange *workflowv1.DateRange) *peerv1.Definition {
	d := &peerv1.Definition{
		Tenant: string(c.Tenant), WorkflowId: string(c.ID), Title: c.Title, Revision: c.Revision,
		State: workflowv1.Workflow_State(c.State), EffectiveTime: timestamp(c.At), ActiveSinceTime: timestamp(c.ActiveSince),
		HasSteps: c.HasSteps, Trigger: trigger, DateRange: dateRange,
	}
	if s := trigger.GetSchedule(); s != nil && s.GetTimeZone() == "" {
		d.Trigger = proto.CloneOf(trigger)
		d.GetTrigger().GetSchedule().TimeZone = c.TimeZone
	}
	return d
}

func cardOf(c feed.Change, trigger *workflowv1.Trigger, dateRange *workflowv1.DateRange) *workflowv1.Workflow {
	card := &workflowv1.Workflow{Title: c.Title, Description: c.Description, Trigger: trigger, DateRange: dateRange}
	describe(card, workflow.Workflow{
		Tenant: c.Tenant, ID: c.ID, State: c.State, Revision: c.Revision, Version: c.Version, CreateTime: c.CreateTime, CreateUser: c.CreateUser,
		UpdateTime: c.UpdateTime, UpdateUser: c.UpdateUser, LastBackup: c.LastBackup, Draft: c.Draft,
	})
	return card
}

// GetRevision returns the configuration of one revision.
func (s *Definitions) GetRevision(ctx context.Context, req *peerv1.GetRevisionRequest) (*peerv1.GetRevisionResponse, error) {
	w, err := s.deps.Catalog.AtRevision(ctx, workflow.Tenant(req.GetTenant()), workflow.ID(req.GetWorkflowId()), req.GetRevision())
	msg, err := answer(w, err)
	return &peerv1.GetRevisionResponse{Workflow: msg}, err
}
