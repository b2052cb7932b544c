package grpcapi_test

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"workflow.uniconnect/pkg/listing"
	workflowv1 "workflow.uniconnect/proto/gen/go/uniconnect/workflow/v1"
	"workflow.uniconnect/services/executor/internal/grpcapi"
)

func TestExecutions_ListActionTypes(t *testing.T) {
	server := grpcapi.NewExecutions(nil, nil, nil, actionTypes(t))
	all, err := server.ListActionTypes(asUser(t, "acme"), &workflowv1.ListActionTypesRequest{})
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, ty := range all.GetActionTypes() {
		names = append(names, ty.GetType())
		if ty.GetTitle() == "" || ty.GetDescription() == "" || ty.GetHelp() == "" || ty.GetIdempotency() == "" {
			t.Errorf("%s lacks a text: %v", ty.GetType(), ty)
		}
		if ty.GetParamsSchema().GetFields()["properties"] == nil || ty.GetOutputSchema().GetFields()["properties"] == nil || len(ty.GetExampleParams().GetFields()) == 0 {
			t.Errorf("%s lacks a schema or an example", ty.GetType())
		}
	}
	if diff := cmp.Diff([]string{"crm.get_record", "crm.update_record", "http.request"}, names); diff != "" {
		t.Errorf("types (-want +got):\n%s", diff)
	}
	if all.GetNextPageToken() != "" {
		t.Errorf("a token on the last page: %q", all.GetNextPageToken())
	}

	first, err := server.ListActionTypes(asUser(t, "acme"), &workflowv1.ListActionTypesRequest{PageSize: 2})
	if err != nil || len(first.GetActionTypes()) != 2 {
		t.Fatalf("got %v, %v; want two", first, err)
	}
	rest := &workflowv1.ListActionTypesRequest{PageSize: 2, PageToken: first.GetNextPageToken()}
	second, err := server.ListActionTypes(asUser(t, "acme"), rest)
	if err != nil || len(second.GetActionTypes()) != 1 || second.GetActionTypes()[0].GetType() != "http.request" || second.GetNextPageToken() != "" {
		t.Errorf("got %v, %v; want the third alone", second, err)
	}
	if _, err := server.ListActionTypes(asUser(t, "globex"), rest); !errors.Is(err, listing.ErrPageToken) {
		t.Errorf("another tenant's token: got %v", err)
	}
	if _, err := server.ListActionTypes(t.Context(), rest); err == nil {
		t.Error("answered without an identity")
	}
}
