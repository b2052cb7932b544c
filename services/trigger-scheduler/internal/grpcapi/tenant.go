package grpcapi

import (
	"context"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/encoding/protojson"

	"workflow.uniconnect/pkg/faultpoint"
	peerv1 "workflow.uniconnect/proto/gen/go/uniconnect/workflow/peer/v1"
	"workflow.uniconnect/services/trigger-scheduler/internal/event"
	"workflow.uniconnect/services/trigger-scheduler/internal/index"
)

// TenantStore removes what is stored of a tenant.
type TenantStore interface {
	ForgetTenant(ctx context.Context, tenant event.Tenant) error
}

// Purger removes a tenant's messages from the stream.
type Purger interface {
	Purge(ctx context.Context, tenant event.Tenant) error
}

// Tenants serves TenantDataService.
type Tenants struct {
	peerv1.UnimplementedTenantDataServiceServer

	Letters Letters
	Store   TenantStore
	Stream  Purger
	Index   *index.Index
}

const (
	// finalizeTime is how long one call may work; the caller repeats it until done.
	finalizeTime   = 4 * time.Second
	kindDeadLetter = "deadLetter"
	exportPage     = 100
)

// ExportTenant streams the dead letters of a tenant, newest first. The events themselves are those who published them have.
func (s *Tenants) ExportTenant(req *peerv1.ExportTenantRequest, stream grpc.ServerStreamingServer[peerv1.ExportTenantResponse]) error {
	for after := ""; ; {
		page, more, err := s.Letters.List(stream.Context(), event.Tenant(req.GetTenant()), after, exportPage)
		if err != nil {
			return err
		}
		for i := range page {
			document, err := protojson.Marshal(letterProto(&page[i]))
			if err != nil {
				return err
			}
			if err := stream.Send(&peerv1.ExportTenantResponse{Kind: kindDeadLetter, Document: document}); err != nil {
				return err
			}
		}
		if !more {
			return nil
		}
		after = page[len(page)-1].ID
	}
}

// FinalizeTenant removes everything of a deleted tenant: its definitions from the index, its dead letters, its messages from the stream. Other
// replicas drop the definitions when the watch tells them, and until then the executor refuses what they start. What is published later
// starts nothing, is never set aside, and goes with the stream's age.
func (s *Tenants) FinalizeTenant(ctx context.Context, req *peerv1.FinalizeTenantRequest) (*peerv1.FinalizeTenantResponse, error) {
	tenant := event.Tenant(req.GetTenant())
	ctx, cancel := context.WithTimeout(ctx, finalizeTime)
	defer cancel()
	s.Index.RemoveTenant(tenant)
	if err := s.Store.ForgetTenant(ctx, tenant); err != nil {
		return notYet(ctx, err)
	}
	faultpoint.Hit("scheduler.tenant.letters")
	if err := s.Stream.Purge(ctx, tenant); err != nil {
		return notYet(ctx, err)
	}
	faultpoint.Hit("scheduler.tenant.done")
	return &peerv1.FinalizeTenantResponse{Done: true}, nil
}

// notYet answers a call that ran out of its time while it got on; it is repeated.
func notYet(ctx context.Context, err error) (*peerv1.FinalizeTenantResponse, error) {
	select {
	case <-ctx.Done():
		return &peerv1.FinalizeTenantResponse{}, nil
	default:
		return nil, err
	}
}
