package run

import (
	"errors"
	"fmt"
	"sort"
	"time"

	"workflow.uniconnect/pkg/expr"
	"workflow.uniconnect/pkg/fault"
)

// Reasons of violations and errors, values of the contract's ErrorReason.
const (
	reasonExpression        fault.Reason = "EXPRESSION"
	reasonNotAvailable      fault.Reason = "NOT_AVAILABLE"
	reasonFieldRule         fault.Reason = "FIELD_RULE"
	reasonStopped           fault.Reason = "STOPPED"
	reasonUnknownConnection fault.Reason = "UNKNOWN_CONNECTION"
	reasonUnknownStep       fault.Reason = "UNKNOWN_STEP"
	reasonUnknownVariable   fault.Reason = "UNKNOWN_VARIABLE"
)

// Actions answers for the action types.
type Actions interface {
	// Check finds the problems of an action's type and parameters. Fields are relative to the action: `type`, `params.url`.
	Check(actionType string, params map[string]any) []fault.Violation
}

// Program is a definition ready to run. It is safe for concurrent use.
type Program struct {
	root []*node
}

// node is a compiled step.
type node struct {
	step    *Step
	path    string
	onlyIf  *expr.Program
	retry   policy
	timeout time.Duration
	handler []*node

	params    *expr.Template // action
	branches  []branch       // condition
	otherwise []*node        // condition
	until     *expr.Program  // delay
	variables []variable     // set, sorted by name
	message   *expr.Template // stop
}

type branch struct {
	title string
	when  *expr.Program
	steps []*node
}

type variable struct {
	name  string
	value *expr.Program
}

// Compiler turns definitions into programs. It is safe for concurrent use.
type Compiler struct {
	env     *expr.Env
	bulkEnv *expr.Env // what expressions see inside a Bulk step
	keyEnv  *expr.Env // what the key of a wait sees
	actions Actions
}

// NewCompiler returns a compiler that knows the given actions.
func NewCompiler(actions Actions) (*Compiler, error) {
	c := &Compiler{actions: actions}
	for _, e := range []struct {
		env       **expr.Env
		variables []expr.Variable
	}{
		{&c.env, variables()},
		{&c.bulkEnv, append(variables(), itemVariables()...)},
		{&c.keyEnv, []expr.Variable{{Name: "event", Type: expr.Map}, {Name: "now", Type: expr.Timestamp}}},
	} {
		var err error
		if *e.env, err = expr.NewEnv(e.variables...); err != nil {
			return nil, fmt.Errorf("compiler of programs: %w", err)
		}
	}
	return c, nil
}

// variables are what expressions of a run see.
func variables() []expr.Variable {
	return []expr.Variable{
		{Name: "event", Type: expr.Map},
		{Name: "steps", Type: expr.Map},
		{Name: "vars", Type: expr.Map},
		{Name: "workflow", Type: expr.Map},
		{Name: "execution", Type: expr.Map},
		{Name: "schedule", Type: expr.Map},
		{Name: "now", Type: expr.Timestamp},
	}
}

// itemVariables are what they see beside that inside a Bulk step.
func itemVariables() []expr.Variable {
	return []expr.Variable{{Name: "item", Type: expr.Any}, {Name: "index", Type: expr.Int}}
}

// Compile prepares a definition. It finds every problem; fields are named from the workflow, such as `steps[2].action.params.url`.
func (c *Compiler) Compile(def Definition) (*Program, []fault.Violation) {
	b := builder{compiler: c, env: c.env, def: def}
	root := b.nodes("steps", "", def.Steps)
	if len(b.violations) > 0 {
		return nil, b.violations
	}
	return &Program{root: root}, nil
}

// builder collects the problems of one definition.
type builder struct {
	compiler   *Compiler
	env        *expr.Env // of the place that is being compiled
	def        Definition
	violations []fault.Violation
}

func (b *builder) nodes(field, parent string, steps []Step) []*node {
	nodes := make([]*node, len(steps))
	for i := range steps {
		nodes[i] = b.node(fmt.Sprintf("%s[%d]", field, i), parent, &steps[i])
	}
	return nodes
}

func (b *builder) node(field, parent string, step *Step) *node {
	n := &node{step: step, path: parent + step.ID, timeout: step.Timeout}
	if n.timeout == 0 {
		n.timeout = b.def.StepTimeout
	}
	if n.timeout == 0 {
		n.timeout = defaultStepTimeout
	}
	n.retry = policyOf(step.Retry, b.def.Retry)
	if step.OnlyIf != nil {
		n.onlyIf = b.predicate(field+".onlyIf", *step.OnlyIf)
	}
	inner := n.path + "."
	switch {
	case step.Action != nil:
		b.action(field+".action", step.Action, n)
	case step.Condition != nil:
		for i, br := range step.Condition.Branches {
			at := fmt.Sprintf("%s.condition.branches[%d]", field, i)
			n.branches = append(n.branches, branch{
				title: br.Title,
				when:  b.predicate(at+".when", br.When),
				steps: b.nodes(at+".steps", inner, br.Steps),
			})
		}
		n.otherwise = b.nodes(field+".condition.otherwise", inner, step.Condition.Otherwise)
	case step.Delay != nil:
		if step.Delay.Until != "" {
			n.until = b.expression(field+".delay.until", step.Delay.Until, expr.Timestamp)
		}
	case step.Set != nil:
		b.set(field+".set.variables", step.Set, n)
	case step.Stop != nil:
		n.message = b.template(field+".stop", ".message", step.Stop.Message)
	default:
		b.unavailable(field, inner, step)
	}
	n.handler = b.handler(field+".onError", inner, step.OnError)
	return n
}

