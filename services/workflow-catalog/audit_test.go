package catalog_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"

	"workflow.uniconnect/pkg/auth"
	"workflow.uniconnect/pkg/fault"
	"workflow.uniconnect/pkg/pgtest"
	peerv1 "workflow.uniconnect/proto/gen/go/uniconnect/workflow/peer/v1"
	workflowv1 "workflow.uniconnect/proto/gen/go/uniconnect/workflow/v1"
)

// audited asks for all pages of the audit.
func audited(t *testing.T, ctx context.Context, r *replica, req *workflowv1.ListAuditEntriesRequest) []*workflowv1.AuditEntry {
	t.Helper()
	var out []*workflowv1.AuditEntry
	req = proto.CloneOf(req)
	for {
		page, err := r.workflows().ListAuditEntries(ctx, req)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, page.GetAuditEntries()...)
		if req.PageToken = page.GetNextPageToken(); req.PageToken == "" {
			return out
		}
	}
}

// linesOf shows entries as `actor action outcome reason workflow`, the workflow by the name that a test gave its id.
func linesOf(entries []*workflowv1.AuditEntry, names map[string]string) []string {
	out := make([]string, len(entries))
	for i, e := range entries {
		out[i] = strings.TrimSpace(fmt.Sprint(e.GetActor(), " ", e.GetAction(), " ", e.GetOutcome(), " ", e.GetReason(), " ", names[e.GetWorkflowId()]))
	}
	return out
}

