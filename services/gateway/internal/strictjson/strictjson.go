// Package strictjson checks the JSON of a request against the message it stands for, before anything is decoded. It finds what decoders
// let pass or report without a place: unknown fields, a key given twice (also once in each of its two spellings), trailing
// data, invalid UTF-8, NUL, deep nesting, the wrong kind of value. It does not build values; protojson does that afterwards.
package strictjson

import (
	"bytes"
	"fmt"
	"regexp"
	"strings"
	"time"
	"unicode/utf8"

	"google.golang.org/protobuf/reflect/protoreflect"

	"workflow.uniconnect/pkg/fault"
)

// MaxDepth is how deep objects and lists may nest.
const MaxDepth = 64

// ReasonMalformedJSON is the reason of a text that is no acceptable JSON.
const ReasonMalformedJSON fault.Reason = "MALFORMED_JSON"

// maxViolations bounds the work and the answer for a body that is wrong everywhere.
const maxViolations = 100

// Check returns nil when data is one JSON value that fits the message. Text that is no acceptable JSON is MALFORMED_JSON; a JSON text of
// another shape is INVALID_FIELDS with every offending field. Fields are named by their path in the JSON.
func Check(data []byte, message protoreflect.MessageDescriptor) error {
	c := &checker{data: data, stopAt: -1}
	if err := c.document(messageSchema(message)); err != nil {
		return err
	}
	if bytes.Equal(bytes.TrimSpace(data), []byte("null")) {
		c.violate("", "must be an object") // null stands for what is not given, and a body is
	}
	return fault.Check(c.violations...)
}

// PathAt returns the path of the value or key at a line and column as protojson counts them: from 1, columns in characters. It is the
// next one's when none begins there.
func PathAt(data []byte, line, column int) string {
	offset := offsetOf(data, line, column)
	c := &checker{data: data, stopAt: offset}
	// The walk ends at the place that is asked for, or at an error before it; either way the path so far is the answer.
	_ = c.document(schema{})
	return c.where()
}

func offsetOf(data []byte, line, column int) int {
	offset := 0
	for ; line > 1; line-- {
		i := bytes.IndexByte(data[offset:], '\n')
		if i < 0 {
			return len(data)
		}
		offset += i + 1
	}
	for ; column > 1 && offset < len(data); column-- {
		_, size := utf8.DecodeRune(data[offset:])
		offset += size
	}
	return offset
}

// schema is what may stand at a place. The zero schema allows anything.
type schema struct {
	message protoreflect.MessageDescriptor
	field   protoreflect.FieldDescriptor // of a scalar
	list    bool                         // of message or field
	mapOf   protoreflect.FieldDescriptor // value of a map
}

// messageSchema returns the schema of a message. Well-known types have a JSON form of their own; see wantWellKnown.
func messageSchema(md protoreflect.MessageDescriptor) schema {
	if md.ParentFile().Package() == "google.protobuf" {
		return schema{}
	}
	return schema{message: md}
}

func fieldSchema(fd protoreflect.FieldDescriptor) schema {
	if fd.IsMap() {
		return schema{mapOf: fd.MapValue()}
	}
	s := elementSchema(fd)
	s.list = fd.IsList()
	return s
}

func elementSchema(fd protoreflect.FieldDescriptor) schema {
	if fd.Message() != nil && wantWellKnown(fd.Message(), 0, "") == "" {
		return messageSchema(fd.Message())
	}
	return schema{field: fd}
}

// object follows the members of one JSON object.
type object struct {
	schema schema
	seen   map[string]struct{}
	// oneofs holds the member that was given for each oneof.
	oneofs map[protoreflect.FullName]string
}

