package grpcapi

import (
	"context"
	"math"

	workflowv1 "workflow.uniconnect/proto/gen/go/uniconnect/workflow/v1"
	"workflow.uniconnect/services/workflow-catalog/internal/workflow"
)

// PreviewDelete tells what would go with a workflow and who would miss it.
func (s *Catalog) PreviewDelete(ctx context.Context, req *workflowv1.PreviewDeleteRequest) (*workflowv1.PreviewDeleteResponse, error) {
	caller, err := callerOf(ctx)
	if err != nil {
		return nil, err
	}
	p, err := s.previewer.Preview(ctx, workflow.Tenant(caller.Tenant), workflow.ID(req.GetId()))
	if err != nil {
		return nil, err
	}
	msg := &workflowv1.DeletePreview{
		Title: p.Title, Etag: p.ETag, UnfinishedExecutions: count(p.Count),
		Revisions: count(p.Revisions), Backups: count(p.Backups), Draft: p.Draft,
	}
	for _, x := range p.Executions {
		msg.WaitingExecutions = append(msg.WaitingExecutions, &workflowv1.DeletePreview_WaitingExecution{
			Id: x.ID, StepPath: x.StepPath, WakeTime: timestamp(x.WakeTime),
		})
	}
	for _, c := range p.Callers {
		msg.Callers = append(msg.Callers, &workflowv1.DeletePreview_Caller{
			Id: string(c.ID), Title: c.Title, State: workflowv1.Workflow_State(c.State),
		})
	}
	return &workflowv1.PreviewDeleteResponse{Preview: msg}, nil
}

// count fits a number into the contract's type.
func count(n int) int32 { return int32(min(n, math.MaxInt32)) }
