package security

import (
	"context"
	"errors"
	"io"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/reflection/grpc_reflection_v1"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/emptypb"

	"workflow.uniconnect/pkg/oidctest"
	"workflow.uniconnect/test/stack"

	workflowv1 "workflow.uniconnect/proto/gen/go/uniconnect/workflow/v1"
)

// production starts a catalog and a gateway as they run outside development, beside the others and on the same data: they show nothing of
// themselves, sign nobody in, and take no token of development.
func (s *system) production(t *testing.T) {
	const audience = "uniconnect-workflow-api"
	issuer := oidctest.New(t, oidctest.Options{Audience: audience, Clients: []oidctest.Client{{ID: "workflow-manager", Secret: clientSecret, Claims: map[string]any{"uc_kind": "service"}}}})
	addrs, err := stack.FreeAddrs(t.Context(), 4)
	if err != nil {
		t.Fatal(err)
	}
	database, err := s.DatabaseURL()
	if err != nil {
		t.Fatal(err)
	}
	common := []string{
		"serve", "--oidc-issuer", issuer.URL, "--oidc-audience", audience, "--oidc-client-id", "workflow-manager", "--data-dir", t.TempDir(),
		"--catalog-addr", addrs[0], "--scheduler-addr", s.SchedulerAddrs[0], "--executor-addr", s.ExecutorAddrs[0],
	}
	start := func(binary, admin string, own ...string) {
		args := append(append([]string{}, common...), append(own, "--admin-addr", admin)...)
		p, err := s.Add(t.Context(), "production-"+binary, binary, admin, args...)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := p.Stop(soon); err != nil {
				t.Error(err)
			}
		})
	}
	start("workflow-catalog", addrs[1], "--database-url", database)
	start("gateway", addrs[2], "--http-addr", addrs[3])

	catalog := dial(t, addrs[0])
	for method, want := range map[string]codes.Code{
		"/grpc.reflection.v1.ServerReflection/ServerReflectionInfo":      codes.Unimplemented,
		"/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo": codes.Unimplemented,
		"/grpc.channelz.v1.Channelz/GetTopChannels":                      codes.Unimplemented,
		"/grpc.health.v1.Health/Check":                                   codes.OK,
	} {
		err := catalog.Invoke(s.asOwner(t), method, &emptypb.Empty{}, &emptypb.Empty{})
		if status.Code(err) != want {
			t.Errorf("%s: got %v, want %s", method, err, want)
		}
	}
	// In development, reflection answers: it would be seen.
	if err := reflects(s.asOwner(t), s.grpc.catalog); err != nil {
		t.Errorf("reflection in development: %v", err)
	}
	if err := reflects(s.asOwner(t), catalog); status.Code(err) != codes.Unimplemented {
		t.Errorf("reflection outside development: got %v", err)
	}
	development := &grpcFace{catalog: catalog}
	unauthenticated := want{codes.Unauthenticated, 401, "TOKEN_INVALID", "token not accepted"}
	unauthenticated.check(t, development.call(t, s.userToken(t, owner), &workflowv1.ListWorkflowsRequest{}))

	rest := &restFace{base: "http://" + addrs[3], client: s.rest.client}
	unauthenticated.check(t, rest.call(t, s.userToken(t, owner), &workflowv1.ListWorkflowsRequest{}))
	for method, path := range map[string]string{"GET": "/dev/users", "POST": "/dev/token"} {
		r := s.request(t, httpAttempt{method: method, path: path, body: `{"user":"` + owner + `"}`})
		r.URL.Host, r.URL.Opaque = addrs[3], "//"+addrs[3]+path
		want{codes.NotFound, 404, "UNKNOWN_METHOD", ""}.check(t, s.send(t, r))
	}
}

// clientSecret is what the processes of production prove themselves with. The others have it in their environment and no use for it.
const clientSecret = "secret-of-the-test"

// reflects asks a server what it serves.
func reflects(ctx context.Context, conn *grpc.ClientConn) error {
	stream, err := grpc_reflection_v1.NewServerReflectionClient(conn).ServerReflectionInfo(ctx)
	if err != nil {
		return err
	}
	request := &grpc_reflection_v1.ServerReflectionRequest{MessageRequest: &grpc_reflection_v1.ServerReflectionRequest_ListServices{}}
	// A server that has ended the stream says why in what is received.
	if err := stream.Send(request); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	_, err = stream.Recv()
	return err
}