// member checks a key and returns the name to show and the schema of its value.
func (c *checker) member(o *object, key string) (string, schema) {
	if o.schema.mapOf != nil {
		c.once(o, key, key)
		return key, elementSchema(o.schema.mapOf)
	}
	if o.schema.message == nil {
		c.once(o, key, key)
		return key, schema{}
	}
	fields := o.schema.message.Fields()
	fd := fields.ByJSONName(key)
	if fd == nil {
		fd = fields.ByName(protoreflect.Name(key))
	}
	if fd == nil {
		c.violate(key, "unknown field")
		return key, schema{}
	}
	name := fd.JSONName()
	c.once(o, name, name)
	if oneof := fd.ContainingOneof(); oneof != nil && !oneof.IsSynthetic() && !c.nextIsNull() {
		if other, ok := o.oneofs[oneof.FullName()]; ok && other != name {
			c.violate(name, fmt.Sprintf("excludes %s, only one of them may be given", other))
		}
		if o.oneofs == nil {
			o.oneofs = make(map[protoreflect.FullName]string)
		}
		o.oneofs[oneof.FullName()] = name
	}
	return name, fieldSchema(fd)
}

func (c *checker) once(o *object, key, name string) {
	if _, ok := o.seen[key]; ok {
		c.violate(name, "is given twice")
	}
	o.seen[key] = struct{}{}
}

// kind is the JSON kind of a value.
type kind byte

const (
	kindObject kind = '{'
	kindList   kind = '['
	kindString kind = '"'
	kindNumber kind = '0'
	kindBool   kind = 't'
	kindNull   kind = 'n'
)

// fits records a violation when a value of kind k cannot stand for s, and returns the schema for what is inside.
func (c *checker) fits(s schema, k kind, text string) schema {
	want := ""
	switch {
	case k == kindNull:
		return schema{}
	case s.list:
		if k == kindList {
			return s
		}
		want = "a list"
	case s.message != nil || s.mapOf != nil:
		if k == kindObject {
			return s
		}
		want = "an object"
	case s.field != nil:
		want = wantScalar(s.field, k, text)
	}
	if want == "" {
		return s
	}
	c.violate("", "must be "+want)
	return schema{}
}

// wantScalar returns what a scalar field wants, or nothing when the value may do. Ranges and formats are protojson's to judge.
func wantScalar(fd protoreflect.FieldDescriptor, k kind, text string) string {
	switch fd.Kind() {
	case protoreflect.BoolKind:
		if k != kindBool {
			return "true or false"
		}
	case protoreflect.StringKind, protoreflect.BytesKind:
		if k != kindString {
			return "a string"
		}
	case protoreflect.EnumKind:
		if k == kindNumber || k == kindString && fd.Enum().Values().ByName(protoreflect.Name(text)) != nil {
			return ""
		}
		return "one of " + EnumNames(fd.Enum())
	case protoreflect.MessageKind:
		return wantWellKnown(fd.Message(), k, text)
	default:
		if k != kindNumber && k != kindString {
			return "a number"
		}
	}
	return ""
}

// wantWellKnown returns what a field of a well-known type with a JSON form of its own wants, or nothing when the value may do.
func wantWellKnown(md protoreflect.MessageDescriptor, k kind, text string) string {
	switch md.FullName() {
	case "google.protobuf.Timestamp":
		if _, err := time.Parse(time.RFC3339Nano, text); k != kindString || err != nil {
			return "a time such as 2026-11-23T12:00:00Z"
		}
	case "google.protobuf.Duration":
		if k != kindString || !durationRegexp.MatchString(text) {
			return `a duration in seconds such as "90s" or "0.5s"`
		}
	case "google.protobuf.Struct":
		if k != kindObject {
			return "an object"
		}
	}
	return ""
}

// durationRegexp is the JSON form of a duration, but for its range.
var durationRegexp = regexp.MustCompile(`^[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)s$`)

// EnumNames lists the values that mean something.
func EnumNames(ed protoreflect.EnumDescriptor) string {
	var names []string
	for i := range ed.Values().Len() {
		if v := ed.Values().Get(i); v.Number() != 0 {
			names = append(names, string(v.Name()))
		}
	}
	return strings.Join(names, ", ")
}
