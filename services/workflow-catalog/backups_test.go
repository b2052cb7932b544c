package catalog_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sync/errgroup"
	"google.golang.org/protobuf/testing/protocmp"

	"workflow.uniconnect/pkg/auth"
	"workflow.uniconnect/pkg/fault"
	peerv1 "workflow.uniconnect/proto/gen/go/uniconnect/workflow/peer/v1"
	workflowv1 "workflow.uniconnect/proto/gen/go/uniconnect/workflow/v1"
)

const nobody = "0198c0de-0000-7000-8000-000000000001" // no workflow and no backup has this id

// backup keeps what is live.
func (r *replica) backup(t *testing.T, ctx context.Context, id, name string) *workflowv1.Backup {
	t.Helper()
	resp, err := r.workflows().BackupWorkflow(ctx, &workflowv1.BackupWorkflowRequest{Id: id, Name: name})
	if err != nil {
		t.Fatal(err)
	}
	return resp.GetBackup()
}

// rename saves a revision that differs in its title.
func (r *replica) rename(t *testing.T, ctx context.Context, id, title string) *workflowv1.Workflow {
	t.Helper()
	resp, err := r.workflows().UpdateWorkflow(ctx, &workflowv1.UpdateWorkflowRequest{Workflow: &workflowv1.Workflow{Id: id, Title: title}})
	if err != nil {
		t.Fatal(err)
	}
	return resp.GetWorkflow()
}

func (r *replica) get(t *testing.T, ctx context.Context, id string) *workflowv1.Workflow {
	t.Helper()
	resp, err := r.workflows().GetWorkflow(ctx, &workflowv1.GetWorkflowRequest{Id: id})
	if err != nil {
		t.Fatal(err)
	}
	return resp.GetWorkflow()
}

// equal compares messages.
func equal(t *testing.T, what string, want, got any) {
	t.Helper()
	if diff := cmp.Diff(want, got, protocmp.Transform()); diff != "" {
		t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

func TestService_backups(t *testing.T) {
	t.Parallel()
	s, r := started(t)
	ctx, client := s.owner(t), r.workflows()
	w := r.create(t, ctx, "First")
	if w.GetLastBackup() != nil || w.GetDraft() != nil {
		t.Errorf("created: got %v, want neither backup nor draft", w)
	}
	_, err := client.ResetWorkflow(ctx, &workflowv1.ResetWorkflowRequest{Id: w.GetId()})
	wantFault(t, err, fault.KindFailedPrecondition, "NO_BACKUP")

	first := r.backup(t, ctx, w.GetId(), "before the change")
	if first.GetName() != "before the change" || first.GetRevision() != 1 || first.GetCreateUser() != "owner" || first.GetCreateTime() == nil {
		t.Errorf("backup: got %v", first)
	}
	kept := r.get(t, ctx, w.GetId())
	equal(t, "last backup", first, kept.GetLastBackup())
	if kept.GetEtag() != w.GetEtag() || !kept.GetUpdateTime().AsTime().Equal(w.GetUpdateTime().AsTime()) {
		t.Errorf("a backup changed the etag: from %q to %q", w.GetEtag(), kept.GetEtag())
	}
	renamed := r.rename(t, ctx, w.GetId(), "Second")
	equal(t, "last backup after an update", first, renamed.GetLastBackup())
	second := r.backup(t, ctx, w.GetId(), "")
	listed, err := client.ListWorkflows(ctx, &workflowv1.ListWorkflowsRequest{})
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "last backup in a list", second, listed.GetWorkflows()[0].GetLastBackup())

	restored, err := client.RestoreBackup(ctx, &workflowv1.RestoreBackupRequest{WorkflowId: w.GetId(), Id: first.GetId()})
	if err != nil {
		t.Fatal(err)
	}
	if got := restored.GetWorkflow(); got.GetTitle() != "First" || got.GetRevision() != 3 || got.GetState() != workflowv1.Workflow_ACTIVE || got.GetEtag() == renamed.GetEtag() {
		t.Errorf("restored: got %v", got)
	}
	off, err := client.DeactivateWorkflow(ctx, &workflowv1.DeactivateWorkflowRequest{Id: w.GetId()})
	if err != nil {
		t.Fatal(err)
	}
	reset, err := client.ResetWorkflow(ctx, &workflowv1.ResetWorkflowRequest{Id: w.GetId()})
	if err != nil {
		t.Fatal(err)
	}
	if got := reset.GetWorkflow(); got.GetTitle() != "Second" || got.GetRevision() != 4 || got.GetState() != workflowv1.Workflow_INACTIVE || got.GetEtag() == off.GetWorkflow().GetEtag() {
		t.Errorf("reset: got %v; want the configuration of the last backup and the state of now", got)
	}
	equal(t, "last backup after a reset", second, reset.GetWorkflow().GetLastBackup())
	again, err := client.ResetWorkflow(ctx, &workflowv1.ResetWorkflowRequest{Id: w.GetId()})
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "reset to what is live", reset.GetWorkflow(), again.GetWorkflow())

	_, err = client.DeleteBackup(ctx, &workflowv1.DeleteBackupRequest{WorkflowId: w.GetId(), Id: second.GetId()})
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "last backup after the last is gone", first, r.get(t, ctx, w.GetId()).GetLastBackup())
	revision, err := client.GetRevision(ctx, &workflowv1.GetRevisionRequest{WorkflowId: w.GetId(), Revision: second.GetRevision()})
	if err != nil || revision.GetRevision().GetTitle() != "Second" {
		t.Errorf("revision of a backup that is gone: got %v, %v", revision, err)
	}
	_, err = client.DeleteBackup(ctx, &workflowv1.DeleteBackupRequest{WorkflowId: w.GetId(), Id: second.GetId()})
	wantFault(t, err, fault.KindNotFound, "BACKUP_NOT_FOUND")
	_, err = client.RestoreBackup(ctx, &workflowv1.RestoreBackupRequest{WorkflowId: w.GetId(), Id: second.GetId()})
	wantFault(t, err, fault.KindNotFound, "BACKUP_NOT_FOUND")
}

