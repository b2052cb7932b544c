package scheduler

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"workflow.uniconnect/pkg/fault"
	"workflow.uniconnect/pkg/listing"
	workflowv1 "workflow.uniconnect/proto/gen/go/uniconnect/workflow/v1"
)

func TestEvents_ListEventTypes(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	r := b.start()
	client := workflowv1.NewTriggerSchedulerServiceClient(b.dial(r, owner("acme")))
	all, err := client.ListEventTypes(t.Context(), &workflowv1.ListEventTypesRequest{})
	if err != nil {
		t.Fatal(err)
	}
	var want []string
	for _, typ := range all.GetEventTypes() {
		want = append(want, typ.GetType())
		if typ.GetDataSchema().GetFields()["$schema"].GetStringValue() == "" || len(typ.GetExample().GetFields()) == 0 {
			t.Errorf("incomplete: %v", typ)
		}
	}
	if len(want) != 26 || want[0] != "call.connection_ended" || all.GetNextPageToken() != "" {
		t.Errorf("got %d types %v and page token %q", len(want), want, all.GetNextPageToken())
	}
	ended := all.GetEventTypes()[slices.Index(want, "call.ended")]
	if ended.GetModule() != "call" || ended.GetTitle() != "Call Ended" || ended.GetExample().GetFields()["result"].GetStringValue() != "answered" {
		t.Errorf("call.ended: got %v", ended)
	}
	var got []string
	for req := (&workflowv1.ListEventTypesRequest{PageSize: 7}); ; {
		page, err := client.ListEventTypes(t.Context(), req)
		if err != nil {
			t.Fatal(err)
		}
		if len(page.GetEventTypes()) > 7 {
			t.Errorf("a page has %d types", len(page.GetEventTypes()))
		}
		for _, typ := range page.GetEventTypes() {
			got = append(got, typ.GetType())
		}
		if req.PageToken = page.GetNextPageToken(); req.GetPageToken() == "" {
			break
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("pages (-at once +in pages):\n%s", diff)
	}
	ofAnotherList := listing.NewScope("deadLetters", "acme").Token([]byte("call.ended"))
	for _, token := range []string{"forged", ofAnotherList} {
		_, err := client.ListEventTypes(t.Context(), &workflowv1.ListEventTypesRequest{PageToken: token})
		if f, ok := fault.As(err); !ok || f.Reason != "PAGE_TOKEN" {
			t.Errorf("page token %q: got %v", token, err)
		}
	}
}
