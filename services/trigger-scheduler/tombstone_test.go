package scheduler

import (
	"testing"

	"google.golang.org/protobuf/types/known/timestamppb"

	"workflow.uniconnect/pkg/auth"
	peerv1 "workflow.uniconnect/proto/gen/go/uniconnect/workflow/peer/v1"
	workflowv1 "workflow.uniconnect/proto/gen/go/uniconnect/workflow/v1"
)

const deleted = "0192f0c1-7a5e-7c3c-9a7e-3d8b0f7f1a11"

// tombstone is all that the catalog still tells of a workflow that is gone.
func tombstone(id string) *peerv1.Definition {
	return &peerv1.Definition{Tenant: "acme", WorkflowId: id, State: workflowv1.Workflow_DELETING, ActiveSinceTime: &timestamppb.Timestamp{}}
}

// TestService_tombstones holds that a workflow that is gone starts nothing from its tombstone on, whatever was known of it, and that
// tombstones of workflows never heard of disturb nothing.
func TestService_tombstones(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.catalog.put(workflow("stays"))
	b.catalog.put(workflow(deleted))
	b.catalog.put(tombstone("of-the-snapshot"))
	r := b.start()
	if got := r.index.Len(); got != 2 {
		t.Fatalf("%d workflows in the index, want 2", got)
	}
	b.publish("before", `{}`)
	b.executor.await(t, "both runs", count(2))

	b.catalog.put(tombstone("never-heard-of"))
	b.catalog.put(tombstone(deleted))
	b.catalog.put(tombstone(deleted))
	b.eventually("the workflow is gone", func() bool { return r.index.Len() == 1 })
	client := peerv1.NewTriggerServiceClient(b.dial(r, auth.Principal{Subject: "workflow-catalog", Kind: auth.Service}))
	for _, id := range []string{deleted, deleted, "0192f0c1-0000-7c3c-9a7e-3d8b0f7f1a11"} {
		resp, err := client.FinalizeTriggers(t.Context(), &peerv1.FinalizeTriggersRequest{Tenant: "acme", WorkflowId: id})
		if err != nil || !resp.GetDone() {
			t.Errorf("finalize %s: got %v, %v", id, resp, err)
		}
	}
	// A watch that begins anew, and one that goes on where it was, tell the same.
	b.catalog.cutWatches()
	b.catalog.put(tombstone(deleted))
	b.publish("after", `{}`)
	b.executor.await(t, "the run of the one that stays", func(runs map[string]int) bool { return runs["stays/after"] == 1 })
	b.drained()
	if got := b.executor.runs[deleted+"/after"]; got != 0 {
		t.Errorf("the workflow that is gone started %d times", got)
	}
	b.executor.once(t)
}

// TestService_finalize_before_the_tombstone holds that a replica which was told to forget a workflow, and then hears old news of it, forgets
// it again with the tombstone.
func TestService_finalize_before_the_tombstone(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.catalog.put(workflow(deleted))
	r := b.start()
	client := peerv1.NewTriggerServiceClient(b.dial(r, auth.Principal{Subject: "workflow-catalog", Kind: auth.Service}))
	if _, err := client.FinalizeTriggers(t.Context(), &peerv1.FinalizeTriggersRequest{Tenant: "acme", WorkflowId: deleted}); err != nil {
		t.Fatal(err)
	}
	if got := r.index.Len(); got != 0 {
		t.Fatalf("%d workflows in the index after finalizing", got)
	}
	b.catalog.put(workflow(deleted))
	b.eventually("old news is applied", func() bool { return r.index.Len() == 1 })
	b.catalog.put(tombstone(deleted))
	b.eventually("the workflow is gone", func() bool { return r.index.Len() == 0 })
}
