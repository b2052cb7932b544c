package expr

import (
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/types"
)

// loosener prepares a tree for the check against schemas, where CEL is stricter than an evaluation without them would be:
//   - an object with known fields is a map wherever no field of it is selected, and `x["field"]` is `x.field`;
//   - anything may be compared with null, and whole numbers with others;
//   - the branches of a conditional may differ, and lists of different elements may be joined;
//   - type(x) asks for the type that the data has.
type loosener struct {
	factory ast.ExprFactory
	info    *ast.SourceInfo
	schemas map[string]*Schema
	// bound counts the comprehensions around that bind a name.
	bound map[string]int
	next  int64
	// moved are the ids of expressions that got a new one when they were wrapped.
	moved map[int64]int64
}

func newLoosener(tree *ast.AST, schemas map[string]*Schema) *loosener {
	return &loosener{
		factory: ast.NewExprFactory(), info: tree.SourceInfo(), schemas: schemas, bound: make(map[string]int),
		next: ast.MaxID(tree) + 1, moved: make(map[int64]int64),
	}
}

// originalID is the id that an expression had before it was wrapped.
func (l *loosener) originalID(id int64) int64 {
	if before, ok := l.moved[id]; ok {
		return before
	}
	return id
}

// visit prepares an expression that stands for its own value.
func (l *loosener) visit(e ast.Expr) {
	l.inside(e)
	if l.schemaOf(e).isObject() {
		l.wrap(e, asMap)
	}
}

// inside prepares the parts of an expression.
func (l *loosener) inside(e ast.Expr) {
	switch e.Kind() {
	case ast.SelectKind:
		l.inside(e.AsSelect().Operand())
	case ast.CallKind:
		l.call(e)
	case ast.ListKind:
		for _, item := range e.AsList().Elements() {
			l.visit(item)
		}
	case ast.MapKind:
		for _, entry := range e.AsMap().Entries() {
			l.visit(entry.AsMapEntry().Key())
			l.visit(entry.AsMapEntry().Value())
		}
	case ast.StructKind:
		for _, field := range e.AsStruct().Fields() {
			l.visit(field.AsStructField().Value())
		}
	case ast.ComprehensionKind:
		l.comprehension(e.AsComprehension())
	}
}

func (l *loosener) comprehension(c ast.ComprehensionExpr) {
	l.visit(c.IterRange())
	l.visit(c.AccuInit())
	names := []string{c.AccuVar(), c.IterVar()}
	if c.HasIterVar2() {
		names = append(names, c.IterVar2())
	}
	for _, name := range names {
		l.bound[name]++
	}
	l.visit(c.LoopCondition())
	l.visit(c.LoopStep())
	for _, name := range names[1:] {
		l.bound[name]--
	}
	l.visit(c.Result())
	l.bound[c.AccuVar()]--
}

func (l *loosener) call(e ast.Expr) {
	call := e.AsCall()
	args := call.Args()
	if call.FunctionName() == operators.Index && len(args) == 2 {
		if name, ok := literalText(args[1]); ok && l.schemaOf(args[0]).isObject() {
			l.inside(args[0])
			e.SetKindCase(l.factory.NewSelect(e.ID(), args[0], name))
			return
		}
	}
	if call.IsMemberFunction() {
		l.visit(call.Target())
	}
	for _, arg := range args {
		l.visit(arg)
	}
	switch call.FunctionName() {
	case operators.Equals, operators.NotEquals:
		if isNull(args[0]) || isNull(args[1]) || l.isNumber(args[0]) && l.isNumber(args[1]) {
			l.wrap(args[0], dyn)
			l.wrap(args[1], dyn)
		}
	case operators.In:
		if l.isNumber(args[0]) {
			l.loosenNumbers(args[0], args[1])
		}
	case operators.Add:
		for _, arg := range args {
			if l.schemaOf(arg).Type() == List {
				l.wrap(arg, dyn)
			}
		}
	case operators.Conditional:
		if !l.same(args[1], args[2]) {
			l.wrap(args[1], dyn)
			l.wrap(args[2], dyn)
		}
	case "type":
		for _, arg := range args {
			l.wrap(arg, dyn)
		}
	}
}

// loosenNumbers lets a number be looked for among numbers of any kind.
func (l *loosener) loosenNumbers(number, list ast.Expr) {
	if list.Kind() != ast.ListKind {
		return
	}
	for _, item := range list.AsList().Elements() {
		if !l.isNumber(item) {
			return
		}
	}
	l.wrap(number, dyn)
}

// dyn is CEL's function that forgets the type of a value.
const dyn = "dyn"

// wrap puts an expression into a call. The call takes the expression's id, and so its type is what the expression's place has.
func (l *loosener) wrap(e ast.Expr, function string) {
	if e.Kind() == ast.CallKind && (e.AsCall().FunctionName() == asMap || e.AsCall().FunctionName() == dyn) {
		return
	}
	inner := l.factory.NewUnspecifiedExpr(l.next)
	inner.SetKindCase(e)
	l.moved[l.next] = e.ID()
	if at, ok := l.info.GetOffsetRange(e.ID()); ok {
		l.info.SetOffsetRange(l.next, at)
	}
	l.next++
	e.SetKindCase(l.factory.NewCall(e.ID(), function, inner))
}

func (l *loosener) schemaOf(e ast.Expr) *Schema {
	return schemaOf(e, func(name string) *Schema {
		if l.bound[name] > 0 {
			return nil
		}
		return l.schemas[name]
	})
}

// schemaOf returns what is known of the value of a path such as `event.data.items[0]`.
func schemaOf(e ast.Expr, variable func(name string) *Schema) *Schema {
	switch e.Kind() {
	case ast.IdentKind:
		return variable(e.AsIdent())
	case ast.SelectKind:
		if e.AsSelect().IsTestOnly() {
			return nil
		}
		return schemaOf(e.AsSelect().Operand(), variable).Field(e.AsSelect().FieldName())
	case ast.CallKind:
		if args := e.AsCall().Args(); e.AsCall().FunctionName() == operators.Index && len(args) == 2 {
			of := schemaOf(args[0], variable)
			if name, ok := literalText(args[1]); ok {
				return of.Field(name)
			}
			return of.Items()
		}
	}
	return nil
}

func literalText(e ast.Expr) (string, bool) {
	if e.Kind() != ast.LiteralKind {
		return "", false
	}
	s, ok := e.AsLiteral().(types.String)
	return string(s), ok
}

func isNull(e ast.Expr) bool {
	return e.Kind() == ast.LiteralKind && e.AsLiteral() == types.NullValue
}

// isNumber reports whether an expression is known to be a number.
func (l *loosener) isNumber(e ast.Expr) bool {
	t := l.plainType(e)
	return t == Int || t == Double
}

// same reports whether two branches are known to be of one type.
func (l *loosener) same(a, b ast.Expr) bool {
	if b.Kind() == ast.IdentKind && b.AsIdent() == l.factory.AccuIdentName() {
		return true // a macro's own
	}
	t := l.plainType(a)
	return t != Any && t == l.plainType(b)
}

// plainType is the type of a literal or a path, as far as it is known.
func (l *loosener) plainType(e ast.Expr) Type {
	if e.Kind() != ast.LiteralKind {
		return l.schemaOf(e).Type()
	}
	switch e.AsLiteral().(type) {
	case types.Bool:
		return Bool
	case types.Int, types.Uint:
		return Int
	case types.Double:
		return Double
	case types.String:
		return String
	default:
		return Any
	}
}
