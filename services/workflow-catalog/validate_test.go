package catalog_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"workflow.uniconnect/pkg/auth"
	"workflow.uniconnect/pkg/fault"
	peerv1 "workflow.uniconnect/proto/gen/go/uniconnect/workflow/peer/v1"
	workflowv1 "workflow.uniconnect/proto/gen/go/uniconnect/workflow/v1"
)

// problems validates a workflow and returns the problems as "field reason", warnings marked, in their order.
func (r *replica) problems(t *testing.T, ctx context.Context, w *workflowv1.Workflow) []string {
	t.Helper()
	resp, err := r.workflows().ValidateWorkflow(ctx, &workflowv1.ValidateWorkflowRequest{Workflow: w})
	if err != nil {
		t.Fatal(err)
	}
	all, valid := []string{}, true
	for _, p := range resp.GetProblems() {
		if p.GetDescription() == "" {
			t.Errorf("%s: no description", p.GetField())
		}
		line := p.GetField() + " " + p.GetReason()
		if p.GetSeverity() == workflowv1.Problem_WARNING {
			line += " warning"
		} else {
			valid = false
		}
		all = append(all, line)
	}
	if resp.GetValid() != valid {
		t.Errorf("valid: got %v, want %v", resp.GetValid(), valid)
	}
	return all
}

func TestService_ValidateWorkflow(t *testing.T) {
	t.Parallel()
	s, r := started(t)
	ctx := s.owner(t)
	first := r.create(t, ctx, "First")
	id := first.GetId()
	later := timestamppb.New(time.Now().Add(time.Hour))
	earlier := timestamppb.New(time.Now().Add(-time.Hour))
	for name, c := range map[string]struct {
		edit func(*workflowv1.Workflow)
		said []*peerv1.Violation
		want []string
	}{
		"good":            {edit: func(*workflowv1.Workflow) {}},
		"taken_title":     {edit: func(w *workflowv1.Workflow) { w.Title = "First" }, want: []string{"title WORKFLOW_EXISTS"}},
		"own_title":       {edit: func(w *workflowv1.Workflow) { w.Title, w.Id = "First", id }},
		"own_in_capitals": {edit: func(w *workflowv1.Workflow) { w.Title, w.Id = "First", strings.ToUpper(id) }},
		"new_title":       {edit: func(w *workflowv1.Workflow) { w.Id = id }},
		"range_over":      {edit: func(w *workflowv1.Workflow) { w.DateRange = &workflowv1.DateRange{EndTime: earlier} }, want: []string{"dateRange.endTime RANGE_OVER warning"}},
		"range_to_come":   {edit: func(w *workflowv1.Workflow) { w.DateRange = &workflowv1.DateRange{EndTime: later} }},
		"no_steps":        {edit: func(w *workflowv1.Workflow) { w.Steps = nil }, want: []string{"steps NO_STEPS warning"}},
		"warnings_of_an_owner": {
			edit: func(*workflowv1.Workflow) {},
			said: []*peerv1.Violation{{Field: "trigger.event.filter", Description: "never holds", Reason: "EXPRESSION", Warning: true}},
			want: []string{"trigger.event.filter EXPRESSION warning"},
		},
		"in_the_order_of_the_fields": {
			edit: func(w *workflowv1.Workflow) {
				w.Title, w.Steps[0].Id = "", "A"
				w.DateRange = &workflowv1.DateRange{StartTime: later, EndTime: earlier}
			},
			said: []*peerv1.Violation{
				{Field: "steps[10].action.type", Description: "is not known", Reason: "UNKNOWN_ACTION_TYPE"},
				{Field: "steps[2].action.type", Description: "is not known", Reason: "UNKNOWN_ACTION_TYPE"},
				{Field: "trigger.event.eventType", Description: "is not known", Reason: "UNKNOWN_EVENT_TYPE"},
			},
			want: []string{
				"dateRange.endTime FIELD_RULE", "dateRange.endTime RANGE_OVER warning", "steps[0].id FIELD_RULE", "steps[2].action.type UNKNOWN_ACTION_TYPE",
				"steps[10].action.type UNKNOWN_ACTION_TYPE", "title FIELD_RULE", "trigger.event.eventType UNKNOWN_EVENT_TYPE",
			},
		},
		"cannot_be_stored": {edit: func(w *workflowv1.Workflow) { w.Title = "a\x00b" }, want: []string{"title FIELD_RULE"}},
		"calls_itself": {
			edit: func(w *workflowv1.Workflow) {
				w.Id = id
				w.Steps = []*workflowv1.Step{{Id: "a", Kind: &workflowv1.Step_CallWorkflow{CallWorkflow: &workflowv1.CallWorkflowStep{WorkflowId: id}}}}
			},
			want: []string{"steps[0].callWorkflow.workflowId WORKFLOW_CYCLE"},
		},
		"calls_nobody": {
			edit: func(w *workflowv1.Workflow) {
				w.Steps = []*workflowv1.Step{{Id: "a", Kind: &workflowv1.Step_CallWorkflow{CallWorkflow: &workflowv1.CallWorkflowStep{WorkflowId: strings.Repeat("0", 8) + "-0000-7000-8000-000000000000"}}}}
			},
			want: []string{"steps[0].callWorkflow.workflowId UNKNOWN_WORKFLOW"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			s.owners.set(c.said...)
			w := simple(t, "Second")
			c.edit(w)
			if c.want == nil {
				c.want = []string{}
			}
			if diff := cmp.Diff(c.want, r.problems(t, ctx, w)); diff != "" {
				t.Errorf("problems (-want +got):\n%s", diff)
			}
		})
	}
	s.owners.set()
	if diff := cmp.Diff(first, r.get(t, ctx, id), protocmp.Transform()); diff != "" {
		t.Errorf("validation changed the workflow:\n%s", diff)
	}
	if all := listed(t, ctx, r, &workflowv1.ListWorkflowsRequest{}); len(all) != 1 {
		t.Errorf("got %d workflows, want the one created", len(all))
	}
}

