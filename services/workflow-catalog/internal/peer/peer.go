// Package peer reaches the services that own parts of a workflow: trigger-scheduler its trigger, executor its steps. They find the
// problems of what they own when a workflow is saved, and remove what they have of it when it is deleted.
package peer

import (
	"context"
	"time"

	"google.golang.org/grpc"

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

// Scheduler is trigger-scheduler.
type Scheduler struct{ client peerv1.TriggerServiceClient }

// NewScheduler returns the Scheduler behind a connection.
func NewScheduler(conn grpc.ClientConnInterface) *Scheduler {
	return &Scheduler{client: peerv1.NewTriggerServiceClient(conn)}
}

// Name returns the service's name.
func (s *Scheduler) Name() string { return "trigger-scheduler" }

// Validate finds the problems of a workflow's trigger and date range.
func (s *Scheduler) Validate(ctx context.Context, tenant workflow.Tenant, w *workflowv1.Workflow) ([]fault.Violation, error) {
	ctx, cancel := context.WithTimeout(ctx, validateTimeout)
	defer cancel()
	resp, err := s.client.ValidateTrigger(ctx, &peerv1.ValidateTriggerRequest{Tenant: string(tenant), Workflow: w})
	return violations(resp.GetViolations()), away(ctx, err)
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

// Validate finds the problems of a workflow's steps and settings.
func (e *Executor) Validate(ctx context.Context, tenant workflow.Tenant, w *workflowv1.Workflow) ([]fault.Violation, error) {
	ctx, cancel := context.WithTimeout(ctx, validateTimeout)
	defer cancel()
	resp, err := e.client.ValidateSteps(ctx, &peerv1.ValidateStepsRequest{Tenant: string(tenant), Workflow: w})
	return violations(resp.GetViolations()), away(ctx, err)
}

// Finalize removes the executions of a workflow.
func (e *Executor) Finalize(ctx context.Context, tenant workflow.Tenant, id workflow.ID) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, finalizeTimeout)
	defer cancel()
	resp, err := e.client.FinalizeExecutions(ctx, &peerv1.FinalizeExecutionsRequest{Tenant: string(tenant), WorkflowId: string(id)})
	return resp.GetDone(), err
}

func violations(in []*peerv1.Violation) []fault.Violation {
	out := make([]fault.Violation, len(in))
	for i, v := range in {
		out[i] = fault.Violation{Field: v.GetField(), Description: v.GetDescription(), Reason: fault.Reason(v.GetReason())}
	}
	return out
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
	return fault.Unavailable(fault.ReasonServiceUnavailable, "a service that checks workflows is not available").
		WithCause(err).WithRetryAfter(retryAfter)
}
