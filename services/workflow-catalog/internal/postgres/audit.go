package postgres

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"workflow.uniconnect/services/workflow-catalog/internal/audit"
	"workflow.uniconnect/services/workflow-catalog/internal/workflow"
)

const insertAudit = `
INSERT INTO audit_entries (tenant, at, actor, action, workflow_id, outcome, reason, origin, user_agent, before_hash, after_hash, request_id,
    resource, note)
VALUES ($1, coalesce($2::timestamptz, clock_timestamp()), $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)`

// recordAudit adds an entry by itself, in the transaction of the change that it tells of where db is one.
func recordAudit(ctx context.Context, db batcher, e audit.Entry) error {
	batch := &pgx.Batch{}
	writeAudit(batch, e)
	if err := send(ctx, db, batch); err != nil {
		return fmt.Errorf("write the audit: %w", err)
	}
	return nil
}

// writeAudit adds an entry to the statements of the change that it tells of.
func writeAudit(batch *pgx.Batch, e audit.Entry) {
	var at *time.Time
	if !e.At.IsZero() {
		at = &e.At
	}
	var id *workflow.ID
	if e.WorkflowID != "" {
		id = &e.WorkflowID
	}
	batch.Queue(insertAudit, e.Tenant, at, e.Actor, e.Action, id, e.Outcome, e.Reason, e.Origin, e.UserAgent,
		e.BeforeHash, e.AfterHash, e.RequestID, e.Resource, e.Note)
}

// entryOf returns the entry about a change that a call has made.
func entryOf(call workflow.Call, id workflow.ID) audit.Entry {
	return audit.Entry{
		Tenant: call.Tenant, Actor: call.Actor, Action: call.Method, WorkflowID: id, Outcome: audit.OK,
		Origin: call.Origin, UserAgent: call.UserAgent, RequestID: call.RequestID,
	}
}

// Append adds an entry.
func (s *Store) Append(ctx context.Context, entry audit.Entry) error {
	err := recordAudit(ctx, s.of(entry.Tenant), entry)
	var violation *pgconn.PgError
	if errors.As(err, &violation) && violation.ConstraintName == "audit_entries_tenant" {
		return nil // nobody's audit: the token is of a tenant that is gone
	}
	return wrap("append to the audit", err)
}

// selectEntries is completed by auditSQL.
const selectEntries = `
SELECT id, at, actor, action, workflow_id, outcome, reason, origin, user_agent, before_hash, after_hash, request_id, resource, note
FROM audit_entries WHERE tenant = $1`

// Entries returns a tenant's entries, newest first.
func (s *Store) Entries(ctx context.Context, tenant workflow.Tenant, query audit.Query) ([]audit.Entry, error) {
	sql, args := auditSQL(tenant, query)
	var entries []audit.Entry
	err := asWritten(ctx, s.of(tenant), sql, args, func(r pgx.Rows) error {
		var err error
		entries, err = pgx.CollectRows(r, func(row pgx.CollectableRow) (audit.Entry, error) {
			e := audit.Entry{Tenant: tenant}
			var id *workflow.ID
			err := row.Scan(&e.ID, &e.At, &e.Actor, &e.Action, &id, &e.Outcome, &e.Reason, &e.Origin, &e.UserAgent,
				&e.BeforeHash, &e.AfterHash, &e.RequestID, &e.Resource, &e.Note)
			e.WorkflowID = deref(id)
			return e, err
		})
		return err
	})
	return entries, wrap("list the audit", err)
}

// auditSQL returns the statement for a query, made of what is written here, and the values for it. For the fields that few entries share a
// value of there is an index in the order of the list, so that any page is found where it lies.
func auditSQL(tenant workflow.Tenant, query audit.Query) (string, []any) {
	sql := &strings.Builder{}
	sql.WriteString(selectEntries)
	args := []any{tenant}
	param := func(value any) string {
		args = append(args, value)
		return fmt.Sprint("$", len(args))
	}
	refused := false
	for _, c := range query.Conditions {
		column, kind := auditColumn(c.Field)
		var value any = c.Value
		if c.Field == audit.CreateTime {
			value = c.Time
		}
		fmt.Fprintf(sql, "\n  AND %s %s %s::%s", column, auditOperator(c.Relation), param(value), kind)
		refused = refused || c.Relation == audit.IsNot &&
			(c.Field == audit.Reason && c.Value == "" || c.Field == audit.Outcome && c.Value == audit.OK)
	}
	if refused {
		// It follows from the conditions, and says so in the words of the index of refusals.
		sql.WriteString("\n  AND outcome <> 'OK'")
	}
	if query.After != nil {
		fmt.Fprintf(sql, "\n  AND (at, id) < (%s::timestamptz, %s::bigint)", param(query.After.At), param(query.After.ID))
	}
	fmt.Fprintf(sql, "\nORDER BY at DESC, id DESC LIMIT %s", param(query.Limit))
	return sql.String(), args
}

// auditColumn returns a field's column and its type.
func auditColumn(f audit.Field) (column, kind string) {
	switch f {
	case audit.Action:
		return "action", "text"
	case audit.WorkflowID:
		return "workflow_id", "uuid"
	case audit.Outcome:
		return "outcome", "text"
	case audit.Reason:
		return "reason", "text"
	case audit.RequestID:
		return "request_id", "text"
	case audit.CreateTime:
		return "at", "timestamptz"
	case audit.Resource:
		return "resource", "text"
	case audit.Actor:
	}
	return "actor", "text"
}

func auditOperator(r audit.Relation) string {
	switch r {
	case audit.IsNot:
		return "IS DISTINCT FROM"
	case audit.Before:
		return "<"
	case audit.NotAfter:
		return "<="
	case audit.After:
		return ">"
	case audit.NotBefore:
		return ">="
	case audit.Is:
	}
	return "="
}
