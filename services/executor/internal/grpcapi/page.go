package grpcapi

import (
	"workflow.uniconnect/pkg/listing"
	"workflow.uniconnect/services/executor/internal/execution"
)

// lastID is above all ids.
const lastID = 0xff

// executionScope is the list that the page tokens of executions belong to.
func executionScope(tenant string, workflow execution.WorkflowID) listing.Scope {
	return listing.NewScope("executions", tenant, string(workflow[:]))
}

// executionAt returns the id below which a page begins.
func executionAt(position []byte) (execution.ID, error) {
	var id execution.ID
	if position == nil {
		for i := range id {
			id[i] = lastID
		}
		return id, nil
	}
	if len(position) != len(id) {
		return id, listing.ErrPageToken
	}
	return execution.ID(position), nil
}
