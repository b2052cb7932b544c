package catalog_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"golang.org/x/sync/errgroup"

	"workflow.uniconnect/pkg/auth"
	"workflow.uniconnect/pkg/fault"
	peerv1 "workflow.uniconnect/proto/gen/go/uniconnect/workflow/peer/v1"
	workflowv1 "workflow.uniconnect/proto/gen/go/uniconnect/workflow/v1"
)

// draft saves a draft.
func (r *replica) draft(t *testing.T, ctx context.Context, req *workflowv1.UpdateDraftRequest) *workflowv1.Workflow {
	t.Helper()
	resp, err := r.workflows().UpdateDraft(ctx, req)
	if err != nil {
		t.Fatal(err)
	}
	return resp.GetWorkflow()
}

func TestService_drafts(t *testing.T) {
	t.Parallel()
	s, r := started(t)
	ctx, client := s.owner(t), r.workflows()
	w := r.create(t, ctx, "Live")
	id := w.GetId()
	_, err := client.GetDraft(ctx, &workflowv1.GetDraftRequest{Id: id})
	wantFault(t, err, fault.KindNotFound, "DRAFT_NOT_FOUND")
	_, err = client.PublishWorkflow(ctx, &workflowv1.PublishWorkflowRequest{Id: id})
	wantFault(t, err, fault.KindNotFound, "DRAFT_NOT_FOUND")
	if _, err := client.DeleteDraft(ctx, &workflowv1.DeleteDraftRequest{Id: id}); err != nil {
		t.Errorf("delete a draft that is not there: %v", err)
	}
	_, err = client.GetDraft(ctx, &workflowv1.GetDraftRequest{Id: nobody})
	wantFault(t, err, fault.KindNotFound, "WORKFLOW_NOT_FOUND")

	s.owners.takeAsked()
	saved := r.draft(t, ctx, &workflowv1.UpdateDraftRequest{Id: id, Workflow: simple(t, "Draft")})
	if saved.GetTitle() != "Draft" || saved.GetId() != id || saved.GetState() != workflowv1.Workflow_ACTIVE || saved.GetRevision() != 1 ||
		saved.GetDraft().GetBaseRevision() != 1 || saved.GetDraft().GetStale() || saved.GetDraft().GetUpdateUser() != "owner" || saved.GetEtag() == w.GetEtag() {
		t.Errorf("saved: got %v", saved)
	}
	if asked := s.owners.takeAsked(); len(asked) > 0 {
		t.Errorf("the owners were asked about a draft: %v", asked)
	}
	got, err := client.GetDraft(ctx, &workflowv1.GetDraftRequest{Id: id})
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "get draft", saved, got.GetWorkflow())
	live := r.get(t, ctx, id)
	equal(t, "draft of the live workflow", saved.GetDraft(), live.GetDraft())
	if live.GetTitle() != "Live" || live.GetEtag() != w.GetEtag() {
		t.Errorf("live: got %v, want it unchanged", live)
	}
	equal(t, "saved again", saved, r.draft(t, ctx, &workflowv1.UpdateDraftRequest{Id: id, Workflow: simple(t, "Draft")}))

	published, err := client.PublishWorkflow(ctx, &workflowv1.PublishWorkflowRequest{Id: id, Etag: saved.GetEtag()})
	if err != nil {
		t.Fatal(err)
	}
	if p := published.GetWorkflow(); p.GetTitle() != "Draft" || p.GetRevision() != 2 || p.GetDraft() != nil || p.GetEtag() == w.GetEtag() {
		t.Errorf("published: got %v", p)
	}
	equal(t, "afterwards", published.GetWorkflow(), r.get(t, ctx, id))
	_, err = client.GetDraft(ctx, &workflowv1.GetDraftRequest{Id: id})
	wantFault(t, err, fault.KindNotFound, "DRAFT_NOT_FOUND")

	// A draft that says what is live ends when it is published, and nothing else happens.
	r.draft(t, ctx, &workflowv1.UpdateDraftRequest{Id: id, Workflow: simple(t, "Draft")})
	again, err := client.PublishWorkflow(ctx, &workflowv1.PublishWorkflowRequest{Id: id})
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "published what is live", published.GetWorkflow(), again.GetWorkflow())
	equal(t, "afterwards", published.GetWorkflow(), r.get(t, ctx, id))
}

