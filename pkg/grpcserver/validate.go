package grpcserver

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"buf.build/gen/go/bufbuild/protovalidate/protocolbuffers/go/buf/validate"
	"buf.build/go/protovalidate"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	"workflow.uniconnect/pkg/fault"
)

// Validate returns what the rules in the proto file find wrong with msg; none means that it is good. Handlers named in
// Options.HandlerValidated append their own findings and return fault.Check of all.
//
// It panics when a rule itself is broken, which any test that calls the method shows.
func Validate(msg proto.Message) []fault.Violation {
	err := protovalidate.Validate(msg)
	if err == nil {
		return nil
	}
	var invalid *protovalidate.ValidationError
	if !errors.As(err, &invalid) {
		panic(fmt.Sprintf("validate %s: %v", msg.ProtoReflect().Descriptor().FullName(), err))
	}
	out := make([]fault.Violation, 0, len(invalid.Violations))
	for _, v := range invalid.Violations {
		out = append(out, fault.Violation{
			Field:       fieldPath(v.Proto.GetField()),
			Description: v.Proto.GetMessage(),
			Reason:      fault.ReasonFieldRule,
		})
	}
	return out
}

// fieldPath writes a path as the JSON form of the message has it: steps[2].retry.maxAttempts.
func fieldPath(path *validate.FieldPath) string {
	var b strings.Builder
	for i, e := range path.GetElements() {
		if i > 0 {
			b.WriteByte('.')
		}
		writeLowerCamel(&b, e.GetFieldName())
		switch sub := e.GetSubscript().(type) {
		case *validate.FieldPathElement_Index:
			b.WriteString("[" + strconv.FormatUint(sub.Index, 10) + "]")
		case *validate.FieldPathElement_StringKey:
			b.WriteString("[" + strconv.Quote(sub.StringKey) + "]")
		case *validate.FieldPathElement_IntKey:
			b.WriteString("[" + strconv.FormatInt(sub.IntKey, 10) + "]")
		case *validate.FieldPathElement_UintKey:
			b.WriteString("[" + strconv.FormatUint(sub.UintKey, 10) + "]")
		case *validate.FieldPathElement_BoolKey:
			b.WriteString("[" + strconv.FormatBool(sub.BoolKey) + "]")
		}
	}
	return b.String()
}

// writeLowerCamel writes a proto name as protojson does by default.
func writeLowerCamel(b *strings.Builder, name string) {
	upper := false
	for i := range len(name) {
		c := name[i]
		switch {
		case c == '_':
			upper = true
			continue
		case upper && 'a' <= c && c <= 'z':
			c -= 'a' - 'A'
		}
		upper = false
		b.WriteByte(c)
	}
}

// validation checks requests before their handlers see them.
type validation struct {
	byHandler map[string]struct{}
	nesting   nesting
}

func newValidation(byHandler []string) *validation {
	v := &validation{byHandler: make(map[string]struct{}, len(byHandler))}
	for _, method := range byHandler {
		v.byHandler[method] = struct{}{}
	}
	return v
}

func (v *validation) unary(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
	if msg, ok := req.(proto.Message); ok && !exempt(info.FullMethod) {
		if err := v.check(info.FullMethod, msg); err != nil {
			return nil, err
		}
	}
	return handler(ctx, req)
}

func (v *validation) stream(srv any, stream grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
	if !exempt(info.FullMethod) {
		stream = &validatedStream{stream, v, info.FullMethod}
	}
	return handler(srv, stream)
}

// check refuses what is no message at all, then what no handler should walk through, then what breaks the rules of the proto.
func (v *validation) check(fullMethod string, msg proto.Message) error {
	if err := checkDecoded(msg); err != nil {
		return err
	}
	if err := v.nesting.check(msg); err != nil {
		return err
	}
	if _, byHandler := v.byHandler[fullMethod]; byHandler {
		return nil
	}
	return fault.Check(Validate(msg)...)
}

type validatedStream struct {
	grpc.ServerStream
	validation *validation
	method     string
}

func (s *validatedStream) RecvMsg(m any) error {
	if err := s.ServerStream.RecvMsg(m); err != nil {
		return err
	}
	if msg, ok := m.(proto.Message); ok {
		return s.validation.check(s.method, msg)
	}
	return nil
}
