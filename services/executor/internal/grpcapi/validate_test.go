package grpcapi_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/types/known/structpb"

	"workflow.uniconnect/pkg/fault"
	peerv1 "workflow.uniconnect/proto/gen/go/uniconnect/workflow/peer/v1"
	workflowv1 "workflow.uniconnect/proto/gen/go/uniconnect/workflow/v1"
	"workflow.uniconnect/services/executor/internal/action"
	"workflow.uniconnect/services/executor/internal/definition"
	"workflow.uniconnect/services/executor/internal/grpcapi"
	"workflow.uniconnect/services/executor/internal/run"
)

// plain is a handler that has no rules of its own.
type plain struct{ action.Handler }

func (plain) Check(map[string]any) []fault.Violation { return nil }

func actionTypes(t testing.TB) *action.Registry {
	t.Helper()
	var types []action.Type
	for _, name := range []string{action.HTTPRequest, action.CRMGetRecord, action.CRMUpdateRecord} {
		ty, err := action.Define(name, plain{})
		if err != nil {
			t.Fatal(err)
		}
		types = append(types, ty)
	}
	return action.NewRegistry(types...)
}

func validator(t testing.TB) (*grpcapi.Starts, *run.Compiler) {
	t.Helper()
	actions := actionTypes(t)
	compiler, err := run.NewCompiler(actions)
	if err != nil {
		t.Fatal(err)
	}
	return grpcapi.NewStarts(nil, run.NewChecker(compiler, actions), nil), compiler
}

const dataSchema = `{"type": "object", "properties": {
	"talk_ms": {"type": "integer"}, "result": {"type": "string"}, "lead_id": {"type": ["string", "null"]}, "callback_at": {"type": "string"},
	"tags": {"type": "array", "items": {"type": "string"}}}}`

func validate(t testing.TB, s *grpcapi.Starts, steps string) map[string]string {
	t.Helper()
	w := &workflowv1.Workflow{}
	if err := protojson.Unmarshal([]byte(`{"steps": `+steps+`}`), w); err != nil {
		t.Fatal(err)
	}
	schema := &structpb.Struct{}
	if err := protojson.Unmarshal([]byte(dataSchema), schema); err != nil {
		t.Fatal(err)
	}
	resp, err := s.ValidateSteps(t.Context(), &peerv1.ValidateStepsRequest{Tenant: "acme", Workflow: w, DataSchema: schema})
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, v := range resp.GetViolations() {
		key := v.GetField() + " " + v.GetReason()
		if _, twice := got[key]; twice {
			t.Errorf("%s is there twice", key)
		}
		got[key] = v.GetDescription()
	}
	return got
}

const (
	get  = `{"id": "get", "action": {"type": "crm.get_record", "params": {"module": "leads", "id": "1"}}}`
	note = `{"id": "%s", "action": {"type": "http.request", "params": {"url": "https://a.example", "body": "%s"}}}`
)

func post(id, body string) string { return fmt.Sprintf(note, id, strings.ReplaceAll(body, `"`, `\"`)) }

