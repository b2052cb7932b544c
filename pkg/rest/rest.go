// Package rest calls gRPC services through their REST face, by the HTTP rules that their methods carry: generated clients work over it as
// over a gRPC connection, so that a program needs to know one address, the gateway's. It speaks unary calls and server streams.
package rest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"workflow.uniconnect/pkg/fault"
)

const (
	defaultTimeout = 30 * time.Second
	// maxAnswer bounds what is read of an answer, or of one line of a stream.
	maxAnswer = 64 << 20
)

// Options describes a connection. All of it may be left out.
type Options struct {
	// Token gives the bearer token of each call. An empty token is not sent.
	Token func(ctx context.Context) (string, error)
	// UserAgent is what the program calls itself.
	UserAgent string
	// Timeout is the deadline of unary calls whose context has none, 30 s when zero.
	Timeout time.Duration
	// Headers names the fields of requests that REST has in a header, for example request_id in Idempotency-Key.
	Headers map[protoreflect.Name]string
	// Transport replaces the network, in tests.
	Transport http.RoundTripper
}

// Conn calls the services behind one address. It is a grpc.ClientConnInterface, safe for concurrent use.
type Conn struct {
	base *url.URL
	opts Options
	http *http.Client
}

var _ grpc.ClientConnInterface = (*Conn)(nil)

// Dial returns a connection to a base URL such as http://127.0.0.1:8080. Nothing is sent before the first call.
func Dial(base string, opts Options) (*Conn, error) {
	u, err := url.Parse(base)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.RawQuery != "" || u.Fragment != "" || u.User != nil {
		return nil, fmt.Errorf("%q is not an address such as http://127.0.0.1:8080", base)
	}
	u.Path = strings.TrimSuffix(u.Path, "/")
	if opts.Timeout == 0 {
		opts.Timeout = defaultTimeout
	}
	transport := opts.Transport
	if transport == nil {
		own, ok := http.DefaultTransport.(*http.Transport)
		if !ok {
			return nil, errors.New("the default transport is not net/http's")
		}
		transport = own.Clone()
	}
	return &Conn{base: u, opts: opts, http: &http.Client{
		Transport: transport,
		// A token is for the address that was named, not for the one that this leads to.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}, nil
}

// Close frees the connections that are not in use.
func (c *Conn) Close() { c.http.CloseIdleConnections() }

// Invoke makes a unary call. Options of gRPC are not used. The error is a fault.
func (c *Conn) Invoke(ctx context.Context, method string, args, reply any, _ ...grpc.CallOption) error {
	if _, ok := ctx.Deadline(); !ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, c.opts.Timeout)
		defer cancel()
	}
	b, err := bindingOf(method)
	if err != nil {
		return err
	}
	answer, err := c.send(ctx, b, args, "application/json")
	if err != nil {
		return err
	}
	defer func() { _ = answer.Body.Close() }()
	body, err := readAll(answer.Body)
	if err != nil {
		return c.failed(ctx, err)
	}
	message, ok := reply.(proto.Message)
	if !ok {
		return notMessage(reply)
	}
	return b.decode(body, answer.Header.Get("Content-Type"), message)
}

// send makes the HTTP call and returns the answer of one that succeeded.
func (c *Conn) send(ctx context.Context, b *binding, args any, accept string) (*http.Response, error) {
	message, ok := args.(proto.Message)
	if !ok {
		return nil, notMessage(args)
	}
	header := http.Header{"Accept": {accept}}
	target, body, err := b.encode(message, c.opts.Headers, header)
	if err != nil {
		return nil, err
	}
	content := io.Reader(http.NoBody)
	if body != nil {
		content = strings.NewReader(string(body))
		header.Set("Content-Type", "application/json")
	}
	req, err := http.NewRequestWithContext(ctx, b.method, c.base.String()+target, content)
	if err != nil {
		return nil, fmt.Errorf("make the request: %w", err)
	}
	req.Header = header
	if c.opts.UserAgent != "" {
		header.Set("User-Agent", c.opts.UserAgent)
	}
	if c.opts.Token != nil {
		token, err := c.opts.Token(ctx)
		if err != nil {
			return nil, err
		}
		if token != "" {
			header.Set("Authorization", "Bearer "+token)
		}
	}
	answer, err := c.http.Do(req)
	if err != nil {
		return nil, c.failed(ctx, err)
	}
	if answer.StatusCode == http.StatusOK {
		return answer, nil
	}
	defer func() { _ = answer.Body.Close() }()
	text, err := readAll(answer.Body)
	if err != nil {
		return nil, c.failed(ctx, err)
	}
	return nil, refusal(answer, text)
}

// failed tells what a failure of the network means. The address is the caller's own setting, so it may be told.
func (c *Conn) failed(ctx context.Context, err error) error {
	switch {
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		return fault.DeadlineExceeded(fault.ReasonDeadline, "the call took longer than its deadline").WithCause(err)
	case ctx.Err() != nil:
		return fault.Canceled(fault.ReasonCancelled, "the call was cancelled").WithCause(err)
	}
	return fault.Unavailable(fault.ReasonServiceUnavailable, "no answer from "+c.base.String()).WithCause(err)
}

func readAll(body io.Reader) ([]byte, error) {
	content, err := io.ReadAll(io.LimitReader(body, maxAnswer+1))
	if err == nil && len(content) > maxAnswer {
		err = fmt.Errorf("the answer is longer than %d bytes", maxAnswer)
	}
	return content, err
}

func notMessage(v any) error { return fmt.Errorf("%T is not a message", v) }
