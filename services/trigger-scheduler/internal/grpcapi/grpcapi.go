// Package grpcapi serves the scheduler's RPCs: proto to domain and back, and nothing else.
package grpcapi

import (
	"context"

	"workflow.uniconnect/pkg/auth"
	"workflow.uniconnect/pkg/fault"
	"workflow.uniconnect/services/trigger-scheduler/internal/deadletter"
	"workflow.uniconnect/services/trigger-scheduler/internal/event"
)

// Letters reads dead letters.
type Letters interface {
	// List returns a page, newest first, and whether there is more. It may be shorter than asked for although there is.
	List(ctx context.Context, tenant event.Tenant, after string, limit int) ([]deadletter.Letter, bool, error)
}

// tenantOf returns the caller's tenant, which comes from the token alone.
func tenantOf(ctx context.Context) (event.Tenant, error) {
	p, ok := auth.FromContext(ctx)
	if !ok || p.Tenant == "" {
		return "", fault.Unauthenticated(fault.ReasonTokenInvalid, "the token names no tenant")
	}
	return event.Tenant(p.Tenant), nil
}
