package listing

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"go.einride.tech/aip/filtering"
	expr "google.golang.org/genproto/googleapis/api/expr/v1alpha1"
)

// Operator compares a field with a value.
type Operator string

// The operators.
const (
	Equal          Operator = "="
	NotEqual       Operator = "!="
	Has            Operator = ":"
	Less           Operator = "<"
	LessOrEqual    Operator = "<="
	Greater        Operator = ">"
	GreaterOrEqual Operator = ">="
)

// Type says what the values of a field are.
type Type uint8

// The types.
const (
	// Text is any text.
	Text Type = iota
	// Time is a time as RFC 3339 writes it.
	Time
)

// Field is something that a list can be filtered by.
type Field struct {
	Name      string
	Type      Type
	Operators []Operator
	// Values are those that the field knows; nil when it may have any.
	Values []string
}

// Schema is what a list can be filtered by and in which orders it comes.
type Schema struct {
	Fields []Field
	// Orders are the fields that the list can be ordered by.
	Orders []string
}

// Term is one comparison of a filter. All of them have to hold.
type Term struct {
	Field    string
	Operator Operator
	// Value is what the field is compared with; Time is that of a field of type Time.
	Value string
	Time  time.Time
}

// maxTerms bounds what one filter may ask for.
const maxTerms = 32

// Filter reads a filter. An empty one has no terms.
func (s *Schema) Filter(text string) ([]Term, error) {
	if strings.TrimSpace(text) == "" {
		return nil, nil
	}
	var parser filtering.Parser
	parser.Init(text)
	parsed, err := parser.Parse()
	if err != nil {
		return nil, s.Refuse(syntax(err))
	}
	return s.terms(parsed.GetExpr(), nil)
}

// terms appends the comparisons of an expression.
func (s *Schema) terms(e *expr.Expr, found []Term) ([]Term, error) {
	call := e.GetCallExpr()
	if call == nil {
		return nil, s.Refuse("a comparison is missing beside " + quote(textOf(e)))
	}
	switch call.GetFunction() {
	case filtering.FunctionAnd:
		for _, arg := range call.GetArgs() {
			var err error
			if found, err = s.terms(arg, found); err != nil {
				return nil, err
			}
		}
		return found, nil
	case filtering.FunctionFuzzyAnd:
		return nil, s.Refuse("write AND between comparisons, and quotes around values with spaces")
	case filtering.FunctionOr, filtering.FunctionNot:
		return nil, s.Refuse(call.GetFunction() + " is not supported: comparisons are joined by AND")
	}
	if len(call.GetArgs()) != 2 {
		return nil, s.Refuse("functions are not supported")
	}
	if len(found) == maxTerms {
		return nil, s.Refuse(fmt.Sprintf("more than %d comparisons", maxTerms))
	}
	term, err := s.term(call)
	if err != nil {
		return nil, err
	}
	return append(found, term), nil
}

func (s *Schema) term(call *expr.Expr_Call) (Term, error) {
	left, right := call.GetArgs()[0], call.GetArgs()[1]
	term := Term{Field: snake(left.GetIdentExpr().GetName()), Operator: Operator(call.GetFunction())}
	i := slices.IndexFunc(s.Fields, func(f Field) bool { return f.Name == term.Field && f.Name != "" })
	if i < 0 {
		return Term{}, s.Refuse("unknown field " + quote(textOf(left)))
	}
	field := s.Fields[i]
	if !slices.Contains(field.Operators, term.Operator) {
		return Term{}, s.Refuse(field.Name + " does not compare with " + string(term.Operator))
	}
	var ok bool
	if term.Value, ok = valueOf(right); !ok {
		return Term{}, s.Refuse("the value of " + field.Name + " must be text in quotes")
	}
	if strings.ContainsFunc(term.Value, unicode.IsControl) {
		return Term{}, s.Refuse("the value of " + field.Name + " has control characters")
	}
	if len(field.Values) > 0 && !slices.Contains(field.Values, term.Value) {
		return Term{}, s.Refuse(field.Name + " is one of " + strings.Join(field.Values, ", ") + ", not " + quote(term.Value))
	}
	if field.Type == Time {
		var err error
		if term.Time, err = time.Parse(time.RFC3339Nano, term.Value); err != nil {
			return Term{}, s.Refuse(field.Name + ` takes a time like "2026-11-01T00:00:00Z", not ` + quote(term.Value))
		}
	}
	return term, nil
}

// Refuse returns the fault about a filter, with all that the list understands.
func (s *Schema) Refuse(text string) error {
	fields := make([]string, len(s.Fields))
	for i, f := range s.Fields {
		operators := make([]string, len(f.Operators))
		for j, o := range f.Operators {
			operators[j] = string(o)
		}
		fields[i] = f.Name + " (" + strings.Join(operators, " ") + ")"
	}
	return refuse("filter", ReasonFilter, text+"; fields are "+strings.Join(fields, ", "))
}

// valueOf returns the value that a comparison names.
func valueOf(e *expr.Expr) (string, bool) {
	switch kind := e.GetExprKind().(type) {
	case *expr.Expr_ConstExpr:
		switch constant := kind.ConstExpr.GetConstantKind().(type) {
		case *expr.Constant_StringValue:
			return constant.StringValue, true
		case *expr.Constant_Int64Value:
			return strconv.FormatInt(constant.Int64Value, 10), true
		case *expr.Constant_BoolValue:
			return strconv.FormatBool(constant.BoolValue), true
		}
	case *expr.Expr_IdentExpr, *expr.Expr_SelectExpr:
		return textOf(e), true
	}
	return "", false
}

// textOf returns words as they were written: `ACTIVE`, `call.ended`.
func textOf(e *expr.Expr) string {
	if s := e.GetSelectExpr(); s != nil {
		return textOf(s.GetOperand()) + "." + s.GetField()
	}
	if name := e.GetIdentExpr().GetName(); name != "" {
		return name
	}
	return e.GetConstExpr().GetStringValue()
}

// syntax says where a filter cannot be read. The parser's errors form a chain, of which the innermost knows best.
func syntax(err error) string {
	text := "cannot be read"
	for ; err != nil; err = errors.Unwrap(err) {
		if at, ok := err.(interface{ Position() filtering.Position }); ok {
			text = fmt.Sprintf("cannot be read at column %d", at.Position().Column)
		}
	}
	return text
}
