package grpcapi

import (
	"workflow.uniconnect/pkg/listing"
	"workflow.uniconnect/services/trigger-scheduler/internal/event"
)

const defaultPage = 50

// The lists whose pages are named by what they end with.
const (
	deadLetters = "deadLetters"
	eventTypes  = "eventTypes"
)

func scopeOf(list string, tenant event.Tenant) listing.Scope {
	return listing.NewScope(list, string(tenant))
}
