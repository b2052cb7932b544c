package edge

import (
	"context"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// conn is a connection to a service as the edge uses it: it puts what REST says in headers where gRPC has it in the request, and lets
// no metadata through but the caller's token and what the edge itself has checked.
type conn struct{ grpc.ClientConnInterface }

// Invoke makes a unary call.
func (c *conn) Invoke(ctx context.Context, method string, args, reply any, opts ...grpc.CallOption) error {
	if request, ok := args.(proto.Message); ok {
		if err := fromHeaders(request.ProtoReflect(), callFrom(ctx), method); err != nil {
			return err
		}
	}
	return c.ClientConnInterface.Invoke(allowed(ctx), method, args, reply, opts...)
}

// NewStream opens a stream.
func (c *conn) NewStream(ctx context.Context, desc *grpc.StreamDesc, method string, opts ...grpc.CallOption) (grpc.ClientStream, error) {
	stream, err := c.ClientConnInterface.NewStream(allowed(ctx), desc, method, opts...)
	if err != nil {
		return nil, err
	}
	return &clientStream{stream}, nil
}

// allowed rebuilds the outgoing metadata from nothing. The trace is added below, from the context.
func allowed(ctx context.Context) context.Context {
	out := metadata.MD{}
	md, _ := metadata.FromOutgoingContext(ctx)
	if token := md.Get("authorization"); len(token) > 0 {
		out.Set("authorization", token[0])
	}
	c := callFrom(ctx)
	for key, value := range map[string]string{
		"x-request-id": c.requestID, "idempotency-key": c.idempotencyKey, "if-match": c.etag,
		"x-forwarded-for": c.address, "grpcgateway-user-agent": c.agent,
	} {
		if value != "" {
			out.Set(key, value)
		}
	}
	return metadata.NewOutgoingContext(ctx, out)
}

// fromHeaders fills request_id and etag of a request from the headers that stand for them in REST. The call of a readiness probe or of
// the edge itself has neither.
func fromHeaders(request protoreflect.Message, c *call, method string) error {
	if c.binding == nil || c.binding.rpc != method {
		return nil
	}
	if c.idempotencyKey != "" {
		if err := fill(request, "request_id", c.idempotencyKey, headerIdempotencyKey); err != nil {
			return err
		}
	}
	if !c.guarded {
		return nil
	}
	// The etag is the request's, or the resource's that the body is.
	if c.binding.bodyField != "" {
		body := request.Descriptor().Fields().ByName(protoreflect.Name(c.binding.bodyField))
		if holdsText(body.Message(), "etag") {
			return fill(request.Mutable(body).Message(), "etag", c.etag, headerIfMatch)
		}
	}
	if holdsText(request.Descriptor(), "etag") {
		return fill(request, "etag", c.etag, headerIfMatch)
	}
	return violation(headerIfMatch, "is not supported by this method")
}

func holdsText(md protoreflect.MessageDescriptor, name protoreflect.Name) bool {
	fd := md.Fields().ByName(name)
	return fd != nil && fd.Kind() == protoreflect.StringKind && !fd.IsList()
}

// fill sets a text field, where there is one, to what a header says. A request that says something else itself is refused.
func fill(request protoreflect.Message, name protoreflect.Name, value, header string) error {
	if !holdsText(request.Descriptor(), name) {
		return nil
	}
	fd := request.Descriptor().Fields().ByName(name)
	if given := request.Get(fd).String(); given != "" && given != value {
		return violation(header, "differs from "+fd.JSONName()+" in the request")
	}
	request.Set(fd, protoreflect.ValueOfString(value))
	return nil
}