func TestStarts_ValidateSteps_refers_to_what_comes_before(t *testing.T) {
	s, _ := validator(t)
	set := `{"id": "set", "set": {"variables": {"n": "1"}}}`
	for name, c := range map[string]struct {
		steps string
		want  map[string]string
	}{
		"before":        {"[" + get + "," + post("b", "${steps.get.output.id}") + "]", nil},
		"dynamic":       {"[" + get + "," + post("b", `${steps[event.data.result].output}`) + "]", nil},
		"unknown":       {"[" + get + "," + post("b", "${steps.gte.output.id}") + "]", map[string]string{"steps[1].action.params.body UNKNOWN_STEP": "1:1: there is no step gte; steps that can be used here: get"}},
		"later":         {"[" + post("b", "${steps.get.output.id}") + "," + get + "]", map[string]string{"steps[0].action.params.body UNKNOWN_STEP": "1:1: the step get comes later; no step comes before"}},
		"itself":        {"[" + post("b", "${steps.b.output.body}") + "]", map[string]string{"steps[0].action.params.body UNKNOWN_STEP": "1:1: the step b has no result of its own yet; no step comes before"}},
		"two_in_one":    {"[" + post("b", "${steps.x.output} and ${ steps.y.output}") + "]", map[string]string{"steps[0].action.params.body UNKNOWN_STEP": "1:1: there is no step x; no step comes before; 1:2: there is no step y; no step comes before"}},
		"in_brackets":   {"[" + post("b", `${steps["x"].output}`) + "]", map[string]string{"steps[0].action.params.body UNKNOWN_STEP": "1:1: there is no step x; no step comes before"}},
		"presence":      {"[" + post("b", "${has(steps.x.output)}") + "]", map[string]string{"steps[0].action.params.body UNKNOWN_STEP": "1:5: there is no step x; no step comes before"}},
		"no_such_part":  {"[" + get + "," + post("b", "${steps.get.result}") + "]", map[string]string{"steps[1].action.params.body EXPRESSION": "1:10: steps.get has no field result; it has error, output, state"}},
		"branch_before": {`[{"id": "c", "condition": {"branches": [{"when": {"expression": "true"}, "steps": [` + get + `]}], "otherwise": [` + set + `]}}, ` + post("b", "${steps.get.output.id} ${vars.n} ${steps.c.output.branch + 1}") + "]", nil},
		"other_branch": {
			`[{"id": "c", "condition": {"branches": [{"when": {"expression": "true"}, "steps": [` + get + `]}], "otherwise": [` + post("b", "${steps.get.output.id}${steps.c.output.title}") + `]}}]`,
			map[string]string{"steps[0].condition.otherwise[0].action.params.body UNKNOWN_STEP": "1:1: the step get is in another branch; steps that can be used here: c"},
		},
		"own_branch":   {`[{"id": "c", "condition": {"branches": [{"when": {"expression": "true"}, "steps": [` + get + "," + post("b", "${steps.get.output.id}") + `]}]}}]`, nil},
		"handler":      {`[` + strings.TrimSuffix(get, "}") + `, "onError": {"action": "HANDLE", "steps": [` + post("b", "${steps.get.error.message}") + `]}}, ` + post("d", "${steps.b.state}") + `]`, nil},
		"only_if":      {`[{"id": "a", "onlyIf": {"expression": "steps.a.state == ''"}, "stop": {}}]`, map[string]string{"steps[0].onlyIf.expression UNKNOWN_STEP": "1:1: the step a has no result of its own yet; no step comes before"}},
		"rules":        {`[{"id": "a", "onlyIf": {"rules": {"op": "ALL", "rules": [{"group": {"op": "ANY", "rules": [{"field": "steps.x.output.id", "operator": "EXISTS"}]}}]}}, "stop": {}}]`, map[string]string{"steps[0].onlyIf.rules.rules[0].group.rules[0].field UNKNOWN_STEP": "there is no step x; no step comes before"}},
		"parallel":     {`[{"id": "p", "parallel": {"branches": [{"steps": [` + get + `]}, {"steps": [` + post("b", "${steps.get.output.id}") + `]}]}}, ` + post("d", "${steps.get.output.id}") + `]`, map[string]string{"steps[0].parallel NOT_AVAILABLE": "", "steps[0].parallel.branches[1].steps[0].action.params.body UNKNOWN_STEP": "1:1: the step get is in another branch; no step comes before"}},
		"around":       {`[{"id": "p", "parallel": {"branches": [{"steps": [` + post("b", "${steps.p.output}") + `]}]}}]`, map[string]string{"steps[0].parallel NOT_AVAILABLE": "", "steps[0].parallel.branches[0].steps[0].action.params.body UNKNOWN_STEP": "1:1: the step p is not done while the steps inside it run; no step comes before"}},
		"bulk":         {`[{"id": "k", "bulk": {"items": "event.data.tags", "steps": [` + get + "," + post("b", "${steps.get.output.id} ${item} ${index + 1}") + `]}}]`, map[string]string{"steps[0].bulk NOT_AVAILABLE": ""}},
		"after_bulk":   {`[{"id": "k", "bulk": {"items": "event.data.tags", "steps": [` + get + `]}}, ` + post("b", "${steps.k.output} ${steps.get.output}") + `]`, map[string]string{"steps[0].bulk NOT_AVAILABLE": "", "steps[1].action.params.body UNKNOWN_STEP": "1:1: the step get runs for each item of k and has no one result; steps that can be used here: k"}},
		"item_outside": {"[" + post("b", "${item.x} ${ index}") + "]", map[string]string{"steps[0].action.params.body EXPRESSION": "1:1: item is known only inside a Bulk step; 1:2: index is known only inside a Bulk step"}},
		"item_in_rule": {`[{"id": "a", "onlyIf": {"rules": {"op": "ALL", "rules": [{"field": "item.x", "operator": "EQUALS", "value": 1}]}}, "stop": {}}]`, map[string]string{"steps[0].onlyIf.rules.rules[0].field EXPRESSION": "item is known only inside a Bulk step", "steps[0].onlyIf.rules EXPRESSION": "1:1: undeclared reference to item; known are event, execution, now, schedule, steps, vars, workflow"}},
		"wait": {
			`[{"id": "w", "waitForEvent": {"eventType": "call.ended", "key": "event.data.call_id", "value": "steps.x.output.id", "match": {"expression": "event.data.any == steps.w.output"}, "onTimeout": [` + post("b", "${steps.w.state}") + `]}}]`,
			map[string]string{"steps[0].waitForEvent NOT_AVAILABLE": "", "steps[0].waitForEvent.value UNKNOWN_STEP": "1:1: there is no step x; no step comes before", "steps[0].waitForEvent.match.expression UNKNOWN_STEP": "1:19: the step w has no result of its own yet; no step comes before"},
		},
		"wait_key_sees_the_event_alone": {`[{"id": "w", "waitForEvent": {"eventType": "call.ended", "key": "vars.x", "value": "1"}}]`, map[string]string{"steps[0].waitForEvent NOT_AVAILABLE": "", "steps[0].waitForEvent.key EXPRESSION": "1:1: undeclared reference to vars; known are event, now"}},
		"call_input":                    {`[{"id": "w", "callWorkflow": {"workflowId": "0199c2de-0000-7000-8000-000000000000", "input": {"a": ["${steps.x.output}"]}}}]`, map[string]string{"steps[0].callWorkflow NOT_AVAILABLE": "", "steps[0].callWorkflow.input.a[0] UNKNOWN_STEP": "1:1: there is no step x; no step comes before"}},
		"variable":                      {"[" + set + "," + post("b", "${vars.n} ${has(vars.n)} ${vars[event.id]}") + "]", nil},
		"variable_later":                {"[" + post("b", "${vars.n}") + "," + set + "]", map[string]string{"steps[0].action.params.body UNKNOWN_VARIABLE": "1:1: no step before sets n; none is set before"}},
		"variable_of_the_same_step":     {`[` + set + `, {"id": "t", "set": {"variables": {"a": "vars.n", "b": "vars.a"}}}]`, map[string]string{"steps[1].set.variables.b UNKNOWN_VARIABLE": "1:1: no step before sets a; variables that can be used here: n"}},
		"bound_names_are_no_references": {"[" + post("b", "${[{'x': 1}].all(vars, vars.x > 0)}") + "]", nil},
	} {
		t.Run(name, func(t *testing.T) { compare(t, c.want, validate(t, s, c.steps)) })
	}
}

