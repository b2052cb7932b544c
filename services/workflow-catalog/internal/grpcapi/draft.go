package grpcapi

import (
	"context"
	"fmt"
	"slices"

	"google.golang.org/protobuf/encoding/protojson"

	"workflow.uniconnect/pkg/fault"
	workflowv1 "workflow.uniconnect/proto/gen/go/uniconnect/workflow/v1"
	"workflow.uniconnect/services/workflow-catalog/internal/workflow"
)

// GetDraft returns the draft of a workflow.
func (s *Catalog) GetDraft(ctx context.Context, req *workflowv1.GetDraftRequest) (*workflowv1.GetDraftResponse, error) {
	caller, err := callerOf(ctx)
	if err != nil {
		return nil, err
	}
	msg, err := draftAnswer(s.catalog.Draft(ctx, workflow.Tenant(caller.Tenant), workflow.ID(req.GetId())))
	return &workflowv1.GetDraftResponse{Workflow: msg}, err
}

// UpdateDraft saves the draft of a workflow.
func (s *Catalog) UpdateDraft(ctx context.Context, req *workflowv1.UpdateDraftRequest) (*workflowv1.UpdateDraftResponse, error) {
	call, found, err := newCall(ctx, workflow.MethodUpdateDraft, req)
	if err != nil {
		return nil, err
	}
	if req.GetWorkflow() == nil {
		found = append(found, fault.Violation{Field: "workflow", Reason: fault.ReasonFieldRule, Description: "is required"})
	}
	config, err := draftConfig(req.GetWorkflow(), found)
	if err != nil {
		return nil, err
	}
	msg, err := draftAnswer(s.catalog.UpdateDraft(ctx, call, workflow.DraftUpdate{
		Target: workflow.Target{ID: workflow.ID(req.GetId()), ETag: req.GetWorkflow().GetEtag()}, Config: config, Rebase: req.GetRebase(),
	}))
	return &workflowv1.UpdateDraftResponse{Workflow: msg}, err
}

// DeleteDraft discards the draft.
func (s *Catalog) DeleteDraft(ctx context.Context, req *workflowv1.DeleteDraftRequest) (*workflowv1.DeleteDraftResponse, error) {
	call, err := checkedCall(ctx, workflow.MethodDeleteDraft, req)
	if err != nil {
		return nil, err
	}
	if err := s.catalog.DeleteDraft(ctx, call, workflow.ID(req.GetId())); err != nil {
		return nil, err
	}
	return &workflowv1.DeleteDraftResponse{}, nil
}

// PublishWorkflow makes the draft the live configuration.
func (s *Catalog) PublishWorkflow(ctx context.Context, req *workflowv1.PublishWorkflowRequest) (*workflowv1.PublishWorkflowResponse, error) {
	call, err := checkedCall(ctx, workflow.MethodPublish, req)
	if err != nil {
		return nil, err
	}
	target := workflow.Target{ID: workflow.ID(req.GetId()), ETag: req.GetEtag()}
	msg, err := answer(s.catalog.Publish(ctx, call, target, s.rebuild(call, target.ID)))
	return &workflowv1.PublishWorkflowResponse{Workflow: msg}, err
}

// draftConfig returns the configuration of a draft. Only what cannot be stored, or passes the limits of size, is refused: a draft may be
// unfinished.
func draftConfig(w *workflowv1.Workflow, found []fault.Violation) (workflow.Config, error) {
	bare := configOnly(w)
	found = append(found, unstorable(bare)...)
	if len(found) > 0 {
		return workflow.Config{}, fault.Invalid(unique(found)...)
	}
	document, err := protojson.Marshal(bare)
	if err != nil {
		return workflow.Config{}, fmt.Errorf("encode draft: %w", err)
	}
	config, err := workflow.NewConfig(w.GetTitle(), w.GetDescription(), document)
	if err != nil {
		return workflow.Config{}, err
	}
	breaches := outlineOf(bare, len(config.Document)).Check()
	breaches = slices.DeleteFunc(breaches, func(v fault.Violation) bool { return !beyondLimits([]fault.Violation{v}) })
	return config, fault.Check(breaches...)
}

// draftAnswer returns a workflow as its draft has it, under the draft's etag.
func draftAnswer(read workflow.Drafted, err error) (*workflowv1.Workflow, error) {
	if err != nil {
		return nil, err
	}
	w := read.Live
	w.Config, w.Draft = read.Draft.Config, &read.Draft.DraftInfo
	msg, err := workflowMessage(w)
	if err != nil {
		return nil, err
	}
	msg.Etag = read.Draft.ETag()
	return msg, nil
}

func draftInfo(live workflow.Workflow, d workflow.DraftInfo) *workflowv1.DraftInfo {
	return &workflowv1.DraftInfo{
		BaseRevision: d.BaseRevision, Stale: d.BaseRevision != live.Revision, UpdateTime: timestamp(d.UpdateTime), UpdateUser: d.UpdateUser,
	}
}