// TestService_backups_etag returns to backups only where the workflow is still what the caller saw.
func TestService_backups_etag(t *testing.T) {
	t.Parallel()
	s, r := started(t)
	ctx, client := s.owner(t), r.workflows()
	w := r.create(t, ctx, "First")
	b := r.backup(t, ctx, w.GetId(), "")
	seen := r.rename(t, ctx, w.GetId(), "Second")
	latest := r.rename(t, ctx, w.GetId(), "Third")
	_, err := client.ResetWorkflow(ctx, &workflowv1.ResetWorkflowRequest{Id: w.GetId(), Etag: seen.GetEtag()})
	wantFault(t, err, fault.KindAborted, "ETAG_MISMATCH")
	_, err = client.RestoreBackup(ctx, &workflowv1.RestoreBackupRequest{WorkflowId: w.GetId(), Id: b.GetId(), Etag: seen.GetEtag()})
	wantFault(t, err, fault.KindAborted, "ETAG_MISMATCH")
	equal(t, "after the refusals", latest, r.get(t, ctx, w.GetId()))

	reset, err := client.ResetWorkflow(ctx, &workflowv1.ResetWorkflowRequest{Id: w.GetId(), Etag: latest.GetEtag()})
	if err != nil || reset.GetWorkflow().GetTitle() != "First" {
		t.Errorf("reset of what was seen: got %v, %v", reset, err)
	}
	latest = r.rename(t, ctx, w.GetId(), "Fourth")
	restored, err := client.RestoreBackup(ctx, &workflowv1.RestoreBackupRequest{WorkflowId: w.GetId(), Id: b.GetId(), Etag: latest.GetEtag()})
	if err != nil || restored.GetWorkflow().GetTitle() != "First" {
		t.Errorf("restore of what was seen: got %v, %v", restored, err)
	}
}

