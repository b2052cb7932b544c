package expr

import (
	"fmt"
	"regexp"
	"strings"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common"
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/parser"
)

// explainer says what is wrong with an expression in the words of the people who write workflows.
type explainer struct {
	// original is the tree as it was written, checked the same with the types that were found.
	original, checked *ast.AST
	schemas           map[string]*Schema
}

// explain words a problem of the expression with the id.
func (x *explainer) explain(problem *common.Error, id int64) *Error {
	e := &Error{Line: max(problem.Location.Line(), 1), Column: columnOf(problem.Location), Message: problem.Message}
	node := x.find(id)
	if node == nil {
		return e
	}
	switch text := problem.Message; {
	case strings.HasPrefix(text, "found no matching overload"):
		e.Message = x.overload(node)
	case strings.HasPrefix(text, "expected type"):
		e.Message = fmt.Sprintf("%s is %s, expected %s", x.text(node), x.words(node), wanted(Bool))
	case strings.Contains(text, "does not support field selection") && node.Kind() == ast.SelectKind:
		operand := node.AsSelect().Operand()
		e.Message = fmt.Sprintf("%s is %s and has no field %s", x.text(operand), x.words(operand), node.AsSelect().FieldName())
	case strings.HasPrefix(text, "undefined field") && node.Kind() == ast.SelectKind:
		e.Message = x.undefined(node.AsSelect())
	case strings.Contains(text, "cannot be range of a comprehension"):
		e.Message = fmt.Sprintf("%s is %s, expected a list or an object", x.text(node), x.words(node))
	}
	return e
}

func (x *explainer) undefined(s ast.SelectExpr) string {
	text := fmt.Sprintf("%s has no field %s", x.text(s.Operand()), s.FieldName())
	of := schemaOf(s.Operand(), func(name string) *Schema { return x.schemas[name] })
	if of == nil || len(of.fields) == 0 {
		return text
	}
	return text + "; it has " + of.names()
}

// overload says why an operator or a function does not fit its operands.
func (x *explainer) overload(node ast.Expr) string {
	if node.Kind() != ast.CallKind {
		return "the operands do not fit"
	}
	call := node.AsCall()
	operands := call.Args()
	if call.IsMemberFunction() {
		operands = append([]ast.Expr{call.Target()}, operands...)
	}
	are := make([]string, len(operands))
	for i, o := range operands {
		are[i] = x.text(o) + " is " + x.words(o)
	}
	what := strings.Join(are, ", ")
	switch name := call.FunctionName(); name {
	case operators.In, operators.OldIn:
		if k := x.typeOf(operands[1]).Kind(); k != types.ListKind && k != types.MapKind {
			return "in needs a list or an object on its right side: " + what
		}
		return fmt.Sprintf("in never finds it: %s, %s is %s", are[0], x.text(operands[1]), x.words(operands[1]))
	case operators.Index, operators.OptIndex:
		return "[ ] takes the number of an element of a list or the name of a field: " + what
	default:
		operator, ok := operators.FindReverse(name)
		if !ok {
			return fmt.Sprintf("%s does not fit: %s", name, what)
		}
		if len(operands) != 2 {
			return fmt.Sprintf("%s does not fit: %s", operator, what)
		}
		if x.typeOf(operands[0]).Kind() == x.typeOf(operands[1]).Kind() {
			return fmt.Sprintf("%s does not work with these: %s", operator, what)
		}
		return fmt.Sprintf("%s needs both sides of one kind: %s%s", operator, what, x.hint(name, operands))
	}
}

// hint names the conversion that would help.
func (x *explainer) hint(operator string, operands []ast.Expr) string {
	for i, o := range operands {
		other := operands[1-i]
		switch k, wanted := x.typeOf(o).Kind(), x.typeOf(other).Kind(); {
		case k == types.StringKind && (wanted == types.TimestampKind || wanted == types.DurationKind):
			return fmt.Sprintf("; write %s(%s)", typeName(wanted), x.text(o))
		case k == types.IntKind && wanted == types.DoubleKind:
			return fmt.Sprintf("; write double(%s)", x.text(o))
		case wanted == types.StringKind && operator == operators.Add && (k == types.IntKind || k == types.DoubleKind || k == types.BoolKind):
			return fmt.Sprintf("; write string(%s)", x.text(o))
		}
	}
	return ""
}

func typeName(k types.Kind) string {
	if k == types.TimestampKind {
		return "timestamp"
	}
	return "duration"
}

func (x *explainer) typeOf(e ast.Expr) *types.Type { return x.checked.GetType(e.ID()) }

func (x *explainer) words(e ast.Expr) string { return words(x.typeOf(e)) }

// maxQuoted bounds how much of an expression an error quotes, in characters.
const maxQuoted = 60

// text is a part of the expression as people may have written it.
func (x *explainer) text(e ast.Expr) string {
	text, err := parser.Unparse(e, x.original.SourceInfo())
	if err != nil {
		return "the value"
	}
	if r := []rune(text); len(r) > maxQuoted {
		return string(r[:maxQuoted]) + "…"
	}
	return text
}

