package sandbox_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/types/known/structpb"

	"workflow.uniconnect/pkg/auth"
	"workflow.uniconnect/pkg/config"
	"workflow.uniconnect/pkg/fault"
	"workflow.uniconnect/pkg/grpcclient"
	"workflow.uniconnect/pkg/lifecycle"
	"workflow.uniconnect/pkg/pgtest"
	"workflow.uniconnect/pkg/service"
	crmv1 "workflow.uniconnect/proto/gen/go/uniconnect/crm/v1"
	"workflow.uniconnect/services/sandbox"
)

func TestMain(m *testing.M) { os.Exit(pgtest.Main(m)) }

func migrate(ctx context.Context, url string) error {
	return sandbox.Migrate(ctx, config.Settings{DatabaseURL: config.Secret(url)})
}

// running is a sandbox on a database of its own.
type running struct {
	t        testing.TB
	settings config.Settings
	url      string
	deps     service.Deps
	service  *sandbox.Service
	stop     func()
}

func start(t testing.TB) *running {
	t.Helper()
	return startOn(t, config.Settings{
		Dev: true, DataDir: filepath.Join(t.TempDir(), "data"), DatabaseURL: config.Secret(pgtest.New(t, migrate)),
		SandboxAddr: "127.0.0.1:0", SandboxGRPCAddr: "127.0.0.1:0",
		LogLevel: slog.LevelWarn,
	})
}

func startOn(t testing.TB, settings config.Settings) *running {
	t.Helper()
	var stack lifecycle.Stack
	deps, err := service.NewDeps(t.Context(), "sandbox", settings, &stack)
	if err != nil {
		t.Fatal(err)
	}
	s, err := sandbox.New(t.Context(), deps)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	stop := sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("run: %v", err)
		}
		if err := stack.Close(context.WithoutCancel(t.Context())); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	t.Cleanup(stop)
	return &running{t: t, settings: settings, url: "http://" + s.Addr(), deps: deps, service: s, stop: stop}
}

// do makes an HTTP call and returns the status and the body.
func (r *running) do(method, path, body string) (int, string) {
	r.t.Helper()
	req, err := http.NewRequestWithContext(r.t.Context(), method, r.url+path, strings.NewReader(body))
	if err != nil {
		r.t.Fatal(err)
	}
	req.Header.Set("X-Test", "yes")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		r.t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		r.t.Fatal(err)
	}
	return resp.StatusCode, string(text)
}

// get decodes a JSON answer.
func (r *running) get(path string, into any) {
	r.t.Helper()
	status, body := r.do(http.MethodGet, path, "")
	if status != http.StatusOK {
		r.t.Fatalf("%s: got %d %s", path, status, body)
	}
	if err := json.Unmarshal([]byte(body), into); err != nil {
		r.t.Fatalf("%s: %v: %s", path, err, body)
	}
}

// crm returns a client with the identity of a service.
func (r *running) crm(source grpcclient.TokenSource) crmv1.CrmServiceClient {
	r.t.Helper()
	conn, err := grpcclient.Dial(r.service.GRPCAddr(), grpcclient.Options{Telemetry: r.deps.Telemetry, TokenSource: source})
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { _ = conn.Close() })
	return crmv1.NewCrmServiceClient(conn)
}

