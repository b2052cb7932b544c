// Package crm does the actions crm.get_record and crm.update_record: calls of uniconnect.crm.v1 with the service's own identity, in the
// tenant of the run.
package crm

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"workflow.uniconnect/pkg/fault"
	crmv1 "workflow.uniconnect/proto/gen/go/uniconnect/crm/v1"
	"workflow.uniconnect/services/executor/internal/action"
	"workflow.uniconnect/services/executor/internal/run"
)

// Client reaches a CRM.
type Client struct {
	service crmv1.CrmServiceClient
}

// New returns a client on conn, whose errors must be faults, as package grpcclient makes them.
func New(conn grpc.ClientConnInterface) *Client {
	return &Client{service: crmv1.NewCrmServiceClient(conn)}
}

// GetRecord returns the handler of crm.get_record.
func (c *Client) GetRecord() action.Handler { return getRecord{c} }

// UpdateRecord returns the handler of crm.update_record.
func (c *Client) UpdateRecord() action.Handler { return updateRecord{c} }

type getRecord struct{ *Client }

// Check finds nothing: the schema says it all.
func (getRecord) Check(map[string]any) []fault.Violation { return nil }

func (h getRecord) Do(ctx context.Context, call action.Call) run.Outcome {
	resp, err := h.service.GetRecord(ctx, &crmv1.GetRecordRequest{
		Tenant: call.Tenant, Module: text(call.Params["module"]), Id: text(call.Params["id"]),
	})
	if err != nil {
		return failure(ctx, call, err)
	}
	return success(resp.GetRecord())
}

type updateRecord struct{ *Client }

// Check finds nothing: the schema says it all.
func (updateRecord) Check(map[string]any) []fault.Violation { return nil }

func (h updateRecord) Do(ctx context.Context, call action.Call) run.Outcome {
	values, _ := call.Params["fields"].(map[string]any) // the schema has checked the type
	fields, err := structpb.NewStruct(values)
	if err != nil {
		return action.Refused([]fault.Violation{{Field: "params.fields", Description: "holds a value that is not JSON"}})
	}
	resp, err := h.service.UpdateRecord(ctx, &crmv1.UpdateRecordRequest{
		Tenant: call.Tenant, Module: text(call.Params["module"]), Id: text(call.Params["id"]),
		Fields: fields, RequestId: call.IdempotencyKey,
	})
	if err != nil {
		return failure(ctx, call, err)
	}
	return success(resp.GetRecord())
}

// text writes an id as text; the schema allows whole numbers as well.
func text(value any) string {
	switch v := value.(type) {
	case string:
		return v
	case float64:
		return fmt.Sprintf("%.0f", v)
	case nil:
		return ""
	default:
		return fmt.Sprint(v)
	}
}

// record is the output, named as expressions name things.
type record struct {
	ID         string         `json:"id"`
	Module     string         `json:"module"`
	Version    int32          `json:"version"`
	Fields     map[string]any `json:"fields"`
	CreateTime string         `json:"create_time,omitempty"`
	UpdateTime string         `json:"update_time,omitempty"`
}

func success(r *crmv1.Record) run.Outcome {
	out := record{
		ID: r.GetId(), Module: r.GetModule(), Version: r.GetVersion(), Fields: r.GetFields().AsMap(),
		CreateTime: stamp(r.GetCreateTime()), UpdateTime: stamp(r.GetUpdateTime()),
	}
	encoded, err := json.Marshal(out)
	if err != nil {
		return action.Failed(fault.ReasonInternal, "the CRM's record cannot be written as JSON")
	}
	return action.Succeeded(encoded)
}

func stamp(t *timestamppb.Timestamp) string {
	if t == nil {
		return ""
	}
	return t.AsTime().Format(time.RFC3339Nano)
}

// failure says what another attempt may mend. An update may be repeated after any answer, since its request id makes that harmless.
func failure(ctx context.Context, call action.Call, err error) run.Outcome {
	if ctx.Err() != nil {
		return action.Ended(ctx)
	}
	f, ok := fault.As(err)
	if !ok {
		return action.Retryable(action.ReasonTargetUnreachable, "the CRM did not answer")
	}
	switch f.Kind {
	case fault.KindNotFound:
		return action.Failed(action.ReasonRecordNotFound,
			fmt.Sprintf("there is no record %s in the module %s", text(call.Params["id"]), text(call.Params["module"])))
	case fault.KindInvalidArgument:
		return action.Failed(action.ReasonParams, "the CRM refused the parameters: "+f.Message)
	case fault.KindDeadlineExceeded: // the step's: the server learns it with the call and may notice before our context does
		return action.Retryable(action.ReasonStepTimeout, "the CRM did not answer within the step's time limit")
	case fault.KindUnavailable, fault.KindCanceled, fault.KindResourceExhausted, fault.KindInternal:
		o := action.Retryable(action.ReasonTargetUnreachable, "the CRM did not do its work: "+f.Message)
		o.RetryAfter = f.RetryAfter
		return o
	case fault.KindAborted:
		return action.Retryable(f.Reason, "the CRM refused the change: "+f.Message)
	default:
		return action.Failed(f.Reason, "the CRM refused the call: "+f.Message)
	}
}
