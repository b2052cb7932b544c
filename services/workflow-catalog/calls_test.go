package catalog_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/types/known/fieldmaskpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"workflow.uniconnect/pkg/auth"
	"workflow.uniconnect/pkg/fault"
	peerv1 "workflow.uniconnect/proto/gen/go/uniconnect/workflow/peer/v1"
	workflowv1 "workflow.uniconnect/proto/gen/go/uniconnect/workflow/v1"
)

// PreviewFinalize answers as if the workflow had three executions that have not ended, one of which is shown.
func (o *owners) PreviewFinalize(_ context.Context, req *peerv1.PreviewFinalizeRequest) (*peerv1.PreviewFinalizeResponse, error) {
	o.note("preview " + req.GetTenant() + " " + req.GetWorkflowId())
	return &peerv1.PreviewFinalizeResponse{Unfinished: 3, Executions: []*peerv1.UnfinishedExecution{
		{Id: "execution", StepPath: "rest", WakeTime: &timestamppb.Timestamp{Seconds: 100}},
	}}, nil
}

// calling is a workflow whose steps call others, each by a step of its own.
func calling(t *testing.T, title string, callees ...string) *workflowv1.Workflow {
	t.Helper()
	w := simple(t, title)
	w.Steps = nil
	for i, id := range callees {
		w.Steps = append(w.Steps, &workflowv1.Step{
			Id: fmt.Sprint("call", i), Kind: &workflowv1.Step_CallWorkflow{CallWorkflow: &workflowv1.CallWorkflowStep{WorkflowId: id}},
		})
	}
	return w
}

// save makes a configuration that calls others the live one.
func (r *replica) save(t *testing.T, ctx context.Context, id, title string, callees ...string) error {
	t.Helper()
	w := calling(t, title, callees...)
	w.Id = id
	_, err := r.workflows().UpdateWorkflow(ctx, &workflowv1.UpdateWorkflowRequest{
		Workflow: w, UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{"title", "steps"}},
	})
	return err
}

// wantBadCalls holds that a request was refused for these, each given as path and reason.
func wantBadCalls(t *testing.T, what string, err error, want ...string) {
	t.Helper()
	var got []string
	if f, ok := fault.As(err); ok {
		for _, v := range f.Violations {
			got = append(got, v.Field+" "+string(v.Reason))
		}
	}
	slices.Sort(got)
	if !slices.Equal(got, want) {
		t.Errorf("%s: got %v, want %v", what, err, want)
	}
}

