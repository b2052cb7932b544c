package predicate

import (
	"fmt"
	"strings"

	"workflow.uniconnect/pkg/expr"
	"workflow.uniconnect/pkg/fault"
)

// reader makes nodes of what was written.
type reader struct {
	env *Env
	// deferred leaves expressions to be compiled later.
	deferred bool
}

func (r *reader) predicate(source Source, field string) (*Predicate, []fault.Violation) {
	var (
		root       node
		violations []fault.Violation
	)
	switch {
	case source.Rules != nil:
		root, violations = r.group(source.Rules, field+".rules", 1)
	case source.Expression != "":
		root, violations = r.expression(source.Expression, field+".expression")
	default:
		return &Predicate{exact: true}, nil
	}
	if len(violations) > 0 {
		return nil, violations
	}
	return newPredicate(root), nil
}

func (r *reader) expression(source, field string) (node, []fault.Violation) {
	l := &leaf{lazy: lazy{env: r.env.env, source: source, want: expr.Bool}}
	var known bool
	if l.tests, l.exact, known = scan(source); known && r.deferred {
		return l, nil
	}
	if err := l.prepare(); err != nil {
		return nil, []fault.Violation{{Field: field, Description: err.Error(), Reason: ReasonExpression}}
	}
	if !known {
		l.tests, l.exact = l.program.Equalities(), l.program.OnlyEqualities()
	}
	return l, nil
}

func (r *reader) group(g *Group, field string, depth int) (node, []fault.Violation) {
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
		n, more := r.rule(&g.Rules[i], fmt.Sprintf("%s.rules[%d]", field, i), depth)
		nodes, violations = append(nodes, n), append(violations, more...)
	}
	if g.Join == Any {
		return anyOf(nodes), violations
	}
	return all(nodes), violations
}

func (r *reader) rule(written *Rule, field string, depth int) (node, []fault.Violation) {
	if written.Group != nil {
		if written.Field != "" || written.Operator != "" {
			return nil, rule(field, "is both a comparison and a group")
		}
		return r.group(written.Group, field+".group", depth+1)
	}
	alone, violations := written.alone(field)
	if len(violations) > 0 {
		return nil, violations
	}
	source, problems := alone.Expression()
	if len(problems) == 0 && !r.deferred {
		problems = r.env.env.CheckRules(alone)
	}
	if len(problems) > 0 {
		return nil, ofRule(field, problems)
	}
	l := &leaf{lazy: lazy{env: r.env.env, source: source, want: expr.Bool}}
	if value, ok := comparable(written.Value); ok && expr.Operator(written.Operator) == expr.Equals {
		l.tests, l.exact = []expr.Equality{{Path: strings.Split(written.Field, "."), Value: value}}, true
	}
	if r.deferred {
		return l, nil
	}
	if err := l.prepare(); err != nil {
		return nil, []fault.Violation{{Field: field, Description: err.Error(), Reason: ReasonExpression}}
	}
	return l, nil
}
