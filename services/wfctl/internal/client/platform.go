package client

import (
	"context"

	"google.golang.org/grpc"

	"workflow.uniconnect/pkg/fault"

	accessv1 "workflow.uniconnect/proto/gen/go/uniconnect/access/v1"
)

// Platform is where tenants are begun and ended. It is no part of the public API: it is behind the catalog's own address.
type Platform struct{ accessv1.TenantServiceClient }

// NewPlatform returns a Platform that makes its calls over conn, and again where the service is away for a moment.
func NewPlatform(conn grpc.ClientConnInterface) *Platform {
	return &Platform{accessv1.NewTenantServiceClient(&retrier{ClientConnInterface: conn})}
}

const pageOfTenants = 200

// Tenants returns all tenants by name.
func (p *Platform) Tenants(ctx context.Context) ([]*accessv1.Tenant, error) {
	var all []*accessv1.Tenant
	for req := (&accessv1.ListTenantsRequest{PageSize: pageOfTenants}); ; {
		page, err := p.ListTenants(ctx, req)
		if err != nil {
			return nil, err
		}
		all = append(all, page.GetTenants()...)
		if req.PageToken = page.GetNextPageToken(); req.GetPageToken() == "" {
			return all, nil
		}
	}
}

// AwaitTenantGone returns when a tenant is gone for good.
func (p *Platform) AwaitTenantGone(ctx context.Context, name string) error {
	for every := pollEvery; ; every = min(2*every, maxPoll) {
		_, err := p.GetTenant(ctx, &accessv1.GetTenantRequest{Tenant: name})
		if fault.KindOf(err) == fault.KindNotFound {
			return nil
		}
		if err != nil {
			return err
		}
		if err := pause(ctx, every); err != nil {
			return err
		}
	}
}
