package edge

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"
	"go.uber.org/goleak"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"workflow.uniconnect/pkg/fault"
	"workflow.uniconnect/pkg/grpcfault"
	"workflow.uniconnect/pkg/telemetry"

	workflowv1 "workflow.uniconnect/proto/gen/go/uniconnect/workflow/v1"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestBinding_every_route_of_the_mux_has_one(t *testing.T) {
	bindings, err := publicBindings()
	if err != nil {
		t.Fatal(err)
	}
	for key, b := range bindings {
		if !b.matches(strings.NewReplacer("{id}", "1", "{workflow.id}", "1", "{workflow_id}", "1").Replace(b.template)) {
			t.Errorf("%s does not match its own template", key)
		}
		if strings.Contains(b.rpc, ".peer.") {
			t.Errorf("%s leads to an internal service", key)
		}
	}
	if len(bindings) < 14 {
		t.Errorf("got %d bindings", len(bindings))
	}
	e := &Edge{bindings: bindings}
	if diff := cmp.Diff([]string{"DELETE", "GET", "PATCH"}, e.allowed("/v1/workflows/7")); diff != "" {
		t.Errorf("allowed (-want +got):\n%s", diff)
	}
	if got := e.allowed("/v1/workflows/7:activate"); len(got) != 1 || got[0] != "POST" {
		t.Errorf("allowed for a verb: got %v", got)
	}
}

func TestBinding_takes(t *testing.T) {
	bindings, err := publicBindings()
	if err != nil {
		t.Fatal(err)
	}
	patch := bindings["PATCH /v1/workflows/{workflow.id=*}"]
	if patch == nil {
		t.Fatal("no binding for PATCH")
	}
	for parameter, want := range map[string]bool{
		"updateMask": true, "update_mask": true, "requestId": true, "workflow.title": false, "workflow.id": false, "workflow": false, "x": false, "": false, "update_mask.x": false,
	} {
		if got := patch.takes(parameter); got != want {
			t.Errorf("takes(%q): got %v, want %v", parameter, got, want)
		}
	}
}

// TestMux_stream shows the form of streams, which no service has yet.
func TestMux_stream(t *testing.T) {
	lines := func(t *testing.T, messages int, end error) (int, []string) {
		t.Helper()
		e := &Edge{}
		mux, err := e.newMux(t.Context(), &conn{}, &conn{}, &conn{})
		if err != nil {
			t.Fatal(err)
		}
		r := httptest.NewRequestWithContext(withCall(t.Context(), &call{}), "GET", "/v1/workflows:watch", nil)
		w := httptest.NewRecorder()
		recv := func() (proto.Message, error) {
			if messages == 0 {
				return nil, end
			}
			messages--
			return &workflowv1.ListWorkflowsResponse{}, nil
		}
		ctx := runtime.NewServerMetadataContext(r.Context(), runtime.ServerMetadata{})
		runtime.ForwardResponseStream(ctx, mux.(*runtime.ServeMux), newMarshaler(), w, r, recv)
		return w.Code, strings.Split(strings.TrimSpace(strings.ReplaceAll(w.Body.String(), ": ", ":")), "\n")
	}
	away := grpcfault.FromStatus(status.New(codes.Unavailable, "dial tcp 10.0.0.1:9101").Err())
	code, got := lines(t, 1, away)
	if code != 200 || len(got) != 2 || !strings.HasPrefix(got[0], `{"result":{`) {
		t.Fatalf("got %d %q", code, got)
	}
	var last problem
	if err := json.Unmarshal([]byte(got[1]), &last); err != nil {
		t.Fatal(err)
	}
	if last.Error.Code != 503 || last.Error.Status != "UNAVAILABLE" || len(last.Error.Details) == 0 || strings.Contains(got[1], "10.0.0.1") {
		t.Errorf("last line: got %s", got[1])
	}
	if code, got := lines(t, 0, fault.NotFound("WORKFLOW_NOT_FOUND", "gone")); code != 404 || !strings.Contains(got[0], "WORKFLOW_NOT_FOUND") {
		t.Errorf("failed before the first line: got %d %q", code, got)
	}
	if _, got := lines(t, 2, io.EOF); len(got) != 2 {
		t.Errorf("ended well: got %q", got)
	}
}

func TestObserve_panic(t *testing.T) {
	h, err := observe(telemetry.Discard(), http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic("secret at 10.0.0.1") }))
	if err != nil {
		t.Fatal(err)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), "GET", "/v1/workflows", nil))
	if w.Code != 500 || strings.Contains(w.Body.String(), "secret") || !strings.Contains(w.Body.String(), `"reason":"INTERNAL"`) {
		t.Errorf("got %d %s", w.Code, w.Body)
	}
}

func TestObserve_panic_in_the_middle_of_an_answer_cuts_the_connection(t *testing.T) {
	h, err := observe(telemetry.Discard(), http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, `{"half":`)
		panic("broken")
	}))
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		err, ok := recover().(error)
		if !ok || !errors.Is(err, http.ErrAbortHandler) {
			t.Errorf("got %v, want http.ErrAbortHandler", err)
		}
	}()
	h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequestWithContext(t.Context(), "GET", "/", nil))
}

func TestTimeoutOf(t *testing.T) {
	for text, want := range map[string]string{
		"": "0s", "5S": "5s", "250m": "250ms", "999999H": "30s", "99999999S": "30s", "31S": "30s", "1n": "1ns",
	} {
		if got, err := timeoutOf(text); err != nil || got.String() != want {
			t.Errorf("%q: got %v %v, want %s", text, got, err, want)
		}
	}
	for _, text := range []string{"5", "S", "-1S", "1.5S", "5s", "999999999S", "5S ", "١S"} {
		if _, err := timeoutOf(text); fault.KindOf(err) != fault.KindInvalidArgument {
			t.Errorf("%q: got %v, want INVALID_ARGUMENT", text, err)
		}
	}
	if _, err := timeoutOf("0n"); fault.KindOf(err) != fault.KindDeadlineExceeded {
		t.Errorf("0n: got %v, want DEADLINE_EXCEEDED", err)
	}
}

func TestHTTPStatus_every_kind_has_one(t *testing.T) {
	for k := fault.KindInvalidArgument; k <= fault.KindInternal; k++ {
		f := publicFault(&fault.Error{Kind: k, Reason: "X", Message: "m"})
		if code := httpStatus(f, &call{}); code < 400 || (code >= 500) != (k == fault.KindUnimplemented || k == fault.KindUnavailable || k == fault.KindDeadlineExceeded || k == fault.KindInternal) {
			t.Errorf("%v: got %d", k, code)
		}
	}
	if f := publicFault(errors.Join(context.DeadlineExceeded)); f.Kind != fault.KindDeadlineExceeded {
		t.Errorf("got %v", f.Kind)
	}
}
