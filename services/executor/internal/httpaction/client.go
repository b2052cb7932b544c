// Package httpaction does the action http.request: one HTTP call per attempt, through the guard of package egress, with bounds on
// everything the target can make us do: connect, wait, read, unpack.
package httpaction

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net/http"
	"sync"
	"time"

	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"workflow.uniconnect/services/executor/internal/action"
	"workflow.uniconnect/services/executor/internal/egress"
	"workflow.uniconnect/services/executor/internal/run"
)

const (
	maxResponse = 1 << 20  // of a body, unpacked
	maxHeader   = 64 << 10 // of an answer
	maxRequest  = 1 << 20  // of a body we send
	smallBody   = 32 << 10 // read without asking for room

	// largeBodies is how many bodies beyond smallBody are in memory at once; further ones wait, within the step's time.
	largeBodies = 8

	defaultTimeout = 30 * time.Second
	idleTimeout    = 60 * time.Second
	userAgent      = "Uniconnect-Workflow/1"
)

// Options say how to make calls.
type Options struct {
	// Guard opens the connections. Required.
	Guard *egress.Guard
	// Propagator writes the trace context into the request; nil for none.
	Propagator propagation.TextMapPropagator
	// Concurrency is how many calls run at once at most; as many idle connections per host are kept.
	Concurrency int
	// RootCAs verify targets; nil for the system's.
	RootCAs *x509.CertPool
}

// Client is the handler of http.request. It is safe for concurrent use.
type Client struct {
	guard      *egress.Guard
	propagator propagation.TextMapPropagator
	transport  *http.Transport
	buffers    sync.Pool    // of *[]byte, smallBody long
	room       chan *[]byte // the memory for large bodies; nil until first used
}

var _ action.Handler = (*Client)(nil)

// New returns a client. Close it in the end.
func New(opts Options) *Client {
	c := &Client{
		guard:      opts.Guard,
		propagator: opts.Propagator,
		room:       make(chan *[]byte, largeBodies),
		transport: &http.Transport{
			Proxy:                  nil, // the environment's proxy would dial for us, past the guard
			DialContext:            opts.Guard.DialContext,
			TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: opts.RootCAs},
			TLSHandshakeTimeout:    egress.DialTimeout,
			MaxIdleConnsPerHost:    opts.Concurrency,
			MaxIdleConns:           4 * opts.Concurrency,
			IdleConnTimeout:        idleTimeout,
			MaxResponseHeaderBytes: maxHeader,
			TLSNextProto:           map[string]func(string, *tls.Conn) http.RoundTripper{}, // HTTP/1.1: one call, one connection
		},
	}
	for range largeBodies {
		c.room <- nil
	}
	c.buffers.New = func() any { b := make([]byte, smallBody); return &b }
	return c
}

// Close closes the idle connections.
func (c *Client) Close() { c.transport.CloseIdleConnections() }

// Do makes one attempt. It does not follow redirects: a 3xx is a failure, so a target cannot send a request with its credentials and
// body elsewhere.
func (c *Client) Do(ctx context.Context, call action.Call) run.Outcome {
	if _, ok := ctx.Deadline(); !ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, defaultTimeout)
		defer cancel()
	}
	req, violations := c.build(ctx, call)
	if len(violations) > 0 {
		return action.Refused(violations)
	}
	resp, err := c.transport.RoundTrip(req)
	if err != nil {
		return failure(ctx, err)
	}
	defer func() { _ = resp.Body.Close() }() // what was read is all we want
	if resp.StatusCode < 200 || resp.StatusCode > 299 {
		return c.refusal(resp)
	}
	return c.success(ctx, resp)
}

// header returns the headers of a request: the user's, then ours, which a user cannot set.
func (c *Client) header(ctx context.Context, p *params, call action.Call) http.Header {
	h := make(http.Header, len(p.headers)+5)
	for name, value := range p.headers {
		h.Set(name, value)
	}
	if p.contentType != "" && h.Get("Content-Type") == "" {
		h["Content-Type"] = []string{p.contentType}
	}
	if h.Get("User-Agent") == "" {
		h["User-Agent"] = []string{userAgent}
	}
	// In lower case the transport does not take the key as leave to send a request again of its own accord when a connection breaks:
	// every attempt is one that the run counts. Header names have no case for the target.
	h["idempotency-key"] = []string{call.IdempotencyKey}
	if c.propagator != nil && trace.SpanContextFromContext(ctx).IsValid() {
		c.propagator.Inject(ctx, propagation.HeaderCarrier(h))
	}
	return h
}
