package catalog_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/fieldmaskpb"

	"workflow.uniconnect/pkg/auth"
	"workflow.uniconnect/pkg/fault"
	peerv1 "workflow.uniconnect/proto/gen/go/uniconnect/workflow/peer/v1"
	workflowv1 "workflow.uniconnect/proto/gen/go/uniconnect/workflow/v1"
)

func TestService_life_of_a_workflow(t *testing.T) {
	t.Parallel()
	s, r := started(t)
	ctx, client := s.owner(t), r.workflows()
	in := simple(t, "First")
	in.Id, in.Revision, in.CreateUser = "0198c0de-0000-7000-8000-000000000001", 9, "somebody" // ignored
	created, err := client.CreateWorkflow(ctx, &workflowv1.CreateWorkflowRequest{Workflow: in})
	if err != nil {
		t.Fatal(err)
	}
	w := created.GetWorkflow()
	if w.GetState() != workflowv1.Workflow_ACTIVE || w.GetRevision() != 1 || w.GetId() == in.GetId() || w.GetCreateUser() != "owner" || w.GetEtag() == "" {
		t.Errorf("created: got %v", w)
	}
	got, err := client.GetWorkflow(ctx, &workflowv1.GetWorkflowRequest{Id: w.GetId()})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(w, got.GetWorkflow(), protocmp.Transform()); diff != "" {
		t.Errorf("get (-created +got):\n%s", diff)
	}

	updated, err := client.UpdateWorkflow(ctx, &workflowv1.UpdateWorkflowRequest{
		Workflow:   &workflowv1.Workflow{Id: w.GetId(), Title: "Second", Description: "not in the mask", Etag: w.GetEtag()},
		UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{"title"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	if u := updated.GetWorkflow(); u.GetTitle() != "Second" || u.GetDescription() != "" || u.GetRevision() != 2 || u.GetEtag() == w.GetEtag() {
		t.Errorf("updated: got %v", u)
	}
	_, err = client.UpdateWorkflow(ctx, &workflowv1.UpdateWorkflowRequest{Workflow: &workflowv1.Workflow{Id: w.GetId(), Title: "Third", Etag: w.GetEtag()}})
	if f := faultOf(t, err, fault.KindAborted, "ETAG_MISMATCH"); f.Metadata["revision"] != "2" {
		t.Errorf("metadata: got %v, want revision 2", f.Metadata)
	}
	_, err = client.UpdateWorkflow(ctx, &workflowv1.UpdateWorkflowRequest{
		Workflow: &workflowv1.Workflow{Id: w.GetId()}, UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{"titel"}}})
	if f := faultOf(t, err, fault.KindInvalidArgument, "INVALID_FIELDS"); f.Violations[0].Field != "updateMask" {
		t.Errorf("unknown path: got %v", f.Violations)
	}

	off, err := client.DeactivateWorkflow(ctx, &workflowv1.DeactivateWorkflowRequest{Id: w.GetId()})
	if err != nil || off.GetWorkflow().GetState() != workflowv1.Workflow_INACTIVE || off.GetWorkflow().GetRevision() != 2 {
		t.Errorf("deactivate: got %v, %v", off, err)
	}
	again, err := client.DeactivateWorkflow(ctx, &workflowv1.DeactivateWorkflowRequest{Id: w.GetId()})
	if err != nil || again.GetWorkflow().GetEtag() != off.GetWorkflow().GetEtag() {
		t.Errorf("deactivate again: got %v, %v; want no change", again, err)
	}
	revision, err := r.definitions().GetRevision(s.peer(t), &peerv1.GetRevisionRequest{Tenant: "acme", WorkflowId: w.GetId(), Revision: 1})
	if err != nil || revision.GetWorkflow().GetTitle() != "First" || revision.GetWorkflow().GetState() != workflowv1.Workflow_INACTIVE {
		t.Errorf("revision 1: got %v, %v", revision, err)
	}
	_, err = client.CreateWorkflow(ctx, &workflowv1.CreateWorkflowRequest{Workflow: simple(t, "Second")})
	if f := faultOf(t, err, fault.KindAlreadyExists, "WORKFLOW_EXISTS"); f.Metadata["workflow_id"] != w.GetId() {
		t.Errorf("metadata: got %v, want the id %s", f.Metadata, w.GetId())
	}

	_, err = client.DeleteWorkflow(ctx, &workflowv1.DeleteWorkflowRequest{Id: w.GetId(), Confirm: "second"})
	wantFault(t, err, fault.KindFailedPrecondition, "CONFIRM_MISMATCH")
	_, err = client.DeleteWorkflow(ctx, &workflowv1.DeleteWorkflowRequest{Id: w.GetId(), Etag: w.GetEtag()})
	wantFault(t, err, fault.KindAborted, "ETAG_MISMATCH")
	deleted, err := client.DeleteWorkflow(ctx, &workflowv1.DeleteWorkflowRequest{Id: w.GetId(), Confirm: "Second", RequestId: "delete-1"})
	if err != nil || deleted.GetWorkflow().GetState() != workflowv1.Workflow_DELETING {
		t.Errorf("delete: got %v, %v", deleted, err)
	}
	until(t, "the workflow is gone", func() bool {
		_, err := client.GetWorkflow(ctx, &workflowv1.GetWorkflowRequest{Id: w.GetId()})
		return fault.KindOf(err) == fault.KindNotFound
	})
	repeated, err := client.DeleteWorkflow(ctx, &workflowv1.DeleteWorkflowRequest{Id: w.GetId(), Confirm: "Second", RequestId: "delete-1"})
	if err != nil || repeated.GetWorkflow().GetState() != workflowv1.Workflow_DELETING || repeated.GetWorkflow().GetTitle() != "" {
		t.Errorf("delete repeated: got %v, %v; want DELETING and nothing of what was deleted", repeated, err)
	}
	_, err = client.DeleteWorkflow(ctx, &workflowv1.DeleteWorkflowRequest{Id: w.GetId()})
	wantFault(t, err, fault.KindNotFound, "WORKFLOW_NOT_FOUND")
	_, err = r.definitions().GetRevision(s.peer(t), &peerv1.GetRevisionRequest{Tenant: "acme", WorkflowId: w.GetId(), Revision: 1})
	wantFault(t, err, fault.KindNotFound, "WORKFLOW_NOT_FOUND")
}

// TestService_other_tenants_ids asks for a workflow of another tenant and for one that never was: the answers are equal.
func TestService_other_tenants_ids(t *testing.T) {
	t.Parallel()
	s, r := started(t)
	w := r.create(t, s.owner(t), "First")
	ctx, client := s.as(t, auth.Principal{Tenant: "globex", Subject: "owner"}), r.workflows()
	calls := map[string]func(id string) error{
		"get": func(id string) error {
			_, err := client.GetWorkflow(ctx, &workflowv1.GetWorkflowRequest{Id: id})
			return err
		},
		"update": func(id string) error {
			_, err := client.UpdateWorkflow(ctx, &workflowv1.UpdateWorkflowRequest{Workflow: &workflowv1.Workflow{Id: id, Title: "Mine", Etag: w.GetEtag()}})
			return err
		},
		"delete": func(id string) error {
			_, err := client.DeleteWorkflow(ctx, &workflowv1.DeleteWorkflowRequest{Id: id, Confirm: "First"})
			return err
		},
		"activate": func(id string) error {
			_, err := client.ActivateWorkflow(ctx, &workflowv1.ActivateWorkflowRequest{Id: id})
			return err
		},
		"deactivate": func(id string) error {
			_, err := client.DeactivateWorkflow(ctx, &workflowv1.DeactivateWorkflowRequest{Id: id})
			return err
		},
	}
	for name, call := range calls {
		theirs := faultOf(t, call(w.GetId()), fault.KindNotFound, "WORKFLOW_NOT_FOUND")
		nobodys := faultOf(t, call("0198c0de-0000-7000-8000-000000000001"), fault.KindNotFound, "WORKFLOW_NOT_FOUND")
		if theirs.Message != nobodys.Message || len(theirs.Metadata)+len(nobodys.Metadata) > 0 {
			t.Errorf("%s: got %q %v and %q %v, want the same without metadata", name, theirs.Message, theirs.Metadata, nobodys.Message, nobodys.Metadata)
		}
	}
	got, err := client.ListWorkflows(ctx, &workflowv1.ListWorkflowsRequest{})
	if err != nil || len(got.GetWorkflows()) != 0 {
		t.Errorf("list: got %v, %v; want nothing", got, err)
	}
	mine, err := client.GetWorkflow(s.owner(t), &workflowv1.GetWorkflowRequest{Id: w.GetId()})
	if err != nil || mine.GetWorkflow().GetEtag() != w.GetEtag() {
		t.Errorf("afterwards: got %v, %v; want it unchanged", mine, err)
	}
}

func TestService_request_ids(t *testing.T) {
	t.Parallel()
	s, r := started(t)
	client := r.workflows()
	header := s.owner(t, "idempotency-key", "key-1")
	create := func(ctx context.Context, title, id string) (*workflowv1.Workflow, error) {
		resp, err := client.CreateWorkflow(ctx, &workflowv1.CreateWorkflowRequest{Workflow: simple(t, title), RequestId: id})
		return resp.GetWorkflow(), err
	}
	first, err := create(header, "First", "")
	if err != nil {
		t.Fatal(err)
	}
	s.owners.takeAsked()
	s.stopOwners() // a repeated request needs nobody
	for name, repeat := range map[string]func() (*workflowv1.Workflow, error){
		"header": func() (*workflowv1.Workflow, error) { return create(header, "First", "") },
		"field":  func() (*workflowv1.Workflow, error) { return create(s.owner(t), "First", "key-1") },
	} {
		got, err := repeat()
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(first, got, protocmp.Transform()); diff != "" {
			t.Errorf("%s (-first +repeated):\n%s", name, diff)
		}
	}
	_, err = create(header, "Other", "")
	wantFault(t, err, fault.KindFailedPrecondition, "REQUEST_ID_REUSED")
	_, err = client.DeactivateWorkflow(header, &workflowv1.DeactivateWorkflowRequest{Id: first.GetId()})
	wantFault(t, err, fault.KindFailedPrecondition, "REQUEST_ID_REUSED")
	_, err = create(s.owner(t, "idempotency-key", strings.Repeat("k", 129)), "Long", "")
	if f := faultOf(t, err, fault.KindInvalidArgument, "INVALID_FIELDS"); f.Violations[0].Field != "Idempotency-Key" {
		t.Errorf("got %v, want the header named", f.Violations)
	}
	_, err = client.ActivateWorkflow(s.owner(t), &workflowv1.ActivateWorkflowRequest{Id: first.GetId(), RequestId: "a\x00b"})
	wantFault(t, err, fault.KindInvalidArgument, "INVALID_FIELDS")
}

// TestService_validation sends workflows with problems of every origin; each is named once, with its path.
func TestService_validation(t *testing.T) {
	t.Parallel()
	s, r := started(t)
	ctx, client := s.owner(t), r.workflows()
	const bad = `{"title":"","trigger":{"event":{"eventType":"Call Ended"}},
		"dateRange":{"startTime":"2026-01-02T00:00:00Z","endTime":"2026-01-01T00:00:00Z"},
		"steps":[{"id":"a","stop":{}},{"id":"a","condition":{"branches":[{"when":{"expression":"x"},"steps":[{"id":"a","title":"t","stop":{}}]}]}},
			{"id":"B","action":{"type":"http.request","params":{"url":"ftp://x"}}}]}`
	s.owners.set(
		&peerv1.Violation{Field: "trigger.event.eventType", Description: "does not match", Reason: "FIELD_RULE"}, // said before
		&peerv1.Violation{Field: "trigger.event.filter.expression", Description: "1:3: syntax", Reason: "EXPRESSION"},
		&peerv1.Violation{Field: "steps[2].action.params.url", Description: "scheme", Reason: "ACTION_PARAMS"},
		&peerv1.Violation{Field: "steps[2].id", Description: "again", Reason: ""},
	)
	want := []string{
		"dateRange.endTime FIELD_RULE", "steps[1].condition.branches[0].steps[0].id DUPLICATE_ID", "steps[1].id DUPLICATE_ID",
		"steps[2].action.params.url ACTION_PARAMS", "steps[2].id FIELD_RULE", "title FIELD_RULE",
		"trigger.event.eventType FIELD_RULE", "trigger.event.filter.expression EXPRESSION",
	}
	named := func(err error) []string {
		t.Helper()
		var out []string
		for _, v := range faultOf(t, err, fault.KindInvalidArgument, "INVALID_FIELDS").Violations {
			out = append(out, v.Field+" "+string(v.Reason))
		}
		slices.Sort(out)
		return out
	}
	_, err := client.CreateWorkflow(ctx, &workflowv1.CreateWorkflowRequest{Workflow: message(t, bad)})
	if diff := cmp.Diff(want, named(err)); diff != "" {
		t.Errorf("create (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"steps", "trigger"}, s.owners.takeAsked()); diff != "" {
		t.Errorf("owners asked (-want +got):\n%s", diff)
	}
	s.owners.set()
	w := r.create(t, ctx, "Good")
	s.owners.set(&peerv1.Violation{Field: "trigger.event.filter.expression", Description: "1:3: syntax", Reason: "EXPRESSION"})
	_, err = client.UpdateWorkflow(ctx, &workflowv1.UpdateWorkflowRequest{Workflow: &workflowv1.Workflow{
		Id: w.GetId(), Title: "a\x00b", State: workflowv1.Workflow_INACTIVE,
	}})
	if diff := cmp.Diff([]string{"state FIELD_RULE", "title FIELD_RULE"}, named(err)); diff != "" {
		t.Errorf("update that nobody can be asked about (-want +got):\n%s", diff)
	}
	_, err = client.UpdateWorkflow(ctx, &workflowv1.UpdateWorkflowRequest{Workflow: &workflowv1.Workflow{Id: w.GetId(), Title: strings.Repeat("x", 129)}})
	if diff := cmp.Diff([]string{"title FIELD_RULE", "trigger.event.filter.expression EXPRESSION"}, named(err)); diff != "" {
		t.Errorf("update (-want +got):\n%s", diff)
	}
	_, err = client.UpdateWorkflow(ctx, &workflowv1.UpdateWorkflowRequest{
		Workflow:   &workflowv1.Workflow{Id: w.GetId(), Title: strings.Repeat("x", 129)},
		UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{"title", "steps.title"}}, RequestId: strings.Repeat("r", 129),
	})
	if diff := cmp.Diff([]string{"requestId FIELD_RULE", "title FIELD_RULE", "trigger.event.filter.expression EXPRESSION", "updateMask FIELD_RULE"}, named(err)); diff != "" {
		t.Errorf("update with a bad request id and mask (-want +got):\n%s", diff)
	}
	_, err = client.UpdateWorkflow(ctx, &workflowv1.UpdateWorkflowRequest{})
	if diff := cmp.Diff([]string{"id FIELD_RULE"}, named(err)); diff != "" {
		t.Errorf("update without an id (-want +got):\n%s", diff)
	}
	_, err = client.CreateWorkflow(ctx, &workflowv1.CreateWorkflowRequest{})
	if diff := cmp.Diff([]string{"workflow FIELD_RULE"}, named(err)); diff != "" {
		t.Errorf("create without a workflow (-want +got):\n%s", diff)
	}

	s.owners.takeAsked()
	large := simple(t, "Large")
	large.GetSteps()[0].Title = strings.Repeat("x", 100)
	for i := range 499 {
		large.Steps = append(large.Steps, message(t, fmt.Sprintf(`{"steps":[{"id":"s%d","action":{"type":"http.request","params":{"x":%q}}}]}`, i, strings.Repeat("x", 1100))).GetSteps()[0])
	}
	_, err = client.CreateWorkflow(ctx, &workflowv1.CreateWorkflowRequest{Workflow: large})
	if diff := cmp.Diff([]string{" TOO_LARGE"}, named(err)); diff != "" {
		t.Errorf("too large (-want +got):\n%s", diff)
	}
	if asked := s.owners.takeAsked(); len(asked) != 0 {
		t.Errorf("owners were asked about what is too large: %v", asked)
	}

	s.owners.set()
	s.stopOwners()
	begin := time.Now()
	_, err = client.CreateWorkflow(ctx, &workflowv1.CreateWorkflowRequest{Workflow: simple(t, "Nobody there")})
	if f := faultOf(t, err, fault.KindUnavailable, "SERVICE_UNAVAILABLE"); f.RetryAfter <= 0 || time.Since(begin) > 4*time.Second {
		t.Errorf("got retry after %v, answered after %v; want a time to retry, and soon", f.RetryAfter, time.Since(begin))
	}
	_, err = client.CreateWorkflow(ctx, &workflowv1.CreateWorkflowRequest{Workflow: message(t, bad)})
	if got := named(err); len(got) != 6 {
		t.Errorf("bad in itself while owners are away: got %v, want what we know", got)
	}
	if got, err := client.ListWorkflows(ctx, &workflowv1.ListWorkflowsRequest{}); err != nil || len(got.GetWorkflows()) != 1 {
		t.Errorf("stored: got %v, %v; want the good one alone", got, err)
	}
}

// TestService_delete_is_resumed takes the owners away, deletes, stops the process, and has another one finish when they are back.
func TestService_delete_is_resumed(t *testing.T) {
	t.Parallel()
	s, r := started(t)
	ctx := s.owner(t)
	w := r.create(t, ctx, "First")
	s.stopOwners()
	_, err := r.workflows().DeleteWorkflow(ctx, &workflowv1.DeleteWorkflowRequest{Id: w.GetId()})
	if err != nil {
		t.Fatal(err)
	}
	got, err := r.workflows().GetWorkflow(ctx, &workflowv1.GetWorkflowRequest{Id: w.GetId()})
	if err != nil || got.GetWorkflow().GetState() != workflowv1.Workflow_DELETING {
		t.Errorf("while the owners are away: got %v, %v; want DELETING", got, err)
	}
	_, err = r.workflows().ActivateWorkflow(ctx, &workflowv1.ActivateWorkflowRequest{Id: w.GetId()})
	wantFault(t, err, fault.KindFailedPrecondition, "WORKFLOW_STATE")
	r.stop()

	s.owners.notYet = 3
	s.startOwners()
	second := s.start(t)
	until(t, "the second process has removed it", func() bool {
		_, err := second.workflows().GetWorkflow(ctx, &workflowv1.GetWorkflowRequest{Id: w.GetId()})
		return fault.KindOf(err) == fault.KindNotFound
	})
	for _, service := range []string{"triggers", "executions"} {
		if !s.owners.isFinalized(service + " " + w.GetId()) {
			t.Errorf("%s were not finalized", service)
		}
	}
	second.create(t, ctx, "First") // the title is free
}
