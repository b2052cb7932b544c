package catalog_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/fieldmaskpb"

	"workflow.uniconnect/pkg/access"
	"workflow.uniconnect/pkg/auth"
	"workflow.uniconnect/pkg/fault"
	"workflow.uniconnect/pkg/grpcserver"
	accessv1 "workflow.uniconnect/proto/gen/go/uniconnect/access/v1"
	peerv1 "workflow.uniconnect/proto/gen/go/uniconnect/workflow/peer/v1"
	workflowv1 "workflow.uniconnect/proto/gen/go/uniconnect/workflow/v1"
)

// holder is what the other services hold of tenants.
type holder struct {
	peerv1.UnimplementedTenantDataServiceServer
	asked chan string // the tenants that were finalized
}

func (h *holder) ExportTenant(req *peerv1.ExportTenantRequest, stream grpc.ServerStreamingServer[peerv1.ExportTenantResponse]) error {
	return stream.Send(&peerv1.ExportTenantResponse{Kind: "execution", Document: []byte(`{"of":"` + req.GetTenant() + `"}`)})
}

func (h *holder) FinalizeTenant(_ context.Context, req *peerv1.FinalizeTenantRequest) (*peerv1.FinalizeTenantResponse, error) {
	h.asked <- req.GetTenant()
	return &peerv1.FinalizeTenantResponse{Done: true}, nil
}

// withPlatform is a system that has tenants made and ended by the service identity `platform`.
func withPlatform(t *testing.T) (*system, *replica, *holder) {
	t.Helper()
	s := newSystem(t)
	h := &holder{asked: make(chan string, 16)}
	server, err := grpcserver.New(t.Context(), grpcserver.Options{
		Listener: listen(t, s.owners.addr), Telemetry: s.deps.Telemetry, Verifier: s.deps.Verifier,
		Enforcer: access.NewEnforcer(access.Options{Module: "workflow"}),
	})
	if err != nil {
		t.Fatal(err)
	}
	peerv1.RegisterTriggerServiceServer(server, s.owners)
	peerv1.RegisterStartServiceServer(server, s.owners)
	peerv1.RegisterTenantDataServiceServer(server, h)
	background(t, server.Run)
	s.deps.Settings.PlatformAdmins = []string{"platform"}
	return s, s.start(t), h
}

func (s *system) platform(t *testing.T) context.Context {
	t.Helper()
	return s.as(t, auth.Principal{Subject: "platform", Kind: auth.Service})
}

func (r *replica) tenants() accessv1.TenantServiceClient {
	return accessv1.NewTenantServiceClient(r.conn)
}

func initech() *accessv1.CreateTenantRequest {
	return &accessv1.CreateTenantRequest{
		Tenant: &accessv1.Tenant{
			Tenant: "initech", Title: "Initech", Settings: &accessv1.TenantSettings{TimeZone: "America/Chicago", Quotas: &accessv1.Quotas{Streams: 7}},
		},
		Owner: "bill",
	}
}

