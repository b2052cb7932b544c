package grpcapi

import (
	"context"
	"encoding/json"
	"fmt"
	"sort"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/types/known/structpb"

	"workflow.uniconnect/pkg/listing"
	workflowv1 "workflow.uniconnect/proto/gen/go/uniconnect/workflow/v1"
	"workflow.uniconnect/services/executor/internal/action"
)

// ActionTypes knows what steps can do.
type ActionTypes interface {
	// Types returns the action types in the order of their names.
	Types() []action.Type
}

// ListActionTypes returns a page of the action types, by name. All tenants have the same.
func (s *Executions) ListActionTypes(ctx context.Context, req *workflowv1.ListActionTypesRequest) (*workflowv1.ListActionTypesResponse, error) {
	principal, err := principalOf(ctx)
	if err != nil {
		return nil, err
	}
	scope := listing.NewScope("actionTypes", principal.Tenant)
	after, err := scope.Position(req.GetPageToken())
	if err != nil {
		return nil, err
	}
	types := s.actions.Types()
	types = types[sort.Search(len(types), func(i int) bool { return types[i].Name > string(after) }):]
	size := int(req.GetPageSize())
	if size == 0 {
		size = defaultPage
	}
	resp := &workflowv1.ListActionTypesResponse{}
	if len(types) > size {
		types = types[:size]
		resp.NextPageToken = scope.Token([]byte(types[size-1].Name))
	}
	for i := range types {
		t, err := actionTypeMessage(&types[i])
		if err != nil {
			return nil, err
		}
		resp.ActionTypes = append(resp.ActionTypes, t)
	}
	return resp, nil
}

func actionTypeMessage(t *action.Type) (*workflowv1.ActionType, error) {
	out := &workflowv1.ActionType{Type: t.Name, Title: t.Title, Description: t.Description, Help: t.Help, Idempotency: t.Idempotency}
	for _, part := range []struct {
		raw  json.RawMessage
		into **structpb.Struct
	}{{t.Params, &out.ParamsSchema}, {t.Output, &out.OutputSchema}, {t.Example, &out.ExampleParams}} {
		document := &structpb.Struct{}
		if err := protojson.Unmarshal(part.raw, document); err != nil {
			return nil, fmt.Errorf("description of action type %s: %w", t.Name, err)
		}
		*part.into = document
	}
	return out, nil
}