func TestService_ListBackups(t *testing.T) {
	t.Parallel()
	s, r := started(t)
	ctx, client := s.owner(t), r.workflows()
	w, other := r.create(t, ctx, "First"), r.create(t, ctx, "Other")
	r.backup(t, ctx, other.GetId(), "of the other")
	var want, got []string
	for i := range 5 {
		want = append([]string{r.backup(t, ctx, w.GetId(), fmt.Sprint("b", i)).GetId()}, want...)
	}
	req := &workflowv1.ListBackupsRequest{WorkflowId: w.GetId(), PageSize: 2}
	for pages := 1; ; pages++ {
		page, err := client.ListBackups(ctx, req)
		if err != nil {
			t.Fatal(err)
		}
		for _, b := range page.GetBackups() {
			got = append(got, b.GetId())
		}
		if page.GetNextPageToken() == "" {
			break
		}
		if req.PageToken = page.GetNextPageToken(); pages == 1 {
			// The place where the list goes on does not depend on what is there.
			if _, err := client.DeleteBackup(ctx, &workflowv1.DeleteBackupRequest{WorkflowId: w.GetId(), Id: got[1]}); err != nil {
				t.Fatal(err)
			}
		}
	}
	equal(t, "ids", want, got)
	for name, bad := range map[string]*workflowv1.ListBackupsRequest{
		"another workflow's token": {WorkflowId: other.GetId(), PageToken: req.GetPageToken()},
		"no token":                 {WorkflowId: w.GetId(), PageToken: "next"},
	} {
		if _, err := client.ListBackups(ctx, bad); fault.KindOf(err) != fault.KindInvalidArgument {
			t.Errorf("%s: got %v, want INVALID_ARGUMENT", name, err)
		}
	}
	_, err := client.ListBackups(ctx, &workflowv1.ListBackupsRequest{WorkflowId: nobody})
	wantFault(t, err, fault.KindNotFound, "WORKFLOW_NOT_FOUND")
	empty, err := client.ListBackups(ctx, &workflowv1.ListBackupsRequest{WorkflowId: r.create(t, ctx, "None").GetId()})
	if err != nil || len(empty.GetBackups()) != 0 {
		t.Errorf("without backups: got %v, %v; want none", empty, err)
	}
}

// TestService_backups_of_others asks for backups with the id of another workflow, and of another tenant's.
func TestService_backups_of_others(t *testing.T) {
	t.Parallel()
	s, r := started(t)
	ctx, client := s.owner(t), r.workflows()
	w, other := r.create(t, ctx, "First"), r.create(t, ctx, "Other")
	b := r.backup(t, ctx, w.GetId(), "")
	_, err := client.RestoreBackup(ctx, &workflowv1.RestoreBackupRequest{WorkflowId: other.GetId(), Id: b.GetId()})
	wantFault(t, err, fault.KindNotFound, "BACKUP_NOT_FOUND")
	_, err = client.DeleteBackup(ctx, &workflowv1.DeleteBackupRequest{WorkflowId: other.GetId(), Id: b.GetId()})
	wantFault(t, err, fault.KindNotFound, "BACKUP_NOT_FOUND")
	_, err = client.DiffWorkflow(ctx, &workflowv1.DiffWorkflowRequest{Id: other.GetId(), From: "backup:" + b.GetId()})
	wantFault(t, err, fault.KindNotFound, "BACKUP_NOT_FOUND")

	theirs := s.as(t, auth.Principal{Tenant: "globex", Subject: "owner"})
	for name, call := range map[string]func() error{
		"backup": func() error {
			_, err := client.BackupWorkflow(theirs, &workflowv1.BackupWorkflowRequest{Id: w.GetId()})
			return err
		},
		"restore": func() error {
			_, err := client.RestoreBackup(theirs, &workflowv1.RestoreBackupRequest{WorkflowId: w.GetId(), Id: b.GetId()})
			return err
		},
		"reset": func() error {
			_, err := client.ResetWorkflow(theirs, &workflowv1.ResetWorkflowRequest{Id: w.GetId()})
			return err
		},
		"delete": func() error {
			_, err := client.DeleteBackup(theirs, &workflowv1.DeleteBackupRequest{WorkflowId: w.GetId(), Id: b.GetId()})
			return err
		},
		"list": func() error {
			_, err := client.ListBackups(theirs, &workflowv1.ListBackupsRequest{WorkflowId: w.GetId()})
			return err
		},
		"revisions": func() error {
			_, err := client.ListRevisions(theirs, &workflowv1.ListRevisionsRequest{WorkflowId: w.GetId()})
			return err
		},
		"revision": func() error {
			_, err := client.GetRevision(theirs, &workflowv1.GetRevisionRequest{WorkflowId: w.GetId(), Revision: 1})
			return err
		},
		"diff": func() error {
			_, err := client.DiffWorkflow(theirs, &workflowv1.DiffWorkflowRequest{Id: w.GetId()})
			return err
		},
		"draft": func() error {
			_, err := client.UpdateDraft(theirs, &workflowv1.UpdateDraftRequest{Id: w.GetId(), Workflow: simple(t, "Mine")})
			return err
		},
		"publish": func() error {
			_, err := client.PublishWorkflow(theirs, &workflowv1.PublishWorkflowRequest{Id: w.GetId()})
			return err
		},
		"duplicate": func() error {
			_, err := client.DuplicateWorkflow(theirs, &workflowv1.DuplicateWorkflowRequest{Id: w.GetId()})
			return err
		},
	} {
		if f, ok := fault.As(call()); !ok || f.Kind != fault.KindNotFound || f.Reason != "WORKFLOW_NOT_FOUND" {
			t.Errorf("%s of another tenant's workflow: got %v, want NOT_FOUND", name, f)
		}
	}
	equal(t, "afterwards", r.get(t, ctx, w.GetId()).GetLastBackup(), b)
}