func TestTenants_life(t *testing.T) {
	t.Parallel()
	s, r, h := withPlatform(t)
	ctx := s.platform(t)
	made, err := r.tenants().CreateTenant(ctx, initech())
	if err != nil {
		t.Fatal(err)
	}
	if got := made.GetTenant(); got.GetState() != accessv1.Tenant_ACTIVE || got.GetSettings().GetTimeZone() != "America/Chicago" ||
		got.GetSettings().GetQuotas().GetStreams() != 7 || got.GetCreateTime() == nil {
		t.Errorf("created: got %v", got)
	}
	bill := s.as(t, auth.Principal{Tenant: "initech", Subject: "bill"})
	me, err := r.access().GetMe(bill, &accessv1.GetMeRequest{})
	if err != nil || !cmp.Equal(me.GetMe().GetRoles(), []string{"System Owner"}) || !cmp.Equal(me.GetMe().GetModules(), []string{"workflow"}) {
		t.Errorf("the owner: got %v, %v", me, err)
	}
	w := r.create(t, bill, "First")

	suspended, err := r.tenants().SuspendTenant(ctx, &accessv1.SuspendTenantRequest{Tenant: "initech", Reason: "does not pay"})
	if err != nil || suspended.GetTenant().GetState() != accessv1.Tenant_SUSPENDED {
		t.Fatalf("suspend: got %v, %v", suspended, err)
	}
	_, err = r.workflows().GetWorkflow(bill, &workflowv1.GetWorkflowRequest{Id: w.GetId()})
	wantFault(t, err, fault.KindPermissionDenied, "TENANT_STATE") // at once
	_, err = r.access().GetMe(bill, &accessv1.GetMeRequest{})
	wantFault(t, err, fault.KindPermissionDenied, "TENANT_STATE") // what is exempt from the module's gate, too
	if _, err := r.tenants().ResumeTenant(ctx, &accessv1.ResumeTenantRequest{Tenant: "initech"}); err != nil {
		t.Fatal(err)
	}
	if _, err := r.workflows().GetWorkflow(bill, &workflowv1.GetWorkflowRequest{Id: w.GetId()}); err != nil {
		t.Errorf("after resuming: %v", err)
	}
	entries, err := r.workflows().ListAuditEntries(bill, &workflowv1.ListAuditEntriesRequest{Filter: `action = "SuspendTenant"`})
	if err != nil || len(entries.GetAuditEntries()) != 1 || entries.GetAuditEntries()[0].GetNote() != "does not pay" {
		t.Errorf("the audit: got %v, %v", entries, err)
	}

	updated, err := r.tenants().UpdateTenant(ctx, &accessv1.UpdateTenantRequest{
		Tenant:     &accessv1.Tenant{Tenant: "initech", Title: "Initech Inc", Settings: &accessv1.TenantSettings{Quotas: &accessv1.Quotas{Workflows: 1}}},
		UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{"title", "settings.quotas.workflows"}},
	})
	if got := updated.GetTenant(); err != nil || got.GetTitle() != "Initech Inc" || got.GetSettings().GetQuotas().GetWorkflows() != 1 ||
		got.GetSettings().GetQuotas().GetStreams() != 7 || got.GetSettings().GetTimeZone() != "America/Chicago" {
		t.Errorf("update: got %v, %v", updated, err)
	}
	kinds := exportAll(t, ctx, r, "initech")
	for _, kind := range []string{"tenant", "module", "role", "user", "workflow", "revision", "auditEntry", "execution"} {
		if kinds[kind] == 0 {
			t.Errorf("the export has no %s: %v", kind, kinds)
		}
	}

	_, err = r.tenants().DeleteTenant(ctx, &accessv1.DeleteTenantRequest{Tenant: "initech", Confirm: "Initech"})
	wantFault(t, err, fault.KindFailedPrecondition, "CONFIRM_MISMATCH")
	deleted, err := r.tenants().DeleteTenant(ctx, &accessv1.DeleteTenantRequest{Tenant: "initech", Confirm: "initech"})
	if err != nil || deleted.GetTenant().GetState() != accessv1.Tenant_DELETING {
		t.Fatalf("delete: got %v, %v", deleted, err)
	}
	until(t, "the tenant is gone", func() bool {
		_, err := r.tenants().GetTenant(ctx, &accessv1.GetTenantRequest{Tenant: "initech"})
		return fault.KindOf(err) == fault.KindNotFound
	})
	if len(h.asked) < 3 {
		t.Errorf("the other services were asked %d times, want starts, executions, and starts again", len(h.asked))
	}
	_, err = r.access().GetMe(bill, &accessv1.GetMeRequest{})
	wantFault(t, err, fault.KindPermissionDenied, "TENANT_STATE")
	_, err = r.tenants().CreateTenant(ctx, initech())
	wantFault(t, err, fault.KindAlreadyExists, "TENANT_EXISTS")
}

func exportAll(t *testing.T, ctx context.Context, r *replica, name string) map[string]int {
	t.Helper()
	stream, err := r.tenants().ExportTenant(ctx, &accessv1.ExportTenantRequest{Tenant: name})
	if err != nil {
		t.Fatal(err)
	}
	kinds := make(map[string]int)
	for {
		doc, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return kinds
		}
		if err != nil {
			t.Fatal(err)
		}
		if !json.Valid(doc.GetDocument()) {
			t.Errorf("a %s is no JSON: %s", doc.GetKind(), doc.GetDocument())
		}
		kinds[doc.GetKind()]++
	}
}

