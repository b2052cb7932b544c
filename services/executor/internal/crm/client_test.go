package crm_test

import (
	"context"
	"errors"
	"net"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"workflow.uniconnect/pkg/fault"
	"workflow.uniconnect/pkg/grpcclient"
	"workflow.uniconnect/pkg/grpcfault"
	"workflow.uniconnect/pkg/telemetry"
	crmv1 "workflow.uniconnect/proto/gen/go/uniconnect/crm/v1"
	"workflow.uniconnect/services/executor/internal/action"
	"workflow.uniconnect/services/executor/internal/crm"
	"workflow.uniconnect/services/executor/internal/run"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// server is a CRM whose answers a test gives.
type server struct {
	crmv1.UnimplementedCrmServiceServer
	get    func(context.Context, *crmv1.GetRecordRequest) (*crmv1.Record, error)
	update func(context.Context, *crmv1.UpdateRecordRequest) (*crmv1.Record, error)
	create func(context.Context, *crmv1.CreateRecordRequest) (*crmv1.Record, error)
	assign func(context.Context, *crmv1.AssignRecordRequest) (*crmv1.Record, error)
	search func(context.Context, *crmv1.SearchRecordsRequest) (*crmv1.SearchRecordsResponse, error)
}

func (s *server) CreateRecord(ctx context.Context, req *crmv1.CreateRecordRequest) (*crmv1.CreateRecordResponse, error) {
	r, err := s.create(ctx, req)
	return &crmv1.CreateRecordResponse{Record: r}, err
}

func (s *server) AssignRecord(ctx context.Context, req *crmv1.AssignRecordRequest) (*crmv1.AssignRecordResponse, error) {
	r, err := s.assign(ctx, req)
	return &crmv1.AssignRecordResponse{Record: r}, err
}

func (s *server) SearchRecords(ctx context.Context, req *crmv1.SearchRecordsRequest) (*crmv1.SearchRecordsResponse, error) {
	return s.search(ctx, req)
}

func (s *server) GetRecord(ctx context.Context, req *crmv1.GetRecordRequest) (*crmv1.GetRecordResponse, error) {
	r, err := s.get(ctx, req)
	return &crmv1.GetRecordResponse{Record: r}, err
}

func (s *server) UpdateRecord(ctx context.Context, req *crmv1.UpdateRecordRequest) (*crmv1.UpdateRecordResponse, error) {
	r, err := s.update(ctx, req)
	return &crmv1.UpdateRecordResponse{Record: r}, err
}

type token string

func (t token) Token(context.Context) (string, error) { return string(t), nil }

// start serves s on a port and returns a client to it and what takes the server away.
func start(t *testing.T, s *server) (client *crm.Client, stop func()) {
	t.Helper()
	tel, err := telemetry.New(t.Context(), telemetry.Options{Service: "test", Writer: t.Output()})
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	g := grpc.NewServer(grpc.ChainUnaryInterceptor(grpcfault.UnaryServer(tel.Logger)))
	crmv1.RegisterCrmServiceServer(g, s)
	served := make(chan error, 1)
	go func() { served <- g.Serve(listener) }()
	stopped := false
	stop = func() {
		if !stopped {
			stopped = true
			g.Stop()
			if err := <-served; err != nil && !errors.Is(err, grpc.ErrServerStopped) {
				t.Errorf("serve: %v", err)
			}
		}
	}
	conn, err := grpcclient.Dial(listener.Addr().String(), grpcclient.Options{Telemetry: tel, TokenSource: token("own")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = conn.Close()
		stop()
		_ = tel.Shutdown(context.WithoutCancel(t.Context()))
	})
	return crm.New(conn), stop
}

func call(params map[string]any) action.Call {
	return action.Call{Tenant: "acme", IdempotencyKey: "e1/update", Attempt: 1, Params: params}
}

func aRecord(t *testing.T) *crmv1.Record {
	t.Helper()
	fields, err := structpb.NewStruct(map[string]any{"status": "new", "score": 7.0, "tags": []any{"a"}, "none": nil})
	if err != nil {
		t.Fatal(err)
	}
	at := timestamppb.New(time.Date(2026, 11, 3, 8, 0, 0, 0, time.UTC))
	return &crmv1.Record{Module: "leads", Id: "lead-1001", Fields: fields, Version: 3, CreateTime: at, UpdateTime: at}
}

const recordJSON = `{"id":"lead-1001","module":"leads","version":3,"fields":{"none":null,"score":7,"status":"new","tags":["a"]},` +
	`"create_time":"2026-11-03T08:00:00Z","update_time":"2026-11-03T08:00:00Z"}`

func TestClient_GetRecord(t *testing.T) {
	var got *crmv1.GetRecordRequest
	var auth []string
	client, _ := start(t, &server{get: func(ctx context.Context, req *crmv1.GetRecordRequest) (*crmv1.Record, error) {
		md, _ := metadata.FromIncomingContext(ctx)
		got, auth = req, md.Get("authorization")
		return aRecord(t), nil
	}})
	for name, id := range map[string]any{"text": "1001", "whole_number": int64(1001), "double": 1001.0} {
		t.Run(name, func(t *testing.T) {
			o := client.Handlers()[action.CRMGetRecord].Do(t.Context(), call(map[string]any{"module": "leads", "id": id}))
			if o.Err != nil || string(o.Output) != recordJSON {
				t.Fatalf("got %s, %+v; want %s", o.Output, o.Err, recordJSON)
			}
			want := &crmv1.GetRecordRequest{Tenant: "acme", Module: "leads", Id: "1001"}
			if diff := cmp.Diff(want, got, protocmp.Transform()); diff != "" {
				t.Errorf("request (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff([]string{"Bearer own"}, auth); diff != "" {
				t.Errorf("authorization (-want +got):\n%s", diff)
			}
		})
	}
}

func TestClient_UpdateRecord(t *testing.T) {
	var got *crmv1.UpdateRecordRequest
	client, _ := start(t, &server{update: func(_ context.Context, req *crmv1.UpdateRecordRequest) (*crmv1.Record, error) {
		got = req
		return aRecord(t), nil
	}})
	o := client.Handlers()[action.CRMUpdateRecord].Do(t.Context(), call(map[string]any{
		"module": "leads", "id": "lead-1001", "fields": map[string]any{"status": "contacted", "calls": int64(2), "note": nil},
	}))
	if o.Err != nil || string(o.Output) != recordJSON {
		t.Fatalf("got %s, %+v; want %s", o.Output, o.Err, recordJSON)
	}
	fields, err := structpb.NewStruct(map[string]any{"status": "contacted", "calls": 2.0, "note": nil})
	if err != nil {
		t.Fatal(err)
	}
	want := &crmv1.UpdateRecordRequest{Tenant: "acme", Module: "leads", Id: "lead-1001", Fields: fields, RequestId: "e1/update"}
	if diff := cmp.Diff(want, got, protocmp.Transform()); diff != "" {
		t.Errorf("request (-want +got):\n%s", diff)
	}
}

func TestClient_failures(t *testing.T) {
	cases := map[string]struct {
		err  error
		want run.Error
		wait time.Duration
	}{
		"not_found":   {fault.NotFound("RECORD_NOT_FOUND", "x"), run.Error{Reason: "RECORD_NOT_FOUND", Message: "there is no record lead-1 in the module leads"}, 0},
		"invalid":     {fault.Invalid(fault.Violation{Field: "id", Description: "too long"}), run.Error{Reason: "ACTION_PARAMS", Message: "the CRM refused the parameters: id: too long"}, 0},
		"forbidden":   {fault.PermissionDenied("INTERNAL_METHOD", "no"), run.Error{Reason: "INTERNAL_METHOD", Message: "the CRM refused the call: no"}, 0},
		"key_reused":  {fault.FailedPrecondition("REQUEST_ID_REUSED", "used"), run.Error{Reason: "REQUEST_ID_REUSED", Message: "the CRM refused the call: used"}, 0},
		"unavailable": {fault.Unavailable("DATABASE_UNAVAILABLE", "away").WithRetryAfter(2 * time.Second), run.Error{Reason: "TARGET_UNREACHABLE", Message: "the CRM did not do its work: away", Retryable: true}, 2 * time.Second},
		"deadline":    {context.DeadlineExceeded, run.Error{Reason: "STEP_TIMEOUT", Message: "the CRM did not answer within the step's time limit", Retryable: true}, 0},
		"defect":      {errors.New("nil map"), run.Error{Reason: "TARGET_UNREACHABLE", Message: "the CRM did not do its work: internal error", Retryable: true}, 0},
		"aborted":     {fault.Aborted("RECORD_VERSION", "changed"), run.Error{Reason: "RECORD_VERSION", Message: "the CRM refused the change: changed", Retryable: true}, 0},
	}
	params := map[string]any{
		"module": "leads", "id": "lead-1", "fields": map[string]any{"a": "b"}, "title": "t", "text": "t", "strategy": "ROUND_ROBIN",
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			client, _ := start(t, &server{
				get:    func(context.Context, *crmv1.GetRecordRequest) (*crmv1.Record, error) { return nil, tc.err },
				update: func(context.Context, *crmv1.UpdateRecordRequest) (*crmv1.Record, error) { return nil, tc.err },
				create: func(context.Context, *crmv1.CreateRecordRequest) (*crmv1.Record, error) { return nil, tc.err },
				assign: func(context.Context, *crmv1.AssignRecordRequest) (*crmv1.Record, error) { return nil, tc.err },
				search: func(context.Context, *crmv1.SearchRecordsRequest) (*crmv1.SearchRecordsResponse, error) {
					return nil, tc.err
				},
			})
			for which, h := range client.Handlers() {
				o := h.Do(t.Context(), call(params))
				if diff := cmp.Diff(&tc.want, o.Err); diff != "" {
					t.Errorf("%s (-want +got):\n%s", which, diff)
				}
				if o.RetryAfter != tc.wait {
					t.Errorf("%s: retry after %v, want %v", which, o.RetryAfter, tc.wait)
				}
			}
		})
	}
	t.Run("aborted_for_the_expected_version", func(t *testing.T) {
		// Another attempt would expect the same version.
		client, _ := start(t, &server{update: func(context.Context, *crmv1.UpdateRecordRequest) (*crmv1.Record, error) {
			return nil, fault.Aborted("RECORD_VERSION", "changed")
		}})
		o := client.Handlers()[action.CRMUpdateRecord].Do(t.Context(), call(map[string]any{
			"module": "leads", "id": "lead-1", "fields": map[string]any{"a": "b"}, "expected_version": int64(3),
		}))
		if o.Err == nil || o.Err.Reason != "RECORD_VERSION" || o.Err.Retryable {
			t.Errorf("got %+v, want RECORD_VERSION, not retryable", o.Err)
		}
	})
	t.Run("what_is_missing_has_a_name", func(t *testing.T) {
		for want, metadata := range map[string][2]string{
			"there is no record sales in the module groups": {"groups", "sales"},
			"the CRM has no module ships":                   {"ships", ""},
		} {
			client, _ := start(t, &server{assign: func(context.Context, *crmv1.AssignRecordRequest) (*crmv1.Record, error) {
				return nil, fault.NotFound("RECORD_NOT_FOUND", "x").With("module", metadata[0]).With("id", metadata[1])
			}})
			o := client.Handlers()[action.CRMAssign].Do(t.Context(), call(params))
			if o.Err == nil || o.Err.Message != want {
				t.Errorf("got %+v, want %s", o.Err, want)
			}
		}
	})
	t.Run("server_gone", func(t *testing.T) {
		client, stop := start(t, &server{})
		stop()
		o := client.Handlers()[action.CRMGetRecord].Do(t.Context(), call(params))
		want := &run.Error{Reason: "TARGET_UNREACHABLE", Message: "the CRM did not do its work: a service is not available", Retryable: true}
		if diff := cmp.Diff(want, o.Err); diff != "" {
			t.Errorf("error (-want +got):\n%s", diff)
		}
	})
	t.Run("hangs", func(t *testing.T) {
		client, _ := start(t, &server{get: func(ctx context.Context, _ *crmv1.GetRecordRequest) (*crmv1.Record, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		}})
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		o := client.Handlers()[action.CRMGetRecord].Do(ctx, call(params))
		if o.Err == nil || o.Err.Reason != "STEP_TIMEOUT" || !o.Err.Retryable {
			t.Errorf("got %+v, want STEP_TIMEOUT, retryable", o.Err)
		}
	})
}
