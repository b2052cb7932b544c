package expr

import (
	"strconv"

	"cel.dev/cel-go/checker"
	"cel.dev/cel-go/common"
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/containers"
	"cel.dev/cel-go/common/decls"
	"cel.dev/cel-go/common/stdlib"
	"cel.dev/cel-go/common/types"
)

// typed checks expressions against the schemas of the variables. What it accepts is evaluated without them: it finds what cannot work with
// data of these schemas, and nothing that could.
type typed struct {
	env     *checker.Env
	schemas map[string]*Schema
}

// asMap is a function that makes an object with known fields a map again wherever it stands for itself.
const asMap = "@map"

func newTyped(variables []Variable) (*typed, error) {
	registry, err := types.NewRegistry()
	if err != nil {
		return nil, err
	}
	p := &provider{Registry: registry, byName: make(map[string]*Schema), bySchema: make(map[*Schema]*types.Type)}
	t := &typed{schemas: make(map[string]*Schema)}
	idents := make([]*decls.VariableDecl, 0, len(variables))
	for _, v := range variables {
		kind := v.Type.cel()
		if v.Schema != nil {
			t.schemas[v.Name] = v.Schema
			kind = p.typeOf(v.Schema)
		}
		idents = append(idents, decls.NewVariable(v.Name, kind))
	}
	if t.env, err = checker.NewEnv(containers.DefaultContainer, p, checker.CrossTypeNumericComparisons(true)); err != nil {
		return nil, err
	}
	toMap, err := decls.NewFunction(asMap, decls.Overload(asMap, []*types.Type{types.DynType}, types.NewMapType(types.StringType, types.DynType)))
	if err != nil {
		return nil, err
	}
	if err := t.env.AddIdents(append(idents, stdlib.Types()...)...); err != nil {
		return nil, err
	}
	return t, t.env.AddFunctions(append([]*decls.FunctionDecl{toMap}, stdlib.Functions()...)...)
}

// check returns the type of the expression, or the first thing that cannot work.
func (t *typed) check(parsed *ast.AST, source string) (*types.Type, *Error) {
	tree := ast.Copy(parsed)
	l := newLoosener(tree, t.schemas)
	l.visit(tree.Expr())
	checked, errs := checker.Check(tree, common.NewTextSource(source), t.env)
	if found := errs.GetErrors(); len(found) > 0 {
		e := explainer{original: parsed, checked: checked, schemas: t.schemas}
		return nil, e.explain(found[0], l.originalID(found[0].ExprID))
	}
	return checked.GetType(checked.Expr().ID()), nil
}

// provider tells CEL the fields of objects. Each schema with known fields is a type of its own, whose name no expression can write.
type provider struct {
	*types.Registry
	byName   map[string]*Schema
	bySchema map[*Schema]*types.Type
}

// typeOf returns CEL's type of a schema and makes known the types of all schemas within.
func (p *provider) typeOf(s *Schema) *types.Type {
	if s == nil {
		return types.DynType
	}
	if !s.isObject() {
		// What a comprehension makes of a list of objects could not be told from a map, so their fields stay unknown.
		if s.kind == List && s.items != nil && s.items.kind != Map {
			return types.NewListType(p.typeOf(s.items))
		}
		return s.kind.cel()
	}
	if t, ok := p.bySchema[s]; ok {
		return t
	}
	name := "@" + strconv.Itoa(len(p.byName))
	t := types.NewObjectType(name)
	p.byName[name], p.bySchema[s] = s, t
	for _, f := range s.fields {
		p.typeOf(f)
	}
	p.typeOf(s.rest)
	return t
}

// FindStructType implements types.Provider.
func (p *provider) FindStructType(name string) (*types.Type, bool) {
	if s, ok := p.byName[name]; ok {
		return types.NewTypeTypeWithParam(p.bySchema[s]), true
	}
	return p.Registry.FindStructType(name)
}

// FindStructFieldType implements types.Provider. A field that is not known holds anything, unless the object has no others.
func (p *provider) FindStructFieldType(name, field string) (*types.FieldType, bool) {
	s, ok := p.byName[name]
	if !ok {
		return p.Registry.FindStructFieldType(name, field)
	}
	if _, known := s.fields[field]; !known && s.closed {
		return nil, false
	}
	f := s.Field(field)
	if f == nil {
		return &types.FieldType{Type: types.DynType}, true
	}
	if t, ok := p.bySchema[f]; ok {
		return &types.FieldType{Type: t}, true
	}
	return &types.FieldType{Type: p.typeOf(f)}, true
}
