// Package predicate owns the questions that triggers ask about events: how an expression or a tree of rules becomes programs, and which
// of their tests an index may look up instead of evaluating. It does not know workflows.
package predicate

import (
	"context"
	"fmt"

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
	env, err := expr.NewEnv(expr.Variable{Name: "event", Type: expr.Map}, expr.Variable{Name: "now", Type: expr.Timestamp})
	if err != nil {
		return nil, err
	}
	return &Env{env: env}, nil
}

// CompileKey compiles a dedupe key.
func (e *Env) CompileKey(source, field string) (*expr.Program, []fault.Violation) {
	return e.expression(source, field, expr.Any)
}

// Compile compiles a predicate. The violations' fields begin with field, the place of the predicate.
func (e *Env) Compile(source Source, field string) (*Predicate, []fault.Violation) {
	switch {
	case source.Rules != nil:
		root, violations := e.group(source.Rules, field+".rules", 1)
		if len(violations) > 0 {
			return nil, violations
		}
		return newPredicate(root), nil
	case source.Expression != "":
		program, violations := e.expression(source.Expression, field+".expression", expr.Bool)
		if len(violations) > 0 {
			return nil, violations
		}
		return newPredicate(leaf{program}), nil
	}
	return &Predicate{exact: true}, nil
}

func (e *Env) expression(source, field string, want expr.Type) (*expr.Program, []fault.Violation) {
	program, err := e.env.Compile(source, want)
	if err != nil {
		return nil, []fault.Violation{{Field: field, Description: err.Error(), Reason: ReasonExpression}}
	}
	return program, nil
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

// Equalities returns tests that all hold wherever the predicate holds.
func (p *Predicate) Equalities() []expr.Equality { return p.equalities }

// Exact reports whether the predicate holds wherever all Equalities hold, so that it need not be evaluated.
func (p *Predicate) Exact() bool { return p.exact }

// node is a part of a predicate. Parts are joined here rather than in one long expression, which would run into the limit on the
// length of expressions; the join follows CEL: what decides the answer wins over a failure beside it.
type node interface {
	match(ctx context.Context, scope expr.Scope) (bool, error)
	equalities() (tests []expr.Equality, exact bool)
}

type leaf struct{ program *expr.Program }

func (l leaf) match(ctx context.Context, scope expr.Scope) (bool, error) {
	return l.program.EvalBool(ctx, scope)
}

func (l leaf) equalities() ([]expr.Equality, bool) {
	return l.program.Equalities(), l.program.OnlyEqualities()
}

type all []node

func (a all) match(ctx context.Context, scope expr.Scope) (bool, error) {
	var failure error
	for _, n := range a {
		ok, err := n.match(ctx, scope)
		if err != nil {
			failure = err
		} else if !ok {
			return false, nil
		}
	}
	return failure == nil, failure
}

func (a all) equalities() ([]expr.Equality, bool) {
	var tests []expr.Equality
	exact := true
	for _, n := range a {
		more, ok := n.equalities()
		tests = append(tests, more...)
		exact = exact && ok
	}
	return tests, exact
}

type anyOf []node

func (a anyOf) match(ctx context.Context, scope expr.Scope) (bool, error) {
	var failure error
	for _, n := range a {
		ok, err := n.match(ctx, scope)
		if ok && err == nil {
			return true, nil
		}
		if err != nil {
			failure = err
		}
	}
	return false, failure
}

func (a anyOf) equalities() ([]expr.Equality, bool) {
	if len(a) == 1 {
		return a[0].equalities()
	}
	return nil, false
}

func (e *Env) group(g *Group, field string, depth int) (node, []fault.Violation) {
	if depth > expr.MaxRuleDepth {
		return nil, rule(field, fmt.Sprintf("groups nest deeper than %d levels", expr.MaxRuleDepth))
	}
	var violations []fault.Violation
	if g.Join != All && g.Join != Any {
		violations = append(violations, rule(field+".op", "is neither ALL nor ANY")...)
	}
	if len(g.Rules) == 0 || len(g.Rules) > maxRules {
		violations = append(violations, rule(field+".rules", fmt.Sprintf("has %d rules, 1 to %d are allowed", len(g.Rules), maxRules))...)
		return nil, violations
	}
	nodes := make([]node, 0, len(g.Rules))
	for i := range g.Rules {
		n, more := e.rule(&g.Rules[i], fmt.Sprintf("%s.rules[%d]", field, i), depth)
		nodes, violations = append(nodes, n), append(violations, more...)
	}
	if g.Join == Any {
		return anyOf(nodes), violations
	}
	return all(nodes), violations
}

func (e *Env) rule(r *Rule, field string, depth int) (node, []fault.Violation) {
	if r.Group != nil {
		if r.Field != "" || r.Operator != "" {
			return nil, rule(field, "is both a comparison and a group")
		}
		return e.group(r.Group, field+".group", depth+1)
	}
	source, violations := r.cel(field)
	if len(violations) > 0 {
		return nil, violations
	}
	program, violations := e.expression(source, field, expr.Bool)
	return leaf{program}, violations
}
