package grpcapi

import (
	"context"
	"errors"

	"google.golang.org/genproto/googleapis/api/httpbody"
	"google.golang.org/protobuf/types/known/structpb"

	"workflow.uniconnect/pkg/fault"
	"workflow.uniconnect/pkg/protodoc"
	workflowv1 "workflow.uniconnect/proto/gen/go/uniconnect/workflow/v1"
	"workflow.uniconnect/services/workflow-catalog/internal/exchange"
	"workflow.uniconnect/services/workflow-catalog/internal/workflow"
)

const (
	typeYAML = "application/yaml"
	typeJSON = "application/json"
)

// ExportWorkflow writes a workflow as a document.
func (s *Catalog) ExportWorkflow(ctx context.Context, req *workflowv1.ExportWorkflowRequest) (*workflowv1.ExportWorkflowResponse, error) {
	caller, err := callerOf(ctx)
	if err != nil {
		return nil, err
	}
	w, err := s.catalog.AtRevision(ctx, workflow.Tenant(caller.Tenant), workflow.ID(req.GetId()), req.GetRevision())
	if err != nil {
		return nil, err
	}
	msg, err := configMessage(w.Config)
	if err != nil {
		return nil, err
	}
	if req.GetRevision() == 0 {
		msg.State = workflowv1.Workflow_State(w.State) // which belongs to no revision
	}
	format, contentType := protodoc.YAML, typeYAML
	if req.GetFormat() == workflowv1.ExportFormat_JSON {
		format, contentType = protodoc.JSON, typeJSON
	}
	text, err := exchange.Encode(msg, format)
	if err != nil {
		return nil, err
	}
	return &workflowv1.ExportWorkflowResponse{Document: &httpbody.HttpBody{ContentType: contentType, Data: text}}, nil
}

// ImportWorkflow saves a document.
func (s *Catalog) ImportWorkflow(ctx context.Context, req *workflowv1.ImportWorkflowRequest) (*workflowv1.ImportWorkflowResponse, error) {
	call, found, err := newCall(ctx, workflow.MethodImport, req)
	if err != nil {
		return nil, err
	}
	described, err := describedBy(req)
	if err != nil {
		return nil, err
	}
	if len(unstorable(described)) > 0 {
		// No workflow has a title like that, and the storage cannot even be asked for it.
		_, err := s.checker.config(ctx, call.Tenant, described, found)
		return nil, err
	}
	document := workflow.Document{
		ID: workflow.ID(req.GetId()), Title: described.GetTitle(), State: workflow.State(described.GetState()), May: s.may,
		Build: func(ctx context.Context, id workflow.ID) (workflow.Config, error) {
			w := configOnly(described)
			w.Id, w.State = string(id), described.GetState()
			return s.checker.config(ctx, call.Tenant, w, found)
		},
	}
	save := s.catalog.Import
	if req.GetValidateOnly() {
		save = s.catalog.TryImport
	}
	done, err := save(ctx, call, document)
	if err != nil {
		return nil, err
	}
	return importAnswer(done)
}

// describedBy returns the workflow that a request describes, in either form.
func describedBy(req *workflowv1.ImportWorkflowRequest) (*workflowv1.Workflow, error) {
	if _, ok := req.GetSource().(*workflowv1.ImportWorkflowRequest_Content); ok {
		return exchange.Decode([]byte(req.GetContent()))
	}
	if req.GetWorkflow() == nil {
		return nil, fault.Invalid(fault.Violation{Field: "content", Description: "give the document as content or as workflow"})
	}
	return req.GetWorkflow(), nil
}

// may applies the gate of the method that a part of an import stands for.
func (s *Catalog) may(ctx context.Context, method string) error {
	switch method {
	case workflow.MethodCreate:
		return s.allowed(ctx, workflowv1.WorkflowCatalogService_CreateWorkflow_FullMethodName)
	case workflow.MethodActivate:
		return s.allowed(ctx, workflowv1.WorkflowCatalogService_ActivateWorkflow_FullMethodName)
	}
	return errors.New("an import has no part " + method)
}

func importAnswer(done workflow.Imported) (*workflowv1.ImportWorkflowResponse, error) {
	resp := &workflowv1.ImportWorkflowResponse{Outcome: workflowv1.ImportWorkflowResponse_Outcome(done.Outcome)}
	var err error
	if resp.Workflow, err = workflowMessage(done.Workflow); err != nil {
		return nil, err
	}
	if done.ID == "" { // it is not there yet
		resp.Workflow.Revision, resp.Workflow.Etag = 0, ""
	}
	if done.Outcome != workflow.ImportUpdated {
		return resp, nil
	}
	resp.Diff = &workflowv1.Diff{FromRevision: done.FromRevision, ToRevision: done.Revision}
	if done.FromState != done.State {
		resp.Diff.Changes = append(resp.Diff.Changes, stateChange(done.FromState, done.State))
	}
	for _, c := range done.Changes {
		change, err := changeMessage(c)
		if err != nil {
			return nil, err
		}
		resp.Diff.Changes = append(resp.Diff.Changes, change)
	}
	return resp, nil
}

// stateChange tells of the state as of a field, which it is in a document.
func stateChange(from, to workflow.State) *workflowv1.Change {
	return &workflowv1.Change{
		Kind: workflowv1.Change_FIELD_CHANGED, Field: "state",
		Before: structpb.NewStringValue(workflowv1.Workflow_State(from).String()),
		After:  structpb.NewStringValue(workflowv1.Workflow_State(to).String()),
	}
}
