package catalog_test

import (
	"testing"

	"workflow.uniconnect/pkg/fault"
	workflowv1 "workflow.uniconnect/proto/gen/go/uniconnect/workflow/v1"
)

// TestService_NUL sends over gRPC, and in documents, what JSON from the edge cannot hold and the storage cannot keep.
func TestService_NUL(t *testing.T) {
	t.Parallel()
	s, r := started(t)
	ctx, client := s.owner(t), r.workflows()
	w := r.create(t, ctx, "First")
	b := r.backup(t, ctx, w.GetId(), "")
	const bad = "a\x00b"
	broken := &workflowv1.Workflow{Title: bad, Trigger: w.GetTrigger()}
	for name, call := range map[string]func() error{
		"create": func() error {
			_, err := client.CreateWorkflow(ctx, &workflowv1.CreateWorkflowRequest{Workflow: broken})
			return err
		},
		"create with a request id": func() error {
			_, err := client.CreateWorkflow(ctx, &workflowv1.CreateWorkflowRequest{
				Workflow: &workflowv1.Workflow{Title: "x", Trigger: w.GetTrigger()}, RequestId: bad,
			})
			return err
		},
		"update": func() error {
			_, err := client.UpdateWorkflow(ctx, &workflowv1.UpdateWorkflowRequest{Workflow: &workflowv1.Workflow{Id: w.GetId(), Title: bad}})
			return err
		},
		"import of a message": func() error {
			_, err := client.ImportWorkflow(ctx, &workflowv1.ImportWorkflowRequest{Source: &workflowv1.ImportWorkflowRequest_Workflow{Workflow: broken}})
			return err
		},
		"import of a document": func() error {
			_, err := client.ImportWorkflow(ctx, importing("title: \"a\\0b\"\ntrigger: {manual: {}}\n"))
			return err
		},
		"import tried": func() error {
			_, err := client.ImportWorkflow(ctx, importing("title: \"a\\0b\"\ntrigger: {manual: {}}\n", tryOnly))
			return err
		},
		"duplicate": func() error {
			_, err := client.DuplicateWorkflow(ctx, &workflowv1.DuplicateWorkflowRequest{Id: w.GetId(), Title: bad})
			return err
		},
		"draft": func() error {
			_, err := client.UpdateDraft(ctx, &workflowv1.UpdateDraftRequest{Id: w.GetId(), Workflow: broken})
			return err
		},
		"backup": func() error {
			_, err := client.BackupWorkflow(ctx, &workflowv1.BackupWorkflowRequest{Id: w.GetId(), Name: bad})
			return err
		},
		"diff": func() error {
			_, err := client.DiffWorkflow(ctx, &workflowv1.DiffWorkflowRequest{Id: w.GetId(), From: bad, To: "backup:" + b.GetId()})
			return err
		},
		"list by title": func() error {
			_, err := client.ListWorkflows(ctx, &workflowv1.ListWorkflowsRequest{Filter: "title : \"" + bad + "\""})
			return err
		},
		"list by event type": func() error {
			_, err := client.ListWorkflows(ctx, &workflowv1.ListWorkflowsRequest{Filter: "event_type = \"" + bad + "\""})
			return err
		},
		"list in an order": func() error {
			_, err := client.ListWorkflows(ctx, &workflowv1.ListWorkflowsRequest{OrderBy: bad})
			return err
		},
		"list of the audit": func() error {
			_, err := client.ListAuditEntries(ctx, &workflowv1.ListAuditEntriesRequest{Filter: "actor = \"" + bad + "\""})
			return err
		},
	} {
		if err := call(); fault.KindOf(err) != fault.KindInvalidArgument {
			t.Errorf("%s: got %v, want INVALID_ARGUMENT", name, err)
		}
	}
	// These hold it against what is there, or look for what is not.
	_, err := client.DeleteWorkflow(ctx, &workflowv1.DeleteWorkflowRequest{Id: w.GetId(), Confirm: bad})
	wantFault(t, err, fault.KindFailedPrecondition, "CONFIRM_MISMATCH")
	_, err = client.ResetWorkflow(ctx, &workflowv1.ResetWorkflowRequest{Id: w.GetId(), Etag: bad})
	wantFault(t, err, fault.KindAborted, "ETAG_MISMATCH")
	_, err = client.GetTemplate(ctx, &workflowv1.GetTemplateRequest{Id: bad})
	wantFault(t, err, fault.KindNotFound, "TEMPLATE_NOT_FOUND")
	equal(t, "after the refusals", b, r.get(t, ctx, w.GetId()).GetLastBackup())
}
