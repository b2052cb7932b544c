package wfctl

import (
	"context"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/testing/protocmp"

	"workflow.uniconnect/pkg/auth"
	"workflow.uniconnect/pkg/config"
	"workflow.uniconnect/pkg/fault"
	"workflow.uniconnect/services/wfctl/internal/command"

	accessv1 "workflow.uniconnect/proto/gen/go/uniconnect/access/v1"
)

// registry is the catalog as the platform team sees it. What it answers is fixed, so that the output is.
type registry struct {
	accessv1.UnimplementedTenantServiceServer

	mu      sync.Mutex
	updated *accessv1.UpdateTenantRequest
	deleted bool
}

func initech() *accessv1.Tenant {
	return parse(&accessv1.Tenant{}, `{"tenant":"initech","title":"Initech","state":"ACTIVE","createTime":"2026-11-22T00:00:00Z",
		"settings":{"timeZone":"America/Chicago","quotas":{"requestsPerSecond":200,"workflows":100000,"streams":100},"executionRetention":"7776000s","etag":"7"}}`)
}

func (r *registry) CreateTenant(_ context.Context, req *accessv1.CreateTenantRequest) (*accessv1.CreateTenantResponse, error) {
	if req.GetTenant().GetTenant() == "acme" {
		return nil, fault.AlreadyExists("TENANT_EXISTS", "a tenant has this name, or had it in the last 30 days")
	}
	return &accessv1.CreateTenantResponse{Tenant: initech()}, nil
}

func (r *registry) GetTenant(context.Context, *accessv1.GetTenantRequest) (*accessv1.GetTenantResponse, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.deleted {
		return nil, fault.NotFound("TENANT_NOT_FOUND", "the tenant does not exist")
	}
	return &accessv1.GetTenantResponse{Tenant: initech()}, nil
}

func (r *registry) ListTenants(_ context.Context, req *accessv1.ListTenantsRequest) (*accessv1.ListTenantsResponse, error) {
	if req.GetPageToken() != "" {
		suspended := initech()
		suspended.Tenant, suspended.State = "initrode", accessv1.Tenant_SUSPENDED
		return &accessv1.ListTenantsResponse{Tenants: []*accessv1.Tenant{suspended}}, nil
	}
	return &accessv1.ListTenantsResponse{Tenants: []*accessv1.Tenant{initech()}, NextPageToken: "more"}, nil
}

func (r *registry) UpdateTenant(_ context.Context, req *accessv1.UpdateTenantRequest) (*accessv1.UpdateTenantResponse, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.updated = req
	return &accessv1.UpdateTenantResponse{Tenant: initech()}, nil
}

func (r *registry) SuspendTenant(_ context.Context, req *accessv1.SuspendTenantRequest) (*accessv1.SuspendTenantResponse, error) {
	t := initech()
	t.State = accessv1.Tenant_SUSPENDED
	return &accessv1.SuspendTenantResponse{Tenant: t}, nil
}

func (r *registry) ResumeTenant(context.Context, *accessv1.ResumeTenantRequest) (*accessv1.ResumeTenantResponse, error) {
	return &accessv1.ResumeTenantResponse{Tenant: initech()}, nil
}

func (r *registry) ExportTenant(_ *accessv1.ExportTenantRequest, stream accessv1.TenantService_ExportTenantServer) error {
	if err := stream.Send(&accessv1.ExportTenantResponse{Kind: "tenant", Document: []byte(`{"tenant":"initech"}`)}); err != nil {
		return err
	}
	return stream.Send(&accessv1.ExportTenantResponse{Kind: "workflow", Document: []byte(`{"title": "a < b"}`)})
}

