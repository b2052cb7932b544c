package catalog_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"

	"workflow.uniconnect/pkg/auth"
	"workflow.uniconnect/pkg/fault"
	workflowv1 "workflow.uniconnect/proto/gen/go/uniconnect/workflow/v1"
)

// listed asks for all pages of a list and returns what they hold.
func listed(t *testing.T, ctx context.Context, r *replica, req *workflowv1.ListWorkflowsRequest) []*workflowv1.Workflow {
	t.Helper()
	var out []*workflowv1.Workflow
	req = proto.CloneOf(req)
	for {
		page, err := r.workflows().ListWorkflows(ctx, req)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, page.GetWorkflows()...)
		if req.PageToken = page.GetNextPageToken(); req.PageToken == "" {
			return out
		}
	}
}

func titlesOf(workflows []*workflowv1.Workflow) []string {
	out := make([]string, len(workflows))
	for i, w := range workflows {
		out[i] = w.GetTitle()
	}
	return out
}

// createAll creates workflows written as `title|trigger|state`.
func (r *replica) createAll(t *testing.T, ctx context.Context, described ...string) {
	t.Helper()
	for _, d := range described {
		part := strings.Split(d, "|")
		w := message(t, `{"trigger":`+part[1]+`,"steps":[{"id":"a","stop":{}}],"settings":{"stepTimeout":"5s"}}`)
		w.Title, w.State = part[0], workflowv1.Workflow_State(workflowv1.Workflow_State_value[part[2]])
		if _, err := r.workflows().CreateWorkflow(ctx, &workflowv1.CreateWorkflowRequest{Workflow: w}); err != nil {
			t.Fatal(err)
		}
	}
}

func TestService_ListWorkflows(t *testing.T) {
	t.Parallel()
	s, r := started(t)
	ctx := s.owner(t)
	r.createAll(t, ctx,
		`On Call Ended|{"event":{"eventType":"call.ended"}}|ACTIVE`,
		`on call started|{"event":{"eventType":"call.started"}}|INACTIVE`,
		`Ärger! "Quotes" & 'more'|{"event":{"eventType":"call.ended"}}|INACTIVE`,
		`Nightly CRM Sync|{"schedule":{"cron":"0 0 * * *"}}|ACTIVE`,
		`By hand|{"manual":{}}|ACTIVE`,
	)
	r.createAll(t, s.as(t, auth.Principal{Tenant: "globex", Subject: "owner"}), `Their call|{"manual":{}}|ACTIVE`)
	const ended, started, angry, nightly, hand = "On Call Ended", "on call started", `Ärger! "Quotes" & 'more'`, "Nightly CRM Sync", "By hand"
	for name, c := range map[string]struct {
		filter, order string
		want          []string
	}{
		"all":              {"", "", []string{hand, nightly, angry, started, ended}},
		"oldest":           {"", "create_time", []string{ended, started, angry, nightly, hand}},
		"title":            {"", "title", []string{hand, nightly, ended, started, angry}},
		"title_desc":       {"", "title desc", []string{angry, started, ended, nightly, hand}},
		"update_desc":      {"", "updateTime desc", []string{hand, nightly, angry, started, ended}},
		"state":            {`state = "ACTIVE"`, "", []string{hand, nightly, ended}},
		"not_state":        {`state != "ACTIVE"`, "", []string{angry, started}},
		"no_state":         {`state != "ACTIVE" AND state = "ACTIVE"`, "", nil},
		"trigger":          {`trigger_type = "event"`, "", []string{angry, started, ended}},
		"not_trigger":      {`trigger_type != "event" AND triggerType != "manual"`, "", []string{nightly}},
		"event":            {`event_type = "call.ended"`, "", []string{angry, ended}},
		"not_event":        {`event_type != "call.ended"`, "", []string{hand, nightly, started}},
		"title_words":      {`title : "call en"`, "", []string{ended}},
		"title_case":       {`title : "ÄRGER"`, "", []string{angry}},
		"title_hostile":    {`title : "\"quotes' & |!"`, "", []string{angry}},
		"everything":       {`state = "ACTIVE" AND trigger_type = "event" AND event_type = "call.ended" AND title : "call" AND title : "on"`, "title", []string{ended}},
		"words_of_another": {`title : "their"`, "", nil},
		"tenant_in_words":  {`title : "globex/their"`, "", nil},
	} {
		t.Run(name, func(t *testing.T) {
			for _, size := range []int32{1, 2, 0} {
				got := listed(t, ctx, r, &workflowv1.ListWorkflowsRequest{Filter: c.filter, OrderBy: c.order, PageSize: size})
				if diff := cmp.Diff(c.want, titlesOf(got), cmp.Transformer("nil", func(s []string) string { return strings.Join(s, "\n") })); diff != "" {
					t.Errorf("pages of %d (-want +got):\n%s", size, diff)
				}
			}
		})
	}

	t.Run("views", func(t *testing.T) {
		full := listed(t, ctx, r, &workflowv1.ListWorkflowsRequest{})
		again := listed(t, ctx, r, &workflowv1.ListWorkflowsRequest{View: workflowv1.WorkflowView_FULL})
		basic := listed(t, ctx, r, &workflowv1.ListWorkflowsRequest{View: workflowv1.WorkflowView_BASIC})
		if diff := cmp.Diff(full, again, protocmp.Transform()); diff != "" {
			t.Errorf("read twice (-first +second):\n%s", diff)
		}
		for i, w := range full {
			got, err := r.workflows().GetWorkflow(ctx, &workflowv1.GetWorkflowRequest{Id: w.GetId()})
			if err != nil {
				t.Fatal(err)
			}
			got.Workflow.Warnings = nil // told when one is looked at, not in lists
			if diff := cmp.Diff(got.GetWorkflow(), w, protocmp.Transform()); diff != "" {
				t.Errorf("(-get +list):\n%s", diff)
			}
			got.Workflow.Steps, got.Workflow.Settings = nil, nil
			if diff := cmp.Diff(got.GetWorkflow(), basic[i], protocmp.Transform()); diff != "" {
				t.Errorf("basic (-get +list):\n%s", diff)
			}
		}
	})
	t.Run("after_a_change", func(t *testing.T) {
		before := listed(t, ctx, r, &workflowv1.ListWorkflowsRequest{Filter: `title : "hand"`})[0]
		resp, err := r.workflows().UpdateWorkflow(ctx, &workflowv1.UpdateWorkflowRequest{Workflow: &workflowv1.Workflow{Id: before.GetId(), Title: "By foot"}})
		if err != nil {
			t.Fatal(err)
		}
		got := listed(t, ctx, r, &workflowv1.ListWorkflowsRequest{Filter: `title : "foot"`})
		resp.Workflow.Warnings = nil
		if diff := cmp.Diff([]*workflowv1.Workflow{resp.GetWorkflow()}, got, protocmp.Transform()); diff != "" {
			t.Errorf("(-updated +listed):\n%s", diff)
		}
		if got := listed(t, ctx, r, &workflowv1.ListWorkflowsRequest{Filter: `title : "hand"`}); len(got) != 0 {
			t.Errorf("by its old title: got %v", titlesOf(got))
		}
	})
}

