// Package predicate owns the questions that triggers ask about events: how an expression or a tree of rules becomes programs, and which
// of their tests an index may look up instead of evaluating. It does not know workflows.
package predicate

import (
	"context"

	"workflow.uniconnect/pkg/expr"
	"workflow.uniconnect/pkg/fault"
)

// The reasons beside a field of a predicate.
const (
	ReasonExpression fault.Reason = "EXPRESSION"
	ReasonFieldRule  fault.Reason = fault.ReasonFieldRule
)

// Source is a predicate as it was written: an expression, else rules. The zero value is the predicate that always holds.
type Source struct {
	Expression string
	Rules      *Group
}

// Empty reports whether the predicate always holds.
func (s Source) Empty() bool { return s.Expression == "" && s.Rules == nil }

// Env is what the expressions of triggers see: `event` and `now`.
type Env struct {
	env *expr.Env
}

// NewEnv returns the environment. `event` is a map: payloads have no declared types, so a field that an event lacks is found when it
// is evaluated, and does not match.
func NewEnv() (*Env, error) {
	return declare(expr.Variable{Name: "event", Type: expr.Map})
}

// NewCheck returns the environment for checking what people write: what cannot work with an event whose data has the schema does not compile.
// A nil schema knows nothing of the data.
func NewCheck(data *expr.Schema) (*Env, error) {
	text := expr.SchemaOf(expr.String)
	return declare(expr.Variable{Name: "event", Type: expr.Map, Schema: expr.ObjectOf(map[string]*expr.Schema{
		"id": text, "type": text, "source": text, "time": text, "subject": text, "data": data,
	})})
}

func declare(event expr.Variable) (*Env, error) {
	env, err := expr.NewEnv(event, expr.Variable{Name: "now", Type: expr.Timestamp})
	if err != nil {
		return nil, err
	}
	return &Env{env: env}, nil
}

// CompileKey compiles a dedupe key.
func (e *Env) CompileKey(source, field string) (*Key, []fault.Violation) {
	k := e.DeferKey(source)
	if err := k.prepare(); err != nil {
		return nil, []fault.Violation{{Field: field, Description: err.Error(), Reason: ReasonExpression}}
	}
	return k, nil
}

// DeferKey is CompileKey without compiling.
func (e *Env) DeferKey(source string) *Key {
	return &Key{lazy{env: e.env, source: source, want: expr.Any}}
}

// Compile compiles a predicate. The violations' fields begin with field, the place of the predicate.
func (e *Env) Compile(source Source, field string) (*Predicate, []fault.Violation) {
	return (&reader{env: e}).predicate(source, field)
}

// Defer is Compile without compiling expressions: each is compiled when it is first needed, or by Prepare. Reading thousands of predicates
// costs little then. Only what is wrong with rules is a violation now.
func (e *Env) Defer(source Source, field string) (*Predicate, []fault.Violation) {
	return (&reader{env: e, deferred: true}).predicate(source, field)
}

// Predicate is a compiled predicate. It is safe for concurrent use.
type Predicate struct {
	root       node // nil always holds
	equalities []expr.Equality
	exact      bool
}

func newPredicate(root node) *Predicate {
	p := &Predicate{root: root}
	p.equalities, p.exact = root.equalities()
	return p
}

// Match evaluates the predicate.
func (p *Predicate) Match(ctx context.Context, scope expr.Scope) (bool, error) {
	if p.root == nil {
		return true, nil
	}
	return p.root.match(ctx, scope)
}

// Prepare compiles what Defer left, unless the predicate is exact and so has nothing to evaluate. A predicate that fails here does not
// match, and fails, wherever it is evaluated.
func (p *Predicate) Prepare() error {
	if p.root == nil || p.exact {
		return nil
	}
	return p.root.prepare()
}

// Equalities returns tests that all hold wherever the predicate holds.
func (p *Predicate) Equalities() []expr.Equality { return p.equalities }

// Exact reports whether the predicate holds wherever all Equalities hold, so that it need not be evaluated.
func (p *Predicate) Exact() bool { return p.exact }
