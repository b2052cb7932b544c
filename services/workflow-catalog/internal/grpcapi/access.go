package grpcapi

import (
	"context"

	"workflow.uniconnect/pkg/access"
	"workflow.uniconnect/pkg/auth"
	accessv1 "workflow.uniconnect/proto/gen/go/uniconnect/access/v1"
	peerv1 "workflow.uniconnect/proto/gen/go/uniconnect/workflow/peer/v1"
	"workflow.uniconnect/services/workflow-catalog/internal/tenant"
)

// Access serves AccessService and GrantsService.
type Access struct {
	accessv1.UnimplementedAccessServiceServer
	peerv1.UnimplementedGrantsServiceServer
	directory *tenant.Directory
	admin     *tenant.Administration
}

// NewAccess returns the services.
func NewAccess(directory *tenant.Directory, admin *tenant.Administration) *Access {
	return &Access{directory: directory, admin: admin}
}

// GetMe tells a client who it is and what it may show.
func (s *Access) GetMe(ctx context.Context, _ *accessv1.GetMeRequest) (*accessv1.GetMeResponse, error) {
	caller, err := callerOf(ctx)
	if err != nil {
		return nil, err
	}
	p, err := s.directory.Profile(ctx, caller.Tenant, tenant.Who{Subject: caller.Subject, TokenRoles: caller.Roles})
	if err != nil {
		return nil, err
	}
	permissions := p.Permissions
	if caller.Permissions != nil {
		permissions = caller.Permissions
	}
	return &accessv1.GetMeResponse{Me: &accessv1.Me{
		Tenant: caller.Tenant, User: caller.Subject, Roles: p.Roles, Permissions: permissions, Modules: p.Modules,
	}}, nil
}

// GetGrants returns the gates for one user.
func (s *Access) GetGrants(ctx context.Context, req *peerv1.GetGrantsRequest) (*peerv1.GetGrantsResponse, error) {
	p, err := s.directory.Profile(ctx, req.GetTenant(), tenant.Who{Subject: req.GetSubject(), TokenRoles: req.GetTokenRoles()})
	if err != nil {
		return nil, err
	}
	resp := &peerv1.GetGrantsResponse{
		ModuleEnabled: p.ModuleEnabled(tenant.ModuleWorkflow), TenantClosed: p.Closed, Quotas: quotasMessage(p.Quotas),
	}
	for _, name := range p.Permissions {
		// A permission that only a newer release knows grants nothing here.
		if v, ok := access.ParsePermission(name); ok {
			resp.Permissions = append(resp.Permissions, v)
		}
	}
	return resp, nil
}

// ListPermissions returns what roles can grant.
func (s *Access) ListPermissions(context.Context, *accessv1.ListPermissionsRequest) (*accessv1.ListPermissionsResponse, error) {
	return &accessv1.ListPermissionsResponse{Permissions: s.admin.Permissions()}, nil
}

// Permissions returns the names of all permissions there are.
func Permissions() []string {
	var names []string
	for number := range accessv1.Permission_Value_name {
		if v := accessv1.Permission_Value(number); v != accessv1.Permission_PERMISSION_UNSPECIFIED {
			names = append(names, access.PermissionName(v))
		}
	}
	return names
}

// newCaller is newCall for changes of access.
func newCaller(ctx context.Context, method string, req mutation) (tenant.Caller, error) {
	call, err := checkedCall(ctx, method, req)
	if err != nil {
		return tenant.Caller{}, err
	}
	caller, err := callerOf(ctx)
	return tenant.Caller{
		Call: call, TokenRoles: caller.Roles, Permissions: caller.Permissions, Service: caller.Kind == auth.Service,
	}, err
}
