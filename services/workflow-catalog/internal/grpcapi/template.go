package grpcapi

import (
	"context"
	"encoding/json"

	"workflow.uniconnect/pkg/listing"
	workflowv1 "workflow.uniconnect/proto/gen/go/uniconnect/workflow/v1"
	"workflow.uniconnect/services/workflow-catalog/internal/template"
)

// ListTemplates returns a page of the templates, by category and title. They are the same for every tenant.
func (s *Catalog) ListTemplates(ctx context.Context, req *workflowv1.ListTemplatesRequest) (*workflowv1.ListTemplatesResponse, error) {
	caller, err := callerOf(ctx)
	if err != nil {
		return nil, err
	}
	scope := listing.NewScope("templates", caller.Tenant)
	text, err := scope.Position(req.GetPageToken())
	if err != nil {
		return nil, err
	}
	var after template.Position
	if text != nil {
		if err := json.Unmarshal(text, &after); err != nil {
			return nil, listing.ErrPageToken
		}
	}
	page, next := s.templates.List(after, pageSize(req.GetPageSize()))
	resp := &workflowv1.ListTemplatesResponse{Templates: page}
	if next != nil {
		if text, err = json.Marshal(next); err != nil {
			return nil, err
		}
		resp.NextPageToken = scope.Token(text)
	}
	return resp, nil
}

// GetTemplate returns one template.
func (s *Catalog) GetTemplate(ctx context.Context, req *workflowv1.GetTemplateRequest) (*workflowv1.GetTemplateResponse, error) {
	if _, err := callerOf(ctx); err != nil {
		return nil, err
	}
	t, err := s.templates.Get(req.GetId())
	return &workflowv1.GetTemplateResponse{Template: t}, err
}
