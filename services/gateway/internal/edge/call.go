package edge

import (
	"context"

	"workflow.uniconnect/pkg/auth"
)

// call is what the edge knows of one HTTP call. It is made first, filled on the way in and read on the way out, by one goroutine.
type call struct {
	requestID string
	// route is the path template, for names of spans and metrics; empty while no route is found.
	route   string
	binding *binding
	// principal is the caller, once the token was verified.
	principal auth.Principal
	// body is what was read of the request, decompressed.
	body []byte

	idempotencyKey string
	// etag is the version that If-Match names; guarded says that the header was given.
	etag    string
	guarded bool

	// failure is the error that was answered, for the log.
	failure error
}

type callKey struct{}

func withCall(ctx context.Context, c *call) context.Context {
	return context.WithValue(ctx, callKey{}, c)
}

// callFrom returns the call of ctx. There always is one below guard; elsewhere, as in a readiness probe, an empty one serves.
func callFrom(ctx context.Context) *call {
	if c, ok := ctx.Value(callKey{}).(*call); ok {
		return c
	}
	return &call{}
}
