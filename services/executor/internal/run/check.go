package run

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"workflow.uniconnect/pkg/expr"
	"workflow.uniconnect/pkg/fault"
)

// ActionSchemas knows what actions take and give.
type ActionSchemas interface {
	// CheckTypes finds expressions in an action's parameters that yield another type than the parameter has. types are the known ones by
	// the path of their string. Fields are relative to the action: `params.url`.
	CheckTypes(actionType string, params map[string]any, types map[string]expr.Type) []fault.Violation
	// Output returns what is known of an action's output, nil when nothing is.
	Output(actionType string) *expr.Schema
}

// Checker finds what is wrong with a definition before it is saved. It is stricter than the Compiler, since what was saved before must go
// on running: an expression may refer only to steps and variables that can be there, and must work with the data that is known.
type Checker struct {
	compiler *Compiler
	schemas  ActionSchemas
}

// NewChecker returns a checker of what the compiler compiles.
func NewChecker(compiler *Compiler, schemas ActionSchemas) *Checker {
	return &Checker{compiler: compiler, schemas: schemas}
}

// Check finds every problem. data is what is known of `event.data`. Of one field and reason there is one violation.
func (c *Checker) Check(def Definition, data *expr.Schema) ([]fault.Violation, error) {
	w, err := newCheckWalk(c, def, data)
	if err != nil {
		return nil, err
	}
	w.list("steps", def.Steps, newKnown())
	_, compiled := c.compiler.Compile(def)
	return merge(w.found, compiled), nil
}

// merge joins what is said of one field for one reason. What the compiler says of it as well is left out.
func merge(found, compiled []fault.Violation) []fault.Violation {
	type key struct {
		field  string
		reason fault.Reason
	}
	at := make(map[key]int)
	var all []fault.Violation
	for _, v := range found {
		k := key{v.Field, v.Reason}
		i, known := at[k]
		switch {
		case !known:
			at[k] = len(all)
			all = append(all, v)
		case !strings.Contains(all[i].Description, v.Description):
			all[i].Description += "; " + v.Description
		}
	}
	for _, v := range compiled {
		if _, known := at[key{v.Field, v.Reason}]; !known {
			all = append(all, v)
		}
	}
	return all
}

// checkWalk goes through the steps in the order in which people read them.
type checkWalk struct {
	checker *Checker
	env     *expr.Env
	bulkEnv *expr.Env
	// order of all steps, the Bulk step for whose items each runs, and the step around each.
	order          map[string]int
	itemOf, around map[string]string
	found          []fault.Violation
}

func newCheckWalk(c *Checker, def Definition, data *expr.Schema) (*checkWalk, error) {
	w := &checkWalk{checker: c, order: make(map[string]int), itemOf: make(map[string]string), around: make(map[string]string)}
	outputs := make(map[string]*expr.Schema)
	w.describe(def.Steps, "", "", outputs)
	schemas := schemasOf(data, expr.ObjectOf(outputs).Open())
	typed := variables()
	for i := range typed {
		typed[i].Schema = schemas[typed[i].Name]
	}
	var err error
	if w.env, err = expr.NewEnv(typed...); err != nil {
		return nil, fmt.Errorf("check steps: %w", err)
	}
	if w.bulkEnv, err = expr.NewEnv(append(typed, itemVariables()...)...); err != nil {
		return nil, fmt.Errorf("check steps: %w", err)
	}
	return w, nil
}

// schemasOf returns what is known of the variables.
func schemasOf(data, steps *expr.Schema) map[string]*expr.Schema {
	text, instant := expr.SchemaOf(expr.String), expr.SchemaOf(expr.Timestamp)
	return map[string]*expr.Schema{
		"event": expr.ObjectOf(map[string]*expr.Schema{
			"id": text, "type": text, "source": text, "time": text, "subject": text, "data": data,
		}),
		"steps":     steps,
		"workflow":  expr.ObjectOf(map[string]*expr.Schema{"id": text, "title": text, "revision": expr.SchemaOf(expr.Int)}),
		"execution": expr.ObjectOf(map[string]*expr.Schema{"id": text, "create_time": instant}),
		"schedule":  expr.ObjectOf(map[string]*expr.Schema{"nominal_time": instant}),
	}
}

