package grpcserver

import (
	"strings"
	"testing"

	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"

	"workflow.uniconnect/pkg/fault"

	workflowv1 "workflow.uniconnect/proto/gen/go/uniconnect/workflow/v1"
)

// FuzzRequest feeds bytes to what stands before every handler: whatever they are, the request is good or the caller's to mend.
func FuzzRequest(f *testing.F) {
	deep := structpb.NewNullValue()
	for range 70 {
		deep = structpb.NewListValue(&structpb.ListValue{Values: []*structpb.Value{deep}})
	}
	for _, m := range []proto.Message{
		&workflowv1.PublishEventRequest{}, &workflowv1.PublishEventRequest{Event: &workflowv1.CloudEvent{Type: "call.ended", Data: deep}},
		&workflowv1.PublishEventRequest{Event: &workflowv1.CloudEvent{Type: strings.Repeat("x", 200), Specversion: "0.3"}},
	} {
		data, err := proto.Marshal(m)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	for _, text := range []string{"\xff", "\x0a\x05a", "\x0a\x02\x0a\xff", strings.Repeat("\x0a\x7f", 100)} {
		f.Add([]byte(text))
	}
	n := &nesting{}
	c := newCodec()
	f.Fuzz(func(t *testing.T, data []byte) {
		msg := &workflowv1.PublishEventRequest{}
		if err := c.Unmarshal(mem.BufferSlice{mem.SliceBuffer(data)}, msg); err != nil {
			t.Fatalf("%q: the runtime would answer INTERNAL: %v", data, err)
		}
		for _, err := range []error{checkDecoded(msg), n.check(msg)} {
			if err != nil && fault.KindOf(err) != fault.KindInvalidArgument {
				t.Fatalf("%q: got %v", data, err)
			}
		}
	})
}