func TestService_audit(t *testing.T) {
	t.Parallel()
	s, r := started(t)
	client := r.workflows()
	owner := s.owner(t, "x-forwarded-for", "198.51.100.1, 203.0.113.7", "grpcgateway-user-agent", "curl/8.0", "idempotency-key", "key-1")
	viewer := s.as(t, auth.Principal{Tenant: "acme", Subject: "viewer"})
	w := r.create(t, owner, "First")
	const nobodys = "0198c0de-0000-7000-8000-000000000001"
	names := map[string]string{w.GetId(): "FIRST", nobodys: "NOBODYS"}
	refused := func(err error) {
		t.Helper()
		if err == nil {
			t.Error("a call is not refused")
		}
	}
	plain := s.owner(t)
	_, err := client.CreateWorkflow(plain, &workflowv1.CreateWorkflowRequest{Workflow: simple(t, "First"), RequestId: "again"})
	refused(err)
	_, err = client.CreateWorkflow(plain, &workflowv1.CreateWorkflowRequest{Workflow: &workflowv1.Workflow{Id: w.GetId(), Description: "secret content"}})
	refused(err)
	_, err = client.UpdateWorkflow(plain, &workflowv1.UpdateWorkflowRequest{Workflow: &workflowv1.Workflow{Id: w.GetId(), Title: "x", Etag: "99"}})
	refused(err)
	_, err = client.UpdateWorkflow(plain, &workflowv1.UpdateWorkflowRequest{Workflow: &workflowv1.Workflow{Id: "'; DROP TABLE", Title: "x"}})
	refused(err)
	_, err = client.DeleteWorkflow(plain, &workflowv1.DeleteWorkflowRequest{Id: nobodys})
	refused(err)
	_, err = client.ActivateWorkflow(viewer, &workflowv1.ActivateWorkflowRequest{Id: w.GetId(), RequestId: strings.Repeat("x", 200)})
	refused(err)
	_, err = client.ListAuditEntries(viewer, &workflowv1.ListAuditEntriesRequest{})
	refused(err)
	_, err = r.definitions().GetRevision(viewer, &peerv1.GetRevisionRequest{Tenant: "acme", WorkflowId: w.GetId()})
	refused(err)
	watch, err := r.definitions().WatchDefinitions(viewer, &peerv1.WatchDefinitionsRequest{})
	if err != nil {
		t.Fatal(err)
	}
	_, err = watch.Recv()
	refused(err)
	// Nothing of these is in the audit: a read that found nothing, a caller that nobody knows, an owner that is away.
	_, err = client.GetWorkflow(plain, &workflowv1.GetWorkflowRequest{Id: nobodys})
	refused(err)
	_, err = client.DeleteWorkflow(t.Context(), &workflowv1.DeleteWorkflowRequest{Id: w.GetId()})
	refused(err)
	s.stopOwners()
	_, err = client.CreateWorkflow(plain, &workflowv1.CreateWorkflowRequest{Workflow: simple(t, "Third")})
	wantFault(t, err, fault.KindUnavailable, "SERVICE_UNAVAILABLE")

	want := []string{
		"viewer WatchDefinitions PERMISSION_DENIED INTERNAL_METHOD",
		"viewer GetRevision PERMISSION_DENIED INTERNAL_METHOD FIRST",
		"viewer ListAuditEntries PERMISSION_DENIED PERMISSION_MISSING",
		"viewer ActivateWorkflow PERMISSION_DENIED PERMISSION_MISSING FIRST",
		"owner DeleteWorkflow NOT_FOUND WORKFLOW_NOT_FOUND NOBODYS",
		"owner UpdateWorkflow INVALID_ARGUMENT INVALID_FIELDS",
		"owner UpdateWorkflow ABORTED ETAG_MISMATCH FIRST",
		"owner CreateWorkflow INVALID_ARGUMENT INVALID_FIELDS",
		"owner CreateWorkflow ALREADY_EXISTS WORKFLOW_EXISTS",
		"owner CreateWorkflow OK  FIRST",
	}
	all := audited(t, plain, r, &workflowv1.ListAuditEntriesRequest{PageSize: 3})
	if diff := cmp.Diff(want, linesOf(all, names)); diff != "" {
		t.Fatalf("(-want +got):\n%s", diff)
	}
	created, exists, denied := all[9], all[8], all[3]
	if created.GetOrigin() != "203.0.113.7" || created.GetUserAgent() != "curl/8.0" || created.GetRequestId() != "key-1" ||
		len(created.GetAfterHash()) != 64 || created.GetBeforeHash() != "" || !created.GetCreateTime().AsTime().Equal(w.GetCreateTime().AsTime()) {
		t.Errorf("creation: got %v", created)
	}
	if exists.GetRequestId() != "again" || exists.GetOrigin() != "127.0.0.1" || !strings.HasPrefix(exists.GetUserAgent(), "grpc-go/") {
		t.Errorf("refusal: got %v, want its request id and the peer", exists)
	}
	if denied.GetRequestId() != "" {
		t.Errorf("request id that breaks the rule: got %q", denied.GetRequestId())
	}
	if text := fmt.Sprint(all); strings.Contains(text, "secret") || strings.Contains(text, "DROP") {
		t.Error("the audit has content of requests")
	}

	for filter, want := range map[string][]string{
		`actor = "viewer" AND action != "GetRevision"`:          {want[0], want[2], want[3]},
		`action = "UpdateWorkflow"`:                             {want[5], want[6]},
		`workflow_id = "` + w.GetId() + `" AND outcome != "OK"`: {want[1], want[3], want[6]},
		`outcome = "PERMISSION_DENIED"`:                         want[:4],
		`outcome = "OK"`:                                        {want[9]},
		`reason = "ETAG_MISMATCH"`:                              {want[6]},
		`reason != ""`:                                          want[:9],
		`request_id = "again"`:                                  {want[8]},
		`create_time > "2000-01-01T00:00:00Z" AND createTime < "2100-01-01T00:00:00Z"`:                            want,
		`create_time <= "` + created.GetCreateTime().AsTime().Format("2006-01-02T15:04:05.999999999Z07:00") + `"`: {want[9]},
		`create_time >= "2100-01-01T00:00:00Z"`:                                                                   {},
		`workflow_id != "` + w.GetId() + `" AND actor = "owner"`:                                                  {want[4], want[5], want[7], want[8]},
	} {
		for _, size := range []int32{1, 100} {
			got := linesOf(audited(t, plain, r, &workflowv1.ListAuditEntriesRequest{Filter: filter, PageSize: size}), names)
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("%s in pages of %d (-want +got):\n%s", filter, size, diff)
			}
		}
	}
	for _, filter := range []string{`origin = "x"`, `actor : "x"`, `workflow_id = "x"`, `create_time = "2026-01-01T00:00:00Z"`, `actor = "a" OR actor = "b"`} {
		_, err := client.ListAuditEntries(plain, &workflowv1.ListAuditEntriesRequest{Filter: filter})
		if f := faultOf(t, err, fault.KindInvalidArgument, "FILTER"); !strings.Contains(f.Message, "actor (= !=), action (= !=), workflow_id (= !=)") {
			t.Errorf("%s: got %q, want the fields", filter, f.Message)
		}
	}
	globex := s.as(t, auth.Principal{Tenant: "globex", Subject: "owner"})
	if got := audited(t, globex, r, &workflowv1.ListAuditEntriesRequest{}); len(got) != 0 {
		t.Errorf("another tenant's audit: got %v", got)
	}
	page, err := client.ListAuditEntries(plain, &workflowv1.ListAuditEntriesRequest{PageSize: 1})
	if err != nil {
		t.Fatal(err)
	}
	_, err = client.ListAuditEntries(globex, &workflowv1.ListAuditEntriesRequest{PageSize: 1, PageToken: page.GetNextPageToken()})
	wantFault(t, err, fault.KindInvalidArgument, "PAGE_TOKEN")
}

