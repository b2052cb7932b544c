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
	// Field is a path such as `event.data.talk_ms`.
	Field    string
	Operator Operator
	// Value is JSON data; Exists, NotExists and Changed have none.
	Value any
	// Group, when set, takes the place of the comparison.
	Group *RuleGroup
}

// RuleError is a problem of one rule.
type RuleError struct {
	// Path leads from the group to the rule's field, for example `.rules[2].field`.
	Path    string
	Message string
}

// Error names path and problem.
func (e *RuleError) Error() string { return e.Path + ": " + e.Message }

// fieldPath is what Field may be: a variable and its fields.
var fieldPath = regexp.MustCompile(`^[a-zA-Z_][a-zA-Z0-9_]*(\.[a-zA-Z_][a-zA-Z0-9_]*)*$`)

// maxRuleDepth bounds the nesting of groups.
const maxRuleDepth = 10

// Expression writes the group as a CEL expression.
func (g RuleGroup) Expression() (string, *RuleError) { return g.expression("", 1) }

func (g RuleGroup) expression(path string, depth int) (string, *RuleError) {
	if depth > maxRuleDepth {
		return "", &RuleError{path, fmt.Sprintf("groups nest deeper than %d", maxRuleDepth)}
	}
	if len(g.Rules) == 0 {
		return "", &RuleError{path + ".rules", "a group needs a rule"}
	}
	terms := make([]string, len(g.Rules))
	for i, rule := range g.Rules {
		at := fmt.Sprintf("%s.rules[%d]", path, i)
		var err *RuleError
		if rule.Group != nil {
			terms[i], err = rule.Group.expression(at+".group", depth+1)
			terms[i] = "(" + terms[i] + ")"
		} else {
			terms[i], err = rule.expression(at)
		}
		if err != nil {
			return "", err
		}
	}
	if g.Any {
		return strings.Join(terms, " || "), nil
	}
	return strings.Join(terms, " && "), nil
}

func (r Rule) expression(path string) (string, *RuleError) {
	if !fieldPath.MatchString(r.Field) {
		return "", &RuleError{path + ".field", "expected a path such as event.data.result"}
	}
	switch r.Operator {
	case Exists:
		return presence(r.Field), nil
	case NotExists:
		return "!(" + presence(r.Field) + ")", nil
	case Changed:
		name := r.Field[strings.LastIndexByte(r.Field, '.')+1:]
		return fmt.Sprintf(`has(event.data.before) && %q in event.data.before`, name), nil
	}
	value, err := literal(r.Value)
	if err != nil {
		return "", &RuleError{path + ".value", err.Error()}
	}
	if infix, ok := map[Operator]string{
		Equals: "==", NotEquals: "!=", GreaterThan: ">", GreaterOrEqual: ">=", LessThan: "<", LessOrEqual: "<=",
	}[r.Operator]; ok {
		return r.Field + " " + infix + " " + value, nil
	}
	_, isText := r.Value.(string)
	// A value that is no text can only be a member of a list.
	contains := "(" + value + " in " + r.Field + ")"
	if isText {
		contains = fmt.Sprintf("(type(%[1]s) == string ? %[1]s.contains(%[2]s) : %[2]s in %[1]s)", r.Field, value)
	}
	_, isList := r.Value.([]any)
	switch r.Operator {
	case Contains:
		return contains, nil
	case NotContains:
		return "!" + contains, nil
	case StartsWith, EndsWith:
		if !isText {
			return "", &RuleError{path + ".value", "expected text"}
		}
		method := map[Operator]string{StartsWith: "startsWith", EndsWith: "endsWith"}[r.Operator]
		return fmt.Sprintf("%s.%s(%s)", r.Field, method, value), nil
	case In, NotIn:
		if !isList {
			return "", &RuleError{path + ".value", "expected a list"}
		}
		if r.Operator == NotIn {
			return fmt.Sprintf("!(%s in %s)", r.Field, value), nil
		}
		return r.Field + " in " + value, nil
	default:
		return "", &RuleError{path + ".operator", fmt.Sprintf("unknown operator %q", r.Operator)}
	}
}

// presence tests each part of a path, since has() of a field fails where its parent is missing.
func presence(field string) string {
	parts := strings.Split(field, ".")
	if len(parts) == 1 {
		return field + " != null"
	}
	terms := make([]string, 0, len(parts)-1)
	for i := 2; i <= len(parts); i++ {
		terms = append(terms, "has("+strings.Join(parts[:i], ".")+")")
	}
	return strings.Join(terms, " && ")
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
