package grpcapi

import (
	"context"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/encoding/protojson"

	"workflow.uniconnect/pkg/faultpoint"
	peerv1 "workflow.uniconnect/proto/gen/go/uniconnect/workflow/peer/v1"
	"workflow.uniconnect/services/executor/internal/execution"
)

// TenantFinalizer removes what belongs to a deleted tenant.
type TenantFinalizer interface {
	FinalizeTenant(ctx context.Context, tenant string) (bool, error)
}

// Tenants serves TenantDataService.
type Tenants struct {
	peerv1.UnimplementedTenantDataServiceServer
	reader    Reader
	finalizer TenantFinalizer
}

// NewTenants returns the server of TenantDataService.
func NewTenants(reader Reader, finalizer TenantFinalizer) *Tenants {
	return &Tenants{reader: reader, finalizer: finalizer}
}

const (
	kindExecution = "execution"
	// exportPage is how many executions are looked up at once; each is read with its steps by itself, so that one is in memory at a time.
	exportPage = 100
)

// ExportTenant streams the executions of a tenant with their steps, newest first. Those accepted after it began are not among them.
func (s *Tenants) ExportTenant(req *peerv1.ExportTenantRequest, stream grpc.ServerStreamingServer[peerv1.ExportTenantResponse]) error {
	for below := aboveAll(); ; {
		page, more, err := s.reader.List(stream.Context(), req.GetTenant(), execution.WorkflowID{}, below, exportPage)
		if err != nil {
			return err
		}
		for i := range page {
			below = page[i].ID
			if err := s.export(stream, req.GetTenant(), below); err != nil {
				return err
			}
		}
		if !more {
			return nil
		}
	}
}

// export sends one execution. One that is gone meanwhile, with its workflow, is left out.
func (s *Tenants) export(stream grpc.ServerStreamingServer[peerv1.ExportTenantResponse], tenant string, id execution.ID) error {
	view, found, err := s.reader.Get(stream.Context(), tenant, id)
	if err != nil || !found {
		return err
	}
	document, err := protojson.Marshal(executionMessage(&view))
	if err != nil {
		return err
	}
	return stream.Send(&peerv1.ExportTenantResponse{Kind: kindExecution, Document: document})
}

// FinalizeTenant removes everything of a deleted tenant, as far as it gets in a few seconds.
func (s *Tenants) FinalizeTenant(ctx context.Context, req *peerv1.FinalizeTenantRequest) (*peerv1.FinalizeTenantResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, finalizeTime)
	defer cancel()
	done, err := s.finalizer.FinalizeTenant(ctx, req.GetTenant())
	if err != nil {
		return nil, err
	}
	if done {
		faultpoint.Hit("executor.tenant.done")
	}
	return &peerv1.FinalizeTenantResponse{Done: done}, nil
}
