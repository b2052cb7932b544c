package crm

import (
	"context"

	"workflow.uniconnect/pkg/fault"
	crmv1 "workflow.uniconnect/proto/gen/go/uniconnect/crm/v1"
	"workflow.uniconnect/services/executor/internal/action"
	"workflow.uniconnect/services/executor/internal/run"
)

type getRecord struct{ *Client }

// Check finds nothing: the schema says it all.
func (getRecord) Check(map[string]any) []fault.Violation { return nil }

func (h getRecord) Do(ctx context.Context, call action.Call) run.Outcome {
	resp, err := h.service.GetRecord(ctx, &crmv1.GetRecordRequest{
		Tenant: call.Tenant, Module: text(call.Params["module"]), Id: text(call.Params["id"]),
	})
	return answered(ctx, call, resp.GetRecord(), err)
}

type createRecord struct{ *Client }

// Check finds nothing: the schema says it all.
func (createRecord) Check(map[string]any) []fault.Violation { return nil }

func (h createRecord) Do(ctx context.Context, call action.Call) run.Outcome {
	return h.create(ctx, call, text(call.Params["module"]), fieldsOf(call))
}

// create adds a record with the step's key as its request id.
func (c *Client) create(ctx context.Context, call action.Call, module string, values map[string]any) run.Outcome {
	fields, err := encode(values)
	if err != nil {
		return refuse("fields", notJSON)
	}
	resp, err := c.service.CreateRecord(ctx, &crmv1.CreateRecordRequest{
		Tenant: call.Tenant, Module: module, Fields: fields, RequestId: call.IdempotencyKey,
	})
	return answered(ctx, call, resp.GetRecord(), err)
}

type updateRecord struct{ *Client }

// Check finds nothing: the schema says it all.
func (updateRecord) Check(map[string]any) []fault.Violation { return nil }

func (h updateRecord) Do(ctx context.Context, call action.Call) run.Outcome {
	fields, err := encode(fieldsOf(call))
	if err != nil {
		return refuse("fields", notJSON)
	}
	resp, err := h.service.UpdateRecord(ctx, &crmv1.UpdateRecordRequest{
		Tenant: call.Tenant, Module: text(call.Params["module"]), Id: text(call.Params["id"]),
		Fields: fields, RequestId: call.IdempotencyKey, ExpectedVersion: whole(call.Params["expected_version"]),
	})
	return answered(ctx, call, resp.GetRecord(), err)
}
