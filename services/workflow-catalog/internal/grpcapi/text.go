package grpcapi

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"workflow.uniconnect/pkg/fault"
)

// maxNesting bounds how deep messages and JSON values nest, which is a matter of stacks, ours and the database's.
const maxNesting = 256

// unstorable finds what a message may hold over the wire and no JSON document can: NUL in text, numbers that are none, times out of
// range, values without a kind, bottomless nesting.
func unstorable(msg proto.Message) []fault.Violation {
	w := &textWalk{}
	w.message("", msg.ProtoReflect(), 0)
	return w.found
}

type textWalk struct{ found []fault.Violation }

func (w *textWalk) add(path, format string, args ...any) {
	w.found = append(w.found, fault.Violation{Field: path, Reason: fault.ReasonFieldRule, Description: fmt.Sprintf(format, args...)})
}

func (w *textWalk) message(path string, m protoreflect.Message, depth int) {
	if depth > maxNesting {
		w.add(path, "nests deeper than %d levels", maxNesting)
		return
	}
	switch v := m.Interface().(type) {
	case *structpb.Struct:
		for key, value := range v.GetFields() {
			w.text(path, key)
			w.value(join(path, key), value, depth+1)
		}
		return
	case *structpb.Value:
		w.value(path, v, depth)
		return
	case *timestamppb.Timestamp:
		if !v.IsValid() {
			w.add(path, "is not a time between the years 1 and 9999")
		}
		return
	case *durationpb.Duration:
		if !v.IsValid() {
			w.add(path, "is not a duration")
		}
		return
	}
	m.Range(func(field protoreflect.FieldDescriptor, value protoreflect.Value) bool {
		at := join(path, field.JSONName())
		switch {
		case field.IsMap():
			value.Map().Range(func(key protoreflect.MapKey, value protoreflect.Value) bool {
				w.text(at, key.String())
				w.one(at+"["+strconv.Quote(key.String())+"]", field.MapValue(), value, depth+1)
				return true
			})
		case field.IsList():
			for i := range value.List().Len() {
				w.one(index(at, i), field, value.List().Get(i), depth+1)
			}
		default:
			w.one(at, field, value, depth+1)
		}
		return true
	})
}

func (w *textWalk) one(path string, field protoreflect.FieldDescriptor, value protoreflect.Value, depth int) {
	switch field.Kind() {
	case protoreflect.MessageKind:
		w.message(path, value.Message(), depth)
	case protoreflect.StringKind:
		w.text(path, value.String())
	}
}

func (w *textWalk) value(path string, v *structpb.Value, depth int) {
	if depth > maxNesting {
		w.add(path, "nests deeper than %d levels", maxNesting)
		return
	}
	switch kind := v.GetKind().(type) {
	case nil:
		w.add(path, "is a value of no kind")
	case *structpb.Value_StringValue:
		w.text(path, kind.StringValue)
	case *structpb.Value_NumberValue:
		if math.IsNaN(kind.NumberValue) || math.IsInf(kind.NumberValue, 0) {
			w.add(path, "is not a number that JSON has")
		}
	case *structpb.Value_StructValue:
		w.message(path, kind.StructValue.ProtoReflect(), depth+1)
	case *structpb.Value_ListValue:
		for i, item := range kind.ListValue.GetValues() {
			w.value(index(path, i), item, depth+1)
		}
	}
}

func (w *textWalk) text(path, s string) {
	if strings.ContainsRune(s, 0) {
		w.add(path, "holds a NUL character")
	}
}

func join(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}

func index(path string, i int) string { return path + "[" + strconv.Itoa(i) + "]" }
