package expr

import (
	"slices"

	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/types"
)

// Equality is a test `path == value` that must hold for an expression to be true.
type Equality struct {
	// Path is the variable and its fields, for example ["event", "data", "result"].
	Path []string
	// Value is a string, a bool or an int64.
	Value any
}

// Equalities returns the equality tests joined by && at the top of the expression. Where one of them does not hold the expression is
// false or fails, whatever the rest says: an index may skip it.
func (p *Program) Equalities() []Equality {
	var found []Equality
	var walk func(e ast.Expr)
	walk = func(e ast.Expr) {
		if e.Kind() != ast.CallKind {
			return
		}
		call := e.AsCall()
		switch call.FunctionName() {
		case operators.LogicalAnd:
			for _, arg := range call.Args() {
				walk(arg)
			}
		case operators.Equals:
			left, right := call.Args()[0], call.Args()[1]
			if eq, ok := equality(left, right); ok {
				found = append(found, eq)
			} else if eq, ok := equality(right, left); ok {
				found = append(found, eq)
			}
		}
	}
	walk(p.ast.Expr())
	return found
}

// OnlyEqualities reports whether the expression consists of Equalities alone: it is true exactly where all of them hold.
func (p *Program) OnlyEqualities() bool {
	var only func(e ast.Expr) bool
	only = func(e ast.Expr) bool {
		if e.Kind() != ast.CallKind {
			return false
		}
		args := e.AsCall().Args()
		switch e.AsCall().FunctionName() {
		case operators.LogicalAnd:
			return !slices.ContainsFunc(args, func(arg ast.Expr) bool { return !only(arg) })
		case operators.Equals:
			_, left := equality(args[0], args[1])
			_, right := equality(args[1], args[0])
			return left || right
		}
		return false
	}
	return only(p.ast.Expr())
}

func equality(field, literal ast.Expr) (Equality, bool) {
	if literal.Kind() != ast.LiteralKind {
		return Equality{}, false
	}
	path, ok := pathOf(field)
	if !ok {
		return Equality{}, false
	}
	switch v := literal.AsLiteral().(type) {
	case types.String:
		return Equality{Path: path, Value: string(v)}, true
	case types.Bool:
		return Equality{Path: path, Value: bool(v)}, true
	case types.Int:
		return Equality{Path: path, Value: int64(v)}, true
	default:
		return Equality{}, false
	}
}

func pathOf(e ast.Expr) ([]string, bool) {
	switch e.Kind() {
	case ast.IdentKind:
		return []string{e.AsIdent()}, true
	case ast.SelectKind:
		s := e.AsSelect()
		if s.IsTestOnly() {
			return nil, false
		}
		path, ok := pathOf(s.Operand())
		return append(path, s.FieldName()), ok
	default:
		return nil, false
	}
}
