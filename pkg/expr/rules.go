package expr

import (
	"fmt"
	"math"
	"regexp"
	"strconv"
	"strings"
)

// Operator compares a field with a value in a Rule.
type Operator string

// The operators, spelled as the contract spells them.
const (
	Equals         Operator = "EQUALS"
	NotEquals      Operator = "NOT_EQUALS"
	GreaterThan    Operator = "GREATER_THAN"
	GreaterOrEqual Operator = "GREATER_OR_EQUAL"
	LessThan       Operator = "LESS_THAN"
	LessOrEqual    Operator = "LESS_OR_EQUAL"
	Contains       Operator = "CONTAINS"
	NotContains    Operator = "NOT_CONTAINS"
	StartsWith     Operator = "STARTS_WITH"
	EndsWith       Operator = "ENDS_WITH"
	In             Operator = "IN"
	NotIn          Operator = "NOT_IN"
	Exists         Operator = "EXISTS"
	NotExists      Operator = "NOT_EXISTS"
	Changed        Operator = "CHANGED"
)

// RuleGroup is a predicate for people who do not write expressions: rules joined by ALL or ANY.
type RuleGroup struct {
	// Any means that one rule is enough; otherwise all must hold.
	Any   bool
	Rules []Rule
}

// Rule compares a field with a value, or holds a nested group.
type Rule struct {
	// Field is a path such as `event.data.talk_ms`. Behind the variable any name may stand that has no dot.
	Field    string
	Operator Operator
	// Value is JSON data; Exists, NotExists and Changed have none.
	Value any
	// Group, when set, takes the place of the comparison.
	Group *RuleGroup
}

// RuleError is a problem of one rule.
type RuleError struct {
	// Path leads from the group to what is wrong, for example `.rules[2].field`.
	Path    string
	Message string
}

// Error names path and problem.
func (e *RuleError) Error() string { return e.Path + ": " + e.Message }

const (
	// MaxRuleDepth bounds the nesting of groups.
	MaxRuleDepth = 10
	// maxFieldParts bounds the length of a path.
	maxFieldParts = 16
)

// Expression writes the group as a CEL expression, or names every problem.
func (g *RuleGroup) Expression() (string, []*RuleError) {
	var w ruleWriter
	source := w.group("", g, 1)
	if len(w.errs) > 0 {
		return "", w.errs
	}
	return source, nil
}

// ruleWriter writes rules and collects their problems.
type ruleWriter struct{ errs []*RuleError }

func (w *ruleWriter) fail(path, message string) string {
	w.errs = append(w.errs, &RuleError{path, message})
	return ""
}

func (w *ruleWriter) group(path string, g *RuleGroup, depth int) string {
	if depth > MaxRuleDepth {
		return w.fail(path, fmt.Sprintf("groups nest deeper than %d", MaxRuleDepth))
	}
	if len(g.Rules) == 0 {
		return w.fail(path+".rules", "a group needs a rule")
	}
	terms := make([]string, len(g.Rules))
	for i := range g.Rules {
		at := fmt.Sprintf("%s.rules[%d]", path, i)
		if r := &g.Rules[i]; r.Group != nil {
			terms[i] = "(" + w.group(at+".group", r.Group, depth+1) + ")"
		} else {
			terms[i] = w.rule(at, r)
		}
	}
	if g.Any {
		return strings.Join(terms, " || ")
	}
	return strings.Join(terms, " && ")
}

func (w *ruleWriter) rule(at string, r *Rule) string {
	field, err := parseField(r.Field)
	if err != nil {
		return w.fail(at+".field", err.Error())
	}
	switch r.Operator {
	case Exists:
		return field.presence()
	case NotExists:
		return "!(" + field.presence() + ")"
	case Changed:
		return field.changed()
	}
	value, err := literal(r.Value)
	if err != nil {
		return w.fail(at+".value", err.Error())
	}
	return w.comparison(at, r, field.String(), value)
}