// TestService_audit_without_the_module: who switched the module off is what people want to know then.
func TestService_audit_without_the_module(t *testing.T) {
	t.Parallel()
	s, r := started(t)
	ctx := s.owner(t)
	r.create(t, ctx, "First")
	pool := pgtest.Open(t, s.deps.Settings.DatabaseURL.Reveal(), "catalog")
	if _, err := pool.Exec(t.Context(), `UPDATE modules SET enabled = false WHERE tenant = 'acme'`); err != nil {
		t.Fatal(err)
	}
	until(t, "the module is off", func() bool {
		_, err := r.workflows().ListWorkflows(ctx, &workflowv1.ListWorkflowsRequest{})
		return fault.KindOf(err) == fault.KindPermissionDenied
	})
	got := linesOf(audited(t, ctx, r, &workflowv1.ListAuditEntriesRequest{}), nil)
	if len(got) != 2 || got[0] != "owner ListWorkflows PERMISSION_DENIED MODULE_DISABLED" {
		t.Errorf("got %v, want the refusal and the creation", got)
	}
}

// TestService_audit_survives: a refusal is answered the same although the audit cannot be written.
func TestService_audit_that_cannot_be_written(t *testing.T) {
	t.Parallel()
	s, r := started(t)
	w := r.create(t, s.owner(t), "First")
	pool := pgtest.Open(t, s.deps.Settings.DatabaseURL.Reveal(), "catalog")
	if _, err := pool.Exec(t.Context(), `ALTER TABLE audit_entries ADD CHECK (outcome = 'OK')`); err != nil {
		t.Fatal(err)
	}
	_, err := r.workflows().UpdateWorkflow(s.owner(t), &workflowv1.UpdateWorkflowRequest{Workflow: &workflowv1.Workflow{Id: w.GetId(), Title: "x", Etag: "99"}})
	wantFault(t, err, fault.KindAborted, "ETAG_MISMATCH")
	for _, statement := range []string{`DELETE FROM audit_entries`, `UPDATE audit_entries SET reason = ''`, `TRUNCATE audit_entries`} {
		if _, err := pool.Exec(t.Context(), statement); err == nil {
			t.Errorf("%s: the audit can be changed", statement)
		}
	}
}
