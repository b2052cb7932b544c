package crm

import (
	"context"

	"workflow.uniconnect/pkg/fault"
	crmv1 "workflow.uniconnect/proto/gen/go/uniconnect/crm/v1"
	"workflow.uniconnect/services/executor/internal/action"
	"workflow.uniconnect/services/executor/internal/run"
)

type assign struct{ *Client }

// Check compares the strategy with whom it may choose, as far as both are known before the run.
func (assign) Check(params map[string]any) []fault.Violation {
	users, isList := params["users"].([]any)
	known := isList || params["users"] == nil
	group, _ := params["group"].(string)
	switch params["strategy"] {
	case crmv1.AssignRecordRequest_USER.String():
		if known && len(users) != 1 {
			return []fault.Violation{violation("users", "must name one user for the strategy USER")}
		}
	case crmv1.AssignRecordRequest_GROUP.String():
		if group == "" {
			return []fault.Violation{violation("group", "is required for the strategy GROUP")}
		}
	default:
		if len(users) > 0 && group != "" {
			return []fault.Violation{violation("group", "must be left out when users are given")}
		}
	}
	return nil
}

func (h assign) Do(ctx context.Context, call action.Call) run.Outcome {
	if found := h.Check(call.Params); len(found) > 0 {
		return action.Refused(found)
	}
	var users []string
	list, _ := call.Params["users"].([]any)
	for _, user := range list {
		users = append(users, text(user))
	}
	resp, err := h.service.AssignRecord(ctx, &crmv1.AssignRecordRequest{
		Tenant: call.Tenant, Module: text(call.Params["module"]), Id: text(call.Params["id"]),
		Strategy: crmv1.AssignRecordRequest_Strategy(crmv1.AssignRecordRequest_Strategy_value[text(call.Params["strategy"])]),
		Users:    users, Group: text(call.Params["group"]), RequestId: call.IdempotencyKey,
	})
	return answered(ctx, call, resp.GetRecord(), err)
}
