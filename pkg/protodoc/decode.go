package protodoc

import (
	"encoding/base64"
	"fmt"
	"math"
	"strconv"
	"strings"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/structpb"
)

// reader fills messages from a tree.
type reader struct {
	refuse   map[protoreflect.FullName]string
	problems []Problem
}

func (r *reader) problem(n *node, field, format string, args ...any) {
	if len(r.problems) < maxProblems {
		r.problems = append(r.problems, Problem{Line: n.line, Column: n.column, Field: field, Description: fmt.Sprintf(format, args...)})
	}
}

// message fills m, whose JSON form is an object.
func (r *reader) message(path string, n *node, m protoreflect.Message) {
	if n.kind != object {
		r.problem(n, path, "must be an object, not %s", n.kind)
		return
	}
	seen := make(map[protoreflect.FieldNumber]struct{})
	oneofs := make(map[protoreflect.FullName]string)
	for _, entry := range n.members {
		at := join(path, entry.key)
		place := &node{line: entry.line, column: entry.column}
		f := fieldOf(m.Descriptor(), entry.key)
		if f == nil {
			r.problem(place, at, "unknown field%s", suggestion(m.Descriptor(), entry.key))
			continue
		}
		if _, twice := seen[f.Number()]; twice {
			r.problem(place, at, "is given twice")
			continue
		}
		seen[f.Number()] = struct{}{}
		if isNull(entry.value) && !holdsNull(f) {
			continue
		}
		if why, refused := r.refuse[f.FullName()]; refused {
			r.problem(place, at, "%s", why)
			continue
		}
		if o := f.ContainingOneof(); o != nil && !o.IsSynthetic() {
			if other, taken := oneofs[o.FullName()]; taken {
				r.problem(place, at, "excludes %s: give one of them", other)
				continue
			}
			oneofs[o.FullName()] = entry.key
		}
		r.field(at, entry.value, m, f)
	}
}

func fieldOf(md protoreflect.MessageDescriptor, key string) protoreflect.FieldDescriptor {
	if f := md.Fields().ByJSONName(key); f != nil {
		return f
	}
	return md.Fields().ByName(protoreflect.Name(key))
}

// suggestion names the fields that there are, while they are few enough to be read.
func suggestion(md protoreflect.MessageDescriptor, key string) string {
	const readable = 16
	fields := md.Fields()
	for i := range fields.Len() {
		if strings.EqualFold(fields.Get(i).JSONName(), key) {
			return ": write " + fields.Get(i).JSONName()
		}
	}
	if fields.Len() == 0 || fields.Len() > readable {
		return ""
	}
	names := make([]string, fields.Len())
	for i := range names {
		names[i] = fields.Get(i).JSONName()
	}
	return ": there are " + strings.Join(names, ", ")
}

func isNull(n *node) bool {
	resolved, refusal := resolved(n)
	return refusal == "" && resolved.kind == null
}

// holdsNull tells whether null is a value of the field and not its absence.
func holdsNull(f protoreflect.FieldDescriptor) bool {
	return f.Message() != nil && f.Message().FullName() == (*structpb.Value)(nil).ProtoReflect().Descriptor().FullName() && !f.IsList() && !f.IsMap()
}

func (r *reader) field(path string, n *node, m protoreflect.Message, f protoreflect.FieldDescriptor) {
	switch {
	case f.IsMap():
		r.mapField(path, n, m, f)
	case f.IsList():
		if n.kind != list {
			r.problem(n, path, "must be a list, not %s", n.kind)
			return
		}
		items := m.Mutable(f).List()
		for i, item := range n.items {
			if v, ok := r.value(index(path, i), item, f, items.NewElement); ok {
				items.Append(v)
			}
		}
	default:
		if v, ok := r.value(path, n, f, func() protoreflect.Value { return m.NewField(f) }); ok {
			m.Set(f, v)
		}
	}
}

func (r *reader) mapField(path string, n *node, m protoreflect.Message, f protoreflect.FieldDescriptor) {
	if n.kind != object {
		r.problem(n, path, "must be an object, not %s", n.kind)
		return
	}
	if f.MapKey().Kind() != protoreflect.StringKind {
		r.problem(n, path, "keys that are no text are not read")
		return
	}
	entries := m.Mutable(f).Map()
	for _, entry := range n.members {
		if v, ok := r.value(join(path, entry.key), entry.value, f.MapValue(), entries.NewValue); ok {
			entries.Set(protoreflect.ValueOfString(entry.key).MapKey(), v)
		}
	}
}

// value reads one value of a field's type; empty makes a message to fill.
func (r *reader) value(path string, n *node, f protoreflect.FieldDescriptor, empty func() protoreflect.Value) (protoreflect.Value, bool) {
	if f.Message() == nil {
		v, complaint := scalar(n, f)
		if complaint != "" {
			r.problem(n, path, "%s", complaint)
		}
		return v, complaint == ""
	}
	v, before := empty(), len(r.problems)
	if wellKnown(f.Message()) {
		r.wellKnown(path, n, v.Message())
	} else {
		r.message(path, n, v.Message())
	}
	return v, len(r.problems) == before
}

// wellKnown reads a message that has a JSON form of its own: a time, a duration, any JSON.
func (r *reader) wellKnown(path string, n *node, m protoreflect.Message) {
	switch m.Descriptor().Name() {
	case "Struct", "Value", "ListValue":
	default:
		// Their form is a text, which in YAML needs no quotes.
		if n.kind == plain {
			n = &node{kind: text, text: n.text, line: n.line, column: n.column}
		}
	}
	encoded, ok := r.json(path, n, nil)
	if !ok {
		return
	}
	if err := protojson.Unmarshal(encoded, m.Interface()); err != nil {
		r.problem(n, path, "%s", wantOf(m.Descriptor()))
	}
}

