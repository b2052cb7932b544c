package expr

import (
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