func TestService_calls(t *testing.T) {
	t.Parallel()
	s, r := started(t)
	ctx, client := s.owner(t), r.workflows()
	a, b := r.create(t, ctx, "A").GetId(), r.create(t, ctx, "B").GetId()
	foreign := r.create(t, s.as(t, auth.Principal{Tenant: "globex", Subject: "owner"}), "F").GetId()
	const at, cycle, unknown = "steps[0].callWorkflow.workflowId ", "WORKFLOW_CYCLE", "UNKNOWN_WORKFLOW"

	// While A may still call B it is backed up, and then gives the call up.
	wantBadCalls(t, "first call", r.save(t, ctx, a, "A", b))
	backup := r.backup(t, ctx, a, "calls B").GetId()
	wantBadCalls(t, "given up", r.save(t, ctx, a, "A alone"))
	wantBadCalls(t, "the other way round", r.save(t, ctx, b, "B", a))

	err := r.save(t, ctx, a, "A", b)
	wantBadCalls(t, "update", err, at+cycle)
	if f, _ := fault.As(err); f == nil || !strings.Contains(f.Violations[0].Description, `"A" → "B" → "A"`) {
		t.Errorf("the circle is not named: %v", err)
	}
	wantBadCalls(t, "itself", r.save(t, ctx, a, "A", a), at+cycle)
	wantBadCalls(t, "another tenant's", r.save(t, ctx, a, "A", foreign), at+unknown)
	wantBadCalls(t, "everything at once", r.save(t, ctx, a, strings.Repeat("x", 200), nobody, b),
		"steps[0].callWorkflow.workflowId "+unknown, "steps[1].callWorkflow.workflowId "+cycle, "title FIELD_RULE")

	nested := simple(t, "A")
	nested.Id = a
	nested.Steps = []*workflowv1.Step{{Id: "c", Kind: &workflowv1.Step_Condition{Condition: &workflowv1.ConditionStep{
		Branches: []*workflowv1.ConditionBranch{{
			Title: "Yes", When: &workflowv1.Predicate{Kind: &workflowv1.Predicate_Expression{Expression: "true"}}, Steps: calling(t, "", b).GetSteps(),
		}},
	}}}}
	_, err = client.UpdateWorkflow(ctx, &workflowv1.UpdateWorkflowRequest{Workflow: nested})
	if f, _ := fault.As(err); f == nil || !strings.Contains(fmt.Sprint(f.Violations), "steps[0].condition.branches[0].steps[0].callWorkflow.workflowId") {
		t.Errorf("inside a condition: got %v", err)
	}

	_, err = client.CreateWorkflow(ctx, &workflowv1.CreateWorkflowRequest{Workflow: calling(t, "C", nobody)})
	wantBadCalls(t, "create", err, at+unknown)
	given := calling(t, "C", b)
	given.Id = a // ignored: the new workflow is not A, which B calls
	if _, err = client.CreateWorkflow(ctx, &workflowv1.CreateWorkflowRequest{Workflow: given}); err != nil {
		t.Errorf("create with an id: %v", err)
	}

	_, err = client.RestoreBackup(ctx, &workflowv1.RestoreBackupRequest{WorkflowId: a, Id: backup})
	wantBadCalls(t, "restore", err, at+cycle)
	_, err = client.ResetWorkflow(ctx, &workflowv1.ResetWorkflowRequest{Id: a})
	wantBadCalls(t, "reset", err, at+cycle)

	draft := calling(t, "A", b)
	draft.Id = a
	if _, err = client.UpdateDraft(ctx, &workflowv1.UpdateDraftRequest{Id: a, Workflow: draft}); err != nil {
		t.Errorf("a draft may be incomplete: %v", err)
	}
	_, err = client.PublishWorkflow(ctx, &workflowv1.PublishWorkflowRequest{Id: a})
	wantBadCalls(t, "publish", err, at+cycle)

	_, err = client.ImportWorkflow(ctx, &workflowv1.ImportWorkflowRequest{
		Id: a, Source: &workflowv1.ImportWorkflowRequest_Workflow{Workflow: calling(t, "A", b)},
	})
	wantBadCalls(t, "import", err, at+cycle)

	checked, err := client.ValidateWorkflow(ctx, &workflowv1.ValidateWorkflowRequest{Workflow: draft})
	if err != nil || checked.GetValid() || len(checked.GetProblems()) != 1 || checked.GetProblems()[0].GetReason() != cycle {
		t.Errorf("validate: got %v, %v", checked, err)
	}
	if got := r.get(t, ctx, a); got.GetTitle() != "A alone" || got.GetRevision() != 3 {
		t.Errorf("after all refusals: %q at revision %d, want %q at 3", got.GetTitle(), got.GetRevision(), "A alone")
	}
}

