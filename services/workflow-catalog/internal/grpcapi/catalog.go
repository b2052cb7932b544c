package grpcapi

import (
	"context"
	"slices"

	"workflow.uniconnect/pkg/fault"
	"workflow.uniconnect/pkg/faultpoint"
	"workflow.uniconnect/pkg/grpcserver"
	accessv1 "workflow.uniconnect/proto/gen/go/uniconnect/access/v1"
	workflowv1 "workflow.uniconnect/proto/gen/go/uniconnect/workflow/v1"
	"workflow.uniconnect/services/workflow-catalog/internal/audit"
	"workflow.uniconnect/services/workflow-catalog/internal/deletion"
	"workflow.uniconnect/services/workflow-catalog/internal/template"
	"workflow.uniconnect/services/workflow-catalog/internal/workflow"
)

// Catalog serves WorkflowCatalogService.
type Catalog struct {
	workflowv1.UnimplementedWorkflowCatalogServiceServer
	catalog   *workflow.Catalog
	checker   checker
	previewer *deletion.Previewer
	documents *documents
	templates *template.Library
	allowed   func(ctx context.Context, method string) error
	audit     audit.Log
	watches   *Watches
}

// CatalogDeps is what WorkflowCatalogService is made of. All are required.
type CatalogDeps struct {
	Catalog *workflow.Catalog
	// Owners are asked about every workflow that is saved.
	Owners []Owner
	// Calls knows who calls whom.
	Calls CallChecker
	// Previewer tells what a deletion would take away.
	Previewer *deletion.Previewer
	// Templates are what people begin with.
	Templates *template.Library
	// Allowed answers whether the caller may call a method, by its full name.
	Allowed func(ctx context.Context, method string) error
	// Audit is what was changed and who was refused.
	Audit audit.Log
	// Watches are those of who looks on.
	Watches *Watches
}

// NewCatalog returns the service.
func NewCatalog(deps CatalogDeps) *Catalog {
	return &Catalog{
		catalog: deps.Catalog, checker: checker{owners: deps.Owners, calls: deps.Calls}, previewer: deps.Previewer,
		documents: newDocuments(), templates: deps.Templates, allowed: deps.Allowed, audit: deps.Audit, watches: deps.Watches,
	}
}

// HandlerValidated names the methods that check their requests themselves.
func HandlerValidated() []string {
	return []string{
		workflowv1.WorkflowCatalogService_CreateWorkflow_FullMethodName,
		workflowv1.WorkflowCatalogService_UpdateWorkflow_FullMethodName,
		workflowv1.WorkflowCatalogService_ValidateWorkflow_FullMethodName,
		accessv1.AccessService_UpdateModule_FullMethodName,
		accessv1.AccessService_CreateRole_FullMethodName,
		accessv1.AccessService_UpdateRole_FullMethodName,
		accessv1.AccessService_UpdateUser_FullMethodName,
		accessv1.AccessService_UpdateTenantSettings_FullMethodName,
	}
}

// CreateWorkflow saves a workflow and activates it unless INACTIVE is given.
func (s *Catalog) CreateWorkflow(ctx context.Context, req *workflowv1.CreateWorkflowRequest) (*workflowv1.CreateWorkflowResponse, error) {
	call, found, err := newCall(ctx, workflow.MethodCreate, req)
	if err != nil {
		return nil, err
	}
	if w := req.GetWorkflow(); w != nil {
		w.Id = "" // ours to give; it must not pass for the workflow that has it
	}
	found = append(found, withoutPrefix(grpcserver.Validate(req), "workflow")...)
	if len(found) > 0 {
		return nil, s.refuse(ctx, call, req.GetWorkflow(), found)
	}
	state := workflow.Active
	if req.GetWorkflow().GetState() == workflowv1.Workflow_INACTIVE {
		state = workflow.Inactive
	}
	w, err := s.catalog.Create(ctx, call, state, func(ctx context.Context) (workflow.Config, error) {
		return s.checker.config(ctx, call.Tenant, req.GetWorkflow(), nil)
	})
	msg, err := answer(w, err)
	return &workflowv1.CreateWorkflowResponse{Workflow: msg}, err
}

// GetWorkflow returns one workflow.
func (s *Catalog) GetWorkflow(ctx context.Context, req *workflowv1.GetWorkflowRequest) (*workflowv1.GetWorkflowResponse, error) {
	caller, err := callerOf(ctx)
	if err != nil {
		return nil, err
	}
	msg, err := answer(s.catalog.Get(ctx, workflow.Tenant(caller.Tenant), workflow.ID(req.GetId())))
	return &workflowv1.GetWorkflowResponse{Workflow: msg}, err
}

