package grpcfault_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"

	"workflow.uniconnect/pkg/fault"
	"workflow.uniconnect/pkg/grpcfault"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// failing answers every call with one error, over a real server and connection.
type failing struct {
	healthpb.UnimplementedHealthServer
	err error
}

func (f *failing) Check(context.Context, *healthpb.HealthCheckRequest) (*healthpb.HealthCheckResponse, error) {
	return nil, f.err
}

func (f *failing) Watch(_ *healthpb.HealthCheckRequest, stream healthpb.Health_WatchServer) error {
	if err := stream.Send(&healthpb.HealthCheckResponse{}); err != nil {
		return err
	}
	return f.err
}

func dial(t *testing.T, log *slog.Logger, err error) healthpb.HealthClient {
	t.Helper()
	listener := bufconn.Listen(1 << 16)
	server := grpc.NewServer(
		grpc.ChainUnaryInterceptor(grpcfault.UnaryServer(log)),
		grpc.ChainStreamInterceptor(grpcfault.StreamServer(log)),
	)
	healthpb.RegisterHealthServer(server, &failing{err: err})
	done := make(chan error, 1)
	go func() { done <- server.Serve(listener) }()
	t.Cleanup(func() {
		server.Stop()
		<-done
	})
	conn, dialErr := grpc.NewClient("passthrough:///test",
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return listener.DialContext(ctx) }),
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithUnaryInterceptor(grpcfault.UnaryClient()),
		grpc.WithStreamInterceptor(grpcfault.StreamClient()),
	)
	if dialErr != nil {
		t.Fatal(dialErr)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return healthpb.NewHealthClient(conn)
}

func TestRoundTrip(t *testing.T) {
	many := make([]fault.Violation, 250)
	for i := range many {
		many[i] = fault.Violation{Field: fmt.Sprintf("f[%d]", i), Description: "d"}
	}
	cases := map[string]struct {
		err  error
		want *fault.Error
	}{
		"not_found": {
			fmt.Errorf("get: %w", fault.NotFound("WORKFLOW_NOT_FOUND", "no such workflow").With("id", "w1")),
			fault.NotFound("WORKFLOW_NOT_FOUND", "no such workflow").With("id", "w1"),
		},
		"violations": {
			fault.Invalid(fault.Violation{Field: "steps[1].id", Description: "used twice", Reason: "DUPLICATE_ID"}),
			fault.Invalid(fault.Violation{Field: "steps[1].id", Description: "used twice", Reason: "DUPLICATE_ID"}),
		},
		"retry_after": {
			fault.Unavailable("DATABASE_UNAVAILABLE", "the database is away").WithRetryAfter(3 * time.Second).WithCause(errors.New("dial tcp 10.0.0.7")),
			fault.Unavailable("DATABASE_UNAVAILABLE", "the database is away").WithRetryAfter(3 * time.Second),
		},
		"plain_error_is_hidden": {
			errors.New("SELECT secret FROM host"),
			fault.Internal(fault.ReasonInternal, "internal error"),
		},
		"fault_without_kind_is_internal": {
			&fault.Error{Message: "SELECT secret"},
			fault.Internal(fault.ReasonInternal, "internal error"),
		},
		"status_of_a_transport_is_hidden": {
			status.Error(codes.Unavailable, "dial tcp 10.0.0.7:9103: connection refused"),
			fault.Unavailable(fault.ReasonServiceUnavailable, "a service is not available"),
		},
		"deadline": {
			fmt.Errorf("query: %w", context.DeadlineExceeded),
			fault.DeadlineExceeded(fault.ReasonDeadline, "the call took longer than its deadline"),
		},
		"invalid_utf8": {
			fault.Invalid(fault.Violation{Field: "a\xff", Description: "b\xff", Reason: "FIELD_RULE"}).With("k\xff", "v\xff"),
			fault.Invalid(fault.Violation{Field: "a\uFFFD", Description: "b\uFFFD", Reason: "FIELD_RULE"}).With("k\uFFFD", "v\uFFFD"),
		},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			client := dial(t, slog.New(slog.DiscardHandler), c.err)

			_, unary := client.Check(t.Context(), &healthpb.HealthCheckRequest{})
			stream, err := client.Watch(t.Context(), &healthpb.HealthCheckRequest{})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := stream.Recv(); err != nil {
				t.Fatalf("first message: %v", err)
			}
			_, streamed := stream.Recv()

			for kind, err := range map[string]error{"unary": unary, "stream": streamed} {
				got, ok := fault.As(err)
				if !ok {
					t.Fatalf("%s: got %T %v, want a fault", kind, err, err)
				}
				if diff := cmp.Diff(c.want, got, cmpopts.IgnoreUnexported(fault.Error{})); diff != "" {
					t.Errorf("%s (-want +got):\n%s", kind, diff)
				}
			}
		})
	}
	t.Run("details_are_bounded", func(t *testing.T) {
		client := dial(t, slog.New(slog.DiscardHandler), fault.Invalid(many...))
		_, err := client.Check(t.Context(), &healthpb.HealthCheckRequest{})
		got, _ := fault.As(err)
		if n := len(got.Violations); n != 100 {
			t.Fatalf("violations: got %d, want 100", n)
		}
		if got, want := got.Violations[99].Description, "151 more problems are not listed"; got != want {
			t.Errorf("last: got %q, want %q", got, want)
		}
	})
}

func TestUnaryServer_logs_what_clients_may_not_read(t *testing.T) {
	var buf bytes.Buffer
	client := dial(t, slog.New(slog.NewJSONHandler(&buf, nil)), errors.New("relation \"live\" does not exist"))
	_, err := client.Check(t.Context(), &healthpb.HealthCheckRequest{})
	if strings.Contains(err.Error(), "relation") {
		t.Errorf("the client reads %q", err)
	}
	if !strings.Contains(buf.String(), `relation \"live\"`) || !strings.Contains(buf.String(), "/grpc.health.v1.Health/Check") {
		t.Errorf("log: got %s, want the cause and the method", buf.String())
	}
}

func TestFromStatus_oversize_message(t *testing.T) {
	err := grpcfault.FromStatus(status.Error(codes.ResourceExhausted, "grpc: received message larger than max (9 vs. 4)"))
	if got, _ := fault.As(err); got == nil || got.Reason != fault.ReasonTooLarge {
		t.Errorf("got %v, want reason TOO_LARGE", err)
	}
}
