package security

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/api/annotations"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	"workflow.uniconnect/pkg/fault"
	"workflow.uniconnect/pkg/grpcfault"
	"workflow.uniconnect/pkg/rest"
	"workflow.uniconnect/test/stack"
)

type message = proto.Message

// answer is what a client gets, over either protocol.
type answer struct {
	code codes.Code
	// status is that of HTTP; 0 over gRPC.
	status   int
	header   http.Header
	reason   string
	metadata map[string]string
	fields   []string
	// text is everything that the client can read of a refusal, body that of any answer over HTTP.
	text, body string
	retry      time.Duration
	response   message
}

func (a answer) refused() bool { return a.code != codes.OK }

func (a answer) unexpected() error {
	return fmt.Errorf("unexpected answer %s %d %s %s", a.code, a.status, a.reason, a.text)
}

// awaitRetry waits as long as the answer says.
func (a answer) awaitRetry(t *testing.T) {
	t.Helper()
	if a.retry <= 0 {
		t.Fatalf("%s %s does not say when to come again: %s", a.code, a.reason, a.text)
	}
	timer := time.NewTimer(a.retry)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-t.Context().Done():
		t.Fatal(t.Context().Err())
	}
}

// answerOf reads an error of either protocol.
func answerOf(err error) answer {
	if _, ok := fault.As(err); ok {
		err = grpcfault.ToStatus(err) // REST's client returns faults
	}
	s := status.Convert(err)
	a := answer{code: s.Code(), text: s.Message()}
	for _, detail := range s.Details() {
		switch d := detail.(type) {
		case *errdetails.ErrorInfo:
			if d.GetDomain() == "workflow.uniconnect" {
				a.reason, a.metadata = d.GetReason(), d.GetMetadata()
			}
		case *errdetails.BadRequest:
			for _, v := range d.GetFieldViolations() {
				a.fields = append(a.fields, v.GetField()+": "+v.GetDescription()+" ("+v.GetReason()+")")
			}
		case *errdetails.RetryInfo:
			a.retry = d.GetRetryDelay().AsDuration()
		}
	}
	if encoded, encodeErr := protojson.Marshal(s.Proto()); encodeErr == nil && err != nil {
		a.text = string(encoded)
	}
	return a
}

// face is one of the two protocols.
type face interface {
	// call makes the RPC whose request this is. An empty token is not sent.
	call(t *testing.T, token string, request message, extra ...string) answer
	name() string
}

func (s *system) faces() []face { return []face{s.grpc, s.rest} }

// methodOf finds the RPC of a request: no two have the same.
func methodOf(t *testing.T, request message) protoreflect.MethodDescriptor {
	t.Helper()
	file := request.ProtoReflect().Descriptor().ParentFile()
	var found protoreflect.MethodDescriptor
	protoregistry.GlobalFiles.RangeFilesByPackage(file.Package(), func(f protoreflect.FileDescriptor) bool {
		for _, m := range methodsIn(f) {
			if m.Input().FullName() == request.ProtoReflect().Descriptor().FullName() {
				found = m
			}
		}
		return found == nil
	})
	if found == nil {
		t.Fatalf("no RPC takes %T", request)
	}
	return found
}

func methodsIn(f protoreflect.FileDescriptor) []protoreflect.MethodDescriptor {
	var all []protoreflect.MethodDescriptor
	for i := range f.Services().Len() {
		methods := f.Services().Get(i).Methods()
		for j := range methods.Len() {
			all = append(all, methods.Get(j))
		}
	}
	return all
}

func fullName(m protoreflect.MethodDescriptor) string {
	return fmt.Sprintf("/%s/%s", m.Parent().FullName(), m.Name())
}

func hasRoute(m protoreflect.MethodDescriptor) bool {
	return proto.HasExtension(m.Options(), annotations.E_Http)
}

func newMessage(t *testing.T, d protoreflect.MessageDescriptor) message {
	t.Helper()
	kind, err := protoregistry.GlobalTypes.FindMessageByName(d.FullName())
	if err != nil {
		t.Fatal(err)
	}
	return kind.New().Interface()
}

// invoke makes a call over a connection. Of a stream, the first message is the answer.
func invoke(ctx context.Context, t *testing.T, conn grpc.ClientConnInterface, request message) (message, error) {
	t.Helper()
	m := methodOf(t, request)
	response := newMessage(t, m.Output())
	if !m.IsStreamingServer() {
		return response, conn.Invoke(ctx, fullName(m), request, response)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := conn.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true}, fullName(m))
	if err != nil {
		return nil, err
	}
	if err := errors.Join(stream.SendMsg(request), stream.CloseSend()); err != nil {
		return nil, err
	}
	if err := stream.RecvMsg(response); !errors.Is(err, io.EOF) {
		return response, err
	}
	return response, nil
}

