package predicate

import (
	"strings"

	"workflow.uniconnect/pkg/expr"
	"workflow.uniconnect/pkg/fault"
)

const maxRules = 100

// Join says how the rules of a group are joined.
type Join string

// The joins, spelled as the contract does.
const (
	All Join = "ALL"
	Any Join = "ANY"
)

// Group joins rules.
type Group struct {
	Join  Join
	Rules []Rule
}

// Rule compares one field, or holds a nested group.
type Rule struct {
	// Field is a path such as `event.data.talk_ms`.
	Field string
	// Operator is one of the operators of the contract, for example `EQUALS`.
	Operator string
	// Value is JSON data.
	Value any
	// Group takes the place of a comparison.
	Group *Group
}

func rule(field, description string) []fault.Violation {
	return []fault.Violation{{Field: field, Description: description, Reason: ReasonFieldRule}}
}

// alone returns the comparison as a group of its own, which package expr writes as an expression and checks.
func (r *Rule) alone(field string) (*expr.RuleGroup, []fault.Violation) {
	if !strings.HasPrefix(r.Field, "event.") {
		return nil, rule(field+".field", "is not a path that begins with event., such as event.data.result")
	}
	return &expr.RuleGroup{Rules: []expr.Rule{{Field: r.Field, Operator: expr.Operator(r.Operator), Value: r.Value}}}, nil
}

// ofRule turns the problems of the rule in a group of its own into those of the rule at field.
func ofRule(field string, problems []*expr.RuleError) []fault.Violation {
	var violations []fault.Violation
	for _, p := range problems {
		violations = append(violations, rule(field+strings.TrimPrefix(p.Path, ".rules[0]"), p.Message)...)
	}
	return violations
}