func TestService_drafts_that_are_stale(t *testing.T) {
	t.Parallel()
	s, r := started(t)
	ctx, client := s.owner(t), r.workflows()
	w := r.create(t, ctx, "First")
	id := w.GetId()
	r.backup(t, ctx, id, "")
	draft := r.draft(t, ctx, &workflowv1.UpdateDraftRequest{Id: id, Workflow: simple(t, "Draft")})
	r.rename(t, ctx, id, "Second")
	stale := r.get(t, ctx, id)
	if d := stale.GetDraft(); !d.GetStale() || d.GetBaseRevision() != 1 {
		t.Errorf("draft: got %v, want it stale", d)
	}
	_, err := client.PublishWorkflow(ctx, &workflowv1.PublishWorkflowRequest{Id: id})
	if f := faultOf(t, err, fault.KindAborted, "DRAFT_STALE"); f.Metadata["base_revision"] != "1" || f.Metadata["live_revision"] != "2" {
		t.Errorf("metadata: got %v", f.Metadata)
	}
	edited := r.draft(t, ctx, &workflowv1.UpdateDraftRequest{Id: id, Workflow: simple(t, "Edited")})
	if !edited.GetDraft().GetStale() || edited.GetDraft().GetBaseRevision() != 1 {
		t.Errorf("edited: got %v, want it to stay stale", edited.GetDraft())
	}
	// A reset leaves the draft in place, stale although the configuration is that which the draft was made from.
	if _, err := client.ResetWorkflow(ctx, &workflowv1.ResetWorkflowRequest{Id: id}); err != nil {
		t.Fatal(err)
	}
	_, err = client.PublishWorkflow(ctx, &workflowv1.PublishWorkflowRequest{Id: id})
	wantFault(t, err, fault.KindAborted, "DRAFT_STALE")

	_, err = client.UpdateDraft(ctx, &workflowv1.UpdateDraftRequest{Id: id, Rebase: true, Workflow: withETag(simple(t, "Draft"), draft.GetEtag())})
	if f := faultOf(t, err, fault.KindAborted, "ETAG_MISMATCH"); f.Metadata["etag"] != edited.GetEtag() {
		t.Errorf("metadata: got %v, want the draft's etag %s", f.Metadata, edited.GetEtag())
	}
	rebased := r.draft(t, ctx, &workflowv1.UpdateDraftRequest{Id: id, Rebase: true, Workflow: withETag(simple(t, "Edited"), edited.GetEtag())})
	if d := rebased.GetDraft(); d.GetStale() || d.GetBaseRevision() != 3 || rebased.GetEtag() == edited.GetEtag() {
		t.Errorf("rebased: got %v", rebased)
	}
	_, err = client.PublishWorkflow(ctx, &workflowv1.PublishWorkflowRequest{Id: id, Etag: edited.GetEtag()})
	wantFault(t, err, fault.KindAborted, "ETAG_MISMATCH")
	published, err := client.PublishWorkflow(ctx, &workflowv1.PublishWorkflowRequest{Id: id, Etag: rebased.GetEtag()})
	if err != nil || published.GetWorkflow().GetTitle() != "Edited" || published.GetWorkflow().GetRevision() != 4 {
		t.Errorf("published: got %v, %v", published, err)
	}
}

func withETag(w *workflowv1.Workflow, etag string) *workflowv1.Workflow {
	w.Etag = etag
	return w
}

// TestService_drafts_first_etag: where there is no draft yet, the etag is that of what is live.
func TestService_drafts_first_etag(t *testing.T) {
	t.Parallel()
	s, r := started(t)
	ctx, client := s.owner(t), r.workflows()
	w := r.create(t, ctx, "First")
	renamed := r.rename(t, ctx, w.GetId(), "Second")
	_, err := client.UpdateDraft(ctx, &workflowv1.UpdateDraftRequest{Id: w.GetId(), Workflow: withETag(simple(t, "Draft"), w.GetEtag())})
	if f := faultOf(t, err, fault.KindAborted, "ETAG_MISMATCH"); f.Metadata["etag"] != renamed.GetEtag() {
		t.Errorf("metadata: got %v, want the etag of what is live", f.Metadata)
	}
	r.draft(t, ctx, &workflowv1.UpdateDraftRequest{Id: w.GetId(), Workflow: withETag(simple(t, "Draft"), renamed.GetEtag())})
	_, err = client.UpdateDraft(ctx, &workflowv1.UpdateDraftRequest{Id: w.GetId(), Workflow: withETag(simple(t, "Other"), renamed.GetEtag())})
	wantFault(t, err, fault.KindAborted, "ETAG_MISMATCH")
	// A draft that was discarded and begun anew is another one, unless it says the same.
	other := r.draft(t, ctx, &workflowv1.UpdateDraftRequest{Id: w.GetId(), Workflow: simple(t, "Other")})
	if _, err := client.DeleteDraft(ctx, &workflowv1.DeleteDraftRequest{Id: w.GetId()}); err != nil {
		t.Fatal(err)
	}
	r.draft(t, ctx, &workflowv1.UpdateDraftRequest{Id: w.GetId(), Workflow: simple(t, "Third")})
	_, err = client.PublishWorkflow(ctx, &workflowv1.PublishWorkflowRequest{Id: w.GetId(), Etag: other.GetEtag()})
	wantFault(t, err, fault.KindAborted, "ETAG_MISMATCH")
}