func TestStarts_ValidateSteps_knows_the_types(t *testing.T) {
	s, _ := validator(t)
	onlyIf := func(expression string) string {
		return fmt.Sprintf(`[%s, {"id": "s", "onlyIf": {"expression": %q}, "stop": {}}]`, get, expression)
	}
	for name, c := range map[string]struct {
		steps string
		want  map[string]string
	}{
		"payload":           {onlyIf("event.data.talk_ms > 5 && event.data.unknown.x == 1 && event.data.lead_id != null"), nil},
		"payload_wrong":     {onlyIf("event.data.talk_ms > '5'"), map[string]string{"steps[1].onlyIf.expression EXPRESSION": `1:20: > needs both sides of one kind: event.data.talk_ms is a whole number, "5" is text`}},
		"output":            {onlyIf("steps.get.output.version > 1 && steps.get.output.fields.score > 5"), nil},
		"output_wrong":      {onlyIf("steps.get.output.version == 'a'"), map[string]string{"steps[1].onlyIf.expression EXPRESSION": `1:26: == needs both sides of one kind: steps.get.output.version is a whole number, "a" is text`}},
		"no_bool":           {onlyIf("event.data.talk_ms"), map[string]string{"steps[1].onlyIf.expression EXPRESSION": "1:1: the expression yields a whole number, expected true or false (bool)"}},
		"type_and_step":     {onlyIf("steps.x.output == 1 && event.data.result > 5"), map[string]string{"steps[1].onlyIf.expression EXPRESSION": "1:42: > needs both sides of one kind: event.data.result is text, 5 is a whole number", "steps[1].onlyIf.expression UNKNOWN_STEP": "1:1: there is no step x; steps that can be used here: get"}},
		"syntax":            {onlyIf("event.data.talk_ms >"), map[string]string{"steps[1].onlyIf.expression EXPRESSION": "1:21: Syntax error: the expression ends where something is missing"}},
		"event_attribute":   {onlyIf("event.dta.x == 1"), map[string]string{"steps[1].onlyIf.expression EXPRESSION": "1:6: event has no field dta; it has data, id, source, subject, time, type"}},
		"run":               {onlyIf("workflow.revision > 1 && execution.create_time < now && schedule.nominal_time < now && workflow.title == 'a'"), nil},
		"run_wrong":         {onlyIf("execution.create_time < 5"), map[string]string{"steps[1].onlyIf.expression EXPRESSION": "1:23: < needs both sides of one kind: execution.create_time is a point in time, 5 is a whole number"}},
		"rules_wrong":       {`[{"id": "a", "onlyIf": {"rules": {"op": "ALL", "rules": [{"field": "event.data.talk_ms", "operator": "EQUALS", "value": "5"}, {"field": "event.data.result", "operator": "IN", "value": "x"}]}}, "stop": {}}]`, map[string]string{"steps[0].onlyIf.rules.rules[1].value FIELD_RULE": "expected a list"}},
		"rules_types":       {`[{"id": "a", "onlyIf": {"rules": {"op": "ALL", "rules": [{"field": "event.data.talk_ms", "operator": "EQUALS", "value": "5"}, {"field": "event.data.result", "operator": "CONTAINS", "value": "x"}]}}, "stop": {}}]`, map[string]string{"steps[0].onlyIf.rules.rules[0].value FIELD_RULE": `event.data.talk_ms is a whole number, "5" is text`}},
		"until":             {`[{"id": "a", "delay": {"until": "timestamp(event.data.callback_at)"}}, {"id": "b", "delay": {"until": "event.data.callback_at"}}, {"id": "c", "delay": {"until": "event.data.unknown"}}, {"id": "d", "delay": {"until": "now + duration('1h')"}}]`, nil},
		"until_wrong":       {`[{"id": "a", "delay": {"until": "event.data.talk_ms"}}, {"id": "b", "delay": {"until": "duration('1h')"}}]`, map[string]string{"steps[0].delay.until EXPRESSION": "1:1: the expression yields a whole number, expected a point in time (timestamp)", "steps[1].delay.until EXPRESSION": "1:1: the expression yields a length of time, expected a point in time (timestamp)"}},
		"items_wrong":       {`[{"id": "a", "bulk": {"items": "event.data.result", "steps": []}}]`, map[string]string{"steps[0].bulk NOT_AVAILABLE": "", "steps[0].bulk.items EXPRESSION": "1:1: the expression yields text, expected a list"}},
		"params_whole":      {`[{"id": "a", "action": {"type": "http.request", "params": {"url": "${event.data.talk_ms}", "headers": {"X": "${event.data.tags}", "Y": "${event.data.talk_ms}"}, "query": "${event.data.unknown}"}}}]`, map[string]string{"steps[0].action.params.url FIELD_RULE": "the expression yields a whole number, expected text", "steps[0].action.params.headers.X FIELD_RULE": "the expression yields a list, expected true or false or a number or text"}},
		"params_in_text":    {`[{"id": "a", "action": {"type": "crm.update_record", "params": {"module": "leads", "id": "${event.data.lead_id}", "fields": "x${event.data.talk_ms}"}}}]`, map[string]string{"steps[0].action.params.fields FIELD_RULE": "the expression yields text, expected an object"}},
		"param_expression":  {`[{"id": "a", "action": {"type": "http.request", "params": {"url": "https://a.example", "body": {"x": ["${1 +}", "${open", "${event.data.talk_ms + 'a'}"]}}}}]`, map[string]string{"steps[0].action.params.body.x[0] EXPRESSION": "1:4: Syntax error: the expression ends where something is missing", "steps[0].action.params.body.x[1] EXPRESSION": "`${` without its closing `}`; write `$${` for a literal one", "steps[0].action.params.body.x[2] EXPRESSION": `1:20: + needs both sides of one kind: event.data.talk_ms is a whole number, "a" is text; write string(event.data.talk_ms)`}},
		"message":           {`[{"id": "a", "stop": {"message": "n ${event.data.talk_ms.x}"}}]`, map[string]string{"steps[0].stop.message EXPRESSION": "1:19: event.data.talk_ms is a whole number and has no field x"}},
		"set_output":        {`[{"id": "a", "set": {"variables": {"n": "1"}}}, {"id": "b", "stop": {"message": "${steps.a.output.m}"}}]`, map[string]string{"steps[1].stop.message EXPRESSION": "1:15: steps.a.output has no field m; it has n"}},
		"unknown_action":    {`[{"id": "a", "action": {"type": "crm.get_rekord", "params": {"x": "${steps.y.output}"}}}]`, map[string]string{"steps[0].action.type UNKNOWN_ACTION_TYPE": "is not a known action type; did you mean crm.get_record? known are crm.get_record, crm.update_record, http.request", "steps[0].action.params.x UNKNOWN_STEP": "1:1: there is no step y; no step comes before"}},
		"inside_bulk":       {`[{"id": "a", "bulk": {"items": "[1]", "steps": [{"id": "b", "action": {"type": "fax", "connection": "c"}}], "onItemError": {"action": "FAIL", "steps": [` + get + `]}}}]`, map[string]string{"steps[0].bulk NOT_AVAILABLE": "", "steps[0].bulk.steps[0].action.type UNKNOWN_ACTION_TYPE": "", "steps[0].bulk.steps[0].action.connection UNKNOWN_CONNECTION": "there is no connection with this id", "steps[0].bulk.onItemError.steps FIELD_RULE": ""}},
		"unknown_parameter": {`[{"id": "a", "action": {"type": "http.request", "params": {"url": "u", "methd": "GET"}}}]`, map[string]string{"steps[0].action.params.methd FIELD_RULE": "is not a parameter of this action; known are body, headers, method, query, url"}},
		"comprehension_cost": {
			onlyIf(fmt.Sprintf("[%[1]s1].map(a, [%[1]s1].map(b, [%[1]s1].map(c, a))) == []", strings.Repeat("1,", 200))),
			map[string]string{"steps[1].onlyIf.expression EXPRESSION": "1:1: the expression costs at least"},
		},
	} {
		t.Run(name, func(t *testing.T) { compare(t, c.want, validate(t, s, c.steps)) })
	}
}

