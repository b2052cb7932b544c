package predicate

import (
	"fmt"
	"math"
	"regexp"
	"strconv"
	"strings"

	"workflow.uniconnect/pkg/fault"
)

const (
	maxRules      = 100
	maxGroupDepth = 8
	maxFieldParts = 16
)

// Join says how the rules of a group are joined.
type Join string

// The joins, spelled as the contract does.
const (
	All Join = "ALL"
	Any Join = "ANY"
)

// Group joins rules.
type Group struct {
	Join  Join
	Rules []Rule
}

// Rule compares one field, or holds a nested group.
type Rule struct {
	// Field is a path such as `event.data.talk_ms`.
	Field string
	// Operator is one of the operators of the contract, for example `EQUALS`.
	Operator string
	// Value is JSON data.
	Value any
	// Group takes the place of a comparison.
	Group *Group
}

// identifier is what may follow a dot in CEL; anything else goes into brackets.
var identifier = regexp.MustCompile(`^[a-zA-Z_][a-zA-Z0-9_]*$`)

// reserved are the words of CEL that are no identifiers.
const reserved = " as break const continue else false for function if import in let loop namespace null package return true var void while "

func rule(field, description string) []fault.Violation {
	return []fault.Violation{{Field: field, Description: description, Reason: ReasonFieldRule}}
}

// cel writes the rule as an expression.
func (r *Rule) cel(field string) (string, []fault.Violation) {
	path, why := parsePath(r.Field)
	if why != "" {
		return "", rule(field+".field", why)
	}
	switch r.Operator {
	case "EXISTS":
		return path.exists(), nil
	case "NOT_EXISTS":
		return "!(" + path.exists() + ")", nil
	case "CHANGED":
		return path.changed(), nil
	}
	value, why := literal(r.Value)
	if why != "" {
		return "", rule(field+".value", why)
	}
	x := path.String()
	switch r.Operator {
	case "EQUALS":
		return x + " == " + value, nil
	case "NOT_EQUALS":
		return x + " != " + value, nil
	case "GREATER_THAN", "GREATER_OR_EQUAL", "LESS_THAN", "LESS_OR_EQUAL":
		return r.order(x, value, field)
	case "CONTAINS":
		return r.contains(x, value), nil
	case "NOT_CONTAINS":
		return "!(" + r.contains(x, value) + ")", nil
	case "STARTS_WITH", "ENDS_WITH":
		if _, ok := r.Value.(string); !ok {
			return "", rule(field+".value", r.Operator+" compares with a text")
		}
		if r.Operator == "STARTS_WITH" {
			return x + ".startsWith(" + value + ")", nil
		}
		return x + ".endsWith(" + value + ")", nil
	case "IN", "NOT_IN":
		if _, ok := r.Value.([]any); !ok {
			return "", rule(field+".value", r.Operator+" compares with a list")
		}
		if r.Operator == "IN" {
			return x + " in " + value, nil
		}
		return "!(" + x + " in " + value + ")", nil
	case "":
		return "", rule(field+".operator", "is missing")
	}
	return "", rule(field+".operator", "is not an operator")
}

func (r *Rule) order(x, value, field string) (string, []fault.Violation) {
	switch r.Value.(type) {
	case string, float64, int64:
	default:
		return "", rule(field+".value", r.Operator+" compares with a number or a text")
	}
	operator := map[string]string{"GREATER_THAN": " > ", "GREATER_OR_EQUAL": " >= ", "LESS_THAN": " < ", "LESS_OR_EQUAL": " <= "}[r.Operator]
	return x + operator + value, nil
}

// contains looks for a text in a text, for anything in a list.
func (r *Rule) contains(x, value string) string {
	if _, ok := r.Value.(string); ok {
		return fmt.Sprintf("(type(%s) == string ? %s.contains(%s) : %s in %s)", x, x, value, value, x)
	}
	return value + " in " + x
}

// fieldPath is a path whose first part is a variable.
type fieldPath []string

func parsePath(text string) (fieldPath, string) {
	parts := strings.Split(text, ".")
	switch {
	case text == "":
		return nil, "is missing"
	case len(parts) > maxFieldParts:
		return nil, fmt.Sprintf("has more than %d parts", maxFieldParts)
	case parts[0] != "event" || len(parts) < 2:
		return nil, "is not a path that begins with event., such as event.data.result"
	}
	for _, part := range parts {
		if part == "" {
			return nil, "has an empty part"
		}
	}
	return parts, ""
}

func plain(part string) bool {
	return identifier.MatchString(part) && !strings.Contains(reserved, " "+part+" ")
}

// String returns the path as an expression.
func (p fieldPath) String() string {
	var b strings.Builder
	b.WriteString(p[0])
	for _, part := range p[1:] {
		if plain(part) {
			b.WriteString("." + part)
		} else {
			b.WriteString("[" + strconv.Quote(part) + "]")
		}
	}
	return b.String()
}

// exists asks on each level, so that a missing object on the way, or something else in its place, means absent rather than failure.
func (p fieldPath) exists() string {
	tests := make([]string, 0, 2*len(p))
	for i := 1; i < len(p); i++ {
		parent := p[:i].String()
		if i > 1 { // the event itself is an object
			tests = append(tests, "type("+parent+") == map")
		}
		tests = append(tests, strconv.Quote(p[i])+" in "+parent)
	}
	return strings.Join(tests, " && ")
}

// changed looks at what update events say of their changes: records carry old values in `before`, users and groups name their changed
// fields in `changed`.
func (p fieldPath) changed() string {
	name := strconv.Quote(p[len(p)-1])
	return `("before" in event.data && ` + name + ` in event.data.before) || ("changed" in event.data && ` + name + ` in event.data.changed)`
}

// literal writes JSON data as CEL, or says why it cannot.
func literal(v any) (string, string) {
	switch x := v.(type) {
	case nil:
		return "null", ""
	case bool:
		return strconv.FormatBool(x), ""
	case string:
		return strconv.Quote(x), ""
	case int64:
		return strconv.FormatInt(x, 10), ""
	case float64:
		return number(x)
	case []any:
		parts := make([]string, 0, len(x))
		for _, e := range x {
			part, why := literal(e)
			if why != "" {
				return "", why
			}
			parts = append(parts, part)
		}
		return "[" + strings.Join(parts, ", ") + "]", ""
	}
	return "", "is an object, which nothing can be compared with"
}

// number writes numbers without a fraction as int, as the payload's are.
func number(x float64) (string, string) {
	switch {
	case math.IsNaN(x) || math.IsInf(x, 0):
		return "", "is not a number"
	case x == math.Trunc(x) && math.Abs(x) <= 1<<53:
		return strconv.FormatInt(int64(x), 10), ""
	}
	text := strconv.FormatFloat(x, 'g', -1, 64)
	if !strings.ContainsAny(text, ".e") {
		text += ".0"
	}
	return text, ""
}
