package grpcserver

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"buf.build/gen/go/bufbuild/protovalidate/protocolbuffers/go/buf/validate"
	"buf.build/go/protovalidate"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

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
			Description: described(msg, v),
			Reason:      fault.ReasonFieldRule,
		})
	}
	return out
}

// described says what is wrong in words for people who do not know the contract's rules. Most of the library's are good enough.
func described(msg proto.Message, v *protovalidate.Violation) string {
	switch fd := v.FieldDescriptor; {
	case v.Proto.GetRuleId() == "string.min_len" && v.RuleValue.IsValid() && v.RuleValue.Uint() == 1:
		return "must not be empty"
	case fd != nil && fd.Enum() != nil && strings.HasPrefix(v.Proto.GetRuleId(), "enum."):
		return "must be one of " + allowedNames(fd)
	case v.Proto.GetRuleId() == "required" && fd == nil:
		if names := memberNames(msg.ProtoReflect().Descriptor(), v.Proto.GetField()); names != "" {
			return "exactly one must be given of " + names
		}
	}
	return v.Proto.GetMessage()
}

// allowedNames lists the values of an enum field that mean something and are not refused.
func allowedNames(fd protoreflect.FieldDescriptor) string {
	rules, ok := proto.GetExtension(fd.Options(), validate.E_Field).(*validate.FieldRules)
	var names []string
	for i := range fd.Enum().Values().Len() {
		v := fd.Enum().Values().Get(i)
		if n := int32(v.Number()); n != 0 && (!ok || !slices.Contains(rules.GetEnum().GetNotIn(), n)) {
			names = append(names, string(v.Name()))
		}
	}
	return strings.Join(names, ", ")
}

// memberNames lists the fields of the oneof at the end of a path.
func memberNames(md protoreflect.MessageDescriptor, path *validate.FieldPath) string {
	elements := path.GetElements()
	for i, e := range elements {
		if i == len(elements)-1 {
			break
		}
		fd := md.Fields().ByName(protoreflect.Name(e.GetFieldName()))
		if fd != nil && fd.IsMap() {
			fd = fd.MapValue()
		}
		if fd == nil || fd.Message() == nil {
			return ""
		}
		md = fd.Message()
	}
	if len(elements) == 0 {
		return ""
	}
	oneof := md.Oneofs().ByName(protoreflect.Name(elements[len(elements)-1].GetFieldName()))
	if oneof == nil {
		return ""
	}
	var names []string
	for i := range oneof.Fields().Len() {
		names = append(names, oneof.Fields().Get(i).JSONName())
	}
	return strings.Join(names, ", ")
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
