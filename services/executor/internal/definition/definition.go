// Package definition turns the contract's form of a workflow into the form that package run compiles. It decides nothing: what is wrong
// with a definition is found by run.Compiler.
package definition

import (
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	"workflow.uniconnect/pkg/expr"
	workflowv1 "workflow.uniconnect/proto/gen/go/uniconnect/workflow/v1"
	"workflow.uniconnect/services/executor/internal/run"
)

// FromProto converts a workflow.
func FromProto(w *workflowv1.Workflow) run.Definition {
	def := run.Definition{Steps: steps(w.GetSteps()), StepTimeout: duration(w.GetSettings().GetStepTimeout())}
	if p := retry(w.GetSettings().GetRetry()); p != nil {
		def.Retry = *p
	}
	return def
}

func steps(in []*workflowv1.Step) []run.Step {
	out := make([]run.Step, len(in))
	for i, s := range in {
		out[i] = step(s)
	}
	return out
}

func step(s *workflowv1.Step) run.Step {
	out := run.Step{
		ID:      s.GetId(),
		OnlyIf:  optionalPredicate(s.GetOnlyIf()),
		Retry:   retry(s.GetRetry()),
		Timeout: duration(s.GetTimeout()),
		OnError: onError(s.GetOnError()),
	}
	switch kind := s.GetKind().(type) {
	case *workflowv1.Step_Action:
		out.Action = action(kind.Action)
	case *workflowv1.Step_Condition:
		out.Condition = condition(kind.Condition)
	case *workflowv1.Step_Delay:
		out.Delay = &run.Delay{Duration: duration(kind.Delay.GetDuration()), Until: kind.Delay.GetUntil()}
	case *workflowv1.Step_Set:
		out.Set = &run.Set{Variables: kind.Set.GetVariables()}
	case *workflowv1.Step_Stop:
		out.Stop = &run.Stop{Failed: kind.Stop.GetOutcome() == workflowv1.StopStep_FAILED, Message: kind.Stop.GetMessage()}
	case *workflowv1.Step_Bulk:
		out.Bulk = &run.Bulk{Items: kind.Bulk.GetItems(), Steps: steps(kind.Bulk.GetSteps()), OnItemError: onError(kind.Bulk.GetOnItemError())}
		if kind.Bulk.GetQuery() != nil {
			out.Bulk.Query = action(kind.Bulk.GetQuery())
		}
	case *workflowv1.Step_Parallel:
		out.Parallel = &run.Parallel{}
		for _, b := range kind.Parallel.GetBranches() {
			out.Parallel.Branches = append(out.Parallel.Branches, steps(b.GetSteps()))
		}
	case *workflowv1.Step_CallWorkflow:
		out.CallWorkflow = &run.CallWorkflow{Input: kind.CallWorkflow.GetInput().AsMap()}
	case *workflowv1.Step_WaitForEvent:
		out.WaitForEvent = &run.WaitForEvent{
			Key: kind.WaitForEvent.GetKey(), Value: kind.WaitForEvent.GetValue(), Match: optionalPredicate(kind.WaitForEvent.GetMatch()),
			OnTimeout: steps(kind.WaitForEvent.GetOnTimeout()),
		}
	}
	return out
}

func action(a *workflowv1.ActionStep) *run.Action {
	return &run.Action{Type: a.GetType(), Connection: a.GetConnection(), Params: a.GetParams().AsMap()}
}

func onError(e *workflowv1.OnError) run.OnError {
	return run.OnError{Action: run.ErrorAction(e.GetAction()), Steps: steps(e.GetSteps())}
}

func condition(c *workflowv1.ConditionStep) *run.Condition {
	out := &run.Condition{Otherwise: steps(c.GetOtherwise())}
	for _, b := range c.GetBranches() {
		out.Branches = append(out.Branches, run.Branch{Title: b.GetTitle(), When: predicate(b.GetWhen()), Steps: steps(b.GetSteps())})
	}
	return out
}

func optionalPredicate(p *workflowv1.Predicate) *run.Predicate {
	if p == nil {
		return nil
	}
	out := predicate(p)
	return &out
}

func predicate(p *workflowv1.Predicate) run.Predicate {
	switch kind := p.GetKind().(type) {
	case *workflowv1.Predicate_Expression:
		return run.Predicate{Expression: kind.Expression, Field: ".expression"}
	case *workflowv1.Predicate_Rules:
		group := ruleGroup(kind.Rules)
		source, problems := group.Expression()
		if len(problems) > 0 {
			return run.Predicate{Field: ".rules", Problems: problems}
		}
		return run.Predicate{Expression: source, Rules: &group, Field: ".rules"}
	default:
		return run.Predicate{Problems: []*expr.RuleError{{Message: "a predicate needs an expression or rules"}}}
	}
}

func ruleGroup(g *workflowv1.RuleGroup) expr.RuleGroup {
	out := expr.RuleGroup{Any: g.GetOp() == workflowv1.RuleGroup_ANY}
	for _, r := range g.GetRules() {
		rule := expr.Rule{Field: r.GetField(), Operator: expr.Operator(r.GetOperator().String()), Value: r.GetValue().AsInterface()}
		if r.GetGroup() != nil {
			nested := ruleGroup(r.GetGroup())
			rule.Group = &nested
		}
		out.Rules = append(out.Rules, rule)
	}
	return out
}

func retry(p *workflowv1.RetryPolicy) *run.RetryPolicy {
	if p == nil {
		return nil
	}
	return &run.RetryPolicy{
		MaxAttempts:     int(p.GetMaxAttempts()),
		InitialInterval: duration(p.GetInitialInterval()),
		Multiplier:      p.GetMultiplier(),
		MaxInterval:     duration(p.GetMaxInterval()),
		Jitter:          p.Jitter,
	}
}

func duration(d *durationpb.Duration) time.Duration {
	if d == nil {
		return 0
	}
	return d.AsDuration()
}
