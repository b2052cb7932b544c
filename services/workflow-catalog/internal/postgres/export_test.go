package postgres

import (
	"fmt"

	"workflow.uniconnect/services/workflow-catalog/internal/audit"
	"workflow.uniconnect/services/workflow-catalog/internal/workflow"
)

// KeptQueries returns every statement whose plan connections keep, except those of ListQueries.
func KeptQueries() map[string]string {
	return map[string]string{
		"get": selectWorkflow, "changes": changesSQL(nil), "changes_of": changesSQL(new(workflow.Tenant)), "listed": selectListed, "documents": selectDocuments,
		"stamp": stampChange, "answer": updateRequest,
	}
}

// ListQueries returns every statement that is made of a template.
func ListQueries() map[string]string {
	queries := make(map[string]string)
	for name, template := range map[string]string{
		"walkPage": walkPage, "walkEnd": walkEnd, "searchPage": searchPage, "sortPage": sortPage,
	} {
		for _, order := range []workflow.OrderBy{workflow.ByCreateTime, workflow.ByUpdateTime, workflow.ByTitle} {
			for _, desc := range []bool{false, true} {
				for _, query := range []workflow.ListQuery{
					{}, {After: &workflow.Position{}}, {After: &workflow.Position{}, Filter: workflow.Filter{Words: []string{"w"}}},
				} {
					query.Order, query.Desc = order, desc
					queries[fmt.Sprint(name, " ", order, " ", desc, " ", query.After != nil, " ", len(query.Filter.Words))] = listSQL(template, query)
				}
			}
		}
	}
	return queries
}

// PlanAsWritten goes before the statements of the audit, PlanOnce before those of lists.
const (
	PlanAsWritten = planAsWritten
	PlanOnce      = planOnce
)

// AuditSQL returns the statement for a query and its values.
func AuditSQL(tenant workflow.Tenant, query audit.Query) (string, []any) {
	return auditSQL(tenant, query)
}
