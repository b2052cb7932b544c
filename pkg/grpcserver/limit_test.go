package grpcserver_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"google.golang.org/grpc"

	"workflow.uniconnect/pkg/access"
	"workflow.uniconnect/pkg/auth"
	"workflow.uniconnect/pkg/fault"
	"workflow.uniconnect/pkg/grpcserver"

	accessv1 "workflow.uniconnect/proto/gen/go/uniconnect/access/v1"
	peerv1 "workflow.uniconnect/proto/gen/go/uniconnect/workflow/peer/v1"
	workflowv1 "workflow.uniconnect/proto/gen/go/uniconnect/workflow/v1"
)

// public are services whose calls are limited.
type public struct {
	accessv1.UnimplementedAccessServiceServer
	workflowv1.UnimplementedWorkflowCatalogServiceServer
}

func (*public) GetMe(context.Context, *accessv1.GetMeRequest) (*accessv1.GetMeResponse, error) {
	return &accessv1.GetMeResponse{}, nil
}

func (*public) WatchWorkflows(_ *workflowv1.WatchWorkflowsRequest, stream grpc.ServerStreamingServer[workflowv1.WatchWorkflowsResponse]) error {
	if err := stream.Send(&workflowv1.WatchWorkflowsResponse{}); err != nil {
		return err
	}
	<-stream.Context().Done()
	return stream.Context().Err()
}

func (e *env) tokenOf(t *testing.T, tenant string) string {
	t.Helper()
	token, err := e.issuer.Issue(auth.Principal{Tenant: tenant, Subject: "owner@" + tenant + ".test"}, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	return token
}

// startPublic starts a server whose tenants have these quotas.
func startPublic(t *testing.T, quotas access.Quotas, told chan string) *env {
	t.Helper()
	return start(t, &handlers{}, func(o *grpcserver.Options) {
		o.Enforcer = access.NewEnforcer(access.Options{Module: "workflow", Grants: func(context.Context, auth.Principal) (access.Grants, error) {
			return access.Grants{ModuleEnabled: true, Quotas: quotas, Permissions: map[string]struct{}{"workflow.view": {}}}, nil
		}})
		o.Refused = func(_ context.Context, fullMethod string, _ any, err error) { told <- fmt.Sprint(fullMethod, err) }
	})
}

func TestServer_limits_the_calls_of_a_tenant(t *testing.T) {
	told := make(chan string, 10)
	e := startPublic(t, access.Quotas{RequestsPerSecond: 1}, told)
	client := accessv1.NewAccessServiceClient(e.dial(t, nil))
	call := func(tenant string) error {
		_, err := client.GetMe(withToken(t.Context(), e.tokenOf(t, tenant)), &accessv1.GetMeRequest{})
		return err
	}
	var err error
	for passed := 0; err == nil; passed++ {
		if passed > 10 {
			t.Fatal("nothing is refused")
		}
		err = call("acme")
	}
	f := expectFault(t, err, fault.KindResourceExhausted, fault.ReasonRateLimit)
	if f.Metadata["limit"] != "reads_per_second" || f.Metadata["value"] != "1" || f.RetryAfter <= 0 || f.RetryAfter > time.Second {
		t.Errorf("got %v after %v, want the limit's name and when to come again", f.Metadata, f.RetryAfter)
	}
	// An entry in the audit for each of them would cost more than the call that is refused.
	if len(told) > 0 {
		t.Errorf("told of %q", <-told)
	}
	if err := call("globex"); err != nil {
		t.Errorf("another tenant: %v", err)
	}
	service := peerv1.NewGrantsServiceClient(e.dialAsService(t))
	for range 20 {
		if _, err := service.GetGrants(t.Context(), good()); err != nil {
			t.Fatalf("a call between services: %v", err)
		}
	}
	time.AfterFunc(f.RetryAfter, func() { told <- "time" })
	<-told
	if err := call("acme"); err != nil {
		t.Errorf("at the time that was named: %v", err)
	}
}

func TestServer_limits_the_streams_of_a_tenant(t *testing.T) {
	e := startPublic(t, access.Quotas{Streams: 1}, make(chan string, 10))
	client := workflowv1.NewWorkflowCatalogServiceClient(e.dial(t, nil))
	open := func(tenant string) (context.CancelFunc, error) {
		ctx, cancel := context.WithCancel(withToken(t.Context(), e.tokenOf(t, tenant)))
		stream, err := client.WatchWorkflows(ctx, &workflowv1.WatchWorkflowsRequest{})
		if err == nil {
			_, err = stream.Recv()
		}
		t.Cleanup(cancel)
		return cancel, err
	}
	end, err := open("acme")
	if err != nil {
		t.Fatal(err)
	}
	_, err = open("acme")
	if f := expectFault(t, err, fault.KindResourceExhausted, fault.ReasonQuota); f.Metadata["quota"] != "streams" || f.Metadata["value"] != "1" {
		t.Errorf("got %v, want the quota's name", f.Metadata)
	}
	if _, err := open("globex"); err != nil {
		t.Errorf("another tenant: %v", err)
	}
	end()
	for err = fault.Internal("", ""); err != nil && t.Context().Err() == nil; {
		_, err = open("acme") // the server hears of the end a moment later
	}
}