func TestService_ValidateWorkflow_refuses(t *testing.T) {
	t.Parallel()
	s, r := started(t)
	ctx := s.owner(t)
	first := r.create(t, ctx, "First")
	ask := func(ctx context.Context, w *workflowv1.Workflow) error {
		_, err := r.workflows().ValidateWorkflow(ctx, &workflowv1.ValidateWorkflowRequest{Workflow: w})
		return err
	}
	withID := func(id string) *workflowv1.Workflow {
		w := simple(t, "Second")
		w.Id = id
		return w
	}
	wantFault(t, ask(ctx, nil), fault.KindInvalidArgument, "INVALID_FIELDS")
	wantFault(t, ask(ctx, withID("x")), fault.KindInvalidArgument, "INVALID_FIELDS")
	wantFault(t, ask(ctx, withID("0198c0de-0000-7000-8000-000000000001")), fault.KindNotFound, "WORKFLOW_NOT_FOUND")
	other := s.as(t, auth.Principal{Tenant: "globex", Subject: "owner"})
	wantFault(t, ask(other, withID(first.GetId())), fault.KindNotFound, "WORKFLOW_NOT_FOUND")
	if got := r.problems(t, other, simple(t, "First")); len(got) > 0 {
		t.Errorf("another tenant's title: got %v", got)
	}
	viewer := s.as(t, auth.Principal{Tenant: "acme", Subject: "viewer"})
	wantFault(t, ask(viewer, simple(t, "Second")), fault.KindPermissionDenied, "PERMISSION_MISSING")
}