func (r *registry) DeleteTenant(_ context.Context, req *accessv1.DeleteTenantRequest) (*accessv1.DeleteTenantResponse, error) {
	if req.GetConfirm() != req.GetTenant() {
		return nil, fault.FailedPrecondition("CONFIRM_MISMATCH", "confirm is not the tenant's name")
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.deleted = true
	return &accessv1.DeleteTenantResponse{Tenant: &accessv1.Tenant{Tenant: req.GetTenant(), State: accessv1.Tenant_DELETING}}, nil
}

// tenantCases are the command lines about tenants whose output is kept in golden files.
func tenantCases() map[string][]string {
	return map[string][]string{
		"tenant_create": {"tenant", "create", "initech", "--title", "Initech", "--owner", "bill"}, "tenant_create_taken": {"tenant", "create", "acme", "--owner", "x"},
		"tenant_get": {"tenant", "get", "initech", "-o", "wide"}, "tenant_get_json": {"tenant", "get", "initech", "-o", "json"}, "tenant_list": {"tenant", "list"},
		"tenant_settings": {"tenant", "settings", "initech"}, "tenant_suspend": {"tenant", "suspend", "initech", "--reason", "does not pay"},
		"tenant_resume": {"tenant", "resume", "initech"}, "tenant_export": {"tenant", "export", "initech"},
		"tenant_delete": {"tenant", "delete", "initech", "--yes", "--wait"}, "usage_tenant_owner": {"tenant", "create", "initech"},
		"usage_tenant_reason": {"tenant", "suspend", "initech"}, "usage_tenant_delete": {"tenant", "delete", "initech"},
		"usage_tenant_user": {"tenant", "list", "--user", "owner@acme.test"},
	}
}

func TestRun_tenant_settings_from_a_file(t *testing.T) {
	x := newTerminal(t)
	x.stdin = "quotas: {requestsPerSecond: 500}\ntimeZone: Europe/Berlin\n"
	if got := x.run(t, "tenant", "settings", "initech", "-f", "-"); got.code != 0 {
		t.Fatalf("got %+v", got)
	}
	want := &accessv1.Tenant{Tenant: "initech", Settings: &accessv1.TenantSettings{
		TimeZone: "Europe/Berlin", Quotas: &accessv1.Quotas{RequestsPerSecond: 500},
	}}
	if diff := cmp.Diff(want, x.registry.updated.GetTenant(), protocmp.Transform()); diff != "" {
		t.Errorf("asked for (-want +got):\n%s", diff)
	}
	wantPaths := []string{"settings.quotas.requests_per_second", "settings.time_zone"}
	if diff := cmp.Diff(wantPaths, x.registry.updated.GetUpdateMask().GetPaths()); diff != "" {
		t.Errorf("mask (-want +got):\n%s", diff)
	}
	x.stdin = "quotas: {requests: 500}\n"
	if got := x.run(t, "tenant", "settings", "initech", "-f", "-"); got.code != 1 || !strings.Contains(got.err, "requests") {
		t.Errorf("a field that does not exist: got %+v", got)
	}
}

func TestRun_tenant_delete_asks(t *testing.T) {
	x := newTerminal(t)
	x.interactive, x.stdin = true, "initrode\n"
	if got := x.run(t, "tenant", "delete", "initech"); got.code != 1 || x.registry.deleted {
		t.Errorf("another name: got %+v", got)
	}
	x.stdin = "initech\n"
	if got := x.run(t, "tenant", "delete", "initech"); got.code != 0 || !x.registry.deleted || !strings.Contains(got.err, "is final") {
		t.Errorf("its name: got %+v", got)
	}
}

// TestRun_tenant_identity holds that calls about tenants carry the platform's identity, and that nobody gets it by accident.
func TestRun_tenant_identity(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	issuer, err := auth.OpenIssuer(dir)
	if err != nil {
		t.Fatal(err)
	}
	given, err := issuer.Issue(auth.Principal{Kind: auth.Service, Subject: "given"}, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	verifier, err := auth.NewVerifier(t.Context(), auth.Config{Dev: true, DataDir: dir})
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		environ []string
		args    []string
		want    string
	}{
		"development":    {nil, []string{"--data-dir", dir}, "platform"},
		"given":          {[]string{"UC_TOKEN=" + given}, nil, "given"},
		"far_away":       {[]string{"UC_CATALOG_ADDR=catalog.example.com:9101"}, []string{"--data-dir", dir}, ""},
		"no_development": {nil, []string{"--data-dir", t.TempDir()}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			var token string
			app := &command.App{Now: time.Now, DialPlatform: func(_ config.Settings, get func(context.Context) (string, error)) (grpc.ClientConnInterface, error) {
				var err error
				if token, err = get(t.Context()); err != nil {
					return nil, err
				}
				return nil, fault.Unavailable(fault.ReasonServiceUnavailable, "not here")
			}}
			code := run(t.Context(), Process{
				Args: append([]string{"tenant", "list"}, c.args...), Environ: c.environ, Stdin: strings.NewReader(""), Stdout: &strings.Builder{}, Stderr: &strings.Builder{},
			}, app)
			if c.want == "" {
				if code != 2 || token != "" {
					t.Errorf("exit code %d, token %q; want wrong usage", code, token)
				}
				return
			}
			p, err := verifier.Verify(t.Context(), token)
			if err != nil || p.Subject != c.want || p.Tenant != "" || p.Kind != auth.Service {
				t.Errorf("got %+v, %v", p, err)
			}
		})
	}
}
