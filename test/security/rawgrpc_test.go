package security

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/encoding/gzip"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/types/known/structpb"

	workflowv1 "workflow.uniconnect/proto/gen/go/uniconnect/workflow/v1"
)

const (
	createMethod  = "/uniconnect.workflow.v1.WorkflowCatalogService/CreateWorkflow"
	listMethod    = "/uniconnect.workflow.v1.WorkflowCatalogService/ListWorkflows"
	publishMethod = "/uniconnect.workflow.v1.TriggerSchedulerService/PublishEvent"
)

// bytesCodec sends what it is given, which need not be a message.
type bytesCodec struct{}

func (bytesCodec) Name() string { return "proto" }

func (bytesCodec) Marshal(v any) (mem.BufferSlice, error) {
	b, ok := v.([]byte)
	if !ok {
		return nil, fmt.Errorf("%T is not bytes", v)
	}
	return mem.BufferSlice{mem.SliceBuffer(b)}, nil
}

func (bytesCodec) Unmarshal(mem.BufferSlice, any) error { return nil }

var _ encoding.CodecV2 = bytesCodec{}

// asOwner is the context of a call of the owner.
func (s *system) asOwner(t *testing.T, extra ...string) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), soon)
	t.Cleanup(cancel)
	return metadata.AppendToOutgoingContext(ctx, append(extra, "authorization", "Bearer "+s.userToken(t, owner))...)
}

// undecodable are requests that are no message: they are the caller's fault, not ours.
func (s *system) undecodable(t *testing.T) {
	state := s.quiet(t)
	workflow := func(title string) []byte {
		w := protowire.AppendString(protowire.AppendTag(nil, 2, protowire.BytesType), title)
		return protowire.AppendBytes(protowire.AppendTag(nil, 1, protowire.BytesType), w)
	}
	deep := []byte{}
	for range 20_000 {
		deep = protowire.AppendBytes(protowire.AppendTag(nil, 6, protowire.BytesType), protowire.AppendBytes(protowire.AppendTag(nil, 1, protowire.BytesType), deep))
		if len(deep) > 1<<20 {
			break
		}
	}
	for name, c := range map[string]struct {
		method string
		conn   *grpc.ClientConn
		body   []byte
	}{
		"invalid_utf8": {createMethod, s.grpc.catalog, workflow("a\xff")},
		"truncated":    {createMethod, s.grpc.catalog, workflow("a")[:3]},
		"junk":         {createMethod, s.grpc.catalog, []byte("\xff\xff\xff\xff")},
		"too_deep": {publishMethod, s.grpc.scheduler, protowire.AppendBytes(protowire.AppendTag(nil, 1, protowire.BytesType),
			protowire.AppendBytes(protowire.AppendTag(nil, 9, protowire.BytesType), deep))},
	} {
		t.Run(name, func(t *testing.T) {
			err := c.conn.Invoke(s.asOwner(t), c.method, c.body, nil, grpc.ForceCodecV2(bytesCodec{}))
			want{codes.InvalidArgument, 400, "INVALID_FIELDS", ""}.check(t, answerOf(err))
		})
	}
	state.unchanged(t)
}

// largeMessage is over what a server reads; the runtime refuses it before anything of ours sees it.
func (s *system) largeMessage(t *testing.T) {
	request := &workflowv1.PublishEventRequest{Event: &workflowv1.CloudEvent{Type: "call.ended", Source: "/x", Data: structpb.NewStringValue(strings.Repeat("x", 10<<20))}}
	a := s.grpc.call(t, s.userToken(t, owner), request)
	if a.code != codes.ResourceExhausted || leakIn(a) != "" {
		t.Errorf("got %v, want RESOURCE_EXHAUSTED", a.unexpected())
	}
}

// compressedMessage is small on its way and large when it is unpacked.
func (s *system) compressedMessage(t *testing.T) {
	request := &workflowv1.PublishEventRequest{Event: &workflowv1.CloudEvent{Type: "call.ended", Source: "/x", Data: structpb.NewStringValue(strings.Repeat("x", 64<<20))}}
	err := s.grpc.scheduler.Invoke(s.asOwner(t), publishMethod, request, &workflowv1.PublishEventResponse{}, grpc.UseCompressor(gzip.Name))
	if a := answerOf(err); a.code != codes.ResourceExhausted && a.code != codes.Unimplemented || leakIn(a) != "" {
		t.Errorf("got %v, want a refusal", a.unexpected())
	}
}

// oddTimeouts are deadlines as no library writes them.
func (s *system) oddTimeouts(t *testing.T) {
	ctx, cancel := context.WithTimeout(s.asOwner(t), time.Nanosecond)
	defer cancel()
	err := s.grpc.catalog.Invoke(ctx, listMethod, &workflowv1.ListWorkflowsRequest{}, &workflowv1.ListWorkflowsResponse{})
	if a := answerOf(err); a.code != codes.DeadlineExceeded {
		t.Errorf("a nanosecond: got %v", a.unexpected())
	}
	for timeout, wants := range map[string][]string{"999999H": {"0"}, "0n": {"4"}, "soon": {"3", "13"}, "-1S": {"3", "13"}} {
		c := openHTTP2(t, s.CatalogAddr)
		status := c.call(t, listMethod, "Bearer "+s.userToken(t, owner), "grpc-timeout", timeout)
		ok := false
		for _, w := range wants {
			ok = ok || status == w
		}
		if !ok {
			t.Errorf("grpc-timeout %s: got status %q, want one of %v", timeout, status, wants)
		}
	}
}

