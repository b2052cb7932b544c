// Package grpcapi offers the sandbox's CRM as uniconnect.crm.v1.
package grpcapi

import (
	"context"

	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"workflow.uniconnect/pkg/auth"
	"workflow.uniconnect/pkg/fault"
	crmv1 "workflow.uniconnect/proto/gen/go/uniconnect/crm/v1"
	"workflow.uniconnect/services/sandbox/internal/record"
)

// Store keeps records.
type Store interface {
	Record(ctx context.Context, k record.Key) (record.Record, error)
	Update(ctx context.Context, c record.Change) (record.Record, error)
}

// CRM is the service.
type CRM struct {
	crmv1.UnimplementedCrmServiceServer
	store Store
}

// NewCRM returns the service on store.
func NewCRM(store Store) *CRM { return &CRM{store: store} }

// GetRecord returns one record.
func (c *CRM) GetRecord(ctx context.Context, req *crmv1.GetRecordRequest) (*crmv1.GetRecordResponse, error) {
	key := record.Key{Tenant: req.GetTenant(), Module: req.GetModule(), ID: req.GetId()}
	if !mayActFor(ctx, key.Tenant) {
		return nil, record.NotFound(key)
	}
	r, err := c.store.Record(ctx, key)
	if err != nil {
		return nil, err
	}
	out, err := toProto(r)
	if err != nil {
		return nil, err
	}
	return &crmv1.GetRecordResponse{Record: out}, nil
}

// UpdateRecord changes one record.
func (c *CRM) UpdateRecord(ctx context.Context, req *crmv1.UpdateRecordRequest) (*crmv1.UpdateRecordResponse, error) {
	key := record.Key{Tenant: req.GetTenant(), Module: req.GetModule(), ID: req.GetId()}
	if !mayActFor(ctx, key.Tenant) {
		return nil, record.NotFound(key)
	}
	r, err := c.store.Update(ctx, record.Change{
		Key: key, Fields: req.GetFields().AsMap(), RequestID: req.GetRequestId(), ExpectedVersion: req.GetExpectedVersion(),
	})
	if err != nil {
		return nil, err
	}
	out, err := toProto(r)
	if err != nil {
		return nil, err
	}
	return &crmv1.UpdateRecordResponse{Record: out}, nil
}

// mayActFor refuses a service identity that is bound to another tenant.
func mayActFor(ctx context.Context, tenant string) bool {
	p, ok := auth.FromContext(ctx)
	return ok && (p.Tenant == "" || p.Tenant == tenant)
}

func toProto(r record.Record) (*crmv1.Record, error) {
	fields, err := structpb.NewStruct(r.Fields)
	if err != nil {
		return nil, fault.Internal(fault.ReasonInternal, "internal error").WithCause(err)
	}
	return &crmv1.Record{
		Module: r.Module, Id: r.ID, Fields: fields, Version: r.Version,
		CreateTime: timestamppb.New(r.CreateTime), UpdateTime: timestamppb.New(r.UpdateTime),
	}, nil
}