func (x *explainer) find(id int64) ast.Expr {
	var found ast.Expr
	ast.PreOrderVisit(x.original.Expr(), ast.NewExprVisitor(func(e ast.Expr) {
		if e.ID() == id && found == nil {
			found = e
		}
	}))
	return found
}

// String says what a value of the type is to somebody who does not program.
func (t Type) String() string { return words(t.cel()) }

// wanted says what type an expression must yield, with CEL's name where there is a function of that name.
func wanted(t Type) string {
	switch t {
	case Bool:
		return t.String() + " (bool)"
	case Timestamp:
		return t.String() + " (timestamp)"
	default:
		return t.String()
	}
}

// words says what a type is to somebody who does not program.
func words(t *types.Type) string {
	if t == nil {
		return "a value"
	}
	switch t.Kind() {
	case types.BoolKind:
		return "true or false"
	case types.IntKind, types.UintKind:
		return "a whole number"
	case types.DoubleKind:
		return "a number with a fraction"
	case types.StringKind:
		return "text"
	case types.BytesKind:
		return "bytes"
	case types.TimestampKind:
		return "a point in time"
	case types.DurationKind:
		return "a length of time"
	case types.NullTypeKind:
		return "null"
	case types.MapKind, types.StructKind:
		return "an object"
	case types.TypeKind:
		return "a type"
	case types.ListKind:
		if of := t.Parameters()[0]; of.Kind() != types.DynKind && of.Kind() != types.TypeParamKind {
			return "a list of " + plural(of)
		}
		return "a list"
	default:
		return "a value of any kind"
	}
}

func plural(t *types.Type) string {
	switch t.Kind() {
	case types.BoolKind:
		return "true and false"
	case types.IntKind, types.UintKind:
		return "whole numbers"
	case types.DoubleKind:
		return "numbers with fractions"
	case types.StringKind:
		return "texts"
	case types.TimestampKind:
		return "points in time"
	case types.DurationKind:
		return "lengths of time"
	case types.MapKind, types.StructKind:
		return "objects"
	case types.ListKind:
		return "lists"
	default:
		return "values"
	}
}

// why words the first problem that CEL found in an expression.
func (e *Env) why(source string, issues *cel.Issues) *Error {
	found := issues.Errors()
	if len(found) == 0 {
		return &Error{Line: 1, Column: 1, Message: issues.Err().Error()}
	}
	first := found[0]
	// CEL counts columns from 0.
	plain := &Error{Line: max(first.Location.Line(), 1), Column: columnOf(first.Location), Message: first.Message}
	if strings.HasPrefix(plain.Message, "Syntax error") {
		plain.Message = syntax(plain.Message)
		return plain
	}
	parsed, unread := e.cel.Parse(source)
	if unread.Err() != nil {
		return plain
	}
	if name, ok := undeclared(plain.Message); ok {
		x := explainer{original: parsed.NativeRep()}
		if node := x.find(first.ExprID); node != nil && node.Kind() == ast.CallKind {
			plain.Message = fmt.Sprintf("undeclared reference to the function %s", name)
		} else {
			plain.Message = fmt.Sprintf("undeclared reference to %s; known are %s", name, e.names)
		}
		return plain
	}
	if hint := literalHint(plain.Message, parsed.NativeRep(), first.ExprID); hint != "" {
		plain.Message += ": " + hint
		return plain
	}
	if _, problem := e.typed.check(parsed.NativeRep(), source); problem != nil && problem.Line == plain.Line && problem.Column == plain.Column {
		return problem
	}
	return plain
}

// literalHint says what is wrong with a literal that CEL reads before the run.
func literalHint(message string, tree *ast.AST, id int64) string {
	x := explainer{original: tree}
	node := x.find(id)
	if node == nil || node.Kind() != ast.LiteralKind {
		return ""
	}
	switch {
	case strings.HasPrefix(message, "invalid matches argument"):
		text, _ := literalText(node)
		if _, err := regexp.Compile(text); err != nil {
			return "no regular expression, " + strings.TrimPrefix(err.Error(), "error parsing regexp: ")
		}
	case strings.HasPrefix(message, "invalid timestamp argument"):
		return `write it as "2026-11-23T12:00:00Z"`
	case strings.HasPrefix(message, "invalid duration argument"):
		return `write it as "1h30m" or "90s"`
	}
	return ""
}

// undeclared returns the name that CEL does not know.
func undeclared(message string) (string, bool) {
	const prefix = "undeclared reference to '"
	if !strings.HasPrefix(message, prefix) {
		return "", false
	}
	name, _, ok := strings.Cut(message[len(prefix):], "'")
	return name, ok
}

// syntax leaves out the list of all tokens that could stand in a place.
func syntax(message string) string {
	message, _, _ = strings.Cut(message, " expecting {")
	return strings.NewReplacer(
		"mismatched input '<EOF>'", "the expression ends where something is missing",
		"no viable alternative at input '<EOF>'", "the expression ends where something is missing",
		"'<EOF>'", "the end", "<EOF>", "the end",
		"mismatched input", "unexpected", "extraneous input", "unexpected",
	).Replace(message)
}
