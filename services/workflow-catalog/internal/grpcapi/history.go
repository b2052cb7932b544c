package grpcapi

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/types/known/structpb"

	"workflow.uniconnect/pkg/listing"
	workflowv1 "workflow.uniconnect/proto/gen/go/uniconnect/workflow/v1"
	"workflow.uniconnect/services/workflow-catalog/internal/diff"
	"workflow.uniconnect/services/workflow-catalog/internal/workflow"
)

// ListRevisions returns a page of what was saved, newest first.
func (s *Catalog) ListRevisions(ctx context.Context, req *workflowv1.ListRevisionsRequest) (*workflowv1.ListRevisionsResponse, error) {
	caller, err := callerOf(ctx)
	if err != nil {
		return nil, err
	}
	scope := listing.NewScope("revisions", caller.Tenant, req.GetWorkflowId())
	position, err := scope.Position(req.GetPageToken())
	if err != nil {
		return nil, err
	}
	var before int32
	if position != nil {
		if before, err = revisionAt(position); err != nil {
			return nil, err
		}
	}
	page, more, err := s.catalog.Revisions(ctx, workflow.Tenant(caller.Tenant), workflow.ID(req.GetWorkflowId()), before, pageSize(req.GetPageSize()))
	if err != nil {
		return nil, err
	}
	resp := &workflowv1.ListRevisionsResponse{}
	for _, r := range page {
		resp.Revisions = append(resp.Revisions, revisionMessage(r))
	}
	if more {
		last := page[len(page)-1].Number
		resp.NextPageToken = scope.Token(binary.BigEndian.AppendUint32(nil, uint32(last)))
	}
	return resp, nil
}

func revisionAt(position []byte) (int32, error) {
	if len(position) != 4 {
		return 0, listing.ErrPageToken
	}
	number := binary.BigEndian.Uint32(position)
	if number == 0 || number > math.MaxInt32 {
		return 0, listing.ErrPageToken
	}
	return int32(number), nil
}

// GetRevision returns one revision with its configuration.
func (s *Catalog) GetRevision(ctx context.Context, req *workflowv1.GetRevisionRequest) (*workflowv1.GetRevisionResponse, error) {
	caller, err := callerOf(ctx)
	if err != nil {
		return nil, err
	}
	r, err := s.catalog.Revision(ctx, workflow.Tenant(caller.Tenant), workflow.ID(req.GetWorkflowId()), req.GetRevision())
	if err != nil {
		return nil, err
	}
	msg := revisionMessage(r)
	if msg.Workflow, err = configMessage(r.Config); err != nil {
		return nil, err
	}
	msg.Workflow.Id, msg.Workflow.Revision = req.GetWorkflowId(), r.Number
	return &workflowv1.GetRevisionResponse{Revision: msg}, nil
}

func revisionMessage(r workflow.Revision) *workflowv1.Revision {
	return &workflowv1.Revision{
		Revision: r.Number, CreateTime: timestamp(r.CreateTime), CreateUser: r.CreateUser, Origin: workflowv1.Revision_Origin(r.Origin),
		SourceRevision: r.Source, Title: r.Title, Live: r.Live,
	}
}

// DiffWorkflow tells what differs between two configurations of a workflow.
func (s *Catalog) DiffWorkflow(ctx context.Context, req *workflowv1.DiffWorkflowRequest) (*workflowv1.DiffWorkflowResponse, error) {
	caller, err := callerOf(ctx)
	if err != nil {
		return nil, err
	}
	d, err := s.catalog.Diff(ctx, workflow.Tenant(caller.Tenant), workflow.ID(req.GetId()), req.GetFrom(), req.GetTo())
	if err != nil {
		return nil, err
	}
	msg := &workflowv1.Diff{FromRevision: d.From, ToRevision: d.To}
	for _, c := range d.Changes {
		change, err := changeMessage(c)
		if err != nil {
			return nil, err
		}
		msg.Changes = append(msg.Changes, change)
	}
	return &workflowv1.DiffWorkflowResponse{Diff: msg}, nil
}

func changeMessage(c diff.Change) (*workflowv1.Change, error) {
	msg := &workflowv1.Change{
		Kind: workflowv1.Change_Kind(c.Kind), StepId: c.StepID, StepTitle: c.StepTitle, FromPath: c.FromPath, ToPath: c.ToPath, Field: c.Field,
	}
	var err error
	if msg.Before, err = valueMessage(c.Before); err != nil {
		return nil, err
	}
	msg.After, err = valueMessage(c.After)
	return msg, err
}

// valueMessage returns a JSON value as a message; of none there is none.
func valueMessage(text json.RawMessage) (*structpb.Value, error) {
	if text == nil {
		return nil, nil
	}
	msg := &structpb.Value{}
	if err := protojson.Unmarshal(text, msg); err != nil {
		return nil, fmt.Errorf("encode a difference: %w", err)
	}
	return msg, nil
}