// compare holds violations to what is wanted; an empty description may be any, another is how it begins.
func compare(t *testing.T, want, got map[string]string) {
	t.Helper()
	for key, text := range want {
		if given, ok := got[key]; ok && strings.HasPrefix(given, text) && (text == "" || strings.HasSuffix(text, "at least")) {
			got[key] = text
		}
	}
	if want == nil {
		want = map[string]string{}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("violations (-want +got):\n%s", diff)
	}
}

func TestStarts_ValidateSteps_without_a_schema(t *testing.T) {
	s, _ := validator(t)
	w := &workflowv1.Workflow{}
	if err := protojson.Unmarshal([]byte(`{"steps": [{"id": "a", "onlyIf": {"expression": "event.data.talk_ms > '5'"}, "stop": {}}]}`), w); err != nil {
		t.Fatal(err)
	}
	resp, err := s.ValidateSteps(t.Context(), &peerv1.ValidateStepsRequest{Tenant: "acme", Workflow: w})
	if err != nil || len(resp.GetViolations()) > 0 {
		t.Errorf("got %v, %v; want none: nothing is known of the data", resp.GetViolations(), err)
	}
	w.Steps = nil
	if resp, err := s.ValidateSteps(t.Context(), &peerv1.ValidateStepsRequest{Tenant: "acme", Workflow: w}); err != nil || len(resp.GetViolations()) > 0 {
		t.Errorf("without steps: got %v, %v", resp.GetViolations(), err)
	}
	broken, err := structpb.NewStruct(map[string]any{"type": 5})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.ValidateSteps(t.Context(), &peerv1.ValidateStepsRequest{DataSchema: broken}); fault.KindOf(err) != fault.KindInvalidArgument {
		t.Errorf("a schema that is none: got %v", err)
	}
}