func TestService_ListWorkflows_refuses(t *testing.T) {
	t.Parallel()
	s, r := started(t)
	ctx := s.owner(t)
	for i := range 3 {
		r.create(t, ctx, fmt.Sprint("w", i))
	}
	list := func(ctx context.Context, req *workflowv1.ListWorkflowsRequest) (*workflowv1.ListWorkflowsResponse, error) {
		return r.workflows().ListWorkflows(ctx, req)
	}
	const fields = "fields are state (= !=), trigger_type (= !=), event_type (= !=), title (:)"
	for filter, says := range map[string]string{
		`id;drop`:                    "comparison",
		`id = "x"`:                   "unknown field `id`",
		`state = "active"`:           "ACTIVE, INACTIVE, DELETING",
		`trigger_type = "cron"`:      "event, schedule, manual",
		`title = "x"`:                "title does not compare with =",
		`title : "!!!"`:              "letters or digits",
		`title : "` + "a\x00" + `"`:  "control",
		`title : "a" OR title : "b"`: "AND",
		`event_type = "Call; Ended"`: "call.ended",
		`state = "ACTIVE" AND`:       "column",
		`title : "a b c d e f g h i j k l m n o p q"`: "16 words",
	} {
		_, err := list(ctx, &workflowv1.ListWorkflowsRequest{Filter: filter})
		f := faultOf(t, err, fault.KindInvalidArgument, "FILTER")
		if !strings.Contains(f.Message, says) || !strings.Contains(f.Message, fields) || f.Violations[0].Field != "filter" {
			t.Errorf("%q: got %q, want %q and the fields", filter, f.Message, says)
		}
	}
	for _, order := range []string{"id;drop", "state", "title desc; --", "title, create_time"} {
		_, err := list(ctx, &workflowv1.ListWorkflowsRequest{OrderBy: order})
		if f := faultOf(t, err, fault.KindInvalidArgument, "ORDER_BY"); !strings.Contains(f.Message, "create_time, update_time, title") {
			t.Errorf("%q: got %q, want the orders", order, f.Message)
		}
	}
	for _, size := range []int32{-1, 201, 1e9} {
		_, err := list(ctx, &workflowv1.ListWorkflowsRequest{PageSize: size})
		wantFault(t, err, fault.KindInvalidArgument, "INVALID_FIELDS")
	}

	first := &workflowv1.ListWorkflowsRequest{PageSize: 1, Filter: `state = "ACTIVE"`, OrderBy: "title"}
	page, err := list(ctx, first)
	if err != nil || page.GetNextPageToken() == "" {
		t.Fatalf("got %v, %v; want a page and more", page, err)
	}
	for name, change := range map[string]func(*workflowv1.ListWorkflowsRequest){
		"other_filter": func(r *workflowv1.ListWorkflowsRequest) { r.Filter = "" },
		"other_order":  func(r *workflowv1.ListWorkflowsRequest) { r.OrderBy = "title desc" },
		"garbage":      func(r *workflowv1.ListWorkflowsRequest) { r.PageToken = "page 2" },
		"cut":          func(r *workflowv1.ListWorkflowsRequest) { r.PageToken = r.PageToken[:20] },
		"altered":      func(r *workflowv1.ListWorkflowsRequest) { r.PageToken = "B" + r.PageToken[1:] },
	} {
		req := proto.CloneOf(first)
		req.PageToken = page.GetNextPageToken()
		change(req)
		_, err := list(ctx, req)
		if f, ok := fault.As(err); !ok || f.Reason != "PAGE_TOKEN" || f.Kind != fault.KindInvalidArgument {
			t.Errorf("%s: got %v, want PAGE_TOKEN", name, err)
		}
	}
	req := proto.CloneOf(first)
	req.PageToken, req.PageSize = page.GetNextPageToken(), 2
	_, err = list(s.as(t, auth.Principal{Tenant: "globex", Subject: "owner"}), req)
	wantFault(t, err, fault.KindInvalidArgument, "PAGE_TOKEN")
	rest, err := list(ctx, req)
	if err != nil || len(rest.GetWorkflows()) != 2 || rest.GetNextPageToken() != "" {
		t.Errorf("another page size: got %v, %v; want the rest", rest, err)
	}
}
