package grpcapi

import (
	"context"
	"math"
	"time"

	"workflow.uniconnect/pkg/faultpoint"
	peerv1 "workflow.uniconnect/proto/gen/go/uniconnect/workflow/peer/v1"
	"workflow.uniconnect/services/executor/internal/execution"
)

// Finalizer removes what belongs to a deleted workflow, and tells beforehand what has not ended of it.
type Finalizer interface {
	Unfinished(ctx context.Context, tenant string, workflow execution.WorkflowID, limit int) (execution.Unfinished, error)
	Finalize(ctx context.Context, tenant string, workflow execution.WorkflowID) (bool, error)
}

const (
	// finalizeTime is how long one call may work; the caller repeats it until done.
	finalizeTime = 3 * time.Second
	// maxShown is how many executions a preview names.
	maxShown = 50
)

// PreviewFinalize tells which executions of a workflow have not ended.
func (s *Starts) PreviewFinalize(ctx context.Context, req *peerv1.PreviewFinalizeRequest) (*peerv1.PreviewFinalizeResponse, error) {
	workflow, ok := execution.ParseWorkflowID(req.GetWorkflowId())
	if !ok {
		return nil, errNoWorkflow
	}
	left, err := s.finalizer.Unfinished(ctx, req.GetTenant(), workflow, maxShown)
	if err != nil {
		return nil, err
	}
	resp := &peerv1.PreviewFinalizeResponse{Unfinished: int32(min(left.Count, math.MaxInt32))}
	for _, at := range left.Some {
		resp.Executions = append(resp.Executions, &peerv1.UnfinishedExecution{
			Id: at.ID.String(), StepPath: at.Path, WakeTime: stamp(at.WakeTime),
		})
	}
	return resp, nil
}

// FinalizeExecutions removes what belongs to a deleted workflow, as far as it gets in a few seconds.
func (s *Starts) FinalizeExecutions(ctx context.Context, req *peerv1.FinalizeExecutionsRequest) (*peerv1.FinalizeExecutionsResponse, error) {
	workflow, ok := execution.ParseWorkflowID(req.GetWorkflowId())
	if !ok {
		return nil, errNoWorkflow
	}
	ctx, cancel := context.WithTimeout(ctx, finalizeTime)
	defer cancel()
	done, err := s.finalizer.Finalize(ctx, req.GetTenant(), workflow)
	if err != nil {
		return nil, err
	}
	if done {
		faultpoint.Hit("executor.finalize.done")
	}
	return &peerv1.FinalizeExecutionsResponse{Done: done}, nil
}