// TestService_returning_is_saving: what a reset or a restore makes live is checked, and takes the title as well.
func TestService_returning_is_saving(t *testing.T) {
	t.Parallel()
	s, r := started(t)
	ctx, client := s.owner(t), r.workflows()
	w := r.create(t, ctx, "First")
	b := r.backup(t, ctx, w.GetId(), "")
	returns := map[string]func() error{
		"reset": func() error {
			_, err := client.ResetWorkflow(ctx, &workflowv1.ResetWorkflowRequest{Id: w.GetId()})
			return err
		},
		"restore": func() error {
			_, err := client.RestoreBackup(ctx, &workflowv1.RestoreBackupRequest{WorkflowId: w.GetId(), Id: b.GetId()})
			return err
		},
	}
	renamed := r.rename(t, ctx, w.GetId(), "Second")
	other := r.create(t, ctx, "First")
	for name, do := range returns {
		t.Run(name+"_to_a_title_that_is_taken", func(t *testing.T) {
			if f := faultOf(t, do(), fault.KindAlreadyExists, "WORKFLOW_EXISTS"); f.Metadata["workflow_id"] != other.GetId() {
				t.Errorf("metadata: got %v, want the other's id", f.Metadata)
			}
		})
	}
	r.rename(t, ctx, other.GetId(), "Other")
	s.owners.set(&peerv1.Violation{Field: "steps[0].action.connection", Description: "is gone", Reason: "UNKNOWN_CONNECTION"})
	for name, do := range returns {
		t.Run(name+"_to_what_is_no_longer_good", func(t *testing.T) {
			if f := faultOf(t, do(), fault.KindInvalidArgument, "INVALID_FIELDS"); f.Violations[0].Field != "steps[0].action.connection" {
				t.Errorf("got %v", f.Violations)
			}
		})
	}
	s.owners.set()
	s.stopOwners()
	for name, do := range returns {
		t.Run(name+"_without_the_owners", func(t *testing.T) {
			wantFault(t, do(), fault.KindUnavailable, "SERVICE_UNAVAILABLE")
		})
	}
	equal(t, "after all refusals", renamed, r.get(t, ctx, w.GetId()))
}

