package grpcapi

import (
	"context"
	"slices"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/encoding/protojson"

	"workflow.uniconnect/pkg/auth"
	"workflow.uniconnect/pkg/fault"
	"workflow.uniconnect/pkg/faultpoint"
	"workflow.uniconnect/pkg/grpcserver"
	"workflow.uniconnect/pkg/listing"
	accessv1 "workflow.uniconnect/proto/gen/go/uniconnect/access/v1"
	"workflow.uniconnect/services/workflow-catalog/internal/tenant"
	"workflow.uniconnect/services/workflow-catalog/internal/workflow"
)

// Tenants serves TenantService.
type Tenants struct {
	accessv1.UnimplementedTenantServiceServer
	tenants *tenant.Lifecycle
	admin   *tenant.Administration
}

// NewTenants returns the service.
func NewTenants(tenants *tenant.Lifecycle, admin *tenant.Administration) *Tenants {
	return &Tenants{tenants: tenants, admin: admin}
}

// CreateTenant makes a tenant with its default roles, its module enabled and one System Owner.
func (s *Tenants) CreateTenant(ctx context.Context, req *accessv1.CreateTenantRequest) (*accessv1.CreateTenantResponse, error) {
	call, err := platformCall(ctx, tenant.MethodCreate, req.GetTenant().GetTenant(), req)
	if err != nil {
		return nil, err
	}
	given := req.GetTenant().GetSettings()
	if given == nil {
		given = &accessv1.TenantSettings{}
	}
	t, err := s.tenants.Create(ctx, call, tenant.Begin{
		Title: req.GetTenant().GetTitle(), Owner: req.GetOwner(), Settings: patchSettings(given, nil),
	})
	if err != nil {
		return nil, err
	}
	return &accessv1.CreateTenantResponse{Tenant: tenantMessage(t)}, nil
}

// GetTenant returns one tenant.
func (s *Tenants) GetTenant(ctx context.Context, req *accessv1.GetTenantRequest) (*accessv1.GetTenantResponse, error) {
	t, err := s.tenants.Get(ctx, workflow.Tenant(req.GetTenant()))
	if err != nil {
		return nil, err
	}
	return &accessv1.GetTenantResponse{Tenant: tenantMessage(t)}, nil
}

// ListTenants returns the tenants by name.
func (s *Tenants) ListTenants(ctx context.Context, req *accessv1.ListTenantsRequest) (*accessv1.ListTenantsResponse, error) {
	scope := listing.NewScope("tenants", "")
	position, err := scope.Position(req.GetPageToken())
	if err != nil {
		return nil, err
	}
	after := string(position)
	if strings.ContainsFunc(after, func(r rune) bool { return (r < 'a' || r > 'z') && (r < '0' || r > '9') }) {
		return nil, listing.ErrPageToken
	}
	found, more, err := s.tenants.List(ctx, workflow.Tenant(after), pageSize(req.GetPageSize()))
	if err != nil {
		return nil, err
	}
	resp := &accessv1.ListTenantsResponse{}
	for _, t := range found {
		resp.Tenants = append(resp.Tenants, tenantMessage(t))
	}
	if more && len(found) > 0 {
		resp.NextPageToken = scope.Token([]byte(found[len(found)-1].Name))
	}
	return resp, nil
}

const fieldSettings = "settings"

// UpdateTenant changes title and settings, quotas included.
func (s *Tenants) UpdateTenant(ctx context.Context, req *accessv1.UpdateTenantRequest) (*accessv1.UpdateTenantResponse, error) {
	given := req.GetTenant()
	var patch tenant.Patch
	var found []fault.Violation
	var settings []string // paths below the settings
	title, wholly := given.GetTitle() != "", given.GetSettings() != nil
	if paths := req.GetUpdateMask().GetPaths(); len(paths) > 0 {
		title, wholly = slices.Contains(paths, fieldTitle), slices.Contains(paths, fieldSettings)
		for _, path := range paths {
			below, ok := strings.CutPrefix(path, fieldSettings+".")
			switch {
			case ok:
				settings = append(settings, below)
			case path != fieldTitle && path != fieldSettings:
				found = append(found, fault.Violation{
					Field: "updateMask", Description: "path " + strings.ToValidUTF8(path, "\uFFFD") + " is not a field of a tenant that can be changed",
				})
			}
		}
	}
	if !tenantPattern(given.GetTenant()) {
		found = append(found, fault.Violation{Field: "tenant.tenant", Description: "must be the name of a tenant"})
	}
	if title {
		// The rules of the contract for a title, apart from those for what is not changed.
		probe := &accessv1.Tenant{Tenant: "x", Title: given.GetTitle()}
		found = append(found, grpcserver.Validate(probe)...)
		patch.Title = &probe.Title
	}
	if wholly || len(settings) > 0 {
		from := given.GetSettings()
		if from == nil {
			from = &accessv1.TenantSettings{}
		}
		if wholly {
			settings = nil // all that are given
		}
		patch.ETag, patch.Settings = from.GetEtag(), patchSettings(from, settings)
	}
	if err := fault.Check(found...); err != nil {
		return nil, err
	}
	call, err := platformCall(ctx, tenant.MethodUpdate, given.GetTenant(), req)
	if err != nil {
		return nil, err
	}
	t, err := s.tenants.Update(ctx, call, patch)
	if err != nil {
		return nil, err
	}
	return &accessv1.UpdateTenantResponse{Tenant: tenantMessage(t)}, nil
}

