package crm_test

import (
	"context"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/structpb"

	"workflow.uniconnect/pkg/fault"
	crmv1 "workflow.uniconnect/proto/gen/go/uniconnect/crm/v1"
	"workflow.uniconnect/services/executor/internal/action"
	"workflow.uniconnect/services/executor/internal/crm"
	"workflow.uniconnect/services/executor/internal/run"
)

// do makes a call through the registry, as a step does.
func do(t *testing.T, client *crm.Client, name string, params map[string]any) run.Outcome {
	t.Helper()
	ty, err := action.Define(name, client.Handlers()[name])
	if err != nil {
		t.Fatal(err)
	}
	c := call(params)
	c.Type = name
	return action.NewRegistry(ty).Do(t.Context(), c)
}

func object(t *testing.T, values map[string]any) *structpb.Struct {
	t.Helper()
	s, err := structpb.NewStruct(values)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestClient_actions_that_create(t *testing.T) {
	type params = map[string]any
	cases := map[string]struct {
		action string
		params params
		module string
		want   params
	}{
		"record": {action.CRMCreateRecord, params{"module": "contacts", "fields": params{"name": "A", "n": int64(1), "none": nil}},
			"contacts", params{"name": "A", "n": 1, "none": nil}},
		"note": {action.CRMAddNote, params{"module": "leads", "id": "lead-1", "text": "Called."},
			"notes", params{"text": "Called.", "record": "lead-1", "record_module": "leads"}},
		"note_with_fields": {action.CRMAddNote, params{"module": "leads", "id": int64(7), "fields": params{"text": "Called.", "pinned": true}},
			"notes", params{"text": "Called.", "record": "7", "record_module": "leads", "pinned": true}},
		"note_of_its_own": {action.CRMAddNote, params{"id": "", "text": "Called."}, "notes", params{"text": "Called."}},
		"task": {action.CRMAddTask, params{"module": "leads", "id": "lead-1", "title": "Call", "due_time": "2026-11-03T09:00:00+01:00", "assignee": "user-100"},
			"tasks", params{
				"title": "Call", "due_time": "2026-11-03T09:00:00+01:00", "owner": "user-100", "status": "open", "record": "lead-1", "record_module": "leads",
			}},
		"task_of_its_own": {action.CRMAddTask, params{"title": "Call", "due_time": nil, "assignee": "", "module": "leads", "id": ""},
			"tasks", params{"title": "Call", "status": "open"}},
		"task_with_fields": {action.CRMAddTask, params{"fields": params{"title": "Call", "status": "waiting", "priority": "high"}},
			"tasks", params{"title": "Call", "status": "waiting", "priority": "high"}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			var got *crmv1.CreateRecordRequest
			client, _ := start(t, &server{create: func(_ context.Context, req *crmv1.CreateRecordRequest) (*crmv1.Record, error) {
				got = req
				return aRecord(t), nil
			}})
			if o := do(t, client, c.action, c.params); o.Err != nil || string(o.Output) != recordJSON {
				t.Fatalf("got %s, %+v", o.Output, o.Err)
			}
			want := &crmv1.CreateRecordRequest{Tenant: "acme", Module: c.module, Fields: object(t, c.want), RequestId: "e1/update"}
			if diff := cmp.Diff(want, got, protocmp.Transform()); diff != "" {
				t.Errorf("request (-want +got):\n%s", diff)
			}
		})
	}
}

func TestClient_UpdateRecord_expected_version(t *testing.T) {
	var got *crmv1.UpdateRecordRequest
	client, _ := start(t, &server{update: func(_ context.Context, req *crmv1.UpdateRecordRequest) (*crmv1.Record, error) {
		got = req
		return aRecord(t), nil
	}})
	for want, given := range map[int32]any{3: int64(3), 4: 4.0, 0: nil} {
		o := do(t, client, action.CRMUpdateRecord, map[string]any{
			"module": "leads", "id": "1", "fields": map[string]any{"a": "b"}, "expected_version": given,
		})
		if o.Err != nil || got.GetExpectedVersion() != want {
			t.Errorf("%v: got version %d, %+v; want %d", given, got.GetExpectedVersion(), o.Err, want)
		}
	}
}