// TestService_requests_of_history_are_repeated sends each request twice and many times at once: it does its work once.
func TestService_requests_of_history_are_repeated(t *testing.T) {
	t.Parallel()
	s, r := started(t)
	ctx, client := s.owner(t), r.workflows()
	w := r.create(t, ctx, "First")
	id := w.GetId()
	spare := r.backup(t, ctx, id, "spare")
	_, err := client.UpdateDraft(ctx, &workflowv1.UpdateDraftRequest{Id: id, Workflow: simple(t, "Draft")})
	if err != nil {
		t.Fatal(err)
	}
	steps := []struct {
		name string
		call func(id string) (any, error)
	}{
		{"backup", func(request string) (any, error) {
			return client.BackupWorkflow(ctx, &workflowv1.BackupWorkflowRequest{Id: id, Name: "kept", RequestId: request})
		}},
		{"publish", func(request string) (any, error) {
			return client.PublishWorkflow(ctx, &workflowv1.PublishWorkflowRequest{Id: id, RequestId: request})
		}},
		{"reset", func(request string) (any, error) {
			return client.ResetWorkflow(ctx, &workflowv1.ResetWorkflowRequest{Id: id, RequestId: request})
		}},
		{"draft", func(request string) (any, error) {
			return client.UpdateDraft(ctx, &workflowv1.UpdateDraftRequest{Id: id, Workflow: simple(t, "Again"), RequestId: request})
		}},
		{"delete_draft", func(request string) (any, error) {
			return client.DeleteDraft(ctx, &workflowv1.DeleteDraftRequest{Id: id, RequestId: request})
		}},
		{"restore", func(request string) (any, error) {
			return client.RestoreBackup(ctx, &workflowv1.RestoreBackupRequest{WorkflowId: id, Id: spare.GetId(), RequestId: request})
		}},
		{"delete_backup", func(request string) (any, error) {
			return client.DeleteBackup(ctx, &workflowv1.DeleteBackupRequest{WorkflowId: id, Id: spare.GetId(), RequestId: request})
		}},
		{"duplicate", func(request string) (any, error) {
			return client.DuplicateWorkflow(ctx, &workflowv1.DuplicateWorkflowRequest{Id: id, RequestId: request})
		}},
	}
	for _, step := range steps {
		const clients = 8
		answers := make([]any, clients)
		var group errgroup.Group
		for i := range clients {
			group.Go(func() error {
				var err error
				answers[i], err = step.call("r-" + step.name)
				return err
			})
		}
		if err := group.Wait(); err != nil {
			t.Fatalf("%s: %v", step.name, err)
		}
		for _, other := range answers[1:] {
			equal(t, step.name+" at once", answers[0], other)
		}
	}
	s.stopOwners() // answers are kept, so nobody is asked
	for _, step := range steps {
		if _, err := step.call("r-" + step.name); err != nil {
			t.Errorf("%s repeated: %v", step.name, err)
		}
	}
	_, err = client.ResetWorkflow(ctx, &workflowv1.ResetWorkflowRequest{Id: id, RequestId: "r-backup"})
	wantFault(t, err, fault.KindFailedPrecondition, "REQUEST_ID_REUSED")

	got := r.get(t, ctx, id)
	if got.GetRevision() != 3 || got.GetTitle() != "First" || got.GetDraft() != nil || got.GetLastBackup().GetName() != "kept" {
		t.Errorf("got %v; want revision 3 (published, reset; restoring what is live makes none), no draft, the backup that was kept", got)
	}
	backups, err := client.ListBackups(ctx, &workflowv1.ListBackupsRequest{WorkflowId: id})
	if err != nil || len(backups.GetBackups()) != 1 {
		t.Errorf("backups: got %v, %v; want one", backups, err)
	}
	all, err := client.ListWorkflows(ctx, &workflowv1.ListWorkflowsRequest{})
	if err != nil || len(all.GetWorkflows()) != 2 {
		t.Errorf("workflows: got %d, %v; want the workflow and one copy", len(all.GetWorkflows()), err)
	}
}

