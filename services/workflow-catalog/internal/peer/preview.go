package peer

import (
	"context"

	"workflow.uniconnect/pkg/fault"
	peerv1 "workflow.uniconnect/proto/gen/go/uniconnect/workflow/peer/v1"
	"workflow.uniconnect/services/workflow-catalog/internal/deletion"
	"workflow.uniconnect/services/workflow-catalog/internal/workflow"
)

// Unfinished tells which executions of a workflow have not ended.
func (e *Executor) Unfinished(ctx context.Context, tenant workflow.Tenant, id workflow.ID) (deletion.Unfinished, error) {
	ctx, cancel := context.WithTimeout(ctx, validateTimeout)
	defer cancel()
	resp, err := e.client.PreviewFinalize(ctx, &peerv1.PreviewFinalizeRequest{Tenant: string(tenant), WorkflowId: string(id)})
	if err != nil {
		if fault.KindOf(err) == fault.KindCanceled && ctx.Err() == context.Canceled {
			return deletion.Unfinished{}, err
		}
		return deletion.Unfinished{}, fault.Unavailable(fault.ReasonServiceUnavailable,
			"the service that knows which executions would be cut off is not available").WithCause(err).WithRetryAfter(retryAfter)
	}
	unfinished := deletion.Unfinished{Count: int(resp.GetUnfinished())}
	for _, x := range resp.GetExecutions() {
		at := deletion.Execution{ID: x.GetId(), StepPath: x.GetStepPath()}
		if x.GetWakeTime() != nil {
			at.WakeTime = x.GetWakeTime().AsTime()
		}
		unfinished.Executions = append(unfinished.Executions, at)
	}
	return unfinished, nil
}
