package remote

import (
	"context"
	"fmt"

	"google.golang.org/grpc"

	"workflow.uniconnect/pkg/access"
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
func (g *Grants) Of(ctx context.Context, tenant, subject string) (access.Grants, error) {
	resp, err := g.client.GetGrants(ctx, &peerv1.GetGrantsRequest{Tenant: tenant, Subject: subject})
	if err != nil {
		return access.Grants{}, fmt.Errorf("get grants: %w", err)
	}
	grants := access.Grants{ModuleEnabled: resp.GetModuleEnabled(), Permissions: make(map[string]struct{}, len(resp.GetPermissions()))}
	for _, p := range resp.GetPermissions() {
		grants.Permissions[access.PermissionName(p)] = struct{}{}
	}
	return grants, nil
}
