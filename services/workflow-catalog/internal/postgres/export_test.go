package postgres

import (
	"fmt"

	"workflow.uniconnect/services/workflow-catalog/internal/audit"
	"workflow.uniconnect/services/workflow-catalog/internal/workflow"
)

// ListQueries returns every statement that is made of a template.
func ListQueries() map[string]string {
	queries := make(map[string]string)
	for name, template := range map[string]string{
		"walkPage": walkPage, "walkEnd": walkEnd, "searchPage": searchPage, "sortPage": sortPage,
	} {
		for _, order := range []workflow.OrderBy{workflow.ByCreateTime, workflow.ByUpdateTime, workflow.ByTitle} {
			for _, desc := range []bool{false, true} {
				queries[fmt.Sprint(name, " ", order, " ", desc)] = listSQL(template, workflow.ListQuery{Order: order, Desc: desc})
			}
		}
	}
	return queries
}

// PlanAsWritten is the statement that goes before those of lists.
const PlanAsWritten = planAsWritten

// AuditSQL returns the statement for a query and its values.
func AuditSQL(tenant workflow.Tenant, query audit.Query) (string, []any) {
	return auditSQL(tenant, query)
}
