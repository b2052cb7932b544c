package action

import (
	"bytes"
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/santhosh-tekuri/jsonschema/v6/kind"
	"golang.org/x/text/language"
	"golang.org/x/text/message"

	"workflow.uniconnect/pkg/fault"
)

// stage says whether templates still stand in the parameters.
type stage uint8

const (
	saved stage = iota
	filled
)

// maxRule bounds the text of a rule, which may quote the value that breaks it.
const maxRule = 300

type schema struct {
	compiled *jsonschema.Schema
	names    string // the parameters, for people who misspelt one
}

func compile(raw json.RawMessage) (*schema, error) {
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(raw))
	if err != nil {
		return nil, err
	}
	const location = "schema.json"
	c := jsonschema.NewCompiler()
	c.DefaultDraft(jsonschema.Draft2020)
	if err := c.AddResource(location, doc); err != nil {
		return nil, err
	}
	compiled, err := c.Compile(location)
	if err != nil {
		return nil, err
	}
	names := slices.Sorted(maps.Keys(compiled.Properties))
	return &schema{compiled: compiled, names: strings.Join(names, ", ")}, nil
}

// check returns one violation for each broken rule.
func (s *schema) check(params map[string]any, at stage) []fault.Violation {
	if params == nil {
		params = map[string]any{}
	}
	err := s.compiled.Validate(params)
	if err == nil {
		return nil
	}
	var broken *jsonschema.ValidationError
	if !errors.As(err, &broken) {
		return []fault.Violation{{Field: "params", Description: cut(err.Error()), Reason: fault.ReasonFieldRule}}
	}
	w := walker{schema: s, params: params, stage: at, printer: message.NewPrinter(language.English)}
	w.walk(broken)
	return w.violations
}

// walker turns the tree of a validation error into violations.
type walker struct {
	schema     *schema
	params     any
	stage      stage
	printer    *message.Printer
	violations []fault.Violation
}

func (w *walker) walk(e *jsonschema.ValidationError) {
	field, value := locate(w.params, e.InstanceLocation)
	if text, ok := value.(string); ok && w.stage == saved && Templated(text) {
		return
	}
	if len(e.Causes) > 0 {
		for _, cause := range e.Causes {
			w.walk(cause)
		}
		return
	}
	switch k := e.ErrorKind.(type) {
	case *kind.Required:
		for _, name := range k.Missing {
			w.add(field+"."+name, "is required")
		}
	case *kind.AdditionalProperties:
		for _, name := range k.Properties {
			rule := "is not known here"
			if len(e.InstanceLocation) == 0 {
				rule = "is not a parameter of this action; known are " + w.schema.names
			}
			w.add(field+"."+name, rule)
		}
	default:
		w.add(field, e.ErrorKind.LocalizedString(w.printer))
	}
}

func (w *walker) add(field, rule string) {
	w.violations = append(w.violations, fault.Violation{Field: field, Description: cut(rule), Reason: fault.ReasonFieldRule})
}

// locate returns the path of a value as people write it, and the value.
func locate(params any, location []string) (field string, value any) {
	var b strings.Builder
	b.WriteString("params")
	value = params
	for _, token := range location {
		switch parent := value.(type) {
		case []any:
			b.WriteString("[" + token + "]")
			i, err := strconv.Atoi(token)
			if err != nil || i < 0 || i >= len(parent) {
				return b.String(), nil
			}
			value = parent[i]
		case map[string]any:
			b.WriteString("." + token)
			value = parent[token]
		default:
			return b.String(), nil
		}
	}
	return b.String(), value
}

// Templated reports whether text holds a `${…}`; `$${` is a literal.
func Templated(text string) bool { return TemplateStart(text) >= 0 }

// TemplateStart returns where the first `${` of text begins, -1 when it has none.
func TemplateStart(text string) int {
	for from := 0; ; {
		i := strings.Index(text[from:], "${")
		if i < 0 {
			return -1
		}
		i += from
		if i == 0 || text[i-1] != '$' {
			return i
		}
		from = i + len("${")
	}
}

func cut(text string) string {
	text = strings.ToValidUTF8(text, "\uFFFD")
	if len(text) <= maxRule {
		return text
	}
	return strings.ToValidUTF8(text[:maxRule], "") + "…"
}