// unavailable refuses the kinds of steps that cannot run yet, with the problems that they have beside that.
func (b *builder) unavailable(field, inner string, step *Step) {
	switch {
	case step.Bulk != nil:
		b.refuse(field + ".bulk")
		b.bulk(field+".bulk", inner, step.Bulk)
	case step.Parallel != nil:
		b.refuse(field + ".parallel")
		for i, steps := range step.Parallel.Branches {
			b.nodes(fmt.Sprintf("%s.parallel.branches[%d].steps", field, i), inner, steps)
		}
	case step.CallWorkflow != nil:
		b.refuse(field + ".callWorkflow")
		b.template(field+".callWorkflow", ".input", step.CallWorkflow.Input)
	case step.WaitForEvent != nil:
		b.refuse(field + ".waitForEvent")
		b.wait(field+".waitForEvent", inner, step.WaitForEvent)
	}
}

func (b *builder) refuse(field string) {
	b.fail(field, reasonNotAvailable, "steps of this kind are not available in this release")
}

func (b *builder) bulk(field, inner string, bulk *Bulk) {
	if bulk.Items != "" {
		b.expression(field+".items", bulk.Items, expr.List)
	}
	if bulk.Query != nil {
		b.action(field+".query", bulk.Query, &node{})
	}
	outside := b.env
	b.env = b.compiler.bulkEnv
	b.nodes(field+".steps", inner, bulk.Steps)
	b.handler(field+".onItemError", inner, bulk.OnItemError)
	b.env = outside
}

func (b *builder) wait(field, inner string, wait *WaitForEvent) {
	if wait.Value != "" {
		b.expression(field+".value", wait.Value, expr.Any)
	}
	if wait.Match != nil {
		b.predicate(field+".match", *wait.Match)
	}
	if wait.Key != "" {
		outside := b.env
		b.env = b.compiler.keyEnv
		b.expression(field+".key", wait.Key, expr.Any)
		b.env = outside
	}
	b.nodes(field+".onTimeout", inner, wait.OnTimeout)
}

// handler compiles the steps that follow a failure.
func (b *builder) handler(field, inner string, on OnError) []*node {
	if on.Action == Handle {
		return b.nodes(field+".steps", inner, on.Steps)
	}
	if len(on.Steps) > 0 {
		b.fail(field+".steps", reasonFieldRule, "steps need the action HANDLE")
	}
	return nil
}

func (b *builder) action(field string, action *Action, n *node) {
	for _, v := range b.compiler.actions.Check(action.Type, action.Params) {
		v.Field = field + "." + v.Field
		b.violations = append(b.violations, v)
	}
	if action.Connection != "" {
		b.fail(field+".connection", reasonUnknownConnection, "there is no connection with this id")
	}
	params := action.Params
	if params == nil {
		params = map[string]any{}
	}
	n.params = b.template(field, ".params", params)
}

func (b *builder) set(field string, set *Set, n *node) {
	for name, source := range set.Variables {
		n.variables = append(n.variables, variable{name, b.expression(field+"."+name, source, expr.Any)})
	}
	sort.Slice(n.variables, func(i, j int) bool { return n.variables[i].name < n.variables[j].name })
}

func (b *builder) predicate(field string, p Predicate) *expr.Program {
	for _, problem := range p.Problems {
		b.fail(field+p.Field+problem.Path, reasonFieldRule, problem.Message)
	}
	if len(p.Problems) > 0 {
		return nil
	}
	return b.expression(field+p.Field, p.Expression, expr.Bool)
}

func (b *builder) expression(field, source string, want expr.Type) *expr.Program {
	p, err := b.env.Compile(source, want)
	if err != nil {
		b.fail(field, reasonExpression, err.Error())
	}
	return p
}

func (b *builder) template(field, name string, v any) *expr.Template {
	t, errs := b.env.CompileTemplate(v)
	for _, err := range errs {
		text := err.Err.Error()
		var place *expr.Error
		if errors.As(err.Err, &place) {
			text = place.Error()
		}
		b.fail(field+name+err.Path, reasonExpression, text)
	}
	return t
}

func (b *builder) fail(field string, reason fault.Reason, description string) {
	b.violations = append(b.violations, fault.Violation{Field: field, Description: description, Reason: reason})
}
