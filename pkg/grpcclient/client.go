// Package grpcclient makes the connections between services: balanced over replicas, with a deadline on every unary call, a token on
// every call, and faults in place of statuses.
package grpcclient

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"go.opentelemetry.io/contrib/instrumentation/google.golang.org/grpc/otelgrpc"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/metadata"

	"workflow.uniconnect/pkg/auth"
	"workflow.uniconnect/pkg/grpcfault"
	"workflow.uniconnect/pkg/telemetry"
)

const (
	defaultTimeout = 5 * time.Second
	defaultMsgSize = 32 << 20
	// pingEvery leaves room above what grpcserver allows.
	pingEvery   = 45 * time.Second
	pingTimeout = 10 * time.Second
	// maxBackoff bounds how late a peer that came back is noticed.
	maxBackoff = 2 * time.Second

	roundRobin = `{"loadBalancingConfig":[{"round_robin":{}}]}`
)

// TokenSource gives a service its own token. auth.TokenSource is one.
type TokenSource interface {
	Token(ctx context.Context) (string, error)
}

// Options describes a connection. Telemetry is required. A call carries the first token that there is of: one that the caller put
// into the outgoing metadata, the token of the call being served when ForwardToken is set, TokenSource's.
type Options struct {
	Telemetry    *telemetry.Telemetry
	TokenSource  TokenSource
	ForwardToken bool

	// Timeout is the deadline of unary calls whose context has none, 5 s when zero.
	Timeout time.Duration
	// MaxMsgSize is 32 MiB each way when zero.
	MaxMsgSize int
	// Credentials protect the transport; none when nil.
	Credentials credentials.TransportCredentials
	// Dialer replaces the network, in tests.
	Dialer func(ctx context.Context, addr string) (net.Conn, error)
}

// Dial returns a connection to addr: host:port, a list of them separated by commas, or a target with a scheme. It connects when it is first used, and again whenever it must.
func Dial(addr string, opts Options) (*grpc.ClientConn, error) {
	if opts.Telemetry == nil {
		return nil, errors.New("grpc client: no telemetry is set")
	}
	target := addr
	switch {
	case strings.Contains(addr, "://"):
	case strings.Contains(addr, ","):
		target = replicasScheme + ":///" + addr
	default:
		target = "dns:///" + addr
	}
	conn, err := grpc.NewClient(target, dialOptions(opts)...)
	if err != nil {
		return nil, fmt.Errorf("dial %s: %w", addr, err)
	}
	return conn, nil
}

func dialOptions(opts Options) []grpc.DialOption {
	transport := opts.Credentials
	if transport == nil {
		transport = insecure.NewCredentials()
	}
	size := opts.MaxMsgSize
	if size == 0 {
		size = defaultMsgSize
	}
	timeout := opts.Timeout
	if timeout == 0 {
		timeout = defaultTimeout
	}
	reconnect := backoff.DefaultConfig
	reconnect.BaseDelay, reconnect.MaxDelay = 100*time.Millisecond, maxBackoff
	t := &tokens{source: opts.TokenSource, forward: opts.ForwardToken}
	all := []grpc.DialOption{
		grpc.WithTransportCredentials(transport),
		grpc.WithDefaultServiceConfig(roundRobin),
		grpc.WithResolvers(replicas{}),
		grpc.WithStatsHandler(otelgrpc.NewClientHandler(
			otelgrpc.WithTracerProvider(opts.Telemetry.TracerProvider),
			otelgrpc.WithMeterProvider(opts.Telemetry.MeterProvider),
			otelgrpc.WithPropagators(opts.Telemetry.Propagator),
		)),
		grpc.WithChainUnaryInterceptor(grpcfault.UnaryClient(), deadline(timeout), t.unary),
		grpc.WithChainStreamInterceptor(grpcfault.StreamClient(), t.stream),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(size), grpc.MaxCallSendMsgSize(size)),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: pingEvery, Timeout: pingTimeout, PermitWithoutStream: true}),
		grpc.WithConnectParams(grpc.ConnectParams{Backoff: reconnect, MinConnectTimeout: maxBackoff}),
	}
	if opts.Dialer != nil {
		all = append(all, grpc.WithContextDialer(opts.Dialer))
	}
	return all
}

func deadline(timeout time.Duration) grpc.UnaryClientInterceptor {
	return func(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
		if _, ok := ctx.Deadline(); !ok {
			var cancel context.CancelFunc
			ctx, cancel = context.WithTimeout(ctx, timeout)
			defer cancel()
		}
		return invoke(ctx, method, req, reply, cc, opts...)
	}
}

// tokens puts a token on each call.
type tokens struct {
	source  TokenSource
	forward bool
}

//nolint:revive // the signature is grpc.UnaryClientInterceptor's
func (t *tokens) unary(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
	ctx, err := t.with(ctx)
	if err != nil {
		return err
	}
	return invoke(ctx, method, req, reply, cc, opts...)
}

//nolint:revive // the signature is grpc.StreamClientInterceptor's
func (t *tokens) stream(ctx context.Context, desc *grpc.StreamDesc, cc *grpc.ClientConn, method string, open grpc.Streamer, opts ...grpc.CallOption) (grpc.ClientStream, error) {
	ctx, err := t.with(ctx)
	if err != nil {
		return nil, err
	}
	return open(ctx, desc, cc, method, opts...)
}

func (t *tokens) with(ctx context.Context) (context.Context, error) {
	if md, ok := metadata.FromOutgoingContext(ctx); ok && len(md.Get("authorization")) > 0 {
		return ctx, nil
	}
	if token, ok := auth.TokenFromContext(ctx); ok && t.forward {
		pairs := []string{"authorization", "Bearer " + token}
		if p, ok := auth.FromContext(ctx); ok && p.Permissions != nil {
			pairs = append(pairs, auth.TenantKey, p.Tenant) // the token does not name it
		}
		return metadata.AppendToOutgoingContext(ctx, pairs...), nil
	}
	if t.source == nil {
		return ctx, nil
	}
	token, err := t.source.Token(ctx)
	if err != nil {
		return nil, fmt.Errorf("get own token: %w", err)
	}
	return metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+token), nil
}
