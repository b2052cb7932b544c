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

// cel writes the comparison as an expression, as package expr writes all rules.
func (r *Rule) cel(field string) (string, []fault.Violation) {
	if !strings.HasPrefix(r.Field, "event.") {
		return "", rule(field+".field", "is not a path that begins with event., such as event.data.result")
	}
	alone := expr.RuleGroup{Rules: []expr.Rule{{Field: r.Field, Operator: expr.Operator(r.Operator), Value: r.Value}}}
	source, problems := alone.Expression()
	var violations []fault.Violation
	for _, p := range problems {
		violations = append(violations, rule(field+strings.TrimPrefix(p.Path, ".rules[0]"), p.Message)...)
	}
	return source, violations
}
