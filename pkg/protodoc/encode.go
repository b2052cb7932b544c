package protodoc

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// messageNode returns a message as a tree: what is set, in the order of the field numbers.
func messageNode(m protoreflect.Message) (*node, error) {
	if wellKnown(m.Descriptor()) {
		return wellKnownNode(m.Interface())
	}
	fields := m.Descriptor().Fields()
	order := make([]protoreflect.FieldDescriptor, 0, fields.Len())
	for i := range fields.Len() {
		if f := fields.Get(i); m.Has(f) {
			order = append(order, f)
		}
	}
	slices.SortFunc(order, func(a, b protoreflect.FieldDescriptor) int { return int(a.Number()) - int(b.Number()) })
	out := &node{kind: object}
	for _, f := range order {
		value, err := fieldNode(f, m.Get(f))
		if err != nil {
			return nil, fmt.Errorf("%s: %w", f.JSONName(), err)
		}
		out.members = append(out.members, member{key: f.JSONName(), value: value})
	}
	return out, nil
}

func fieldNode(f protoreflect.FieldDescriptor, v protoreflect.Value) (*node, error) {
	switch {
	case f.IsMap():
		return mapNode(f, v.Map())
	case f.IsList():
		out := &node{kind: list}
		for i := range v.List().Len() {
			item, err := valueNode(f, v.List().Get(i))
			if err != nil {
				return nil, fmt.Errorf("[%d]: %w", i, err)
			}
			out.items = append(out.items, item)
		}
		return out, nil
	}
	return valueNode(f, v)
}

func mapNode(f protoreflect.FieldDescriptor, m protoreflect.Map) (*node, error) {
	out := &node{kind: object}
	var failed error
	m.Range(func(key protoreflect.MapKey, v protoreflect.Value) bool {
		value, err := valueNode(f.MapValue(), v)
		if err != nil {
			failed = fmt.Errorf("[%q]: %w", key.String(), err)
			return false
		}
		out.members = append(out.members, member{key: key.String(), value: value})
		return true
	})
	sortMembers(out)
	return out, failed
}

func sortMembers(n *node) {
	slices.SortFunc(n.members, func(a, b member) int { return bytes.Compare([]byte(a.key), []byte(b.key)) })
}

func valueNode(f protoreflect.FieldDescriptor, v protoreflect.Value) (*node, error) {
	switch f.Kind() {
	case protoreflect.MessageKind, protoreflect.GroupKind:
		return messageNode(v.Message())
	case protoreflect.EnumKind:
		if name := f.Enum().Values().ByNumber(v.Enum()); name != nil {
			return &node{kind: text, text: string(name.Name())}, nil
		}
		return &node{kind: number, text: strconv.Itoa(int(v.Enum()))}, nil
	case protoreflect.BoolKind:
		return &node{kind: boolean, text: strconv.FormatBool(v.Bool())}, nil
	case protoreflect.StringKind:
		return &node{kind: text, text: v.String()}, nil
	case protoreflect.BytesKind:
		encoded, err := json.Marshal(v.Bytes())
		if err != nil {
			return nil, err
		}
		return decodeJSON(encoded)
	case protoreflect.FloatKind, protoreflect.DoubleKind:
		return floatNode(v.Float())
	case protoreflect.Int64Kind, protoreflect.Sint64Kind, protoreflect.Sfixed64Kind, protoreflect.Uint64Kind, protoreflect.Fixed64Kind:
		return &node{kind: text, text: v.String()}, nil // as protojson has it
	default:
		return &node{kind: number, text: v.String()}, nil
	}
}

func floatNode(v float64) (*node, error) {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return nil, errors.New("is not a number that JSON has")
	}
	encoded, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	return &node{kind: number, text: string(encoded)}, nil
}

// wellKnown tells whether a message has a JSON form of its own.
func wellKnown(md protoreflect.MessageDescriptor) bool {
	return md.ParentFile().Package() == "google.protobuf"
}

func wellKnownNode(m proto.Message) (*node, error) {
	encoded, err := protojson.Marshal(m)
	if err != nil {
		return nil, err
	}
	return decodeJSON(encoded)
}

// decodeJSON reads what protojson has written. Its numbers are written anew, since protojson's spelling is not stable.
func decodeJSON(encoded []byte) (*node, error) {
	var value any
	if err := json.Unmarshal(encoded, &value); err != nil {
		return nil, err
	}
	return anyNode(value)
}

func anyNode(value any) (*node, error) {
	switch v := value.(type) {
	case nil:
		return &node{kind: null}, nil
	case bool:
		return &node{kind: boolean, text: strconv.FormatBool(v)}, nil
	case float64:
		return floatNode(v)
	case string:
		return &node{kind: text, text: v}, nil
	case []any:
		out := &node{kind: list}
		for _, item := range v {
			n, err := anyNode(item)
			if err != nil {
				return nil, err
			}
			out.items = append(out.items, n)
		}
		return out, nil
	case map[string]any:
		out := &node{kind: object}
		for key, item := range v {
			n, err := anyNode(item)
			if err != nil {
				return nil, err
			}
			out.members = append(out.members, member{key: key, value: n})
		}
		sortMembers(out)
		return out, nil
	}
	return nil, fmt.Errorf("a value of type %T", value)
}
