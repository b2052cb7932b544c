package expr

import (
	"slices"

	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"
)

// Reference is a path that an expression reads, for example ["steps", "find", "output", "id"].
type Reference struct {
	// Path is a variable and the fields selected from it, as far as they are written out: `vars[event.data.key]` is ["vars"].
	Path []string
	// Line and Column are where it begins; both count from 1.
	Line, Column int
}

// References returns what the expression reads, in the order in which it is written. Names that a comprehension binds are not among it.
func (p *Program) References() []Reference {
	w := referenceWalk{info: p.ast.SourceInfo(), bound: make(map[string]int)}
	w.visit(p.ast.Expr())
	slices.SortStableFunc(w.found, func(a, b Reference) int {
		if a.Line != b.Line {
			return a.Line - b.Line
		}
		return a.Column - b.Column
	})
	return w.found
}

type referenceWalk struct {
	info  *ast.SourceInfo
	bound map[string]int
	found []Reference
}

func (w *referenceWalk) visit(e ast.Expr) {
	if path, root, ok := w.path(e); ok {
		if w.bound[path[0]] == 0 {
			at := w.info.GetStartLocation(root.ID())
			w.found = append(w.found, Reference{Path: path, Line: max(at.Line(), 1), Column: columnOf(at)})
		}
		return
	}
	switch e.Kind() {
	case ast.SelectKind:
		w.visit(e.AsSelect().Operand())
	case ast.CallKind:
		if e.AsCall().IsMemberFunction() {
			w.visit(e.AsCall().Target())
		}
		for _, arg := range e.AsCall().Args() {
			w.visit(arg)
		}
	case ast.ListKind:
		for _, item := range e.AsList().Elements() {
			w.visit(item)
		}
	case ast.MapKind:
		for _, entry := range e.AsMap().Entries() {
			w.visit(entry.AsMapEntry().Key())
			w.visit(entry.AsMapEntry().Value())
		}
	case ast.StructKind:
		for _, field := range e.AsStruct().Fields() {
			w.visit(field.AsStructField().Value())
		}
	case ast.ComprehensionKind:
		w.comprehension(e.AsComprehension())
	}
}

func (w *referenceWalk) comprehension(c ast.ComprehensionExpr) {
	w.visit(c.IterRange())
	w.visit(c.AccuInit())
	names := []string{c.AccuVar(), c.IterVar()}
	if c.HasIterVar2() {
		names = append(names, c.IterVar2())
	}
	for _, name := range names {
		w.bound[name]++
	}
	for _, e := range []ast.Expr{c.LoopCondition(), c.LoopStep(), c.Result()} {
		w.visit(e)
	}
	for _, name := range names {
		w.bound[name]--
	}
}

// path reads a chain of selections by name and the variable that it begins with.
func (w *referenceWalk) path(e ast.Expr) ([]string, ast.Expr, bool) {
	switch e.Kind() {
	case ast.IdentKind:
		return []string{e.AsIdent()}, e, true
	case ast.SelectKind:
		path, root, ok := w.path(e.AsSelect().Operand())
		return append(path, e.AsSelect().FieldName()), root, ok
	case ast.CallKind:
		args := e.AsCall().Args()
		if e.AsCall().FunctionName() != operators.Index || len(args) != 2 {
			return nil, nil, false
		}
		if name, ok := literalText(args[1]); ok {
			path, root, ok := w.path(args[0])
			return append(path, name), root, ok
		}
	}
	return nil, nil, false
}
