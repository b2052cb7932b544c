package grpcapi

import (
	"context"

	workflowv1 "workflow.uniconnect/proto/gen/go/uniconnect/workflow/v1"
	"workflow.uniconnect/services/workflow-catalog/internal/workflow"
)

// DuplicateWorkflow saves a copy of the live configuration under another title.
func (s *Catalog) DuplicateWorkflow(ctx context.Context, req *workflowv1.DuplicateWorkflowRequest) (*workflowv1.DuplicateWorkflowResponse, error) {
	call, err := checkedCall(ctx, workflow.MethodDuplicate, req)
	if err != nil {
		return nil, err
	}
	to := workflow.Copy{Title: req.GetTitle(), State: workflow.Inactive}
	if req.GetState() == workflowv1.Workflow_ACTIVE {
		to.State = workflow.Active
	}
	msg, err := answer(s.catalog.Duplicate(ctx, call, workflow.ID(req.GetId()), to,
		func(ctx context.Context, from workflow.Config, title string) (workflow.Config, error) {
			w, err := configMessage(from)
			if err != nil {
				return workflow.Config{}, err
			}
			w.Title = title
			return s.checker.config(ctx, call.Tenant, w, nil)
		}))
	return &workflowv1.DuplicateWorkflowResponse{Workflow: msg}, err
}