// UpdateWorkflow saves a new revision from the masked fields.
func (s *Catalog) UpdateWorkflow(ctx context.Context, req *workflowv1.UpdateWorkflowRequest) (*workflowv1.UpdateWorkflowResponse, error) {
	call, found, err := newCall(ctx, workflow.MethodUpdate, req)
	if err != nil {
		return nil, err
	}
	found = append(found, grpcserver.Validate(req)...)
	patch := req.GetWorkflow()
	if !isUUID(patch.GetId()) {
		found = append(found, fault.Violation{Field: "id", Description: "must be the id of a workflow"})
		return nil, fault.Invalid(unique(found)...)
	}
	target := workflow.Target{ID: workflow.ID(patch.GetId()), ETag: patch.GetEtag()}
	build := func(ctx context.Context, current workflow.Workflow) (workflow.Config, error) {
		before, err := configMessage(current.Config)
		if err != nil {
			return workflow.Config{}, err
		}
		before.Id, before.State = string(current.ID), workflowv1.Workflow_State(current.State)
		merged, more := merge(before, patch, req.GetUpdateMask().GetPaths())
		return s.checker.config(ctx, call.Tenant, merged, slices.Concat(found, more))
	}
	if len(found) > 0 {
		return nil, s.refuseUpdate(ctx, call, target, build)
	}
	w, err := s.catalog.Update(ctx, call, target, build)
	msg, err := answer(w, err)
	return &workflowv1.UpdateWorkflowResponse{Workflow: msg}, err
}

// refuseUpdate answers an update that is wrong in itself, with what is wrong with the workflow that it would make as well.
func (s *Catalog) refuseUpdate(ctx context.Context, call workflow.Call, target workflow.Target, build func(context.Context, workflow.Workflow) (workflow.Config, error)) error {
	current, err := s.catalog.Get(ctx, call.Tenant, target.ID)
	if err != nil {
		return err
	}
	_, err = build(ctx, current)
	return err
}

// DeleteWorkflow marks a workflow DELETING.
func (s *Catalog) DeleteWorkflow(ctx context.Context, req *workflowv1.DeleteWorkflowRequest) (*workflowv1.DeleteWorkflowResponse, error) {
	call, err := checkedCall(ctx, workflow.MethodDelete, req)
	if err != nil {
		return nil, err
	}
	target := workflow.Target{ID: workflow.ID(req.GetId()), ETag: req.GetEtag()}
	msg, err := answer(s.catalog.Delete(ctx, call, target, req.GetConfirm()))
	if err == nil {
		faultpoint.Hit("catalog.delete.marked")
	}
	return &workflowv1.DeleteWorkflowResponse{Workflow: msg}, err
}

// ActivateWorkflow lets the trigger start the workflow.
func (s *Catalog) ActivateWorkflow(ctx context.Context, req *workflowv1.ActivateWorkflowRequest) (*workflowv1.ActivateWorkflowResponse, error) {
	call, err := checkedCall(ctx, workflow.MethodActivate, req)
	if err != nil {
		return nil, err
	}
	msg, err := answer(s.catalog.Activate(ctx, call, workflow.ID(req.GetId())))
	return &workflowv1.ActivateWorkflowResponse{Workflow: msg}, err
}

// DeactivateWorkflow stops new starts.
func (s *Catalog) DeactivateWorkflow(ctx context.Context, req *workflowv1.DeactivateWorkflowRequest) (*workflowv1.DeactivateWorkflowResponse, error) {
	call, err := checkedCall(ctx, workflow.MethodDeactivate, req)
	if err != nil {
		return nil, err
	}
	msg, err := answer(s.catalog.Deactivate(ctx, call, workflow.ID(req.GetId())))
	return &workflowv1.DeactivateWorkflowResponse{Workflow: msg}, err
}

// refuse answers a request that is wrong in itself, with what is wrong with the workflow as well.
func (s *Catalog) refuse(ctx context.Context, call workflow.Call, w *workflowv1.Workflow, found []fault.Violation) error {
	if w == nil {
		return fault.Invalid(found...)
	}
	_, err := s.checker.config(ctx, call.Tenant, w, slices.Clone(found))
	return err
}

// checkedCall is newCall for requests that have nothing else to complain of.
func checkedCall(ctx context.Context, method string, req mutation) (workflow.Call, error) {
	call, found, err := newCall(ctx, method, req)
	if err != nil {
		return call, err
	}
	return call, fault.Check(found...)
}

func answer(w workflow.Workflow, err error) (*workflowv1.Workflow, error) {
	if err != nil {
		return nil, err
	}
	return workflowMessage(w)
}
