package grpcserver

import (
	"strings"

	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	encodingproto "google.golang.org/grpc/encoding/proto"

	"workflow.uniconnect/pkg/fault"
)

// codec decodes requests. The runtime answers INTERNAL for bytes that are no message, before any interceptor, as if that were our doing; so
// such a request passes as an empty message with a mark, and validation answers for it, after authentication as for all else.
type codec struct{ encoding.CodecV2 }

func newCodec() codec { return codec{encoding.GetCodecV2(encodingproto.Name)} }

// markNumber is the highest number a field can have; no message of ours has it.
const markNumber = protowire.MaxValidNumber

// Unmarshal decodes a request, or marks it.
func (c codec) Unmarshal(data mem.BufferSlice, v any) error {
	err := c.CodecV2.Unmarshal(data, v)
	msg, ok := v.(proto.Message)
	if err == nil || !ok {
		return err
	}
	proto.Reset(msg)
	why := "is not a message of its type"
	switch text := err.Error(); {
	case strings.Contains(text, "UTF-8"):
		why = "holds an invalid character: a text is not UTF-8"
	case strings.Contains(text, "recursion"):
		why = "nests too deep"
	}
	mark := protowire.AppendTag(nil, markNumber, protowire.BytesType)
	msg.ProtoReflect().SetUnknown(protowire.AppendString(mark, why))
	return nil
}

// checkDecoded answers for a request that could not be decoded.
func checkDecoded(msg proto.Message) error {
	unknown := msg.ProtoReflect().GetUnknown()
	if len(unknown) == 0 {
		return nil
	}
	number, kind, n := protowire.ConsumeTag(unknown)
	if n < 0 || number != markNumber || kind != protowire.BytesType {
		return nil
	}
	why, _ := protowire.ConsumeString(unknown[n:])
	return fault.InvalidArgument(fault.ReasonInvalidFields, "the request "+why)
}
