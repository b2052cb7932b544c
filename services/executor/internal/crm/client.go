// Package crm does the actions crm.*: calls of uniconnect.crm.v1 with the service's own identity, in the tenant of the run. Whatever
// changes something carries the step's idempotency key as its request id, so that the attempts of a step have one effect together.
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

// Handlers returns what does each action, by its name.
func (c *Client) Handlers() map[string]action.Handler {
	return map[string]action.Handler{
		action.CRMGetRecord:    getRecord{c},
		action.CRMSearch:       search{c},
		action.CRMCreateRecord: createRecord{c},
		action.CRMUpdateRecord: updateRecord{c},
		action.CRMAssign:       assign{c},
		action.CRMAddNote:      addNote{c},
		action.CRMAddTask:      addTask{c},
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

func newRecord(r *crmv1.Record) record {
	return record{
		ID: r.GetId(), Module: r.GetModule(), Version: r.GetVersion(), Fields: r.GetFields().AsMap(),
		CreateTime: stamp(r.GetCreateTime()), UpdateTime: stamp(r.GetUpdateTime()),
	}
}

func stamp(t *timestamppb.Timestamp) string {
	if t == nil {
		return ""
	}
	return t.AsTime().Format(time.RFC3339Nano)
}

// answered is the outcome of a call that yields one record.
func answered(ctx context.Context, call action.Call, r *crmv1.Record, err error) run.Outcome {
	if err != nil {
		return failure(ctx, call, err)
	}
	return success(newRecord(r))
}

func success(output any) run.Outcome {
	encoded, err := json.Marshal(output)
	if err != nil {
		return action.Failed(fault.ReasonInternal, "the CRM's answer cannot be written as JSON")
	}
	return action.Succeeded(encoded)
}

// failure says what another attempt may mend. A change may be repeated after any answer, since its request id makes that harmless.
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
		return action.Failed(action.ReasonRecordNotFound, notFound(call, f))
	case fault.KindInvalidArgument:
		return action.Failed(action.ReasonParams, "the CRM refused the parameters: "+f.Message)
	case fault.KindDeadlineExceeded: // the step's: the server learns it with the call and may notice before our context does
		return action.Retryable(action.ReasonStepTimeout, "the CRM did not answer within the step's time limit")
	case fault.KindUnavailable, fault.KindCanceled, fault.KindResourceExhausted, fault.KindInternal:
		o := action.Retryable(action.ReasonTargetUnreachable, "the CRM did not do its work: "+f.Message)
		o.RetryAfter = f.RetryAfter
		return o
	case fault.KindAborted:
		if whole(call.Params["expected_version"]) > 0 {
			return action.Failed(f.Reason, "the record changed since the expected version; read it again before the change")
		}
		return action.Retryable(f.Reason, "the CRM refused the change: "+f.Message)
	default:
		return action.Failed(f.Reason, "the CRM refused the call: "+f.Message)
	}
}

// notFound names what is missing: what the CRM says is missing, else the record that the step names.
func notFound(call action.Call, f *fault.Error) string {
	module, id := f.Metadata["module"], f.Metadata["id"]
	if module == "" {
		module, id = text(call.Params["module"]), text(call.Params["id"])
	}
	if id == "" {
		return "the CRM has no module " + module
	}
	return fmt.Sprintf("there is no record %s in the module %s", id, module)
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

// whole reads a number that the schema requires to be whole; 0 when it is not given.
func whole(value any) int32 {
	switch v := value.(type) {
	case int64:
		return int32(v)
	case float64:
		return int32(v)
	default:
		return 0
	}
}

// fieldsOf reads the parameter that holds values by field name; the schema has checked its type.
func fieldsOf(call action.Call) map[string]any {
	values, _ := call.Params["fields"].(map[string]any)
	return values
}

func refuse(field, rule string) run.Outcome {
	return action.Refused([]fault.Violation{violation(field, rule)})
}

func violation(field, rule string) fault.Violation {
	return fault.Violation{Field: "params." + field, Description: rule, Reason: fault.ReasonFieldRule}
}

// encode writes values for the CRM.
func encode(values map[string]any) (*structpb.Struct, error) {
	return structpb.NewStruct(values)
}

const notJSON = "holds a value that is not JSON"