// Whatever passes the validation must compile for the run, and nothing may panic.
func TestStarts_ValidateSteps_what_passes_runs(t *testing.T) {
	s, compiler := validator(t)
	passed := 0
	for seed := range uint64(2000) {
		g := generator{dice: rand.New(rand.NewPCG(seed, 3))}
		w := &workflowv1.Workflow{Steps: g.steps(3)}
		resp, err := s.ValidateSteps(t.Context(), &peerv1.ValidateStepsRequest{Workflow: w})
		if err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		if len(resp.GetViolations()) > 0 {
			continue
		}
		passed++
		if _, violations := compiler.Compile(definition.FromProto(w)); len(violations) > 0 {
			t.Errorf("seed %d: passed and does not compile: %v", seed, violations)
		}
	}
	if passed < 50 {
		t.Errorf("%d of 2000 passed: the test says little", passed)
	}
}

// generator makes workflows that are often wrong.
type generator struct {
	dice *rand.Rand
	next int
}

func (g *generator) pick(of ...string) string { return of[g.dice.IntN(len(of))] }

func (g *generator) expression() string {
	return g.pick("event.data.n > 1", "steps.s1.output.id", "steps.s2.output == null", "vars.v", "vars.v > 1", "item", "now", "true", "[1, 2]", "1 +",
		"event.data.list.all(x, x > 1)", "has(event.data.x)", "now + duration('1s')", "'a'", "", "steps[\"s3\"].state == 'FAILED'")
}