func TestClient_Search(t *testing.T) {
	var got *crmv1.SearchRecordsRequest
	records := []*crmv1.Record{aRecord(t)}
	client, _ := start(t, &server{search: func(_ context.Context, req *crmv1.SearchRecordsRequest) (*crmv1.SearchRecordsResponse, error) {
		got = req
		return &crmv1.SearchRecordsResponse{Records: records, NextPageToken: "t2"}, nil
	}})
	o := do(t, client, action.CRMSearch, map[string]any{
		"module": "leads", "fields": map[string]any{"status": "new", "owner": nil}, "page_size": int64(10), "page_token": "t1",
		"conditions": []any{
			map[string]any{"field": "score", "operator": "GREATER_THAN", "value": int64(80)},
			map[string]any{"field": "id", "value": "lead-1001"},
			map[string]any{"field": "tag", "operator": "IN", "value": []any{"a", "b"}},
		},
	})
	if want := `{"records":[` + recordJSON + `],"count":1,"next_page_token":"t2"}`; o.Err != nil || string(o.Output) != want {
		t.Errorf("got %s, %+v; want %s", o.Output, o.Err, want)
	}
	list, err := structpb.NewList([]any{"a", "b"})
	if err != nil {
		t.Fatal(err)
	}
	want := &crmv1.SearchRecordsRequest{Tenant: "acme", Module: "leads", PageSize: 10, PageToken: "t1", Conditions: []*crmv1.Condition{
		{Field: "owner", Operator: crmv1.Condition_EQUALS, Value: structpb.NewNullValue()},
		{Field: "status", Operator: crmv1.Condition_EQUALS, Value: structpb.NewStringValue("new")},
		{Field: "score", Operator: crmv1.Condition_GREATER_THAN, Value: structpb.NewNumberValue(80)},
		{Field: "id", Value: structpb.NewStringValue("lead-1001")},
		{Field: "tag", Operator: crmv1.Condition_IN, Value: structpb.NewListValue(list)},
	}}
	if diff := cmp.Diff(want, got, protocmp.Transform()); diff != "" {
		t.Errorf("request (-want +got):\n%s", diff)
	}
	records = nil
	if o := do(t, client, action.CRMSearch, map[string]any{"module": "leads"}); string(o.Output) != `{"records":[],"count":0,"next_page_token":"t2"}` {
		t.Errorf("without a record: got %s, want an empty list", o.Output)
	}
}

func TestClient_Assign(t *testing.T) {
	var got *crmv1.AssignRecordRequest
	client, _ := start(t, &server{assign: func(_ context.Context, req *crmv1.AssignRecordRequest) (*crmv1.Record, error) {
		got = req
		return aRecord(t), nil
	}})
	o := do(t, client, action.CRMAssign, map[string]any{
		"module": "leads", "id": "lead-1", "strategy": "ROUND_ROBIN", "users": []any{"user-100", "user-101"},
	})
	if o.Err != nil || string(o.Output) != recordJSON {
		t.Fatalf("got %s, %+v", o.Output, o.Err)
	}
	want := &crmv1.AssignRecordRequest{
		Tenant: "acme", Module: "leads", Id: "lead-1", Strategy: crmv1.AssignRecordRequest_ROUND_ROBIN,
		Users: []string{"user-100", "user-101"}, RequestId: "e1/update",
	}
	if diff := cmp.Diff(want, got, protocmp.Transform()); diff != "" {
		t.Errorf("request (-want +got):\n%s", diff)
	}
}

// What is wrong with parameters is found when the workflow is saved and again when the step begins.
func TestClient_Check(t *testing.T) {
	type params = map[string]any
	rule := func(field, text string) []fault.Violation {
		return []fault.Violation{{Field: field, Description: text, Reason: fault.ReasonFieldRule}}
	}
	const needsTime = "must be a date and time with its zone, such as 2026-11-03T09:00:00+01:00"
	cases := map[string]struct {
		action string
		params params
		want   []fault.Violation
	}{
		"note_without_text":    {action.CRMAddNote, params{"module": "leads", "id": "1"}, rule("params.text", "is required")},
		"note_with_empty_text": {action.CRMAddNote, params{"module": "leads", "id": "1", "fields": params{"text": ""}}, rule("params.text", "is required")},
		"task_without_title":   {action.CRMAddTask, params{}, rule("params.title", "is required")},
		"task_due_tomorrow":    {action.CRMAddTask, params{"title": "t", "due_time": "tomorrow"}, rule("params.due_time", needsTime)},
		"user_without_users":   {action.CRMAssign, params{"module": "leads", "id": "1", "strategy": "USER"}, rule("params.users", "must name one user for the strategy USER")},
		"group_without_group":  {action.CRMAssign, params{"module": "leads", "id": "1", "strategy": "GROUP"}, rule("params.group", "is required for the strategy GROUP")},
		"users_and_group": {action.CRMAssign, params{"module": "leads", "id": "1", "strategy": "ROUND_ROBIN", "group": "sales", "users": []any{"a"}},
			rule("params.group", "must be left out when users are given")},
	}
	client := crm.New(nil)
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(c.want, client.Handlers()[c.action].Check(c.params)); diff != "" {
				t.Errorf("violations (-want +got):\n%s", diff)
			}
			o := client.Handlers()[c.action].Do(t.Context(), call(c.params))
			if o.Err == nil || o.Err.Reason != action.ReasonParams || o.Err.Retryable {
				t.Errorf("got %+v, want ACTION_PARAMS, not retryable", o.Err)
			}
		})
	}
	for name, c := range map[string]struct {
		action string
		params params
	}{
		"template_for_fields": {action.CRMAddTask, params{"fields": "${vars.task}"}},
		"template_for_time":   {action.CRMAddTask, params{"title": "t", "due_time": "${now}"}},
		"template_for_users":  {action.CRMAssign, params{"strategy": "USER", "users": "${vars.users}"}},
		"template_for_how":    {action.CRMAssign, params{"strategy": "${vars.how}"}},
	} {
		t.Run(name, func(t *testing.T) {
			if found := client.Handlers()[c.action].Check(c.params); len(found) > 0 {
				t.Errorf("got %+v, want none", found)
			}
		})
	}
}