// describe notes every step: its place, and what is known of its result. Of steps with the same id the first counts.
func (w *checkWalk) describe(steps []Step, around, bulk string, outputs map[string]*expr.Schema) {
	for i := range steps {
		s := &steps[i]
		if _, twice := w.order[s.ID]; !twice {
			w.order[s.ID] = len(w.order)
			w.around[s.ID], w.itemOf[s.ID] = around, bulk
			outputs[s.ID] = resultSchema(w.output(s))
		}
		for _, b := range blocksOf(s) {
			inside := bulk
			if b.item {
				inside = s.ID
			}
			w.describe(b.steps, s.ID, inside, outputs)
		}
	}
}

func (w *checkWalk) output(s *Step) *expr.Schema {
	text := expr.SchemaOf(expr.String)
	switch {
	case s.Action != nil:
		return w.checker.schemas.Output(s.Action.Type)
	case s.Condition != nil:
		return expr.ObjectOf(map[string]*expr.Schema{"branch": expr.SchemaOf(expr.Int), "title": text, "problems": expr.ListOf(text)})
	case s.Set != nil:
		values := make(map[string]*expr.Schema, len(s.Set.Variables))
		for name := range s.Set.Variables {
			values[name] = nil
		}
		return expr.ObjectOf(values)
	default:
		return nil
	}
}

// resultSchema is a step's result as expressions see it.
func resultSchema(output *expr.Schema) *expr.Schema {
	text := expr.SchemaOf(expr.String)
	return expr.ObjectOf(map[string]*expr.Schema{
		"state": text, "output": output, "error": expr.ObjectOf(map[string]*expr.Schema{"reason": text, "message": text}),
	})
}

// list checks steps that run one after the other. known grows with them.
func (w *checkWalk) list(field string, steps []Step, known known) {
	for i := range steps {
		s := &steps[i]
		w.step(fmt.Sprintf("%s[%d]", field, i), place{known, s.ID}, s)
		known.pass(s)
	}
}

func (w *checkWalk) step(field string, at place, s *Step) {
	if s.OnlyIf != nil {
		w.predicate(field+".onlyIf", at, *s.OnlyIf)
	}
	switch {
	case s.Action != nil:
		w.action(field+".action", at, s.Action)
	case s.Condition != nil:
		for i, b := range s.Condition.Branches {
			w.predicate(fmt.Sprintf("%s.condition.branches[%d].when", field, i), at, b.When)
		}
	case s.Delay != nil:
		if s.Delay.Until != "" {
			w.until(field+".delay.until", at, s.Delay.Until)
		}
	case s.Set != nil:
		for _, name := range slices.Sorted(maps.Keys(s.Set.Variables)) {
			w.expression(field+".set.variables."+name, at, s.Set.Variables[name], expr.Any)
		}
	case s.Stop != nil:
		w.template(field+".stop.message", at, s.Stop.Message)
	case s.Bulk != nil:
		if s.Bulk.Items != "" {
			w.expression(field+".bulk.items", at, s.Bulk.Items, expr.List)
		}
		if s.Bulk.Query != nil {
			w.action(field+".bulk.query", at, s.Bulk.Query)
		}
	case s.CallWorkflow != nil:
		w.template(field+".callWorkflow.input", at, s.CallWorkflow.Input)
	case s.WaitForEvent != nil:
		if s.WaitForEvent.Value != "" {
			w.expression(field+".waitForEvent.value", at, s.WaitForEvent.Value, expr.Any)
		}
		if m := s.WaitForEvent.Match; m != nil {
			w.match(field+".waitForEvent.match", at, *m)
		}
	}
	for _, b := range blocksOf(s) {
		w.list(field+"."+b.field, b.steps, at.known.within(b, s))
	}
}

