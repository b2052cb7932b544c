package grpcapi

import (
	"context"
	"encoding/binary"
	"encoding/hex"
	"path"
	"strconv"

	"workflow.uniconnect/pkg/auth"
	"workflow.uniconnect/pkg/fault"
	"workflow.uniconnect/pkg/listing"
	accessv1 "workflow.uniconnect/proto/gen/go/uniconnect/access/v1"
	workflowv1 "workflow.uniconnect/proto/gen/go/uniconnect/workflow/v1"
	"workflow.uniconnect/services/workflow-catalog/internal/audit"
	"workflow.uniconnect/services/workflow-catalog/internal/workflow"
)

func auditSchema() *listing.Schema {
	equality := []listing.Operator{listing.Equal, listing.NotEqual}
	schema := &listing.Schema{}
	for _, name := range []string{"actor", "action", "workflow_id", "outcome", "reason", "request_id", "resource"} {
		schema.Fields = append(schema.Fields, listing.Field{Name: name, Operators: equality})
	}
	schema.Fields = append(schema.Fields, listing.Field{
		Name: fieldCreateTime, Type: listing.Time,
		Operators: []listing.Operator{listing.Less, listing.LessOrEqual, listing.Greater, listing.GreaterOrEqual},
	})
	return schema
}

// ListAuditEntries returns who changed what and who was refused, newest first.
func (s *Catalog) ListAuditEntries(ctx context.Context, req *workflowv1.ListAuditEntriesRequest) (*workflowv1.ListAuditEntriesResponse, error) {
	caller, err := callerOf(ctx)
	if err != nil {
		return nil, err
	}
	conditions, err := auditConditions(req.GetFilter())
	if err != nil {
		return nil, err
	}
	limit := pageSize(req.GetPageSize())
	query := audit.Query{Conditions: conditions, Limit: limit + 1}
	scope := listing.NewScope("auditEntries", caller.Tenant, req.GetFilter())
	position, err := scope.Position(req.GetPageToken())
	if err != nil {
		return nil, err
	}
	if position != nil {
		if query.After, err = auditPosition(position); err != nil {
			return nil, err
		}
	}
	entries, err := s.audit.Entries(ctx, workflow.Tenant(caller.Tenant), query)
	if err != nil {
		return nil, err
	}
	resp := &workflowv1.ListAuditEntriesResponse{}
	if len(entries) > limit {
		entries = entries[:limit]
		last := entries[limit-1]
		resp.NextPageToken = scope.Token(binary.BigEndian.AppendUint64(appendTime(nil, last.At), uint64(last.ID)))
	}
	for _, e := range entries {
		resp.AuditEntries = append(resp.AuditEntries, entryMessage(e))
	}
	return resp, nil
}

func auditPosition(b []byte) (*audit.Position, error) {
	if len(b) != 2*timeSize {
		return nil, listing.ErrPageToken
	}
	at, err := timeOf(b[:timeSize])
	return &audit.Position{At: at, ID: int64(binary.BigEndian.Uint64(b[timeSize:]))}, err
}

func entryMessage(e audit.Entry) *workflowv1.AuditEntry {
	return &workflowv1.AuditEntry{
		Id: strconv.FormatInt(e.ID, 10), CreateTime: timestamp(e.At), Actor: e.Actor, Action: e.Action, WorkflowId: string(e.WorkflowID),
		Outcome: e.Outcome, Reason: e.Reason, Origin: e.Origin, UserAgent: e.UserAgent,
		BeforeHash: hex.EncodeToString(e.BeforeHash), AfterHash: hex.EncodeToString(e.AfterHash), RequestId: e.RequestID, Note: e.Note,
		Resource: e.Resource,
	}
}