// Every way of saving keeps the calls, so that a preview of the callee's deletion names the caller.
func TestService_PreviewDelete(t *testing.T) {
	t.Parallel()
	s, r := started(t)
	ctx, client := s.owner(t), r.workflows()
	w := r.create(t, ctx, "Called")
	preview := func() *workflowv1.DeletePreview {
		t.Helper()
		resp, err := client.PreviewDelete(ctx, &workflowv1.PreviewDeleteRequest{Id: w.GetId()})
		if err != nil {
			t.Fatal(err)
		}
		return resp.GetPreview()
	}
	execution := &workflowv1.DeletePreview_WaitingExecution{Id: "execution", StepPath: "rest", WakeTime: &timestamppb.Timestamp{Seconds: 100}}
	equal(t, "a plain workflow", &workflowv1.DeletePreview{
		Title: "Called", Etag: w.GetEtag(), UnfinishedExecutions: 3, WaitingExecutions: []*workflowv1.DeletePreview_WaitingExecution{execution}, Revisions: 1,
	}, preview())
	if !slices.Contains(s.owners.takeAsked(), "preview acme "+w.GetId()) {
		t.Error("the executor was not asked about this workflow")
	}

	// Each gets the call in its own way, after it had given it up.
	callers := make(map[string]string)
	for _, title := range []string{"created", "updated", "reset", "restored", "published"} {
		resp, err := client.CreateWorkflow(ctx, &workflowv1.CreateWorkflowRequest{Workflow: calling(t, title, w.GetId())})
		if err != nil {
			t.Fatal(err)
		}
		callers[title] = resp.GetWorkflow().GetId()
	}
	backup := make(map[string]string)
	for _, title := range []string{"reset", "restored"} {
		backup[title] = r.backup(t, ctx, callers[title], "").GetId()
	}
	for _, title := range []string{"updated", "reset", "restored", "published"} {
		wantBadCalls(t, "give up", r.save(t, ctx, callers[title], title))
	}
	if got := preview().GetCallers(); len(got) != 1 || got[0].GetId() != callers["created"] {
		t.Errorf("callers: got %v, want the one that was created", got)
	}
	wantBadCalls(t, "update", r.save(t, ctx, callers["updated"], "updated", w.GetId()))
	_, err := client.ResetWorkflow(ctx, &workflowv1.ResetWorkflowRequest{Id: callers["reset"]})
	wantBadCalls(t, "reset", err)
	_, err = client.RestoreBackup(ctx, &workflowv1.RestoreBackupRequest{WorkflowId: callers["restored"], Id: backup["restored"]})
	wantBadCalls(t, "restore", err)
	_, err = client.UpdateDraft(ctx, &workflowv1.UpdateDraftRequest{Id: callers["published"], Workflow: calling(t, "published", w.GetId())})
	wantBadCalls(t, "draft", err)
	_, err = client.PublishWorkflow(ctx, &workflowv1.PublishWorkflowRequest{Id: callers["published"]})
	wantBadCalls(t, "publish", err)
	_, err = client.DuplicateWorkflow(ctx, &workflowv1.DuplicateWorkflowRequest{Id: callers["created"], Title: "duplicated"})
	wantBadCalls(t, "duplicate", err)
	_, err = client.ImportWorkflow(ctx, &workflowv1.ImportWorkflowRequest{
		Source: &workflowv1.ImportWorkflowRequest_Workflow{Workflow: calling(t, "imported", w.GetId())},
	})
	wantBadCalls(t, "import", err)
	var titles []string
	for _, c := range preview().GetCallers() {
		titles = append(titles, c.GetTitle())
		want := workflowv1.Workflow_ACTIVE
		if c.GetTitle() == "duplicated" {
			want = workflowv1.Workflow_INACTIVE
		}
		if c.GetState() != want || c.GetId() == "" {
			t.Errorf("caller: got %v, want it %v", c, want)
		}
	}
	if want := []string{"created", "duplicated", "imported", "published", "reset", "restored", "updated"}; !slices.Equal(titles, want) {
		t.Errorf("callers: got %v, want %v", titles, want)
	}

	r.backup(t, ctx, w.GetId(), "")
	_, err = client.UpdateDraft(ctx, &workflowv1.UpdateDraftRequest{Id: w.GetId(), Workflow: simple(t, "Draft")})
	wantBadCalls(t, "draft", err)
	renamed := r.rename(t, ctx, w.GetId(), "Called again")
	if p := preview(); p.GetTitle() != "Called again" || p.GetEtag() != renamed.GetEtag() || p.GetRevisions() != 2 || p.GetBackups() != 1 || !p.GetDraft() {
		t.Errorf("a workflow with everything: got %v", p)
	}

	_, err = client.PreviewDelete(ctx, &workflowv1.PreviewDeleteRequest{Id: nobody})
	wantFault(t, err, fault.KindNotFound, "WORKFLOW_NOT_FOUND")
	_, err = client.PreviewDelete(s.as(t, auth.Principal{Tenant: "globex", Subject: "owner"}), &workflowv1.PreviewDeleteRequest{Id: w.GetId()})
	wantFault(t, err, fault.KindNotFound, "WORKFLOW_NOT_FOUND")
	s.stopOwners()
	_, err = client.PreviewDelete(ctx, &workflowv1.PreviewDeleteRequest{Id: w.GetId()})
	if f := faultOf(t, err, fault.KindUnavailable, fault.ReasonServiceUnavailable); f.RetryAfter == 0 {
		t.Error("it is not said when to try again")
	}

	// A deletion takes the calls along, and the callers' next save is told.
	s.startOwners()
	if _, err = client.DeleteWorkflow(ctx, &workflowv1.DeleteWorkflowRequest{Id: w.GetId(), Etag: renamed.GetEtag()}); err != nil {
		t.Fatal(err)
	}
	wantBadCalls(t, "call of what is being deleted", r.save(t, ctx, callers["created"], "changed", w.GetId()),
		"steps[0].callWorkflow.workflowId UNKNOWN_WORKFLOW")
	until(t, "the workflow is gone", func() bool {
		_, err := client.GetWorkflow(ctx, &workflowv1.GetWorkflowRequest{Id: w.GetId()})
		return fault.KindOf(err) == fault.KindNotFound
	})
}
