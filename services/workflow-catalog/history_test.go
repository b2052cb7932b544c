package catalog_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
	"google.golang.org/protobuf/types/known/structpb"

	"workflow.uniconnect/pkg/fault"
	peerv1 "workflow.uniconnect/proto/gen/go/uniconnect/workflow/peer/v1"
	workflowv1 "workflow.uniconnect/proto/gen/go/uniconnect/workflow/v1"
)

func TestService_revisions(t *testing.T) {
	t.Parallel()
	s, r := started(t)
	ctx, client := s.owner(t), r.workflows()
	begin := time.Now().Add(-time.Second)
	w := r.create(t, ctx, "One")
	id := w.GetId()
	b := r.backup(t, ctx, id, "")
	r.rename(t, ctx, id, "Two")
	r.draft(t, ctx, &workflowv1.UpdateDraftRequest{Id: id, Workflow: simple(t, "Three")})
	if _, err := client.PublishWorkflow(ctx, &workflowv1.PublishWorkflowRequest{Id: id}); err != nil {
		t.Fatal(err)
	}
	if _, err := client.ResetWorkflow(ctx, &workflowv1.ResetWorkflowRequest{Id: id}); err != nil {
		t.Fatal(err)
	}
	r.rename(t, ctx, id, "Five")
	if _, err := client.RestoreBackup(ctx, &workflowv1.RestoreBackupRequest{WorkflowId: id, Id: b.GetId()}); err != nil {
		t.Fatal(err)
	}
	if _, err := client.DeactivateWorkflow(ctx, &workflowv1.DeactivateWorkflowRequest{Id: id}); err != nil {
		t.Fatal(err)
	}
	r.rename(t, ctx, id, "One") // as it is: no revision

	want := []string{
		"6 One RESTORED from 1 live", "5 Five UPDATED from 0", "4 One RESET from 1", "3 Three PUBLISHED from 0", "2 Two UPDATED from 0", "1 One CREATED from 0",
	}
	var got []string
	req := &workflowv1.ListRevisionsRequest{WorkflowId: id, PageSize: 4}
	for {
		page, err := client.ListRevisions(ctx, req)
		if err != nil {
			t.Fatal(err)
		}
		for _, rev := range page.GetRevisions() {
			line := fmt.Sprint(rev.GetRevision(), " ", rev.GetTitle(), " ", rev.GetOrigin(), " from ", rev.GetSourceRevision())
			if rev.GetLive() {
				line += " live"
			}
			got = append(got, line)
			if at := rev.GetCreateTime().AsTime(); rev.GetWorkflow() != nil || rev.GetCreateUser() != "owner" || at.Before(begin) || at.After(time.Now().Add(time.Second)) {
				t.Errorf("listed: got %v, want author, time of now and no configuration", rev)
			}
		}
		if req.PageToken = page.GetNextPageToken(); req.PageToken == "" {
			break
		}
	}
	equal(t, "revisions", want, got)

	revision, err := client.GetRevision(ctx, &workflowv1.GetRevisionRequest{WorkflowId: id, Revision: 2})
	if err != nil {
		t.Fatal(err)
	}
	two := simple(t, "Two")
	two.Id, two.Revision = id, 2
	equal(t, "configuration of revision 2", two, revision.GetRevision().GetWorkflow())

	_, err = client.GetRevision(ctx, &workflowv1.GetRevisionRequest{WorkflowId: id, Revision: 7})
	wantFault(t, err, fault.KindNotFound, "REVISION_NOT_FOUND")
	_, err = client.GetRevision(ctx, &workflowv1.GetRevisionRequest{WorkflowId: id})
	wantFault(t, err, fault.KindInvalidArgument, "INVALID_FIELDS")
	_, err = client.GetRevision(ctx, &workflowv1.GetRevisionRequest{WorkflowId: nobody, Revision: 1})
	wantFault(t, err, fault.KindNotFound, "WORKFLOW_NOT_FOUND")
	_, err = client.ListRevisions(ctx, &workflowv1.ListRevisionsRequest{WorkflowId: nobody})
	wantFault(t, err, fault.KindNotFound, "WORKFLOW_NOT_FOUND")
	for name, bad := range map[string]*workflowv1.ListRevisionsRequest{
		"token": {WorkflowId: id, PageToken: "AAAA"}, "size": {WorkflowId: id, PageSize: 201}, "negative": {WorkflowId: id, PageSize: -1}, "id": {WorkflowId: "x"},
	} {
		if _, err := client.ListRevisions(ctx, bad); fault.KindOf(err) != fault.KindInvalidArgument {
			t.Errorf("%s: got %v, want INVALID_ARGUMENT", name, err)
		}
	}
}

