package catalog_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/testing/protocmp"

	"workflow.uniconnect/pkg/fault"
	workflowv1 "workflow.uniconnect/proto/gen/go/uniconnect/workflow/v1"
)

func TestService_templates(t *testing.T) {
	t.Parallel()
	s, r := started(t)
	ctx, client := s.owner(t), r.workflows()
	whole, err := client.ListTemplates(ctx, &workflowv1.ListTemplatesRequest{})
	if err != nil {
		t.Fatal(err)
	}
	want := whole.GetTemplates()
	if len(want) < 12 || whole.GetNextPageToken() != "" {
		t.Fatalf("got %d templates and the token %q, want all of them at once", len(want), whole.GetNextPageToken())
	}

	t.Run("page_by_page", func(t *testing.T) {
		var got []*workflowv1.Template
		for req := (&workflowv1.ListTemplatesRequest{PageSize: 5}); ; {
			page, err := client.ListTemplates(ctx, req)
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, page.GetTemplates()...)
			if req.PageToken = page.GetNextPageToken(); req.GetPageToken() == "" {
				break
			}
		}
		if diff := cmp.Diff(want, got, protocmp.Transform()); diff != "" {
			t.Errorf("templates (-at once +by pages):\n%s", diff)
		}
	})
	t.Run("get", func(t *testing.T) {
		got, err := client.GetTemplate(ctx, &workflowv1.GetTemplateRequest{Id: want[2].GetId()})
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want[2], got.GetTemplate(), protocmp.Transform()); diff != "" {
			t.Errorf("template (-listed +got):\n%s", diff)
		}
	})
	t.Run("refusals", func(t *testing.T) {
		_, err := client.GetTemplate(ctx, &workflowv1.GetTemplateRequest{Id: "on-full-moon"})
		faultOf(t, err, fault.KindNotFound, "TEMPLATE_NOT_FOUND")
		_, err = client.ListTemplates(ctx, &workflowv1.ListTemplatesRequest{PageToken: "x"})
		faultOf(t, err, fault.KindInvalidArgument, "PAGE_TOKEN")
		_, err = client.ListTemplates(ctx, &workflowv1.ListTemplatesRequest{PageSize: 201})
		faultOf(t, err, fault.KindInvalidArgument, "INVALID_FIELDS")
	})
	t.Run("create_as_it_is", func(t *testing.T) {
		created, err := client.CreateWorkflow(ctx, &workflowv1.CreateWorkflowRequest{Workflow: want[0].GetWorkflow()})
		if err != nil {
			t.Fatal(err)
		}
		got := created.GetWorkflow()
		if diff := cmp.Diff(want[0].GetWorkflow().GetSteps(), got.GetSteps(), protocmp.Transform()); diff != "" || got.GetTitle() != want[0].GetTitle() {
			t.Errorf("title %q, steps (-template +workflow):\n%s", got.GetTitle(), diff)
		}
	})
}