// metadataThatPretends has no effect, or is refused where it could be meant.
func (s *system) metadataThatPretends(t *testing.T) {
	token := s.userToken(t, owner)
	f := s.fixtures(t)
	a := s.grpc.call(t, token, &workflowv1.GetWorkflowRequest{Id: f.theirs.GetId()}, "x-tenant-id", "globex", "x-user", foreign, "grpcgateway-authorization", "Bearer "+s.userToken(t, foreign))
	notFound("WORKFLOW_NOT_FOUND").check(t, a)
	a = s.grpc.call(t, token, &workflowv1.GetWorkflowRequest{Id: f.theirs.GetId()}, "uc-tenant", "globex")
	want{codes.PermissionDenied, 403, "PERMISSION_MISSING", ""}.check(t, a)
	two := s.grpc.call(t, token, &workflowv1.ListWorkflowsRequest{}, "authorization", "Bearer "+s.userToken(t, foreign))
	want{codes.Unauthenticated, 401, "TOKEN_INVALID", ""}.check(t, two)
}

// pathWithoutSlash is a method name that a careless match would let pass.
func (s *system) pathWithoutSlash(t *testing.T) {
	for _, path := range []string{strings.TrimPrefix(listMethod, "/"), "/", "//", "/uniconnect.workflow.v1.WorkflowCatalogService", listMethod + "/", "/" + listMethod, strings.ToLower(listMethod)} {
		c := openHTTP2(t, s.CatalogAddr)
		if got := c.call(t, path, "Bearer "+s.userToken(t, owner)); got != "12" {
			t.Errorf("%q: got status %q, want 12, UNIMPLEMENTED", path, got)
		}
	}
}

// pingFlood is a client that pings without end.
func (s *system) pingFlood(t *testing.T) {
	c := openHTTP2(t, s.CatalogAddr)
	go func() {
		for c.framer.WritePing(false, [8]byte{}) == nil {
			// until the server has closed
		}
	}()
	for {
		frame, err := c.framer.ReadFrame()
		if err != nil {
			t.Fatalf("the connection ended without a word: %v", err)
		}
		if away, ok := frame.(*http2.GoAwayFrame); ok {
			if away.ErrCode != http2.ErrCodeEnhanceYourCalm {
				t.Errorf("got %v, want ENHANCE_YOUR_CALM", away.ErrCode)
			}
			break
		}
	}
	if a := s.grpc.call(t, s.userToken(t, owner), &workflowv1.ListWorkflowsRequest{}); a.refused() {
		t.Errorf("another client: %v", a.unexpected())
	}
}

// rawHTTP2 speaks frames.
type rawHTTP2 struct {
	framer *http2.Framer
	next   uint32
}

func openHTTP2(t *testing.T, addr string) *rawHTTP2 {
	t.Helper()
	var d net.Dialer
	conn, err := d.DialContext(t.Context(), "tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(soon)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(conn, http2.ClientPreface); err != nil {
		t.Fatal(err)
	}
	c := &rawHTTP2{framer: http2.NewFramer(conn, conn), next: 1}
	c.framer.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	if err := errors.Join(c.framer.WriteSettings(), c.framer.WriteSettingsAck()); err != nil {
		t.Fatal(err)
	}
	return c
}

// call sends an empty message and returns the status of the answer.
func (c *rawHTTP2) call(t *testing.T, path, authorization string, extra ...string) string {
	t.Helper()
	var block bytes.Buffer
	encoder := hpack.NewEncoder(&block)
	fields := append([]string{":method", "POST", ":scheme", "http", ":path", path, ":authority", "x", "content-type", "application/grpc", "te", "trailers", "authorization", authorization}, extra...)
	for i := 0; i+1 < len(fields); i += 2 {
		if err := encoder.WriteField(hpack.HeaderField{Name: fields[i], Value: fields[i+1]}); err != nil {
			t.Fatal(err)
		}
	}
	id := c.next
	c.next += 2
	err := c.framer.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: block.Bytes(), EndHeaders: true})
	if err == nil {
		err = c.framer.WriteData(id, true, make([]byte, 5)) // the prefix of a message without content
	}
	if err != nil {
		t.Fatal(err)
	}
	for {
		frame, err := c.framer.ReadFrame()
		if err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		headers, ok := frame.(*http2.MetaHeadersFrame)
		if !ok {
			continue
		}
		for _, field := range headers.Fields {
			if field.Name == "grpc-status" {
				return field.Value
			}
			if field.Name == "server" {
				t.Errorf("the answer says what runs here: %s", field.Value)
			}
		}
	}
}
