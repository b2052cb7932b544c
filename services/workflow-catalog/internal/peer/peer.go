// Package peer reaches the services that own parts of a workflow: trigger-scheduler its trigger, executor its steps. They find the
// problems of what they own when a workflow is saved, and remove what they have of it when it is deleted.
package peer

import (
	"context"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/structpb"

	"workflow.uniconnect/pkg/fault"
	peerv1 "workflow.uniconnect/proto/gen/go/uniconnect/workflow/peer/v1"
	workflowv1 "workflow.uniconnect/proto/gen/go/uniconnect/workflow/v1"
	"workflow.uniconnect/services/workflow-catalog/internal/workflow"
)

const (
	validateTimeout = 4 * time.Second
	finalizeTimeout = 5 * time.Second
	retryAfter      = time.Second
)

// Opinion is what an owner says of a workflow.
type Opinion struct {
	// Violations keep it from being saved; Warnings do not.
	Violations, Warnings []fault.Violation
	// DataSchema is the JSON Schema of `event.data`, nil when nothing is known of it.
	DataSchema *structpb.Struct
}

// Scheduler is trigger-scheduler.
type Scheduler struct{ client peerv1.TriggerServiceClient }

// NewScheduler returns the Scheduler behind a connection.
func NewScheduler(conn grpc.ClientConnInterface) *Scheduler {
	return &Scheduler{client: peerv1.NewTriggerServiceClient(conn)}
}

// Name returns the service's name.
func (s *Scheduler) Name() string { return "trigger-scheduler" }

// Validate finds the problems of a workflow's trigger and date range, and tells what the event that starts it carries.
func (s *Scheduler) Validate(ctx context.Context, tenant workflow.Tenant, w *workflowv1.Workflow, _ *structpb.Struct) (Opinion, error) {
	ctx, cancel := context.WithTimeout(ctx, validateTimeout)
	defer cancel()
	resp, err := s.client.ValidateTrigger(ctx, &peerv1.ValidateTriggerRequest{Tenant: string(tenant), Workflow: w})
	o := opinion(resp.GetViolations())
	o.DataSchema = resp.GetDataSchema()
	return o, away(ctx, err)
}

// Finalize removes what belongs to a workflow and starts it no more.
func (s *Scheduler) Finalize(ctx context.Context, tenant workflow.Tenant, id workflow.ID) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, finalizeTimeout)
	defer cancel()
	resp, err := s.client.FinalizeTriggers(ctx, &peerv1.FinalizeTriggersRequest{Tenant: string(tenant), WorkflowId: string(id)})
	return resp.GetDone(), err
}

// Executor is executor.
type Executor struct{ client peerv1.StartServiceClient }

// NewExecutor returns the Executor behind a connection.
func NewExecutor(conn grpc.ClientConnInterface) *Executor {
	return &Executor{client: peerv1.NewStartServiceClient(conn)}
}

// Name returns the service's name.
func (e *Executor) Name() string { return "executor" }

// Validate finds the problems of a workflow's steps and settings, given what is known of the event that starts it.
func (e *Executor) Validate(ctx context.Context, tenant workflow.Tenant, w *workflowv1.Workflow, data *structpb.Struct) (Opinion, error) {
	ctx, cancel := context.WithTimeout(ctx, validateTimeout)
	defer cancel()
	resp, err := e.client.ValidateSteps(ctx, &peerv1.ValidateStepsRequest{Tenant: string(tenant), Workflow: w, DataSchema: data})
	return opinion(resp.GetViolations()), away(ctx, err)
}

// Finalize removes the executions of a workflow.
func (e *Executor) Finalize(ctx context.Context, tenant workflow.Tenant, id workflow.ID) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, finalizeTimeout)
	defer cancel()
	resp, err := e.client.FinalizeExecutions(ctx, &peerv1.FinalizeExecutionsRequest{Tenant: string(tenant), WorkflowId: string(id)})
	return resp.GetDone(), err
}

func opinion(said []*peerv1.Violation) Opinion {
	var o Opinion
	for _, v := range said {
		violation := fault.Violation{Field: v.GetField(), Description: v.GetDescription(), Reason: fault.Reason(v.GetReason())}
		if v.GetWarning() {
			o.Warnings = append(o.Warnings, violation)
		} else {
			o.Violations = append(o.Violations, violation)
		}
	}
	return o
}

// away gives a failed question its meaning for the caller of ours: an owner that cannot answer now is a service that is away, and what
// it said about our call is no business of theirs.
func away(ctx context.Context, err error) error {
	if err == nil {
		return nil
	}
	if fault.KindOf(err) == fault.KindCanceled && ctx.Err() == context.Canceled {
		return err
	}
	return fault.Unavailable(fault.ReasonServiceUnavailable, "a service that has a part of the answer is not available").
		WithCause(err).WithRetryAfter(retryAfter)
}