func fields(t *testing.T, values map[string]any) *structpb.Struct {
	t.Helper()
	s, err := structpb.NewStruct(values)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func wantReason(t *testing.T, err error, kind fault.Kind, reason fault.Reason) {
	t.Helper()
	f, ok := fault.As(err)
	if !ok || f.Kind != kind || f.Reason != reason {
		t.Errorf("got %v, want %v %s", err, kind, reason)
	}
}

func TestCRM_over_gRPC(t *testing.T) {
	t.Parallel()
	r := start(t)
	client := r.crm(r.deps.TokenSource)
	lead := func() *crmv1.Record {
		t.Helper()
		resp, err := client.GetRecord(t.Context(), &crmv1.GetRecordRequest{Tenant: "acme", Module: "leads", Id: "lead-1001"})
		if err != nil {
			t.Fatal(err)
		}
		return resp.GetRecord()
	}
	seed := map[string]any{
		"name": "Lead 1001", "phone": "+12025550101", "email": "lead-1001@example.com", "status": "new", "score": 5.0, "owner": "user-100",
	}
	if diff := cmp.Diff(seed, lead().GetFields().AsMap()); diff != "" {
		t.Fatalf("seed (-want +got):\n%s", diff)
	}

	change := &crmv1.UpdateRecordRequest{
		Tenant: "acme", Module: "leads", Id: "lead-1001", RequestId: "e1/update", ExpectedVersion: 1,
		Fields: fields(t, map[string]any{"status": "contacted", "owner": nil, "last_call_time": "2026-11-03T08:00:00Z"}),
	}
	want := map[string]any{
		"name": "Lead 1001", "phone": "+12025550101", "email": "lead-1001@example.com", "status": "contacted", "score": 5.0,
		"last_call_time": "2026-11-03T08:00:00Z",
	}
	var first *crmv1.Record
	for attempt := range 3 {
		resp, err := client.UpdateRecord(t.Context(), change)
		if err != nil {
			t.Fatalf("attempt %d: %v", attempt, err)
		}
		got := resp.GetRecord()
		if diff := cmp.Diff(want, got.GetFields().AsMap()); diff != "" || got.GetVersion() != 2 {
			t.Errorf("attempt %d: version %d, fields (-want +got):\n%s", attempt, got.GetVersion(), diff)
		}
		if first == nil {
			first = got
		}
		if !got.GetUpdateTime().AsTime().Equal(first.GetUpdateTime().AsTime()) {
			t.Errorf("attempt %d: changed again at %v", attempt, got.GetUpdateTime().AsTime())
		}
	}
	if got := lead().GetVersion(); got != 2 {
		t.Errorf("version after three attempts: got %d, want 2", got)
	}

	t.Run("same_request_id_with_other_values", func(t *testing.T) {
		// A second attempt of a step may have computed a time anew: the first one counts.
		resp, err := client.UpdateRecord(t.Context(), &crmv1.UpdateRecordRequest{
			Tenant: "acme", Module: "leads", Id: "lead-1001", RequestId: "e1/update", Fields: fields(t, map[string]any{"a": 1}),
		})
		if err != nil || resp.GetRecord().GetVersion() != 2 {
			t.Errorf("got %v, %v; want the first answer", resp.GetRecord(), err)
		}
	})
	t.Run("same_request_id_for_another_record", func(t *testing.T) {
		_, err := client.UpdateRecord(t.Context(), &crmv1.UpdateRecordRequest{
			Tenant: "acme", Module: "leads", Id: "lead-1002", RequestId: "e1/update", Fields: fields(t, map[string]any{"a": 1}),
		})
		wantReason(t, err, fault.KindFailedPrecondition, "REQUEST_ID_REUSED")
	})
	t.Run("another_version", func(t *testing.T) {
		_, err := client.UpdateRecord(t.Context(), &crmv1.UpdateRecordRequest{
			Tenant: "acme", Module: "leads", Id: "lead-1001", RequestId: "r2", ExpectedVersion: 1, Fields: fields(t, map[string]any{"a": 1}),
		})
		wantReason(t, err, fault.KindAborted, "RECORD_VERSION")
	})
	t.Run("another_tenant_has_its_own", func(t *testing.T) {
		resp, err := client.GetRecord(t.Context(), &crmv1.GetRecordRequest{Tenant: "globex", Module: "leads", Id: "lead-1001"})
		if err != nil || resp.GetRecord().GetFields().AsMap()["status"] != "new" {
			t.Errorf("got %v, %v; want the untouched lead of globex", resp, err)
		}
		_, err = client.GetRecord(t.Context(), &crmv1.GetRecordRequest{Tenant: "globex", Module: "leads", Id: "lead-1020"})
		wantReason(t, err, fault.KindNotFound, "RECORD_NOT_FOUND")
	})
	t.Run("no_such_record", func(t *testing.T) {
		_, err := client.UpdateRecord(t.Context(), &crmv1.UpdateRecordRequest{
			Tenant: "acme", Module: "ships", Id: "x", RequestId: "r3", Fields: fields(t, map[string]any{"a": 1}),
		})
		wantReason(t, err, fault.KindNotFound, "RECORD_NOT_FOUND")
	})
	t.Run("text_that_cannot_be_stored", func(t *testing.T) {
		_, err := client.UpdateRecord(t.Context(), &crmv1.UpdateRecordRequest{
			Tenant: "acme", Module: "leads", Id: "lead-1003", RequestId: "r4", Fields: fields(t, map[string]any{"a": "x\x00y"}),
		})
		wantReason(t, err, fault.KindInvalidArgument, "INVALID_FIELDS")
	})
	t.Run("invalid_request", func(t *testing.T) {
		_, err := client.GetRecord(t.Context(), &crmv1.GetRecordRequest{Tenant: "A", Module: "leads", Id: "x"})
		wantReason(t, err, fault.KindInvalidArgument, "INVALID_FIELDS")
	})
}

func TestCRM_concurrent_updates(t *testing.T) {
	t.Parallel()
	r := start(t)
	client := r.crm(r.deps.TokenSource)
	const changes, attempts = 20, 3
	var wg sync.WaitGroup
	for i := range changes {
		for range attempts {
			wg.Go(func() {
				_, err := client.UpdateRecord(t.Context(), &crmv1.UpdateRecordRequest{
					Tenant: "acme", Module: "leads", Id: "lead-1001", RequestId: fmt.Sprintf("r%d", i),
					Fields: fields(t, map[string]any{fmt.Sprintf("f%d", i): 1}),
				})
				if err != nil {
					t.Error(err)
				}
			})
		}
	}
	wg.Wait()
	resp, err := client.GetRecord(t.Context(), &crmv1.GetRecordRequest{Tenant: "acme", Module: "leads", Id: "lead-1001"})
	if err != nil {
		t.Fatal(err)
	}
	if got := resp.GetRecord().GetVersion(); got != 1+changes {
		t.Errorf("version: got %d, want %d: each change once", got, 1+changes)
	}
	if got := len(resp.GetRecord().GetFields().GetFields()); got != 6+changes {
		t.Errorf("fields: got %d, want %d: none lost", got, 6+changes)
	}
}

type fixedToken string

func (f fixedToken) Token(context.Context) (string, error) { return string(f), nil }

func TestCRM_is_for_services(t *testing.T) {
	t.Parallel()
	r := start(t)
	issuer, err := auth.OpenIssuer(r.settings.DataDir)
	if err != nil {
		t.Fatal(err)
	}
	issue := func(p auth.Principal) fixedToken {
		t.Helper()
		token, err := issuer.Issue(p, time.Minute)
		if err != nil {
			t.Fatal(err)
		}
		return fixedToken(token)
	}
	req := &crmv1.GetRecordRequest{Tenant: "acme", Module: "leads", Id: "lead-1001"}
	_, err = r.crm(nil).GetRecord(t.Context(), req)
	wantReason(t, err, fault.KindUnauthenticated, "TOKEN_MISSING")
	_, err = r.crm(issue(auth.Principal{Tenant: "acme", Subject: "owner", Kind: auth.User})).GetRecord(t.Context(), req)
	wantReason(t, err, fault.KindPermissionDenied, "INTERNAL_METHOD")
	_, err = r.crm(issue(auth.Principal{Tenant: "globex", Subject: "bound", Kind: auth.Service})).GetRecord(t.Context(), req)
	wantReason(t, err, fault.KindNotFound, "RECORD_NOT_FOUND")
}

func TestCRM_over_HTTP(t *testing.T) {
	t.Parallel()
	r := start(t)
	var list struct {
		Records []struct {
			ID, Module, Status string
			Version            int
			Fields             map[string]any
		}
	}
	r.get("/crm/leads", &list)
	if len(list.Records) != 20 || list.Records[0].ID != "lead-1001" || list.Records[19].ID != "lead-1020" {
		t.Fatalf("got %+v, want lead-1001 to lead-1020", list)
	}
	if first := list.Records[0]; first.Status != "new" || first.Fields["status"] != "new" || first.Module != "leads" || first.Version != 1 {
		t.Errorf("got %+v, want status new, at the top and among the fields", first)
	}
	for module, want := range map[string]int{"contacts": 20, "organizations": 5, "tickets": 5, "tasks": 1, "notes": 1, "users": 10, "groups": 2, "leads?tenant=globex": 3} {
		list.Records = nil
		if r.get("/crm/"+module, &list); len(list.Records) != want {
			t.Errorf("%s: got %d records, want %d", module, len(list.Records), want)
		}
	}

	update := func(id string) {
		t.Helper()
		_, err := r.crm(r.deps.TokenSource).UpdateRecord(t.Context(), &crmv1.UpdateRecordRequest{
			Tenant: "acme", Module: "leads", Id: id, RequestId: "r/" + id, Fields: fields(t, map[string]any{"status": "contacted", "id": "mine"}),
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	type lead struct{ ID, Status string }
	wantLead := func(id, status string) {
		t.Helper()
		var got lead
		r.get("/crm/leads/"+id, &got)
		if got != (lead{id, status}) {
			t.Errorf("got %+v, want %s %s", got, id, status)
		}
	}
	update("lead-1001")
	update("lead-1002")
	wantLead("lead-1001", "contacted")
	if status, body := r.do(http.MethodDelete, "/crm/leads/lead-1001", ""); status != http.StatusNoContent {
		t.Fatalf("got %d %s", status, body)
	}
	wantLead("lead-1001", "new")
	wantLead("lead-1002", "contacted")
	update("lead-1001") // the request id was forgotten with the record
	wantLead("lead-1001", "contacted")
	if status, body := r.do(http.MethodDelete, "/crm/leads", ""); status != http.StatusNoContent {
		t.Fatalf("got %d %s", status, body)
	}
	wantLead("lead-1001", "new")
	wantLead("lead-1002", "new")

	for path, want := range map[string]int{
		"GET /crm/ships": 404, "GET /crm/leads/lead-9": 404, "GET /crm/leads?tenant=A.b": 400, "POST /crm/leads": 405, "GET /nothing": 404,
		"PUT /crm/leads/lead-1001": 405,
	} {
		method, target, _ := strings.Cut(path, " ")
		status, body := r.do(method, target, "")
		if status != want || !strings.Contains(body, `"error":{`) {
			t.Errorf("%s: got %d %s, want %d", path, status, body, want)
		}
	}
}

func TestNew_refuses_production(t *testing.T) {
	t.Parallel()
	if _, err := sandbox.New(t.Context(), service.Deps{}); err == nil || !strings.Contains(err.Error(), "--dev") {
		t.Errorf("got %v, want an error that names --dev", err)
	}
}
