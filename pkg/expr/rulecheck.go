package expr

import (
	"encoding/json"
	"fmt"
	"math"
	"strings"
)

// CheckRules finds rules that cannot hold, or always do, for data of the variables' schemas: a value of another type than its field, an
// operator that the field's type does not know, a field that does not exist.
func (e *Env) CheckRules(g *RuleGroup) []*RuleError {
	var w ruleWriter
	e.checkGroup(&w, "", g, 1)
	return w.errs
}

func (e *Env) checkGroup(w *ruleWriter, path string, g *RuleGroup, depth int) {
	if depth > MaxRuleDepth {
		return // Expression says so
	}
	for i := range g.Rules {
		at := fmt.Sprintf("%s.rules[%d]", path, i)
		if r := &g.Rules[i]; r.Group != nil {
			e.checkGroup(w, at+".group", r.Group, depth+1)
		} else {
			e.checkRule(w, at, r)
		}
	}
}

func (e *Env) checkRule(w *ruleWriter, at string, r *Rule) {
	field, err := parseField(r.Field)
	if err != nil {
		return
	}
	s, problem := e.typed.field(field)
	if problem != "" {
		w.fail(at+".field", problem)
		return
	}
	if problem := ruleProblem(s, r); problem != "" {
		w.fail(at+".value", problem)
	}
}

// field returns what is known of the field at a path, or why there is none.
func (t *typed) field(path fieldPath) (s *Schema, problem string) {
	s = t.schemas[path[0]]
	for i, name := range path[1:] {
		if s == nil {
			return nil, ""
		}
		so := path[:i+1].String()
		if s.kind != Any && s.kind != Map {
			return nil, fmt.Sprintf("%s is %s and has no field %s", so, words(s.kind.cel()), name)
		}
		if _, known := s.fields[name]; s.closed && !known {
			return nil, fmt.Sprintf("%s has no field %s; it has %s", so, name, s.names())
		}
		s = s.Field(name)
	}
	return s, ""
}

// ruleProblem says why a comparison does not fit the field.
func ruleProblem(s *Schema, r *Rule) string {
	kind := s.Type()
	if kind == Any {
		return ""
	}
	is := fmt.Sprintf("%s is %s", r.Field, words(kind.cel()))
	differs := func(v any) string {
		return fmt.Sprintf("%s, %s is %s", is, quoted(v), words(typeOfJSON(v).cel()))
	}
	switch r.Operator {
	case Equals, NotEquals:
		if !matches(kind, r.Value) {
			return differs(r.Value)
		}
	case GreaterThan, GreaterOrEqual, LessThan, LessOrEqual:
		if kind != Int && kind != Double && kind != String {
			return is + ", which has no order"
		}
		if !matches(kind, r.Value) {
			return differs(r.Value)
		}
	case Contains, NotContains:
		switch {
		case kind == List && !matches(s.Items().Type(), r.Value):
			return fmt.Sprintf("%s of %s, %s is %s", is, plural(s.Items().Type().cel()), quoted(r.Value), words(typeOfJSON(r.Value).cel()))
		case kind == String && typeOfJSON(r.Value) != String:
			return differs(r.Value)
		case kind != List && kind != String:
			return is + ", which contains nothing"
		}
	case StartsWith, EndsWith:
		if kind != String {
			return is + ", expected text"
		}
	case In, NotIn:
		values, _ := r.Value.([]any)
		for _, v := range values {
			if !matches(kind, v) {
				return differs(v)
			}
		}
	}
	return ""
}

// matches reports whether a value of JSON can equal one of the type.
func matches(kind Type, v any) bool {
	got := typeOfJSON(v)
	if kind == Any || got == Any {
		return true
	}
	number := func(t Type) bool { return t == Int || t == Double }
	return kind == got || number(kind) && number(got)
}

// typeOfJSON is the type of JSON data; null is of any.
func typeOfJSON(v any) Type {
	switch x := v.(type) {
	case bool:
		return Bool
	case int64:
		return Int
	case float64:
		if x == math.Trunc(x) {
			return Int
		}
		return Double
	case string:
		return String
	case []any:
		return List
	case map[string]any:
		return Map
	default:
		return Any
	}
}

func quoted(v any) string {
	raw, err := json.Marshal(v)
	if err != nil {
		return "the value"
	}
	text := strings.ToValidUTF8(string(raw), "")
	if r := []rune(text); len(r) > maxQuoted {
		return string(r[:maxQuoted]) + "…"
	}
	return text
}
