package grpcapi

import (
	"bytes"

	"workflow.uniconnect/pkg/listing"
	"workflow.uniconnect/services/executor/internal/execution"
)

// aboveAll is above all ids.
func aboveAll() execution.ID {
	return execution.ID(bytes.Repeat([]byte{0xff}, len(execution.ID{})))
}

// executionScope is the list that the page tokens of executions belong to.
func executionScope(tenant string, workflow execution.WorkflowID) listing.Scope {
	return listing.NewScope("executions", tenant, string(workflow[:]))
}

// executionAt returns the id below which a page begins.
func executionAt(position []byte) (execution.ID, error) {
	if position == nil {
		return aboveAll(), nil
	}
	if len(position) != len(execution.ID{}) {
		return execution.ID{}, listing.ErrPageToken
	}
	return execution.ID(position), nil
}