// TestService_drafts_may_be_unfinished saves what could not be published, and refuses what cannot be kept.
func TestService_drafts_may_be_unfinished(t *testing.T) {
	t.Parallel()
	s, r := started(t)
	ctx, client := s.owner(t), r.workflows()
	w := r.create(t, ctx, "First")
	const unfinished = `{"description":"no title, no trigger","dateRange":{"startTime":"2026-01-02T00:00:00Z","endTime":"2026-01-01T00:00:00Z"},
		"steps":[{"title":"no id, no kind"},{"id":"Bad Id","action":{}},{"id":"a","stop":{}},{"id":"a","stop":{}}]}`
	saved := r.draft(t, ctx, &workflowv1.UpdateDraftRequest{Id: w.GetId(), Workflow: message(t, unfinished)})
	want := message(t, unfinished)
	equal(t, "steps", want.GetSteps(), saved.GetSteps())
	if saved.GetTitle() != "" || saved.GetDescription() != want.GetDescription() {
		t.Errorf("saved: got %v", saved)
	}
	diff, err := client.DiffWorkflow(ctx, &workflowv1.DiffWorkflowRequest{Id: w.GetId(), From: "live", To: "draft"})
	if err != nil || len(diff.GetDiff().GetChanges()) == 0 {
		t.Errorf("diff: got %v, %v; want changes", diff, err)
	}
	_, err = client.PublishWorkflow(ctx, &workflowv1.PublishWorkflowRequest{Id: w.GetId()})
	named := make(map[string]bool)
	for _, v := range faultOf(t, err, fault.KindInvalidArgument, "INVALID_FIELDS").Violations {
		named[v.Field] = true
	}
	for _, field := range []string{"title", "trigger", "dateRange.endTime", "steps[0].id", "steps[1].id", "steps[3].id"} {
		if !named[field] {
			t.Errorf("publish: %s is not named among %v", field, named)
		}
	}
	equal(t, "after the refusal", saved.GetDraft(), r.get(t, ctx, w.GetId()).GetDraft())
	if _, err := client.DeleteDraft(ctx, &workflowv1.DeleteDraftRequest{Id: w.GetId()}); err != nil {
		t.Fatal(err)
	}

	many := simple(t, "Many")
	for i := range 500 {
		many.Steps = append(many.Steps, message(t, fmt.Sprintf(`{"steps":[{"id":"s%d"}]}`, i)).GetSteps()[0])
	}
	large := simple(t, "Large")
	large.Description = strings.Repeat("x", 512<<10)
	for name, bad := range map[string]struct {
		draft *workflowv1.Workflow
		field string
	}{
		"many steps": {many, "steps"}, "large": {large, ""}, "nul": {simple(t, `a\u0000b`), "title"}, "none": {nil, "workflow"},
	} {
		_, err := client.UpdateDraft(ctx, &workflowv1.UpdateDraftRequest{Id: w.GetId(), Workflow: bad.draft})
		if f := faultOf(t, err, fault.KindInvalidArgument, "INVALID_FIELDS"); len(f.Violations) != 1 || f.Violations[0].Field != bad.field {
			t.Errorf("%s: got %v, want %q alone", name, f.Violations, bad.field)
		}
	}
	if got := r.get(t, ctx, w.GetId()); got.GetDraft() != nil {
		t.Errorf("got %v, want no draft", got.GetDraft())
	}
	_, err = client.UpdateDraft(s.as(t, auth.Principal{Tenant: "acme", Subject: "viewer"}), &workflowv1.UpdateDraftRequest{Id: w.GetId(), Workflow: many})
	wantFault(t, err, fault.KindPermissionDenied, "PERMISSION_MISSING")
}

