package peer

import (
	"context"
	"errors"
	"io"

	"google.golang.org/grpc"

	peerv1 "workflow.uniconnect/proto/gen/go/uniconnect/workflow/peer/v1"
	"workflow.uniconnect/services/workflow-catalog/internal/workflow"
)

// TenantData is what another service holds of tenants.
type TenantData struct {
	name   string
	client peerv1.TenantDataServiceClient
}

// NewTenantData returns what the service of that name, behind a connection, holds of tenants.
func NewTenantData(name string, conn grpc.ClientConnInterface) *TenantData {
	return &TenantData{name: name, client: peerv1.NewTenantDataServiceClient(conn)}
}

// Name returns the service's name.
func (d *TenantData) Name() string { return d.name }

// Finalize removes what the service holds of a tenant.
func (d *TenantData) Finalize(ctx context.Context, tenant workflow.Tenant, _ workflow.ID) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, finalizeTimeout)
	defer cancel()
	resp, err := d.client.FinalizeTenant(ctx, &peerv1.FinalizeTenantRequest{Tenant: string(tenant)})
	return resp.GetDone(), err
}

// Export hands what the service holds of a tenant to yield, one document after the other.
func (d *TenantData) Export(ctx context.Context, tenant workflow.Tenant, yield func(kind string, document []byte) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := d.client.ExportTenant(ctx, &peerv1.ExportTenantRequest{Tenant: string(tenant)})
	if err != nil {
		return away(ctx, err)
	}
	for {
		doc, err := stream.Recv()
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return away(ctx, err)
		}
		if err := yield(doc.GetKind(), doc.GetDocument()); err != nil {
			return err
		}
	}
}
