package remote

import (
	"context"
	"fmt"

	"google.golang.org/grpc"

	"workflow.uniconnect/pkg/access"
	"workflow.uniconnect/pkg/auth"
	peerv1 "workflow.uniconnect/proto/gen/go/uniconnect/workflow/peer/v1"
)

// Grants asks the catalog what users may do.
type Grants struct {
	client peerv1.GrantsServiceClient
}

// NewGrants returns the catalog's grants.
func NewGrants(conn grpc.ClientConnInterface) *Grants {
	return &Grants{client: peerv1.NewGrantsServiceClient(conn)}
}

// Of is an access.GrantsFunc.
func (g *Grants) Of(ctx context.Context, who auth.Principal) (access.Grants, error) {
	resp, err := g.client.GetGrants(ctx, &peerv1.GetGrantsRequest{Tenant: who.Tenant, Subject: who.Subject, TokenRoles: who.Roles})
	if err != nil {
		return access.Grants{}, fmt.Errorf("get grants: %w", err)
	}
	quotas := resp.GetQuotas()
	grants := access.Grants{
		TenantClosed: resp.GetTenantClosed(), ModuleEnabled: resp.GetModuleEnabled(),
		Permissions: make(map[string]struct{}, len(resp.GetPermissions())),
		Quotas: access.Quotas{
			RequestsPerSecond: int(quotas.GetRequestsPerSecond()), Workflows: int(quotas.GetWorkflows()), Streams: int(quotas.GetStreams()),
		},
	}
	for _, p := range resp.GetPermissions() {
		grants.Permissions[access.PermissionName(p)] = struct{}{}
	}
	return grants, nil
}