// TestService_saves_that_change_nothing make no revision and no etag, and watchers of definitions hear nothing.
func TestService_saves_that_change_nothing(t *testing.T) {
	t.Parallel()
	s, r := started(t)
	ctx, client := s.owner(t), r.workflows()
	w := r.create(t, ctx, "First")
	same := simple(t, "First")
	same.Id, same.Etag = w.GetId(), w.GetEtag()
	for _, request := range []string{"", "r1", "r1"} {
		resp, err := client.UpdateWorkflow(ctx, &workflowv1.UpdateWorkflowRequest{Workflow: same, RequestId: request})
		if err != nil {
			t.Fatal(err)
		}
		equal(t, "saved as it is", w, resp.GetWorkflow())
	}
	same.Etag = "0"
	_, err := client.UpdateWorkflow(ctx, &workflowv1.UpdateWorkflowRequest{Workflow: same})
	wantFault(t, err, fault.KindAborted, "ETAG_MISMATCH")
	equal(t, "afterwards", w, r.get(t, ctx, w.GetId()))
	r.rename(t, ctx, w.GetId(), "Second")
	resp, err := client.UpdateWorkflow(ctx, &workflowv1.UpdateWorkflowRequest{Workflow: withETag(same, w.GetEtag()), RequestId: "r1"})
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "repeated after another change", w, resp.GetWorkflow())
}

