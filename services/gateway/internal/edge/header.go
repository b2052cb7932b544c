package edge

import (
	"context"
	"fmt"
	"net/http"
	"strings"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"workflow.uniconnect/pkg/telemetry"
)

// pretence is what a header pretends that only the token or the contract can say.
type pretence string

const (
	honest          pretence = ""
	posesAsMetadata pretence = "metadata" // metadata of the gRPC call
	posesAsCaller   pretence = "identity" // who the caller is, or where it comes from
	posesAsOther    pretence = "override" // another method or path than the request's own
)

// pretenceOf tells what a header pretends, by its canonical name. What a header says beside the list of conn never reaches a service;
// these are worth counting, since no honest client sends them.
func pretenceOf(name string) pretence {
	lower := strings.ToLower(name)
	has := func(prefixes ...string) bool {
		for _, p := range prefixes {
			if strings.HasPrefix(lower, p) {
				return true
			}
		}
		return false
	}
	switch {
	case name == headerTimeout:
		return honest
	case has("grpc-", "grpcgateway-"):
		return posesAsMetadata
	case has("uc-", "x-user", "x-tenant", "x-role", "x-auth", "x-forwarded-user", "x-forwarded-email", "x-remote-user", "x-original-forwarded-"):
		return posesAsCaller
	case has("x-http-method", "x-method-override", "x-original-url", "x-rewrite-url"):
		return posesAsOther
	}
	return honest
}

// dropper removes headers that pretend something and counts them.
type dropper struct{ dropped metric.Int64Counter }

func newDropper(t *telemetry.Telemetry) (*dropper, error) {
	counter, err := t.Meter(instrumentation).Int64Counter("http.server.request.headers.dropped",
		metric.WithDescription("headers that pretend to be metadata, an identity or another method, and were dropped"))
	if err != nil {
		return nil, fmt.Errorf("make metric: %w", err)
	}
	return &dropper{counter}, nil
}

func (d *dropper) drop(ctx context.Context, h http.Header) {
	for name, values := range h {
		if kind := pretenceOf(name); kind != honest {
			delete(h, name)
			d.dropped.Add(ctx, int64(len(values)), metric.WithAttributes(attribute.String("kind", string(kind))))
		}
	}
}