// Without the owners nobody can say that a workflow is good.
func TestService_without_the_owners(t *testing.T) {
	t.Parallel()
	s, r := started(t)
	ctx := s.owner(t)
	first := r.create(t, ctx, "First")
	s.stopOwners()
	calls := map[string]func(w *workflowv1.Workflow) error{
		"validate": func(w *workflowv1.Workflow) error {
			_, err := r.workflows().ValidateWorkflow(ctx, &workflowv1.ValidateWorkflowRequest{Workflow: w})
			return err
		},
		"create": func(w *workflowv1.Workflow) error {
			_, err := r.workflows().CreateWorkflow(ctx, &workflowv1.CreateWorkflowRequest{Workflow: w})
			return err
		},
		"update": func(w *workflowv1.Workflow) error {
			w.Id = first.GetId()
			_, err := r.workflows().UpdateWorkflow(ctx, &workflowv1.UpdateWorkflowRequest{Workflow: w})
			return err
		},
	}
	for name, do := range calls {
		t.Run(name, func(t *testing.T) {
			f := faultOf(t, do(simple(t, "Second")), fault.KindUnavailable, "SERVICE_UNAVAILABLE")
			if f.RetryAfter <= 0 {
				t.Error("does not say when to try again")
			}
		})
	}
	t.Run("validate_says_nothing_by_halves", func(t *testing.T) {
		bad := simple(t, "")
		wantFault(t, calls["validate"](bad), fault.KindUnavailable, "SERVICE_UNAVAILABLE")
	})
	if diff := cmp.Diff(first, r.get(t, ctx, first.GetId()), protocmp.Transform()); diff != "" {
		t.Errorf("the workflow changed:\n%s", diff)
	}
}

func TestService_tells_the_steps_owner_what_is_known_of_the_event(t *testing.T) {
	t.Parallel()
	s, r := started(t)
	data, err := structpb.NewStruct(map[string]any{"type": "object", "properties": map[string]any{"talk_ms": map[string]any{"type": "integer"}}})
	if err != nil {
		t.Fatal(err)
	}
	s.owners.mu.Lock()
	s.owners.data = data
	s.owners.mu.Unlock()
	told := func() *structpb.Struct {
		s.owners.mu.Lock()
		defer s.owners.mu.Unlock()
		told := s.owners.told
		s.owners.told = nil
		return told
	}
	ctx := s.owner(t)
	w := r.create(t, ctx, "First")
	equal(t, "on create", data, told())
	r.problems(t, ctx, simple(t, "Second"))
	equal(t, "on validate", data, told())
	r.rename(t, ctx, w.GetId(), "Third")
	equal(t, "on update", data, told())
}

func TestService_warnings(t *testing.T) {
	t.Parallel()
	s, r := started(t)
	ctx, client := s.owner(t), r.workflows()
	w := simple(t, "First")
	w.Steps = nil
	w.DateRange = &workflowv1.DateRange{EndTime: timestamppb.New(time.Now().Add(-time.Hour))}
	s.owners.set(&peerv1.Violation{Field: "trigger.event.filter", Description: "never holds", Reason: "EXPRESSION", Warning: true})
	created, err := client.CreateWorkflow(ctx, &workflowv1.CreateWorkflowRequest{Workflow: w})
	if err != nil {
		t.Fatalf("warnings keep a workflow from being saved: %v", err)
	}
	reasons := func(w *workflowv1.Workflow) string {
		var all []string
		for _, p := range w.GetWarnings() {
			if p.GetSeverity() != workflowv1.Problem_WARNING {
				t.Errorf("%s: got severity %v", p.GetField(), p.GetSeverity())
			}
			all = append(all, p.GetField()+" "+p.GetReason())
		}
		return strings.Join(all, ", ")
	}
	const both = "dateRange.endTime RANGE_OVER, steps NO_STEPS"
	if got := reasons(created.GetWorkflow()); got != both {
		t.Errorf("created: got %s, want %s", got, both)
	}
	id := created.GetWorkflow().GetId()
	if got := reasons(r.get(t, ctx, id)); got != both {
		t.Errorf("get: got %s, want %s", got, both)
	}
	renamed := r.rename(t, ctx, id, "Second")
	if got := reasons(renamed); got != both {
		t.Errorf("updated: got %s, want %s", got, both)
	}
	if got := reasons(r.create(t, ctx, "Third")); got != "" {
		t.Errorf("a workflow as it should be: got %s", got)
	}
	for _, w := range listed(t, ctx, r, &workflowv1.ListWorkflowsRequest{}) {
		if len(w.GetWarnings()) > 0 && w.GetId() != id {
			t.Errorf("list: %s has warnings %v", w.GetTitle(), w.GetWarnings())
		}
	}
}
