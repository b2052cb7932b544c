package postgres

import (
	"fmt"

	"workflow.uniconnect/services/workflow-catalog/internal/workflow"
)

// ListQueries returns every statement that is made of a template.
func ListQueries() map[string]string {
	queries := make(map[string]string)
	for name, template := range map[string]string{"walkPage": walkPage, "searchPage": searchPage} {
		for _, order := range []workflow.OrderBy{workflow.ByCreateTime, workflow.ByUpdateTime, workflow.ByTitle} {
			for _, desc := range []bool{false, true} {
				queries[fmt.Sprint(name, " ", order, " ", desc)] = listSQL(template, order, desc)
			}
		}
	}
	return queries
}
