package bus

import (
	"context"
	"strings"

	"github.com/nats-io/nats.go"
	"go.opentelemetry.io/otel/propagation"
)

// Inject writes the trace of ctx into the headers of a message to be published.
func Inject(ctx context.Context, propagator propagation.TextMapPropagator, header nats.Header) {
	propagator.Inject(ctx, headerCarrier(header))
}

// Extract returns ctx with the trace that a received message carries, if any.
func Extract(ctx context.Context, propagator propagation.TextMapPropagator, header nats.Header) context.Context {
	return propagator.Extract(ctx, headerCarrier(header))
}

// headerCarrier reads names in any case: NATS keeps the case of the publisher,
// whose language may have its own habit.
type headerCarrier nats.Header

// Get returns the first value of key.
func (c headerCarrier) Get(key string) string {
	if values := c[key]; len(values) > 0 {
		return values[0]
	}
	for name, values := range c {
		if len(values) > 0 && strings.EqualFold(name, key) {
			return values[0]
		}
	}
	return ""
}

// Set replaces key.
func (c headerCarrier) Set(key, value string) { c[key] = []string{value} }

// Keys lists the names.
func (c headerCarrier) Keys() []string {
	keys := make([]string, 0, len(c))
	for name := range c {
		keys = append(keys, name)
	}
	return keys
}
