package grpcapi

import (
	"context"

	"google.golang.org/protobuf/types/known/structpb"

	"workflow.uniconnect/pkg/expr"
	"workflow.uniconnect/pkg/fault"
	peerv1 "workflow.uniconnect/proto/gen/go/uniconnect/workflow/peer/v1"
	"workflow.uniconnect/services/executor/internal/definition"
)

// ValidateSteps finds every problem of a workflow's steps.
func (s *Starts) ValidateSteps(_ context.Context, req *peerv1.ValidateStepsRequest) (*peerv1.ValidateStepsResponse, error) {
	data, err := dataSchema(req.GetDataSchema())
	if err != nil {
		return nil, err
	}
	violations, err := s.checker.Check(definition.FromProto(req.GetWorkflow()), data)
	if err != nil {
		return nil, err
	}
	resp := &peerv1.ValidateStepsResponse{}
	for _, v := range violations {
		reason := v.Reason
		if reason == "" {
			reason = fault.ReasonFieldRule
		}
		resp.Violations = append(resp.Violations, &peerv1.Violation{Field: v.Field, Description: v.Description, Reason: string(reason)})
	}
	return resp, nil
}

// dataSchema reads the JSON Schema of `event.data`; nothing is known without one.
func dataSchema(document *structpb.Struct) (*expr.Schema, error) {
	if document == nil {
		return nil, nil
	}
	s, err := expr.SchemaFromJSON(document.AsMap())
	if err != nil {
		return nil, fault.Invalid(fault.Violation{Field: "dataSchema", Description: "is not a JSON Schema"}).WithCause(err)
	}
	return s, nil
}
