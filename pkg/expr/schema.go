package expr

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// Schema is what is known of a value before the run, beyond its Type. It is immutable. A nil Schema knows nothing.
type Schema struct {
	kind Type
	// fields of an object by name.
	fields map[string]*Schema
	// rest is what other fields hold.
	rest *Schema
	// closed says that there are no other fields.
	closed bool
	// items are the elements of a list.
	items *Schema
}

// SchemaOf returns the schema of a value of which only the type is known.
func SchemaOf(t Type) *Schema { return &Schema{kind: t} }

// ObjectOf returns the schema of an object that has these fields and no others, so that an expression that names another is wrong.
func ObjectOf(fields map[string]*Schema) *Schema {
	return &Schema{kind: Map, fields: maps.Clone(fields), closed: true}
}

// Open returns the schema of an object that may have other fields as well.
func (s *Schema) Open() *Schema {
	open := *s
	open.closed = false
	return &open
}

// ListOf returns the schema of a list.
func ListOf(items *Schema) *Schema { return &Schema{kind: List, items: items} }

// SchemaFromJSON reads a JSON Schema (draft 2020-12) for what it says about types: type, properties, items, additionalProperties, enum,
// const, and $ref within the document. Whatever else it says narrows what is known already and is left aside. An object may always have
// other fields than those named, since data grows. A number may be whole, so nothing is known of it but for integers. The error says that
// the document is no JSON Schema.
func SchemaFromJSON(document map[string]any) (*Schema, error) {
	r := schemaReader{root: document, known: make(map[string]*Schema)}
	s := &Schema{}
	if err := r.read(s, document, "#"); err != nil {
		return nil, fmt.Errorf("JSON Schema: %w", err)
	}
	return s, nil
}

// Field returns what is known of a field of an object: nil when nothing is.
func (s *Schema) Field(name string) *Schema {
	if s == nil || s.kind != Map {
		return nil
	}
	if f, ok := s.fields[name]; ok {
		return f
	}
	return s.rest
}

// Items returns what is known of the elements of a list: nil when nothing is.
func (s *Schema) Items() *Schema {
	if s == nil || s.kind != List {
		return nil
	}
	return s.items
}

// Type returns the type of the value.
func (s *Schema) Type() Type {
	if s == nil {
		return Any
	}
	return s.kind
}

// At returns what is known of the value at a path of field names.
func (s *Schema) At(path ...string) *Schema {
	for _, name := range path {
		s = s.Field(name)
	}
	return s
}

// isObject reports whether fields of the value are known.
func (s *Schema) isObject() bool {
	return s != nil && s.kind == Map && (len(s.fields) > 0 || s.rest != nil || s.closed)
}

// names returns the fields that a closed object has, for people who misspelt one.
func (s *Schema) names() string { return strings.Join(slices.Sorted(maps.Keys(s.fields)), ", ") }

// schemaReader reads one document.
type schemaReader struct {
	root map[string]any
	// known are the targets of references, so that a schema may refer to itself.
	known map[string]*Schema
}

// maxSchemaDepth bounds how deep a document nests; below it nothing is known.
const maxSchemaDepth = 64

func (r *schemaReader) schema(v any, at string) (*Schema, error) {
	switch x := v.(type) {
	case bool:
		return nil, nil
	case map[string]any:
		s := &Schema{}
		return s, r.read(s, x, at)
	default:
		return nil, fmt.Errorf("%s is neither an object nor a boolean", at)
	}
}

func (r *schemaReader) read(s *Schema, m map[string]any, at string) error {
	if strings.Count(at, "/") > 2*maxSchemaDepth {
		return nil
	}
	if ref, ok := m["$ref"]; ok {
		return r.refer(s, ref, at)
	}
	kind, err := typeOf(m, at)
	if err != nil {
		return err
	}
	s.kind = kind
	switch kind {
	case Map:
		return r.object(s, m, at)
	case List:
		if _, tuple := m["prefixItems"]; tuple || m["items"] == nil {
			return nil
		}
		s.items, err = r.schema(m["items"], at+"/items")
	}
	return err
}

