package grpcapi

import (
	"context"
	"strings"

	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/durationpb"

	"workflow.uniconnect/pkg/access"
	"workflow.uniconnect/pkg/fault"
	"workflow.uniconnect/pkg/grpcserver"
	accessv1 "workflow.uniconnect/proto/gen/go/uniconnect/access/v1"
	"workflow.uniconnect/services/workflow-catalog/internal/tenant"
	"workflow.uniconnect/services/workflow-catalog/internal/workflow"
)

// GetTenantSettings returns the settings of the caller's tenant.
func (s *Access) GetTenantSettings(ctx context.Context, _ *accessv1.GetTenantSettingsRequest) (*accessv1.GetTenantSettingsResponse, error) {
	caller, err := callerOf(ctx)
	if err != nil {
		return nil, err
	}
	settings, err := s.admin.Settings(ctx, workflow.Tenant(caller.Tenant))
	if err != nil {
		return nil, err
	}
	return &accessv1.GetTenantSettingsResponse{Settings: settingsMessage(settings)}, nil
}

// UpdateTenantSettings changes the masked settings.
func (s *Access) UpdateTenantSettings(ctx context.Context, req *accessv1.UpdateTenantSettingsRequest) (*accessv1.UpdateTenantSettingsResponse, error) {
	if err := fault.Check(unprefixed(grpcserver.Validate(req), "settings")...); err != nil {
		return nil, err
	}
	by, err := newCaller(ctx, methodUpdateSettings, req)
	if err != nil {
		return nil, err
	}
	settings, err := s.admin.UpdateSettings(ctx, by, req.GetSettings().GetEtag(), patchSettings(req.GetSettings(), req.GetUpdateMask().GetPaths()))
	if err != nil {
		return nil, err
	}
	return &accessv1.UpdateTenantSettingsResponse{Settings: settingsMessage(settings)}, nil
}

// patchSettings returns what makes new settings of the masked fields of a message. Quotas are given as they are shown: one that is the
// default is the default.
func patchSettings(patch *accessv1.TenantSettings, paths []string) func(tenant.Settings) (tenant.Settings, error) {
	return func(before tenant.Settings) (tenant.Settings, error) {
		merged := settingsMessage(before)
		found := take(merged, patch, paths, masked{noun: "tenant's settings", role: roleOfSettings})
		if merged.ExecutionRetention == nil {
			merged.ExecutionRetention = durationpb.New(tenant.DefaultRetention)
		}
		if err := fault.Check(append(found, grpcserver.Validate(merged)...)...); err != nil {
			return tenant.Settings{}, err
		}
		after := tenant.Settings{
			TimeZone: merged.GetTimeZone(), Quotas: quotasOf(merged.GetQuotas()), ExecutionRetention: merged.GetExecutionRetention().AsDuration(),
			FailureWorkflow: workflow.ID(strings.ToLower(merged.GetFailureWorkflowId())), StatusMap: merged.GetStatusMap(), RoleMap: merged.GetRoleMap(),
		}
		if accessQuotas(after.Quotas).OrDefault() == accessQuotas(before.Quotas).OrDefault() {
			after.Quotas = before.Quotas
		}
		return after, nil
	}
}

func roleOfSettings(name protoreflect.Name) fieldRole {
	switch name {
	case "time_zone", "quotas", "execution_retention", "failure_workflow_id", "status_map", "role_map":
		return configurable
	}
	return outputOnly
}

// settingsMessage returns settings as clients see them, with the quotas spelled out.
func settingsMessage(s tenant.Settings) *accessv1.TenantSettings {
	return &accessv1.TenantSettings{
		TimeZone: s.TimeZone, Quotas: quotasMessage(s.Quotas), ExecutionRetention: durationpb.New(s.ExecutionRetention),
		FailureWorkflowId: string(s.FailureWorkflow), StatusMap: s.StatusMap, RoleMap: s.RoleMap, Etag: s.ETag(),
	}
}

func quotasMessage(q tenant.Quotas) *accessv1.Quotas {
	full := accessQuotas(q).OrDefault()
	return &accessv1.Quotas{
		RequestsPerSecond: int32(full.RequestsPerSecond), Workflows: int32(full.Workflows), Streams: int32(full.Streams),
	}
}

func quotasOf(q *accessv1.Quotas) tenant.Quotas {
	return tenant.Quotas{RequestsPerSecond: q.GetRequestsPerSecond(), Workflows: q.GetWorkflows(), Streams: q.GetStreams()}
}

func accessQuotas(q tenant.Quotas) access.Quotas {
	return access.Quotas{RequestsPerSecond: int(q.RequestsPerSecond), Workflows: int(q.Workflows), Streams: int(q.Streams)}
}