func (w *ruleWriter) comparison(at string, r *Rule, field, value string) string {
	_, isText := r.Value.(string)
	_, isList := r.Value.([]any)
	switch r.Operator {
	case Equals:
		return field + " == " + value
	case NotEquals:
		return field + " != " + value
	case GreaterThan, GreaterOrEqual, LessThan, LessOrEqual:
		switch r.Value.(type) {
		case string, float64, int64:
		default:
			return w.fail(at+".value", "expected a number or text")
		}
		return field + map[Operator]string{GreaterThan: " > ", GreaterOrEqual: " >= ", LessThan: " < ", LessOrEqual: " <= "}[r.Operator] + value
	case Contains:
		return contains(field, value, r.Value)
	case NotContains:
		return "!" + contains(field, value, r.Value)
	case StartsWith, EndsWith:
		if !isText {
			return w.fail(at+".value", "expected text")
		}
		return field + map[Operator]string{StartsWith: ".startsWith(", EndsWith: ".endsWith("}[r.Operator] + value + ")"
	case In, NotIn:
		if !isList {
			return w.fail(at+".value", "expected a list")
		}
		if r.Operator == NotIn {
			return "!(" + field + " in " + value + ")"
		}
		return field + " in " + value
	case "":
		return w.fail(at+".operator", "is missing")
	default:
		return w.fail(at+".operator", fmt.Sprintf("unknown operator %q", r.Operator))
	}
}

// contains looks for a text in a text or a list, for anything else in a list.
func contains(field, literal string, value any) string {
	if _, ok := value.(string); ok {
		return fmt.Sprintf("(type(%[1]s) == string ? %[1]s.contains(%[2]s) : %[2]s in %[1]s)", field, literal)
	}
	return "(" + literal + " in " + field + ")"
}

// fieldPath is a variable and the names behind it.
type fieldPath []string

// identifier is what may follow a dot in CEL; any other name stands in brackets.
var identifier = regexp.MustCompile(`^[a-zA-Z_][a-zA-Z0-9_]*$`)

func parseField(text string) (fieldPath, error) {
	parts := strings.Split(text, ".")
	if !identifier.MatchString(parts[0]) {
		return nil, fmt.Errorf("expected a path such as event.data.result")
	}
	if len(parts) > maxFieldParts {
		return nil, fmt.Errorf("the path has more than %d parts", maxFieldParts)
	}
	for _, part := range parts[1:] {
		if part == "" {
			return nil, fmt.Errorf("the path has an empty part")
		}
	}
	return parts, nil
}

// String writes the path as an expression. CEL knows every escape that QuoteToASCII makes.
func (p fieldPath) String() string {
	var b strings.Builder
	b.WriteString(p[0])
	for _, part := range p[1:] {
		if identifier.MatchString(part) && !reserved(part) {
			b.WriteString("." + part)
		} else {
			b.WriteString("[" + strconv.QuoteToASCII(part) + "]")
		}
	}
	return b.String()
}

// reserved reports whether CEL keeps the word from being a field's name.
func reserved(word string) bool {
	switch word {
	case "as", "break", "const", "continue", "else", "false", "for", "function", "if", "import", "in", "let", "loop", "namespace", "null",
		"package", "return", "true", "var", "void", "while":
		return true
	}
	return false
}

// presence asks on each level, so that a missing object on the way, or something else in its place, means absent rather than failure.
func (p fieldPath) presence() string {
	if len(p) == 1 {
		return p[0] + " != null"
	}
	terms := make([]string, 0, 2*len(p))
	for i := 1; i < len(p); i++ {
		parent := p[:i].String()
		// dyn, since a variable of a declared type cannot be compared with map.
		terms = append(terms, "type(dyn("+parent+")) == map", strconv.QuoteToASCII(p[i])+" in "+parent)
	}
	return strings.Join(terms, " && ")
}

// changed asks what update events say of their changes: records carry old values in `before`, users and groups name their changed fields
// in `changed`.
func (p fieldPath) changed() string {
	name := strconv.QuoteToASCII(p[len(p)-1])
	return `(("before" in event.data && ` + name + ` in event.data.before) || ("changed" in event.data && ` + name + ` in event.data.changed))`
}

// literal writes JSON data as a CEL literal.
func literal(v any) (string, error) {
	switch x := v.(type) {
	case nil:
		return "null", nil
	case bool:
		return strconv.FormatBool(x), nil
	case string:
		// CEL knows every escape that Quote makes.
		return strconv.QuoteToASCII(x), nil
	case int64:
		return strconv.FormatInt(x, 10), nil
	case float64:
		if x == math.Trunc(x) && math.Abs(x) <= 1<<53 {
			return strconv.FormatInt(int64(x), 10), nil
		}
		return strconv.FormatFloat(x, 'e', -1, 64), nil
	case []any:
		items := make([]string, len(x))
		for i, item := range x {
			var err error
			if items[i], err = literal(item); err != nil {
				return "", err
			}
		}
		return "[" + strings.Join(items, ", ") + "]", nil
	default:
		return "", fmt.Errorf("expected text, a number, true, false, null or a list of these")
	}
}
