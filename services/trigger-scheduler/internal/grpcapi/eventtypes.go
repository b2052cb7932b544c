package grpcapi

import (
	"context"
	"fmt"
	"slices"

	"google.golang.org/protobuf/types/known/structpb"

	"workflow.uniconnect/pkg/listing"
	workflowv1 "workflow.uniconnect/proto/gen/go/uniconnect/workflow/v1"
	"workflow.uniconnect/services/trigger-scheduler/internal/event"
)

// ListEventTypes implements the RPC. All tenants have the same known types; those of custom modules are for nobody to list.
func (s *Events) ListEventTypes(ctx context.Context, req *workflowv1.ListEventTypesRequest) (*workflowv1.ListEventTypesResponse, error) {
	tenant, err := tenantOf(ctx)
	if err != nil {
		return nil, err
	}
	kinds := s.Registry.Kinds()
	scope := scopeOf(eventTypes, tenant)
	after, err := scope.Position(req.GetPageToken())
	if err != nil {
		return nil, err
	}
	if after != nil {
		at := slices.IndexFunc(kinds, func(k event.Kind) bool { return string(k.Type) == string(after) })
		if at < 0 {
			return nil, listing.ErrPageToken
		}
		kinds = kinds[at+1:]
	}
	limit := int(req.GetPageSize())
	if limit == 0 {
		limit = defaultPage
	}
	resp := &workflowv1.ListEventTypesResponse{}
	if len(kinds) > limit {
		kinds = kinds[:limit]
		resp.NextPageToken = scope.Token([]byte(kinds[limit-1].Type))
	}
	for i := range kinds {
		typ, err := eventTypeProto(&kinds[i])
		if err != nil {
			return nil, err
		}
		resp.EventTypes = append(resp.EventTypes, typ)
	}
	return resp, nil
}

func eventTypeProto(k *event.Kind) (*workflowv1.EventType, error) {
	schema, err := structpb.NewStruct(k.Schema)
	if err != nil {
		return nil, fmt.Errorf("write schema of %s: %w", k.Type, err)
	}
	example, err := structpb.NewStruct(k.Example)
	if err != nil {
		return nil, fmt.Errorf("write example of %s: %w", k.Type, err)
	}
	return &workflowv1.EventType{
		Type: string(k.Type), Module: k.Module, Title: k.Title, Description: k.Description, DataSchema: schema, Example: example,
	}, nil
}