func wantOf(md protoreflect.MessageDescriptor) string {
	switch md.Name() {
	case "Timestamp":
		return "must be a time such as 2026-11-23T12:00:00Z"
	case "Duration":
		return `must be a duration in seconds such as 90s or 0.5s`
	case "Struct":
		return "must be an object"
	case "ListValue":
		return "must be a list"
	default:
		return "does not fit the field"
	}
}

// json appends a tree as JSON, so that protojson decides what it means.
func (r *reader) json(path string, n *node, out []byte) ([]byte, bool) {
	n, refusal := resolved(n)
	if refusal != "" {
		r.problem(n, path, "%s", refusal)
		return nil, false
	}
	ok := true
	switch n.kind {
	case null:
		return append(out, "null"...), true
	case boolean:
		return append(out, n.text...), true
	case number:
		if _, kept := exact(n.text); !kept {
			r.problem(n, path, "the number cannot be kept exactly: put it in quotes if it is an identifier")
			return nil, false
		}
		return append(out, n.text...), true
	case list:
		out = append(out, '[')
		for i, item := range n.items {
			if i > 0 {
				out = append(out, ',')
			}
			var good bool
			out, good = r.json(index(path, i), item, out)
			ok = ok && good
		}
		return append(out, ']'), ok
	case object:
		out = append(out, '{')
		for i, entry := range n.members {
			if i > 0 {
				out = append(out, ',')
			}
			out = append(out, quoted(entry.key)+":"...)
			var good bool
			out, good = r.json(join(path, entry.key), entry.value, out)
			ok = ok && good
		}
		return append(out, '}'), ok
	default:
		return append(out, quoted(n.text)...), true
	}
}

// scalar reads a value that is no message. The second result says what is wrong with it.
func scalar(n *node, f protoreflect.FieldDescriptor) (protoreflect.Value, string) {
	none := protoreflect.Value{}
	switch f.Kind() {
	case protoreflect.StringKind:
		if n.kind == text || n.kind == plain && !isNull(n) {
			return protoreflect.ValueOfString(n.text), ""
		}
		return none, fmt.Sprintf("must be text, not %s", known(n).kind)
	case protoreflect.BytesKind:
		if b, err := base64.StdEncoding.DecodeString(n.text); err == nil && (n.kind == text || n.kind == plain) {
			return protoreflect.ValueOfBytes(b), ""
		}
		return none, "must be base64"
	case protoreflect.EnumKind:
		return enum(n, f.Enum())
	case protoreflect.BoolKind:
		if b := known(n); b.kind == boolean {
			return protoreflect.ValueOfBool(b.text == "true"), ""
		}
		return none, "must be true or false"
	default:
		return numeric(n, f.Kind())
	}
}

// known is the node as far as it has one meaning.
func known(n *node) *node {
	if r, refusal := resolved(n); refusal == "" {
		return r
	}
	return n
}

func enum(n *node, ed protoreflect.EnumDescriptor) (protoreflect.Value, string) {
	var names []string
	for i := range ed.Values().Len() {
		v := ed.Values().Get(i)
		if (n.kind == text || n.kind == plain) && string(v.Name()) == n.text {
			return protoreflect.ValueOfEnum(v.Number()), ""
		}
		if v.Number() != 0 {
			names = append(names, string(v.Name()))
		}
	}
	return protoreflect.Value{}, "must be one of " + strings.Join(names, ", ")
}

func numeric(n *node, kind protoreflect.Kind) (protoreflect.Value, string) {
	none := protoreflect.Value{}
	if n = known(n); n.kind != number && (n.kind != text || !is64(kind)) {
		return none, "must be a number"
	}
	switch kind {
	case protoreflect.DoubleKind, protoreflect.FloatKind:
		v, kept := exact(n.text)
		switch {
		case !kept:
			return none, "is not a number that can be kept exactly"
		case kind == protoreflect.DoubleKind:
			return protoreflect.ValueOfFloat64(v), ""
		case math.Abs(v) > math.MaxFloat32:
			return none, "is too large"
		}
		return protoreflect.ValueOfFloat32(float32(v)), ""
	case protoreflect.Int32Kind, protoreflect.Sint32Kind, protoreflect.Sfixed32Kind:
		v, err := strconv.ParseInt(n.text, 10, 32)
		return protoreflect.ValueOfInt32(int32(v)), whole(err)
	case protoreflect.Uint32Kind, protoreflect.Fixed32Kind:
		v, err := strconv.ParseUint(n.text, 10, 32)
		return protoreflect.ValueOfUint32(uint32(v)), whole(err)
	case protoreflect.Uint64Kind, protoreflect.Fixed64Kind:
		v, err := strconv.ParseUint(n.text, 10, 64)
		return protoreflect.ValueOfUint64(v), whole(err)
	default:
		v, err := strconv.ParseInt(n.text, 10, 64)
		return protoreflect.ValueOfInt64(v), whole(err)
	}
}

// is64 tells whether JSON writes the numbers of a kind as text.
func is64(kind protoreflect.Kind) bool {
	switch kind {
	case protoreflect.Int64Kind, protoreflect.Sint64Kind, protoreflect.Sfixed64Kind, protoreflect.Uint64Kind, protoreflect.Fixed64Kind:
		return true
	}
	return false
}

func whole(err error) string {
	if err != nil {
		return "must be a whole number in the field's range"
	}
	return ""
}
