package gateway_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/genproto/googleapis/api/annotations"
	"google.golang.org/genproto/googleapis/api/httpbody"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/fieldmaskpb"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"workflow.uniconnect/pkg/rest"
	"workflow.uniconnect/pkg/service"

	accessv1 "workflow.uniconnect/proto/gen/go/uniconnect/access/v1"
	workflowv1 "workflow.uniconnect/proto/gen/go/uniconnect/workflow/v1"
)

// echo is a gRPC server with every method there is: it keeps what it was asked and answers what it was told.
type echo struct {
	mu      sync.Mutex
	request proto.Message // of the kind that the method takes, filled by a call
	answers []proto.Message
}

func (e *echo) handle(_ any, stream grpc.ServerStream) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if err := stream.RecvMsg(e.request); err != nil {
		return err
	}
	for _, m := range e.answers {
		if err := stream.SendMsg(m); err != nil {
			return err
		}
	}
	return nil
}

// Every public method that is called over REST arrives as it was asked and is answered as it was answered: the client's reading of the
// HTTP rules is the gateway's.
func TestContract_over_REST(t *testing.T) {
	backend := &echo{}
	server := grpc.NewServer(grpc.UnknownServiceHandler(backend.handle))
	var lc net.ListenConfig
	l, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go func() { _ = server.Serve(l) }()
	t.Cleanup(server.Stop)
	w := newWorld(t, func(d *service.Deps) {
		d.Settings.CatalogAddr, d.Settings.SchedulerAddr, d.Settings.ExecutorAddr = l.Addr().String(), l.Addr().String(), l.Addr().String()
	})
	conn, err := rest.Dial(w.url, rest.Options{
		Token:   func(context.Context) (string, error) { return w.token(t, "owner@acme.test"), nil },
		Headers: map[protoreflect.Name]string{"request_id": "Idempotency-Key"},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conn.Close)

	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	g := &generator{rand.New(rand.NewPCG(seed, 1))}
	for _, sd := range publicServices() {
		for i := range sd.Methods().Len() {
			md := sd.Methods().Get(i)
			t.Run(string(md.Name()), func(t *testing.T) {
				for range 20 {
					roundTrip(t, conn, backend, md, g)
				}
			})
		}
	}
}

func publicServices() []protoreflect.ServiceDescriptor {
	return []protoreflect.ServiceDescriptor{
		workflowv1.File_uniconnect_workflow_v1_catalog_service_proto.Services().Get(0),
		workflowv1.File_uniconnect_workflow_v1_scheduler_service_proto.Services().Get(0),
		workflowv1.File_uniconnect_workflow_v1_executor_service_proto.Services().Get(0),
		accessv1.File_uniconnect_access_v1_access_service_proto.Services().Get(0),
	}
}

func roundTrip(t *testing.T, conn *rest.Conn, backend *echo, md protoreflect.MethodDescriptor, g *generator) {
	t.Helper()
	request, arrived := messageOf(t, md.Input()), messageOf(t, md.Input())
	g.fill(request.ProtoReflect(), 4)
	g.fillRoute(request.ProtoReflect(), md)
	want := []proto.Message{messageOf(t, md.Output())}
	if md.IsStreamingServer() {
		want = append(want, messageOf(t, md.Output()), messageOf(t, md.Output()))
	}
	for _, m := range want {
		g.fill(m.ProtoReflect(), 4)
		// Over REST the resource itself is the answer, so it is there.
		if fd := m.ProtoReflect().Descriptor().Fields(); fd.Len() == 1 && fd.Get(0).Message() != nil && !fd.Get(0).IsList() {
			if !m.ProtoReflect().Has(fd.Get(0)) {
				g.fill(m.ProtoReflect().Mutable(fd.Get(0)).Message(), 2)
			}
		}
	}
	backend.mu.Lock()
	backend.request, backend.answers = arrived, want
	backend.mu.Unlock()

	method := "/" + string(md.Parent().FullName()) + "/" + string(md.Name())
	var got []proto.Message
	if md.IsStreamingServer() {
		got = readStream(t, conn, method, request, md.Output())
	} else {
		got = []proto.Message{messageOf(t, md.Output())}
		if err := conn.Invoke(t.Context(), method, request, got[0]); err != nil {
			t.Fatalf("%v\n%v", err, request)
		}
	}
	if diff := cmp.Diff(request, arrived, protocmp.Transform()); diff != "" {
		t.Fatalf("request (-sent +arrived):\n%s", diff)
	}
	if diff := cmp.Diff(want, got, protocmp.Transform()); diff != "" {
		t.Fatalf("answer (-sent +arrived):\n%s", diff)
	}
}

func readStream(t *testing.T, conn *rest.Conn, method string, request proto.Message, output protoreflect.MessageDescriptor) []proto.Message {
	t.Helper()
	stream, err := conn.NewStream(t.Context(), &grpc.StreamDesc{ServerStreams: true}, method)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(stream.SendMsg(request), stream.CloseSend()); err != nil {
		t.Fatal(err)
	}
	var all []proto.Message
	for {
		m := messageOf(t, output)
		if err := stream.RecvMsg(m); errors.Is(err, io.EOF) {
			return all
		} else if err != nil {
			t.Fatal(err)
		}
		all = append(all, m)
	}
}

func messageOf(t *testing.T, md protoreflect.MessageDescriptor) proto.Message {
	t.Helper()
	mt, err := protoregistry.GlobalTypes.FindMessageByName(md.FullName())
	if err != nil {
		t.Fatal(err)
	}
	return mt.New().Interface()
}

var variablePattern = regexp.MustCompile(`\{([a-z_.]+)`)

// generator fills messages with anything that JSON can hold.
type generator struct{ *rand.Rand }

// fillRoute sets what the route needs: what stands in the path, and the message that the body is.
func (g *generator) fillRoute(m protoreflect.Message, method protoreflect.MethodDescriptor) {
	rule, _ := proto.GetExtension(method.Options(), annotations.E_Http).(*annotations.HttpRule)
	for _, variable := range variablePattern.FindAllStringSubmatch(fmt.Sprint(rule.GetPattern()), -1) {
		at := m
		parts := strings.Split(variable[1], ".")
		for _, part := range parts[:len(parts)-1] {
			at = at.Mutable(at.Descriptor().Fields().ByName(protoreflect.Name(part))).Message()
		}
		f := at.Descriptor().Fields().ByName(protoreflect.Name(parts[len(parts)-1]))
		if f.Kind() == protoreflect.Int32Kind {
			at.Set(f, protoreflect.ValueOfInt32(7))
			continue
		}
		at.Set(f, protoreflect.ValueOfString(someID))
	}
	fields := m.Descriptor().Fields()
	if body := fields.ByName(protoreflect.Name(rule.GetBody())); body != nil {
		m.Mutable(body)
	}
	if f := fields.ByName("request_id"); f != nil {
		m.Set(f, protoreflect.ValueOfString("key-1"))
	}
	if f := fields.ByName("update_mask"); f != nil { // without one the gateway makes one of the body
		g.fill(m.Mutable(f).Message(), 1)
	}
}

func (g *generator) fill(m protoreflect.Message, depth int) {
	switch v := m.Interface().(type) {
	case *timestamppb.Timestamp:
		v.Seconds, v.Nanos = g.Int64N(4e9), g.Int32N(1e9)
		return
	case *durationpb.Duration:
		v.Seconds = g.Int64N(1e6)
		return
	case *structpb.Struct:
		v.Fields = map[string]*structpb.Value{g.text(): structpb.NewStringValue(g.text()), "n": structpb.NewNumberValue(1.5)}
		return
	case *structpb.Value:
		v.Kind = structpb.NewBoolValue(true).GetKind()
		return
	case *fieldmaskpb.FieldMask:
		v.Paths = []string{"title", "date_range.end_time"}
		return
	case *httpbody.HttpBody:
		v.ContentType, v.Data = "application/yaml", []byte(g.text()+"\n")
		return
	}
	fields := m.Descriptor().Fields()
	for i := range fields.Len() {
		f := fields.Get(i)
		taken := f.ContainingOneof() != nil && m.WhichOneof(f.ContainingOneof()) != nil
		if g.IntN(3) == 0 || taken || f.Message() != nil && depth == 0 {
			continue
		}
		switch {
		case f.IsMap():
			m.Mutable(f).Map().Set(protoreflect.ValueOfString(g.text()).MapKey(), protoreflect.ValueOfString(g.text()))
		case f.IsList():
			l := m.Mutable(f).List()
			for range 1 + g.IntN(2) {
				if f.Message() == nil {
					l.Append(g.scalar(f))
					continue
				}
				e := l.NewElement()
				g.fill(e.Message(), depth-1)
				l.Append(e)
			}
		case f.Message() != nil:
			g.fill(m.Mutable(f).Message(), depth-1)
		default:
			m.Set(f, g.scalar(f))
		}
	}
}

func (g *generator) scalar(f protoreflect.FieldDescriptor) protoreflect.Value {
	switch f.Kind() {
	case protoreflect.BoolKind:
		return protoreflect.ValueOfBool(true)
	case protoreflect.EnumKind:
		return protoreflect.ValueOfEnum(f.Enum().Values().Get(g.IntN(f.Enum().Values().Len())).Number())
	case protoreflect.DoubleKind:
		return protoreflect.ValueOfFloat64(g.NormFloat64())
	case protoreflect.Int32Kind:
		return protoreflect.ValueOfInt32(g.Int32N(1000) - 500)
	case protoreflect.BytesKind:
		return protoreflect.ValueOfBytes([]byte(g.text()))
	}
	return protoreflect.ValueOfString(g.text())
}

func (g *generator) text() string {
	all := []string{"a", "a b", "ü & 日本", "x=1&y=2", "50%", "+", "#", "\"quoted\"", "line\nline", strings.Repeat("long ", 20)}
	return all[g.IntN(len(all))]
}