func (r *schemaReader) object(s *Schema, m map[string]any, at string) error {
	if properties, ok := m["properties"]; ok {
		fields, ok := properties.(map[string]any)
		if !ok {
			return fmt.Errorf("%s/properties is not an object", at)
		}
		s.fields = make(map[string]*Schema, len(fields))
		for name, v := range fields {
			f, err := r.schema(v, at+"/properties/"+escapePointer(name))
			if err != nil {
				return err
			}
			s.fields[name] = f
		}
	}
	if _, patterns := m["patternProperties"]; patterns || m["additionalProperties"] == nil {
		return nil
	}
	var err error
	s.rest, err = r.schema(m["additionalProperties"], at+"/additionalProperties")
	return err
}

// refer makes s what a reference within the document points to. One that leads elsewhere says nothing.
func (r *schemaReader) refer(s *Schema, ref any, at string) error {
	pointer, ok := ref.(string)
	if !ok {
		return fmt.Errorf("%s/$ref is not a text", at)
	}
	if !strings.HasPrefix(pointer, "#") {
		return nil
	}
	target, ok := resolvePointer(r.root, pointer[1:])
	if !ok {
		return fmt.Errorf("%s/$ref points to %s, which does not exist", at, pointer)
	}
	m, ok := target.(map[string]any)
	if !ok {
		return nil
	}
	known, ok := r.known[pointer]
	if !ok {
		known = &Schema{}
		r.known[pointer] = known
		if err := r.read(known, m, pointer); err != nil {
			return err
		}
	}
	*s = *known
	return nil
}

// typeOf returns the one type that a value of the schema has, as far as there is one; null beside it counts for nothing, since any field
// may turn out to be null.
func typeOf(m map[string]any, at string) (Type, error) {
	switch x := m["type"].(type) {
	case nil:
		return typeOfValues(m), nil
	case string:
		return typeNamed(x), nil
	case []any:
		only := Any
		for _, v := range x {
			name, ok := v.(string)
			if !ok {
				return Any, fmt.Errorf("%s/type holds what is not a text", at)
			}
			if name == "null" {
				continue
			}
			t := typeNamed(name)
			if t == Any || only != Any && only != t {
				return Any, nil
			}
			only = t
		}
		return only, nil
	default:
		return Any, fmt.Errorf("%s/type is neither a text nor a list", at)
	}
}

func typeNamed(name string) Type {
	switch name {
	case "boolean":
		return Bool
	case "integer":
		return Int
	case "string":
		return String
	case "array":
		return List
	case "object":
		return Map
	default: // number, which is an int or a double as the data has it, and null
		return Any
	}
}

// typeOfValues is the type of a schema that names values and no type.
func typeOfValues(m map[string]any) Type {
	values, _ := m["enum"].([]any)
	if c, ok := m["const"]; ok {
		values = []any{c}
	}
	if len(values) == 0 {
		if _, ok := m["properties"]; ok {
			return Map
		}
		return Any
	}
	only := Any
	for _, v := range values {
		switch v.(type) {
		case nil:
		case string:
			only = String
		default:
			return Any
		}
	}
	return only
}

func resolvePointer(root any, pointer string) (any, bool) {
	if pointer == "" {
		return root, true
	}
	if pointer[0] != '/' {
		return nil, false
	}
	at := root
	for _, token := range strings.Split(pointer[1:], "/") {
		token = strings.NewReplacer("~1", "/", "~0", "~").Replace(token)
		switch x := at.(type) {
		case map[string]any:
			next, ok := x[token]
			if !ok {
				return nil, false
			}
			at = next
		case []any:
			i, err := strconv.Atoi(token)
			if err != nil || i < 0 || i >= len(x) {
				return nil, false
			}
			at = x[i]
		default:
			return nil, false
		}
	}
	return at, true
}

func escapePointer(token string) string {
	return strings.NewReplacer("~", "~0", "/", "~1").Replace(token)
}