func TestService_DiffWorkflow(t *testing.T) {
	t.Parallel()
	s, r := started(t)
	ctx, client := s.owner(t), r.workflows()
	w := r.create(t, ctx, "First")
	id := w.GetId()
	changed := message(t, `{"title":"First","trigger":{"event":{"eventType":"call.ended"}},
		"steps":[{"id":"n","title":"New","action":{"type":"http.request","params":{"url":"https://example.com","n":null}}},{"id":"a","stop":{"message":"bye"}}]}`)
	changed.Id = id
	if _, err := client.UpdateWorkflow(ctx, &workflowv1.UpdateWorkflowRequest{Workflow: changed}); err != nil {
		t.Fatal(err)
	}
	r.draft(t, ctx, &workflowv1.UpdateDraftRequest{Id: id, Workflow: simple(t, "Draft")})
	compare := func(from, to string) *workflowv1.Diff {
		t.Helper()
		resp, err := client.DiffWorkflow(ctx, &workflowv1.DiffWorkflowRequest{Id: id, From: from, To: to})
		if err != nil {
			t.Fatal(err)
		}
		return resp.GetDiff()
	}
	added, err := structpb.NewValue(map[string]any{
		"id": "n", "title": "New", "action": map[string]any{"type": "http.request", "params": map[string]any{"url": "https://example.com", "n": nil}},
	})
	if err != nil {
		t.Fatal(err)
	}
	want := &workflowv1.Diff{FromRevision: 1, ToRevision: 2, Changes: []*workflowv1.Change{
		{Kind: workflowv1.Change_STEP_ADDED, StepId: "n", StepTitle: "New", ToPath: "steps[0]", After: added},
		{Kind: workflowv1.Change_FIELD_CHANGED, StepId: "a", FromPath: "steps[0]", ToPath: "steps[1]", Field: "stop.message", After: structpb.NewStringValue("bye")},
	}}
	equal(t, "by default without a backup: the first revision and what is live", want, compare("", ""))
	equal(t, "by number", want, compare("1", "2"))
	equal(t, "equal", &workflowv1.Diff{FromRevision: 2, ToRevision: 2}, compare("2", "live"))
	draft := compare("1", "draft")
	equal(t, "with the draft", &workflowv1.Diff{FromRevision: 1, Changes: []*workflowv1.Change{{
		Kind: workflowv1.Change_FIELD_CHANGED, Field: "title", Before: structpb.NewStringValue("First"), After: structpb.NewStringValue("Draft"),
	}}}, draft)

	b := r.backup(t, ctx, id, "")
	r.rename(t, ctx, id, "Third")
	want = &workflowv1.Diff{FromRevision: 2, ToRevision: 3, Changes: []*workflowv1.Change{{
		Kind: workflowv1.Change_FIELD_CHANGED, Field: "title", Before: structpb.NewStringValue("First"), After: structpb.NewStringValue("Third"),
	}}}
	equal(t, "by default with a backup", want, compare("", ""))
	equal(t, "with a backup by its id", want, compare("backup:"+b.GetId(), "live"))

	for name, bad := range map[string][2]string{
		"word": {"last", ""}, "zero": {"0", ""}, "negative": {"-1", ""}, "large": {"2147483648", ""}, "backup without an id": {"", "backup:"}, "backup by name": {"", "backup:x"},
	} {
		_, err := client.DiffWorkflow(ctx, &workflowv1.DiffWorkflowRequest{Id: id, From: bad[0], To: bad[1]})
		if f := faultOf(t, err, fault.KindInvalidArgument, "INVALID_FIELDS"); len(f.Violations) != 1 || f.Violations[0].Field != map[bool]string{true: "from", false: "to"}[bad[0] != ""] {
			t.Errorf("%s: got %v", name, f.Violations)
		}
	}
	_, err = client.DiffWorkflow(ctx, &workflowv1.DiffWorkflowRequest{Id: id, From: "x", To: "y"})
	if f := faultOf(t, err, fault.KindInvalidArgument, "INVALID_FIELDS"); len(f.Violations) != 2 {
		t.Errorf("both sides: got %v, want both named", f.Violations)
	}
	_, err = client.DiffWorkflow(ctx, &workflowv1.DiffWorkflowRequest{Id: id, From: "4"})
	wantFault(t, err, fault.KindNotFound, "REVISION_NOT_FOUND")
	_, err = client.DiffWorkflow(ctx, &workflowv1.DiffWorkflowRequest{Id: id, From: "backup:" + nobody})
	wantFault(t, err, fault.KindNotFound, "BACKUP_NOT_FOUND")
	_, err = client.DiffWorkflow(ctx, &workflowv1.DiffWorkflowRequest{Id: r.create(t, ctx, "Other").GetId(), To: "draft"})
	wantFault(t, err, fault.KindNotFound, "DRAFT_NOT_FOUND")
	_, err = client.DiffWorkflow(ctx, &workflowv1.DiffWorkflowRequest{Id: nobody})
	wantFault(t, err, fault.KindNotFound, "WORKFLOW_NOT_FOUND")
}