// TestService_history_of_what_is_being_deleted refuses every change, and forgets the answers with the workflow.
func TestService_history_of_what_is_being_deleted(t *testing.T) {
	t.Parallel()
	s, r := started(t)
	ctx, client := s.owner(t), r.workflows()
	w := r.create(t, ctx, "First")
	id := w.GetId()
	kept, err := client.BackupWorkflow(ctx, &workflowv1.BackupWorkflowRequest{Id: id, RequestId: "b1"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := client.UpdateDraft(ctx, &workflowv1.UpdateDraftRequest{Id: id, Workflow: simple(t, "Draft")}); err != nil {
		t.Fatal(err)
	}
	s.stopOwners()
	if _, err := client.DeleteWorkflow(ctx, &workflowv1.DeleteWorkflowRequest{Id: id, RequestId: "d1"}); err != nil {
		t.Fatal(err)
	}
	refused := map[string]func() error{
		"backup": func() error {
			_, err := client.BackupWorkflow(ctx, &workflowv1.BackupWorkflowRequest{Id: id})
			return err
		},
		"reset": func() error {
			_, err := client.ResetWorkflow(ctx, &workflowv1.ResetWorkflowRequest{Id: id})
			return err
		},
		"restore": func() error {
			_, err := client.RestoreBackup(ctx, &workflowv1.RestoreBackupRequest{WorkflowId: id, Id: kept.GetBackup().GetId()})
			return err
		},
		"delete_backup": func() error {
			_, err := client.DeleteBackup(ctx, &workflowv1.DeleteBackupRequest{WorkflowId: id, Id: kept.GetBackup().GetId()})
			return err
		},
		"draft": func() error {
			_, err := client.UpdateDraft(ctx, &workflowv1.UpdateDraftRequest{Id: id, Workflow: simple(t, "Late")})
			return err
		},
		"delete_draft": func() error {
			_, err := client.DeleteDraft(ctx, &workflowv1.DeleteDraftRequest{Id: id})
			return err
		},
		"publish": func() error {
			_, err := client.PublishWorkflow(ctx, &workflowv1.PublishWorkflowRequest{Id: id})
			return err
		},
		"duplicate": func() error {
			_, err := client.DuplicateWorkflow(ctx, &workflowv1.DuplicateWorkflowRequest{Id: id})
			return err
		},
	}
	for name, call := range refused {
		t.Run(name, func(t *testing.T) { wantFault(t, call(), fault.KindFailedPrecondition, "WORKFLOW_STATE") })
	}
	s.startOwners()
	until(t, "the workflow is gone", func() bool {
		_, err := client.GetWorkflow(ctx, &workflowv1.GetWorkflowRequest{Id: id})
		return fault.KindOf(err) == fault.KindNotFound
	})
	_, err = client.BackupWorkflow(ctx, &workflowv1.BackupWorkflowRequest{Id: id, RequestId: "b1"})
	wantFault(t, err, fault.KindNotFound, "WORKFLOW_NOT_FOUND")
	again, err := client.DeleteWorkflow(ctx, &workflowv1.DeleteWorkflowRequest{Id: id, RequestId: "d1"})
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "deleted again", &workflowv1.Workflow{Id: id, State: workflowv1.Workflow_DELETING, Etag: again.GetWorkflow().GetEtag()}, again.GetWorkflow())
}

func TestService_BackupWorkflow_bad_names(t *testing.T) {
	t.Parallel()
	s, r := started(t)
	ctx, client := s.owner(t), r.workflows()
	w := r.create(t, ctx, "First")
	for name, bad := range map[string]*workflowv1.BackupWorkflowRequest{
		"long":    {Id: w.GetId(), Name: strings.Repeat("x", 129)},
		"control": {Id: w.GetId(), Name: "a\x00b"},
		"bidi":    {Id: w.GetId(), Name: "a\u202eb"},
		"no id":   {Id: "first"},
	} {
		if _, err := client.BackupWorkflow(ctx, bad); fault.KindOf(err) != fault.KindInvalidArgument {
			t.Errorf("%s: got %v, want INVALID_ARGUMENT", name, err)
		}
	}
	_, err := client.BackupWorkflow(ctx, &workflowv1.BackupWorkflowRequest{Id: nobody})
	wantFault(t, err, fault.KindNotFound, "WORKFLOW_NOT_FOUND")
	viewer := s.as(t, auth.Principal{Tenant: "acme", Subject: "viewer"})
	_, err = client.BackupWorkflow(viewer, &workflowv1.BackupWorkflowRequest{Id: w.GetId()})
	wantFault(t, err, fault.KindPermissionDenied, "PERMISSION_MISSING")
	_, err = client.ResetWorkflow(viewer, &workflowv1.ResetWorkflowRequest{Id: w.GetId()})
	wantFault(t, err, fault.KindPermissionDenied, "PERMISSION_MISSING")
}