func (g *generator) predicate() *workflowv1.Predicate {
	switch g.dice.IntN(4) {
	case 0:
		return &workflowv1.Predicate{}
	case 1:
		return &workflowv1.Predicate{Kind: &workflowv1.Predicate_Rules{Rules: &workflowv1.RuleGroup{Op: workflowv1.RuleGroup_ALL, Rules: []*workflowv1.Rule{{
			Field: g.pick("event.data.n", "steps.s1.output.id", "", "event", "a b"), Operator: workflowv1.Rule_Operator(g.dice.IntN(17)),
			Value: structpb.NewNumberValue(1),
		}}}}}
	default:
		return &workflowv1.Predicate{Kind: &workflowv1.Predicate_Expression{Expression: g.pick("event.data.n > 1", "true", g.expression())}}
	}
}

func (g *generator) params() *structpb.Struct {
	s, _ := structpb.NewStruct(map[string]any{"url": g.pick("https://a.example", "${"+g.expression()+"}", "a ${"+g.expression()+"}"), "body": []any{"${" + g.expression() + "}"}})
	return s
}

func (g *generator) steps(depth int) []*workflowv1.Step {
	steps := make([]*workflowv1.Step, g.dice.IntN(3))
	for i := range steps {
		g.next++
		s := &workflowv1.Step{Id: fmt.Sprintf("s%d", g.next)}
		kinds := 9
		if depth == 0 {
			kinds = 4
		}
		switch g.dice.IntN(kinds + 1) {
		case 0:
			s.Kind = &workflowv1.Step_Action{Action: &workflowv1.ActionStep{Type: g.pick("http.request", "http.request", "x"), Params: g.params()}}
		case 1:
			s.Kind = &workflowv1.Step_Set{Set: &workflowv1.SetStep{Variables: map[string]string{"v": g.expression()}}}
		case 2:
			s.Kind = &workflowv1.Step_Delay{Delay: &workflowv1.DelayStep{Wait: &workflowv1.DelayStep_Until{Until: g.expression()}}}
		case 3:
			s.Kind = &workflowv1.Step_Stop{Stop: &workflowv1.StopStep{Message: "${" + g.expression() + "}"}}
		case 4, 5:
			s.Kind = &workflowv1.Step_Condition{Condition: &workflowv1.ConditionStep{
				Branches: []*workflowv1.ConditionBranch{{When: g.predicate(), Steps: g.steps(depth - 1)}}, Otherwise: g.steps(depth - 1),
			}}
		case 6:
			s.Kind = &workflowv1.Step_Bulk{Bulk: &workflowv1.BulkStep{Source: &workflowv1.BulkStep_Items{Items: g.expression()}, Steps: g.steps(depth - 1)}}
		case 7:
			s.Kind = &workflowv1.Step_Parallel{Parallel: &workflowv1.ParallelStep{Branches: []*workflowv1.ParallelBranch{{Steps: g.steps(depth - 1)}, nil}}}
		case 8:
			s.Kind = &workflowv1.Step_WaitForEvent{WaitForEvent: &workflowv1.WaitForEventStep{Key: g.expression(), Match: g.predicate(), OnTimeout: g.steps(depth - 1)}}
		}
		if g.dice.IntN(4) == 0 {
			s.OnlyIf = g.predicate()
		}
		if depth > 0 && g.dice.IntN(5) == 0 {
			s.OnError = &workflowv1.OnError{Action: workflowv1.OnError_Action(g.dice.IntN(4)), Steps: g.steps(depth - 1)}
		}
		steps[i] = s
	}
	return steps
}

func BenchmarkStarts_ValidateSteps_500_steps(b *testing.B) {
	s, _ := validator(b)
	steps := make([]string, 500)
	for i := range steps {
		steps[i] = fmt.Sprintf(`{"id": "s%d", "onlyIf": {"expression": "event.data.talk_ms > %d"}, "action": {"type": "http.request", "params": {"url": "https://a.example", "body": {"a": "${event.data.result}", "b": "${steps.s%d.output.status}"}}}}`, i, i, max(i-1, 0))
	}
	all := "[" + strings.Join(steps, ",") + "]"
	for b.Loop() {
		if got := validate(b, s, all); len(got) != 1 {
			b.Fatal(got)
		}
	}
}