func (w *checkWalk) action(field string, at place, a *Action) {
	types := w.template(field+".params", at, a.Params)
	for _, v := range w.checker.schemas.CheckTypes(a.Type, a.Params, types) {
		v.Field = field + "." + v.Field
		w.found = append(w.found, v)
	}
}

// template checks the expressions in a template and returns the types of its strings, as far as they are known.
func (w *checkWalk) template(field string, at place, v any) map[string]expr.Type {
	expressions, _ := expr.Expressions(v) // what cannot be read is the compiler's to say
	types := make(map[string]expr.Type, len(expressions))
	for _, e := range expressions {
		types[e.Path] = w.expression(field+e.Path, at, e.Source, expr.Any)
		if !e.Whole {
			types[e.Path] = expr.String
		}
	}
	return types
}

func (w *checkWalk) predicate(field string, at place, p Predicate) {
	switch {
	case len(p.Problems) > 0:
	case p.Rules != nil:
		for _, problem := range w.envOf(at).CheckRules(p.Rules) {
			w.fail(field+p.Field+problem.Path, reasonFieldRule, problem.Message)
		}
		w.ruleReferences(field+p.Field, at, p.Rules)
	default:
		w.expression(field+p.Field, at, p.Expression, expr.Bool)
	}
}

// match checks what the predicate of a wait refers to. Nothing is known of the event that it waits for.
func (w *checkWalk) match(field string, at place, p Predicate) {
	switch {
	case len(p.Problems) > 0:
	case p.Rules != nil:
		w.ruleReferences(field+p.Field, at, p.Rules)
	default:
		w.references(field+p.Field, at, w.anyhow(p.Expression))
	}
}

func (w *checkWalk) ruleReferences(field string, at place, g *expr.RuleGroup) {
	for i := range g.Rules {
		r, here := &g.Rules[i], fmt.Sprintf("%s.rules[%d]", field, i)
		if r.Group != nil {
			w.ruleReferences(here+".group", at, r.Group)
			continue
		}
		w.reference(here+".field", "", at, strings.Split(r.Field, "."))
	}
}

// until checks an expression that yields an instant. Data has it as text.
func (w *checkWalk) until(field string, at place, source string) {
	if t := w.expression(field, at, source, expr.Any); t != expr.Any && t != expr.String {
		w.fail(field, reasonExpression, fmt.Sprintf("1:1: the expression yields %s, expected %s (timestamp)", t, expr.Timestamp))
	}
}

// expression checks one expression and returns what it yields, as far as that is known.
func (w *checkWalk) expression(field string, at place, source string, want expr.Type) expr.Type {
	p, err := w.envOf(at).Compile(source, want)
	yields := expr.Any
	if err == nil {
		yields = p.Type()
	} else if p = w.anyhow(source); p == nil || !w.namesItem(at, p) {
		w.fail(field, reasonExpression, err.Error())
	}
	w.references(field, at, p)
	return yields
}

func (w *checkWalk) references(field string, at place, p *expr.Program) {
	if p == nil {
		return
	}
	for _, r := range p.References() {
		w.reference(field, fmt.Sprintf("%d:%d: ", r.Line, r.Column), at, r.Path)
	}
}

// anyhow compiles an expression that does not fit its place, so that what it refers to is known.
func (w *checkWalk) anyhow(source string) *expr.Program {
	p, err := w.checker.compiler.bulkEnv.Compile(source, expr.Any)
	if err != nil {
		return nil
	}
	return p
}

// namesItem reports whether an expression uses what only a Bulk step has; reference says so.
func (w *checkWalk) namesItem(at place, p *expr.Program) bool {
	return !at.known.bulk && slices.ContainsFunc(p.References(), func(r expr.Reference) bool { return isItem(r.Path) })
}

func isItem(path []string) bool { return path[0] == "item" || path[0] == "index" }

func (w *checkWalk) envOf(at place) *expr.Env {
	if at.known.bulk {
		return w.bulkEnv
	}
	return w.env
}

func (w *checkWalk) fail(field string, reason fault.Reason, description string) {
	w.found = append(w.found, fault.Violation{Field: field, Description: description, Reason: reason})
}