// SuspendTenant refuses every call of the tenant and stops new starts.
func (s *Tenants) SuspendTenant(ctx context.Context, req *accessv1.SuspendTenantRequest) (*accessv1.SuspendTenantResponse, error) {
	if strings.ContainsFunc(req.GetReason(), isControl) {
		return nil, fault.Invalid(fault.Violation{Field: "reason", Description: "invalid character"})
	}
	call, err := platformCall(ctx, tenant.MethodSuspend, req.GetTenant(), req)
	if err != nil {
		return nil, err
	}
	t, err := s.tenants.Suspend(ctx, call, req.GetReason())
	if err != nil {
		return nil, err
	}
	return &accessv1.SuspendTenantResponse{Tenant: tenantMessage(t)}, nil
}

// ResumeTenant ends a suspension.
func (s *Tenants) ResumeTenant(ctx context.Context, req *accessv1.ResumeTenantRequest) (*accessv1.ResumeTenantResponse, error) {
	call, err := platformCall(ctx, tenant.MethodResume, req.GetTenant(), req)
	if err != nil {
		return nil, err
	}
	t, err := s.tenants.Resume(ctx, call)
	if err != nil {
		return nil, err
	}
	return &accessv1.ResumeTenantResponse{Tenant: tenantMessage(t)}, nil
}

// DeleteTenant marks a tenant DELETING.
func (s *Tenants) DeleteTenant(ctx context.Context, req *accessv1.DeleteTenantRequest) (*accessv1.DeleteTenantResponse, error) {
	call, err := platformCall(ctx, tenant.MethodDelete, req.GetTenant(), req)
	if err != nil {
		return nil, err
	}
	t, err := s.tenants.Delete(ctx, call, req.GetConfirm())
	if err != nil {
		return nil, err
	}
	faultpoint.Hit("catalog.tenant.marked")
	return &accessv1.DeleteTenantResponse{Tenant: tenantMessage(t)}, nil
}

const kindTenant = "tenant"

// ExportTenant streams everything of a tenant.
func (s *Tenants) ExportTenant(req *accessv1.ExportTenantRequest, stream grpc.ServerStreamingServer[accessv1.ExportTenantResponse]) error {
	ctx := stream.Context()
	t, err := s.tenants.Get(ctx, workflow.Tenant(req.GetTenant()))
	if err != nil {
		return err
	}
	send := func(kind string, document []byte) error {
		return stream.Send(&accessv1.ExportTenantResponse{Kind: kind, Document: document})
	}
	document, err := protojson.Marshal(tenantMessage(t))
	if err != nil {
		return err
	}
	if err := send(kindTenant, document); err != nil {
		return err
	}
	return s.tenants.Export(ctx, t.Name, send)
}

// RegisterModule makes a module known to all tenants.
func (s *Tenants) RegisterModule(ctx context.Context, req *accessv1.RegisterModuleRequest) (*accessv1.RegisterModuleResponse, error) {
	// To register twice is to register once, so the request id needs no memory.
	err := s.admin.RegisterModule(ctx, tenant.KnownModule{
		Name: req.GetModule(), Title: req.GetTitle(), DefaultEnabled: req.GetDefaultEnabled(),
	})
	if err != nil {
		return nil, err
	}
	return &accessv1.RegisterModuleResponse{}, nil
}

func tenantMessage(t tenant.Tenant) *accessv1.Tenant {
	out := &accessv1.Tenant{
		Tenant: string(t.Name), Title: t.Title, State: accessv1.Tenant_State(t.State), CreateTime: timestamp(t.CreateTime),
	}
	if t.Title != "" { // all that is known of one that is gone is its name
		out.Settings = settingsMessage(t.Settings)
	}
	return out
}

func tenantPattern(name string) bool {
	return len(grpcserver.Validate(&accessv1.GetTenantRequest{Tenant: name})) == 0
}

// platformCall is newCall for administrators of the platform, whose calls are about a tenant and not of one.
func platformCall(ctx context.Context, method, about string, req mutation) (workflow.Call, error) {
	caller, ok := auth.FromContext(ctx)
	if !ok {
		return workflow.Call{}, fault.Unauthenticated(fault.ReasonTokenMissing, "the call carries no identity")
	}
	call := workflow.Call{Tenant: workflow.Tenant(about), Actor: caller.Subject, Method: method, RequestID: req.GetRequestId()}
	if call.RequestID == "" {
		if values := metadata.ValueFromIncomingContext(ctx, idempotencyHeader); len(values) > 0 {
			call.RequestID = values[0]
		}
	}
	call.Origin, call.UserAgent = originOf(ctx)
	if !validRequestID(call.RequestID) {
		return call, fault.Invalid(fault.Violation{Field: "requestId", Description: "must be printable text of at most 128 bytes"})
	}
	var err error
	call.Hash, err = hashOf(req)
	return call, err
}
