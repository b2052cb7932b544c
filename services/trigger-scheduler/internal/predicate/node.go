package predicate

import (
	"context"
	"errors"

	"workflow.uniconnect/pkg/expr"
)

// node is a part of a predicate. Parts are joined here rather than in one long expression, which would run into the limit on the
// length of expressions; the join follows CEL: what decides the answer wins over a failure beside it.
type node interface {
	match(ctx context.Context, scope expr.Scope) (bool, error)
	equalities() (tests []expr.Equality, exact bool)
	prepare() error
}

// leaf is one expression. Its equalities are known before it is compiled.
type leaf struct {
	lazy
	tests []expr.Equality
	exact bool
}

func (l *leaf) match(ctx context.Context, scope expr.Scope) (bool, error) {
	if err := l.prepare(); err != nil {
		return false, err
	}
	return l.program.EvalBool(ctx, scope)
}

func (l *leaf) equalities() ([]expr.Equality, bool) { return l.tests, l.exact }

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

func (a all) prepare() error { return prepare(a) }

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

func (a anyOf) prepare() error { return prepare(a) }

func prepare(nodes []node) error {
	var errs []error
	for _, n := range nodes {
		errs = append(errs, n.prepare())
	}
	return errors.Join(errs...)
}