// grpcFace calls each service where it listens.
type grpcFace struct{ catalog, scheduler, executor *grpc.ClientConn }

func newGRPCFace(t *testing.T, s *stack.Stack) *grpcFace {
	t.Helper()
	return &grpcFace{dial(t, s.CatalogAddr), dial(t, s.SchedulerAddrs[0]), dial(t, s.ExecutorAddrs[0])}
}

func dial(t *testing.T, addr string) *grpc.ClientConn {
	t.Helper()
	conn, err := grpc.NewClient(addr, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

func (f *grpcFace) name() string { return "grpc" }

// connTo returns the connection to the service that serves a method.
func (f *grpcFace) connTo(m protoreflect.MethodDescriptor) *grpc.ClientConn {
	switch m.Parent().Name() {
	case "TriggerSchedulerService", "TriggerService":
		return f.scheduler
	case "ExecutorService", "StartService", "TenantDataService":
		return f.executor
	default:
		return f.catalog
	}
}

func (f *grpcFace) call(t *testing.T, token string, request message, extra ...string) answer {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), soon)
	defer cancel()
	if token != "" {
		extra = append(extra, "authorization", "Bearer "+token)
	}
	ctx = metadata.AppendToOutgoingContext(ctx, extra...)
	response, err := invoke(ctx, t, f.connTo(methodOf(t, request)), request)
	a := answerOf(err)
	a.response = response
	return a
}

// restFace calls the gateway.
type restFace struct {
	base   string
	client *http.Client
}

func newRESTFace(t *testing.T, s *stack.Stack) *restFace {
	t.Helper()
	transport := &http.Transport{MaxIdleConnsPerHost: 16, DisableCompression: true}
	t.Cleanup(transport.CloseIdleConnections)
	return &restFace{base: s.RESTURL, client: &http.Client{Transport: transport, Timeout: soon}}
}

func (f *restFace) name() string { return "rest" }

// recorder keeps what the gateway answered to the last request.
type recorder struct {
	next   http.RoundTripper
	extra  []string
	status int
	header http.Header
}

func (r *recorder) RoundTrip(req *http.Request) (*http.Response, error) {
	for i := 0; i+1 < len(r.extra); i += 2 {
		req.Header.Set(r.extra[i], r.extra[i+1])
	}
	res, err := r.next.RoundTrip(req)
	if err == nil {
		r.status, r.header = res.StatusCode, res.Header
	}
	return res, err
}

func (f *restFace) call(t *testing.T, token string, request message, extra ...string) answer {
	t.Helper()
	last := &recorder{next: f.client.Transport, extra: extra}
	conn, err := rest.Dial(f.base, rest.Options{
		Token:   func(context.Context) (string, error) { return token, nil },
		Headers: map[protoreflect.Name]string{"request_id": "Idempotency-Key"}, Transport: last, Timeout: soon,
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), soon)
	defer cancel()
	response, err := invoke(ctx, t, conn, request)
	a := answerOf(err)
	if last.status == 0 {
		t.Fatalf("%T was not sent: %v", request, err)
	}
	a.response, a.status, a.header = response, last.status, last.header
	a.addRetry()
	return a
}

// addRetry takes the header's word over the body's: it is what HTTP clients read.
func (a *answer) addRetry() {
	if seconds, err := strconv.Atoi(a.header.Get("Retry-After")); err == nil {
		a.retry = time.Duration(seconds) * time.Second
	}
}

// send makes a request as it is and reads the error in the answer, if it is one.
func (f *restFace) send(t *testing.T, r *http.Request) answer {
	t.Helper()
	res, err := f.client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	a := answer{status: res.StatusCode, header: res.Header, body: string(body)}
	if res.StatusCode >= http.StatusBadRequest {
		a = restProblem(t, body)
		a.status, a.header, a.body, a.text = res.StatusCode, res.Header, string(body), string(body)
		a.addRetry()
	}
	return a
}

// restProblem reads the body of an answer that is an error.
func restProblem(t *testing.T, body []byte) answer {
	t.Helper()
	conn, err := rest.Dial("http://replay.test", rest.Options{Transport: replay(body)})
	if err != nil {
		t.Fatal(err)
	}
	m, err := protoregistry.GlobalFiles.FindDescriptorByName("uniconnect.access.v1.AccessService.GetMe")
	if err != nil {
		t.Fatal(err)
	}
	method, ok := m.(protoreflect.MethodDescriptor)
	if !ok {
		t.Fatalf("%v is no method", m)
	}
	return answerOf(conn.Invoke(t.Context(), fullName(method), newMessage(t, method.Input()), newMessage(t, method.Output())))
}

// replay answers everything with one body, as an error.
type replay []byte

func (b replay) RoundTrip(*http.Request) (*http.Response, error) {
	return &http.Response{StatusCode: http.StatusTeapot, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(string(b)))}, nil
}