func TestService_DuplicateWorkflow(t *testing.T) {
	t.Parallel()
	s, r := started(t)
	ctx, client := s.owner(t), r.workflows()
	w := r.create(t, ctx, "First")
	r.backup(t, ctx, w.GetId(), "")
	r.draft(t, ctx, &workflowv1.UpdateDraftRequest{Id: w.GetId(), Workflow: simple(t, "Draft")})
	duplicate := func(req *workflowv1.DuplicateWorkflowRequest) *workflowv1.Workflow {
		t.Helper()
		req.Id = w.GetId()
		resp, err := client.DuplicateWorkflow(ctx, req)
		if err != nil {
			t.Fatal(err)
		}
		return resp.GetWorkflow()
	}
	got := duplicate(&workflowv1.DuplicateWorkflowRequest{})
	if got.GetTitle() != "First (copy)" || got.GetState() != workflowv1.Workflow_INACTIVE || got.GetId() == w.GetId() || got.GetRevision() != 1 || got.GetLastBackup() != nil || got.GetDraft() != nil {
		t.Errorf("copy: got %v", got)
	}
	equal(t, "steps", w.GetSteps(), got.GetSteps())
	equal(t, "trigger", w.GetTrigger(), got.GetTrigger())
	if title := duplicate(&workflowv1.DuplicateWorkflowRequest{}).GetTitle(); title != "First (copy 2)" {
		t.Errorf("second copy: got %q", title)
	}
	r.rename(t, ctx, got.GetId(), "Renamed")
	if title := duplicate(&workflowv1.DuplicateWorkflowRequest{}).GetTitle(); title != "First (copy)" {
		t.Errorf("when the first is free again: got %q", title)
	}
	if c := duplicate(&workflowv1.DuplicateWorkflowRequest{Title: "Mine", State: workflowv1.Workflow_ACTIVE}); c.GetTitle() != "Mine" || c.GetState() != workflowv1.Workflow_ACTIVE {
		t.Errorf("as asked for: got %v", c)
	}
	_, err := client.DuplicateWorkflow(ctx, &workflowv1.DuplicateWorkflowRequest{Id: w.GetId(), Title: "Mine"})
	wantFault(t, err, fault.KindAlreadyExists, "WORKFLOW_EXISTS")
	_, err = client.DuplicateWorkflow(ctx, &workflowv1.DuplicateWorkflowRequest{Id: nobody})
	wantFault(t, err, fault.KindNotFound, "WORKFLOW_NOT_FOUND")
	_, err = client.DuplicateWorkflow(ctx, &workflowv1.DuplicateWorkflowRequest{Id: w.GetId(), Title: "a\u202eb"})
	if f := faultOf(t, err, fault.KindInvalidArgument, "INVALID_FIELDS"); f.Violations[0].Field != "title" {
		t.Errorf("bad title: got %v", f.Violations)
	}
	_, err = client.DuplicateWorkflow(ctx, &workflowv1.DuplicateWorkflowRequest{Id: w.GetId(), State: workflowv1.Workflow_DELETING})
	wantFault(t, err, fault.KindInvalidArgument, "INVALID_FIELDS")

	long := r.create(t, ctx, strings.Repeat("ä", 128))
	resp, err := client.DuplicateWorkflow(ctx, &workflowv1.DuplicateWorkflowRequest{Id: long.GetId()})
	if err != nil || resp.GetWorkflow().GetTitle() != strings.Repeat("ä", 121)+" (copy)" {
		t.Errorf("copy of a long title: got %v, %v", resp.GetWorkflow().GetTitle(), err)
	}
	s.owners.set(&peerv1.Violation{Field: "steps[0].action.connection", Description: "is gone", Reason: "UNKNOWN_CONNECTION"})
	_, err = client.DuplicateWorkflow(ctx, &workflowv1.DuplicateWorkflowRequest{Id: w.GetId()})
	wantFault(t, err, fault.KindInvalidArgument, "INVALID_FIELDS")
}

// TestService_DuplicateWorkflow_at_once has many copy one workflow: each copy gets a title of its own.
func TestService_DuplicateWorkflow_at_once(t *testing.T) {
	t.Parallel()
	s, r := started(t)
	ctx := s.owner(t)
	w := r.create(t, ctx, "First")
	const clients = 8
	titles := make([]string, clients)
	var group errgroup.Group
	for i := range clients {
		group.Go(func() error {
			resp, err := r.workflows().DuplicateWorkflow(ctx, &workflowv1.DuplicateWorkflowRequest{Id: w.GetId()})
			titles[i] = resp.GetWorkflow().GetTitle()
			return err
		})
	}
	if err := group.Wait(); err != nil {
		t.Fatal(err)
	}
	seen := make(map[string]bool)
	for _, title := range titles {
		seen[title] = true
	}
	if len(seen) != clients || !seen["First (copy)"] || !seen[fmt.Sprintf("First (copy %d)", clients)] {
		t.Errorf("got %v, want copies 1 to %d", titles, clients)
	}
}
