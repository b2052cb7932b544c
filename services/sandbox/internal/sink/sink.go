// Package sink owns the recording of HTTP requests: what a request is, how its sender wants it answered, and the batching that lets one
// sink keep up with a whole machine.
package sink

import (
	"context"
	"encoding/json"
	"time"
)

// Keep is how many requests a sink keeps; older ones are forgotten.
const Keep = 10_000

// Request is a request as it came in.
type Request struct {
	// Name is the sink's.
	Name   string
	Method string
	// Path has the query with it.
	Path    string
	Headers json.RawMessage // an object of name to value
	Body    []byte
	Time    time.Time
}

// Store keeps requests.
type Store interface {
	Append(ctx context.Context, requests []Request) error
	Each(ctx context.Context, name string, limit int, fn func(Request) error) error
	Count(ctx context.Context, name, path string) (int, error)
	Empty(ctx context.Context, name string) error
	Trim(ctx context.Context, name string, keep int) error
}
