package crm

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"google.golang.org/protobuf/types/known/structpb"

	"workflow.uniconnect/pkg/fault"
	crmv1 "workflow.uniconnect/proto/gen/go/uniconnect/crm/v1"
	"workflow.uniconnect/services/executor/internal/action"
	"workflow.uniconnect/services/executor/internal/run"
)

type search struct{ *Client }

// Check finds nothing: the schema says it all.
func (search) Check(map[string]any) []fault.Violation { return nil }

// found is the output.
type found struct {
	Records       []record `json:"records"`
	Count         int      `json:"count"`
	NextPageToken string   `json:"next_page_token"`
}

func (h search) Do(ctx context.Context, call action.Call) run.Outcome {
	conditions, violations := conditionsOf(call)
	if len(violations) > 0 {
		return action.Refused(violations)
	}
	resp, err := h.service.SearchRecords(ctx, &crmv1.SearchRecordsRequest{
		Tenant: call.Tenant, Module: text(call.Params["module"]), Conditions: conditions,
		PageSize: whole(call.Params["page_size"]), PageToken: text(call.Params["page_token"]),
	})
	if err != nil {
		return failure(ctx, call, err)
	}
	out := found{Records: []record{}, Count: len(resp.GetRecords()), NextPageToken: resp.GetNextPageToken()}
	for _, r := range resp.GetRecords() {
		out.Records = append(out.Records, newRecord(r))
	}
	return success(out)
}

// conditionsOf joins the fields that must be equal and the conditions. The order is always the same, since a page token belongs to it.
func conditionsOf(call action.Call) ([]*crmv1.Condition, []fault.Violation) {
	var all []*crmv1.Condition
	var violations []fault.Violation
	add := func(at, field string, operator crmv1.Condition_Operator, value any) {
		encoded, err := structpb.NewValue(value)
		if err != nil {
			violations = append(violations, violation(at, notJSON))
			return
		}
		all = append(all, &crmv1.Condition{Field: field, Operator: operator, Value: encoded})
	}
	equal := fieldsOf(call)
	for _, name := range slices.Sorted(maps.Keys(equal)) {
		add("fields."+name, name, crmv1.Condition_EQUALS, equal[name])
	}
	list, _ := call.Params["conditions"].([]any)
	for i, one := range list {
		condition, _ := one.(map[string]any)
		name, _ := condition["operator"].(string)
		// The schema knows the same names; a missing one is the zero value, which means EQUALS.
		operator := crmv1.Condition_Operator(crmv1.Condition_Operator_value[name])
		add(fmt.Sprintf("conditions[%d].value", i), text(condition["field"]), operator, condition["value"])
	}
	return all, violations
}