// TestService_publish_is_saving: a publication is checked by the owners, takes the title, and leaves the draft when it is refused.
func TestService_publish_is_saving(t *testing.T) {
	t.Parallel()
	s, r := started(t)
	ctx, client := s.owner(t), r.workflows()
	w, other := r.create(t, ctx, "First"), r.create(t, ctx, "Taken")
	draft := r.draft(t, ctx, &workflowv1.UpdateDraftRequest{Id: w.GetId(), Workflow: simple(t, "Taken")})
	publish := func() error {
		_, err := client.PublishWorkflow(ctx, &workflowv1.PublishWorkflowRequest{Id: w.GetId()})
		return err
	}
	if f := faultOf(t, publish(), fault.KindAlreadyExists, "WORKFLOW_EXISTS"); f.Metadata["workflow_id"] != other.GetId() {
		t.Errorf("metadata: got %v, want the other's id", f.Metadata)
	}
	s.owners.set(&peerv1.Violation{Field: "trigger.event.eventType", Description: "is not known", Reason: "UNKNOWN_EVENT_TYPE"})
	wantFault(t, publish(), fault.KindInvalidArgument, "INVALID_FIELDS")
	s.owners.set()
	s.stopOwners()
	wantFault(t, publish(), fault.KindUnavailable, "SERVICE_UNAVAILABLE")
	got := r.get(t, ctx, w.GetId())
	equal(t, "draft after the refusals", draft.GetDraft(), got.GetDraft())
	if got.GetEtag() != w.GetEtag() || got.GetTitle() != "First" {
		t.Errorf("live after the refusals: got %v", got)
	}
}

// TestService_publish_races has many publish one draft: one does, the others find no draft.
func TestService_publish_races(t *testing.T) {
	t.Parallel()
	s, r := started(t)
	ctx, client := s.owner(t), r.workflows()
	w := r.create(t, ctx, "First")
	r.draft(t, ctx, &workflowv1.UpdateDraftRequest{Id: w.GetId(), Workflow: simple(t, "Second")})
	const clients = 8
	outcomes := make([]error, clients)
	var group errgroup.Group
	for i := range clients {
		group.Go(func() error {
			_, outcomes[i] = client.PublishWorkflow(ctx, &workflowv1.PublishWorkflowRequest{Id: w.GetId()})
			return nil
		})
	}
	_ = group.Wait()
	won := 0
	for _, err := range outcomes {
		if err == nil {
			won++
			continue
		}
		wantFault(t, err, fault.KindNotFound, "DRAFT_NOT_FOUND")
	}
	if got := r.get(t, ctx, w.GetId()); won != 1 || got.GetRevision() != 2 || got.GetDraft() != nil {
		t.Errorf("got %d winners and %v; want one, and revision 2 without a draft", won, got)
	}
}

// TestService_draft_and_live_race has drafts saved and published while the live workflow changes: nobody's change is lost without a word.
func TestService_draft_and_live_race(t *testing.T) {
	t.Parallel()
	s, r := started(t)
	ctx, client := s.owner(t), r.workflows()
	w := r.create(t, ctx, "w")
	id := w.GetId()
	const rounds = 15
	var saved, published int
	var group errgroup.Group
	group.Go(func() error {
		for i := range rounds {
			if _, err := client.UpdateWorkflow(ctx, &workflowv1.UpdateWorkflowRequest{Workflow: &workflowv1.Workflow{Id: id, Title: fmt.Sprint("live", i)}}); err != nil {
				return err
			}
			saved++
		}
		return nil
	})
	group.Go(func() error {
		for i := range rounds {
			draft, err := client.UpdateDraft(ctx, &workflowv1.UpdateDraftRequest{Id: id, Rebase: true, Workflow: simple(t, fmt.Sprint("draft", i))})
			if err != nil {
				return err
			}
			answer, err := client.PublishWorkflow(ctx, &workflowv1.PublishWorkflowRequest{Id: id})
			switch f, _ := fault.As(err); {
			case err == nil:
				published++
				if base := draft.GetWorkflow().GetDraft().GetBaseRevision(); answer.GetWorkflow().GetRevision() != base+1 {
					t.Errorf("published over revision %d: got revision %d", base, answer.GetWorkflow().GetRevision())
				}
			case f == nil || f.Reason != "DRAFT_STALE":
				return err
			}
		}
		return nil
	})
	if err := group.Wait(); err != nil {
		t.Fatal(err)
	}
	if got := r.get(t, ctx, id).GetRevision(); int(got) != 1+saved+published {
		t.Errorf("revision: got %d, want 1 and %d saved and %d published", got, saved, published)
	}
}