func TestTenants_refusals(t *testing.T) {
	t.Parallel()
	s, r, _ := withPlatform(t)
	addTenants(t, r)
	ctx := s.platform(t)
	for name, who := range map[string]context.Context{
		"owner_of_a_tenant":    s.owner(t),
		"another_service":      s.peer(t),
		"platform_of_a_tenant": s.as(t, auth.Principal{Tenant: "acme", Subject: "platform", Kind: auth.Service}),
		"user_of_that_name":    s.as(t, auth.Principal{Tenant: "acme", Subject: "platform"}),
	} {
		t.Run(name, func(t *testing.T) {
			_, err := r.tenants().ListTenants(who, &accessv1.ListTenantsRequest{})
			wantFault(t, err, fault.KindPermissionDenied, "PLATFORM_METHOD")
			_, err = r.tenants().DeleteTenant(who, &accessv1.DeleteTenantRequest{Tenant: "globex", Confirm: "globex"})
			wantFault(t, err, fault.KindPermissionDenied, "PLATFORM_METHOD")
		})
	}
	for name, c := range map[string]struct {
		call func() error
		want fault.Reason
	}{
		"name": {func() error {
			_, err := r.tenants().CreateTenant(ctx, &accessv1.CreateTenantRequest{Tenant: &accessv1.Tenant{Tenant: "A.b", Title: "x"}, Owner: "x"})
			return err
		}, fault.ReasonInvalidFields},
		"blank_title": {func() error {
			_, err := r.tenants().CreateTenant(ctx, &accessv1.CreateTenantRequest{Tenant: &accessv1.Tenant{Tenant: "ab", Title: " "}, Owner: "x"})
			return err
		}, fault.ReasonInvalidFields},
		"zone": {func() error {
			req := initech()
			req.Tenant.Settings.TimeZone = "Mars/Olympus"
			_, err := r.tenants().CreateTenant(ctx, req)
			return err
		}, fault.ReasonInvalidFields},
		"taken": {func() error {
			_, err := r.tenants().CreateTenant(ctx, &accessv1.CreateTenantRequest{Tenant: &accessv1.Tenant{Tenant: "acme", Title: "x"}, Owner: "x"})
			return err
		}, "TENANT_EXISTS"},
		"nobody": {func() error {
			_, err := r.tenants().SuspendTenant(ctx, &accessv1.SuspendTenantRequest{Tenant: "nobody"})
			return err
		}, "TENANT_NOT_FOUND"},
		"mask": {func() error {
			_, err := r.tenants().UpdateTenant(ctx, &accessv1.UpdateTenantRequest{
				Tenant: &accessv1.Tenant{Tenant: "acme"}, UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{"state"}},
			})
			return err
		}, fault.ReasonInvalidFields},
		"quota": {func() error {
			_, err := r.tenants().UpdateTenant(ctx, &accessv1.UpdateTenantRequest{
				Tenant: &accessv1.Tenant{Tenant: "acme", Settings: &accessv1.TenantSettings{Quotas: &accessv1.Quotas{Workflows: -1}}},
			})
			return err
		}, fault.ReasonInvalidFields},
		"page_token": {func() error {
			_, err := r.tenants().ListTenants(ctx, &accessv1.ListTenantsRequest{PageToken: "AAAA"})
			return err
		}, "PAGE_TOKEN"},
	} {
		t.Run(name, func(t *testing.T) {
			f, ok := fault.As(c.call())
			if !ok || f.Reason != c.want {
				t.Errorf("got %v, want %s", f, c.want)
			}
		})
	}
	list, err := r.tenants().ListTenants(ctx, &accessv1.ListTenantsRequest{PageSize: 1})
	if err != nil || len(list.GetTenants()) != 1 || list.GetTenants()[0].GetTenant() != "acme" {
		t.Fatalf("the first page: got %v, %v", list, err)
	}
	list, err = r.tenants().ListTenants(ctx, &accessv1.ListTenantsRequest{PageSize: 1, PageToken: list.GetNextPageToken()})
	if err != nil || len(list.GetTenants()) != 1 || list.GetTenants()[0].GetTenant() != "globex" || list.GetNextPageToken() != "" {
		t.Errorf("the last page: got %v, %v; want globex, and nothing of the creations that were refused", list, err)
	}
}
