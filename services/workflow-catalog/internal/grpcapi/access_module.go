package grpcapi

import (
	"context"

	"workflow.uniconnect/pkg/fault"
	"workflow.uniconnect/pkg/grpcserver"
	accessv1 "workflow.uniconnect/proto/gen/go/uniconnect/access/v1"
	"workflow.uniconnect/services/workflow-catalog/internal/tenant"
	"workflow.uniconnect/services/workflow-catalog/internal/workflow"
)

// The methods of changes of access, as the audit and the request ids know them.
const (
	methodUpdateModule   = "UpdateModule"
	methodCreateRole     = "CreateRole"
	methodUpdateRole     = "UpdateRole"
	methodDeleteRole     = "DeleteRole"
	methodUpdateUser     = "UpdateUser"
	methodUpdateSettings = "UpdateTenantSettings"
)

// ListModules returns the modules that the platform has, and whether the tenant may use them.
func (s *Access) ListModules(ctx context.Context, _ *accessv1.ListModulesRequest) (*accessv1.ListModulesResponse, error) {
	caller, err := callerOf(ctx)
	if err != nil {
		return nil, err
	}
	modules, err := s.admin.Modules(ctx, workflow.Tenant(caller.Tenant))
	if err != nil {
		return nil, err
	}
	resp := &accessv1.ListModulesResponse{}
	for _, m := range modules {
		resp.Modules = append(resp.Modules, moduleMessage(m))
	}
	return resp, nil
}

// UpdateModule switches a module on or off for everybody in the tenant.
func (s *Access) UpdateModule(ctx context.Context, req *accessv1.UpdateModuleRequest) (*accessv1.UpdateModuleResponse, error) {
	if err := fault.Check(unprefixed(grpcserver.Validate(req), "module")...); err != nil {
		return nil, err
	}
	by, err := newCaller(ctx, methodUpdateModule, req)
	if err != nil {
		return nil, err
	}
	m, err := s.admin.UpdateModule(ctx, by, tenant.Module{Name: req.GetModule().GetModule(), Enabled: req.GetModule().GetEnabled()})
	if err != nil {
		return nil, err
	}
	return &accessv1.UpdateModuleResponse{Module: moduleMessage(m)}, nil
}

func moduleMessage(m tenant.Module) *accessv1.Module {
	return &accessv1.Module{Module: m.Name, Title: m.Title, Enabled: &m.Enabled, UpdateTime: timestamp(m.UpdateTime), UpdateUser: m.UpdateUser}
}
