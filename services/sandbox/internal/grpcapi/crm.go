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

const defaultPageSize = 50

// Store keeps records.
type Store interface {
	Record(ctx context.Context, k record.Key) (record.Record, error)
	Search(ctx context.Context, q record.Query) (page []record.Record, more bool, err error)
	Create(ctx context.Context, c record.Creation) (record.Record, error)
	Update(ctx context.Context, c record.Change) (record.Record, error)
	Assign(ctx context.Context, a record.Assignment) (record.Record, error)
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
	out, err := answer(c.store.Record(ctx, key))
	return &crmv1.GetRecordResponse{Record: out}, err
}

// SearchRecords returns a page of the records that meet the conditions.
func (c *CRM) SearchRecords(ctx context.Context, req *crmv1.SearchRecordsRequest) (*crmv1.SearchRecordsResponse, error) {
	if !mayActFor(ctx, req.GetTenant()) {
		return nil, record.NoModule(req.GetModule())
	}
	q := record.Query{Tenant: req.GetTenant(), Module: req.GetModule(), Limit: int(req.GetPageSize())}
	if q.Limit == 0 {
		q.Limit = defaultPageSize
	}
	for _, condition := range req.GetConditions() {
		q.Conditions = append(q.Conditions, record.Condition{
			Field: condition.GetField(), Operator: operator(condition.GetOperator()), Value: condition.GetValue().AsInterface(),
		})
	}
	var err error
	if q.After, err = parsePageToken(q, req.GetPageToken()); err != nil {
		return nil, err
	}
	page, more, err := c.store.Search(ctx, q)
	if err != nil {
		return nil, err
	}
	resp := &crmv1.SearchRecordsResponse{Records: make([]*crmv1.Record, len(page))}
	for i, r := range page {
		if resp.Records[i], err = toProto(r); err != nil {
			return nil, err
		}
	}
	if more {
		resp.NextPageToken, err = pageToken(q, page[len(page)-1].ID)
	}
	return resp, err
}

// CreateRecord adds a record.
func (c *CRM) CreateRecord(ctx context.Context, req *crmv1.CreateRecordRequest) (*crmv1.CreateRecordResponse, error) {
	if !mayActFor(ctx, req.GetTenant()) {
		return nil, record.NoModule(req.GetModule())
	}
	out, err := answer(c.store.Create(ctx, record.Creation{
		Tenant: req.GetTenant(), Module: req.GetModule(), Fields: req.GetFields().AsMap(), RequestID: req.GetRequestId(),
	}))
	return &crmv1.CreateRecordResponse{Record: out}, err
}

// UpdateRecord changes one record.
func (c *CRM) UpdateRecord(ctx context.Context, req *crmv1.UpdateRecordRequest) (*crmv1.UpdateRecordResponse, error) {
	key := record.Key{Tenant: req.GetTenant(), Module: req.GetModule(), ID: req.GetId()}
	if !mayActFor(ctx, key.Tenant) {
		return nil, record.NotFound(key)
	}
	out, err := answer(c.store.Update(ctx, record.Change{
		Key: key, Fields: req.GetFields().AsMap(), RequestID: req.GetRequestId(), ExpectedVersion: req.GetExpectedVersion(),
	}))
	return &crmv1.UpdateRecordResponse{Record: out}, err
}

// AssignRecord gives one record an owner.
func (c *CRM) AssignRecord(ctx context.Context, req *crmv1.AssignRecordRequest) (*crmv1.AssignRecordResponse, error) {
	key := record.Key{Tenant: req.GetTenant(), Module: req.GetModule(), ID: req.GetId()}
	if !mayActFor(ctx, key.Tenant) {
		return nil, record.NotFound(key)
	}
	out, err := answer(c.store.Assign(ctx, record.Assignment{
		Key: key, Strategy: strategy(req.GetStrategy()), Users: req.GetUsers(), Group: req.GetGroup(), RequestID: req.GetRequestId(),
	}))
	return &crmv1.AssignRecordResponse{Record: out}, err
}

// mayActFor refuses a service identity that is bound to another tenant.
func mayActFor(ctx context.Context, tenant string) bool {
	p, ok := auth.FromContext(ctx)
	return ok && (p.Tenant == "" || p.Tenant == tenant)
}

func operator(o crmv1.Condition_Operator) record.Operator {
	switch o {
	case crmv1.Condition_NOT_EQUALS:
		return record.NotEquals
	case crmv1.Condition_GREATER_THAN:
		return record.GreaterThan
	case crmv1.Condition_LESS_THAN:
		return record.LessThan
	case crmv1.Condition_CONTAINS:
		return record.Contains
	case crmv1.Condition_IN:
		return record.In
	default:
		return record.Equals
	}
}

func strategy(s crmv1.AssignRecordRequest_Strategy) record.Strategy {
	switch s {
	case crmv1.AssignRecordRequest_USER:
		return record.ToUser
	case crmv1.AssignRecordRequest_ROUND_ROBIN:
		return record.RoundRobin
	case crmv1.AssignRecordRequest_LEAST_LOADED:
		return record.LeastLoaded
	case crmv1.AssignRecordRequest_GROUP:
		return record.ToGroup
	default:
		return 0
	}
}

func answer(r record.Record, err error) (*crmv1.Record, error) {
	if err != nil {
		return nil, err
	}
	return toProto(r)
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