func auditConditions(filter string) ([]audit.Condition, error) {
	schema := auditSchema()
	terms, err := schema.Filter(filter)
	if err != nil {
		return nil, err
	}
	conditions := make([]audit.Condition, len(terms))
	for i, term := range terms {
		c := audit.Condition{Field: auditField(term.Field), Relation: auditRelation(term.Operator), Value: term.Value, Time: term.Time}
		if c.Field == audit.WorkflowID && !isUUID(c.Value) {
			return nil, schema.Refuse("workflow_id is the id of a workflow")
		}
		if year := c.Time.UTC().Year(); c.Field == audit.CreateTime && (year < minYear || year > maxYear) {
			return nil, schema.Refuse("create_time is after 1970")
		}
		conditions[i] = c
	}
	return conditions, nil
}

func auditField(name string) audit.Field {
	switch name {
	case "action":
		return audit.Action
	case "workflow_id":
		return audit.WorkflowID
	case "outcome":
		return audit.Outcome
	case "reason":
		return audit.Reason
	case "request_id":
		return audit.RequestID
	case "resource":
		return audit.Resource
	case fieldCreateTime:
		return audit.CreateTime
	}
	return audit.Actor
}

func auditRelation(o listing.Operator) audit.Relation {
	switch o {
	case listing.NotEqual:
		return audit.IsNot
	case listing.Less:
		return audit.Before
	case listing.LessOrEqual:
		return audit.NotAfter
	case listing.Greater:
		return audit.After
	case listing.GreaterOrEqual:
		return audit.NotBefore
	case listing.Equal, listing.Has:
	}
	return audit.Is
}

// Refused returns what tells the audit of refused calls: those that would have changed something, and those that the caller may not make.
func Refused(refusals *audit.Refusals) func(ctx context.Context, fullMethod string, req any, err error) {
	return func(ctx context.Context, fullMethod string, req any, err error) {
		mutates, mutation := req.(mutation)
		if try, ok := req.(interface{ GetValidateOnly() bool }); ok && try.GetValidateOnly() {
			mutation = false // it would have changed nothing
		}
		if !mutation && fault.KindOf(err) != fault.KindPermissionDenied {
			return
		}
		caller, ok := auth.FromContext(ctx)
		if !ok || caller.Tenant == "" {
			return // nobody's audit
		}
		entry := audit.Entry{
			Tenant: workflow.Tenant(caller.Tenant), Actor: caller.Subject, Action: path.Base(fullMethod), WorkflowID: workflowOf(req),
			Resource: resourceOf(req),
		}
		if mutation {
			if id, _ := requestIDOf(ctx, mutates); validRequestID(id) {
				entry.RequestID = id
			}
		}
		entry.Origin, entry.UserAgent = originOf(ctx)
		refusals.Record(ctx, entry, err)
	}
}

// workflowOf returns the id of the workflow that a request is about; empty when it names none, or what cannot be one. A workflow that is to
// be created has no id, whatever the request says.
func workflowOf(req any) workflow.ID {
	var id string
	switch r := req.(type) {
	case *workflowv1.CreateWorkflowRequest, *accessv1.GetRoleRequest, *accessv1.DeleteRoleRequest:
	case interface{ GetWorkflowId() string }:
		id = r.GetWorkflowId()
	case interface{ GetId() string }:
		id = r.GetId()
	case interface{ GetWorkflow() *workflowv1.Workflow }:
		id = r.GetWorkflow().GetId()
	}
	if !isUUID(id) {
		return ""
	}
	return workflow.ID(id)
}

// resourceOf returns what a request of AccessService is about, as the audit names it; empty when it is about none, or names what cannot be
// one.
func resourceOf(req any) string {
	role := func(id string) string {
		if !isUUID(id) {
			return ""
		}
		return "roles/" + id
	}
	switch r := req.(type) {
	case *accessv1.GetRoleRequest:
		return role(r.GetId())
	case *accessv1.DeleteRoleRequest:
		return role(r.GetId())
	case *accessv1.UpdateRoleRequest:
		return role(r.GetRole().GetId())
	case *accessv1.UpdateUserRequest:
		return "users/" + printable(r.GetUser().GetUser(), maxSubject)
	case *accessv1.UpdateModuleRequest:
		return "modules/" + printable(r.GetModule().GetModule(), maxSubject)
	case *accessv1.UpdateTenantSettingsRequest:
		return "settings"
	}
	return ""
}
