package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

type validateView struct {
	Valid    bool
	Problems []struct{ Field, Description, Reason, Severity string }
}

// lines are the problems as "field reason", warnings marked.
func (v *validateView) lines() []string {
	all := []string{}
	for _, p := range v.Problems {
		line := p.Field + " " + p.Reason
		if p.Severity == "WARNING" {
			line += " warning"
		}
		all = append(all, line)
	}
	return all
}

func (v *validateView) description(field string) string {
	for _, p := range v.Problems {
		if p.Field == field {
			return p.Description
		}
	}
	return ""
}

func (s *system) validate(t *testing.T, workflow any) validateView {
	t.Helper()
	var v validateView
	if err := s.owner.Call(t.Context(), http.MethodPost, "/v1/workflows:validate", workflow, &v); err != nil {
		t.Fatal(err)
	}
	return v
}

// validation holds that one answer names everything that is wrong with a workflow, by field, and that nothing is stored.
func validation(t *testing.T, s *system) {
	title := unique("Valid")
	good := object{
		"title":   title,
		"trigger": object{"event": object{"eventType": "call.ended", "filter": object{"expression": "event.data.talk_ms > 5000"}}},
		"steps": []object{
			{"id": "lead", "action": object{"type": "crm.get_record", "params": object{"module": "leads", "id": "${event.data.lead_id}"}}},
			{"id": "check", "condition": object{
				"branches": []object{{
					"title": "hot", "when": object{"expression": "steps.lead.output.fields.score > 80 && steps.lead.output.version >= 1"},
					"steps": []object{{"id": "count", "set": object{"variables": object{"n": "event.data.talk_ms / 1000"}}}},
				}},
				"otherwise": []object{{"id": "wait", "delay": object{"until": "timestamp(event.data.ended_at) + duration('1h')"}}},
			}},
			s.post("tell", "/validate", object{"seconds": "${vars.n}", "title": "${steps.check.output.title}"}),
		},
	}
	t.Run("good", func(t *testing.T) {
		if v := s.validate(t, good); !v.Valid || len(v.Problems) > 0 {
			t.Errorf("got %+v, want no problem", v)
		}
	})
	bad := object{
		"title":     strings.Repeat("x", 200),
		"trigger":   object{"event": object{"eventType": "call.ended", "filter": object{"expression": "event.data.talk_ms > '5'"}}},
		"dateRange": object{"startTime": "2026-02-01T00:00:00Z", "endTime": "2026-01-01T00:00:00Z"},
		"steps": []object{
			{"id": "A b", "stop": object{}},
			{"id": "get", "action": object{"type": "crm.get_rekord", "connection": "crm", "params": object{}}},
			{"id": "twice", "stop": object{"message": "${event.data.talk_ms.x}"}},
			{"id": "twice", "onlyIf": object{"rules": object{"op": "ALL", "rules": []object{
				{"field": "event.data.talk_ms", "operator": "GREATER_THAN", "value": "5"},
			}}}, "stop": object{}},
			{"id": "check", "condition": object{"branches": []object{
				{"when": object{"expression": "event.data.result"}, "steps": []object{
					{"id": "late", "set": object{"variables": object{"n": "steps.last.output"}}},
				}},
				{"when": object{"expression": "vars.m > 1 &&"}, "steps": []object{{"id": "other", "stop": object{"message": "${steps.late.output.n}"}}}},
			}}},
			{"id": "wait", "delay": object{"until": "vars.m"}},
			{"id": "each", "bulk": object{"items": "event.data.result", "steps": []object{{"id": "one", "stop": object{"message": "${item} ${itm}"}}}}},
			{"id": "last", "action": object{"type": "http.request", "params": object{
				"url": "${event.data.talk_ms}", "methd": "GET", "body": "${steps.one.output} ${item}", "headers": object{"X": []string{"a"}},
			}}},
		},
	}
	t.Run("everything_at_once", func(t *testing.T) {
		v := s.validate(t, bad)
		want := []string{
			"dateRange.endTime FIELD_RULE", "dateRange.endTime RANGE_OVER warning",
			"steps[0].id FIELD_RULE",
			"steps[1].action.connection UNKNOWN_CONNECTION", "steps[1].action.type UNKNOWN_ACTION_TYPE",
			"steps[2].stop.message EXPRESSION",
			"steps[3].id DUPLICATE_ID", "steps[3].onlyIf.rules.rules[0].value FIELD_RULE",
			"steps[4].condition.branches[0].steps[0].set.variables.n UNKNOWN_STEP", "steps[4].condition.branches[0].when.expression EXPRESSION",
			"steps[4].condition.branches[1].steps[0].stop.message UNKNOWN_STEP", "steps[4].condition.branches[1].when.expression EXPRESSION",
			"steps[5].delay.until UNKNOWN_VARIABLE",
			"steps[6].bulk NOT_AVAILABLE", "steps[6].bulk.items EXPRESSION", "steps[6].bulk.steps[0].stop.message EXPRESSION",
			"steps[7].action.params.body UNKNOWN_STEP", "steps[7].action.params.body EXPRESSION",
			"steps[7].action.params.headers.X FIELD_RULE", "steps[7].action.params.methd FIELD_RULE", "steps[7].action.params.url FIELD_RULE",
			"title FIELD_RULE", "trigger.event.filter.expression EXPRESSION",
		}
		sorted := cmp.Transformer("set", func(lines []string) map[string]bool {
			set := map[string]bool{}
			for _, l := range lines {
				set[l] = true
			}
			return set
		})
		if diff := cmp.Diff(want, v.lines(), sorted); diff != "" {
			t.Errorf("problems (-want +got):\n%s", diff)
		}
		if v.Valid {
			t.Error("it is said to be valid")
		}
		for field, text := range map[string]string{
			"trigger.event.filter.expression":                         `1:20: > needs both sides of one kind: event.data.talk_ms is a whole number, '5' is text`,
			"steps[4].condition.branches[0].when.expression":          "1:1: the expression yields text, expected true or false (bool)",
			"steps[4].condition.branches[0].steps[0].set.variables.n": "the step last comes later",
			"steps[4].condition.branches[1].steps[0].stop.message":    "the step late is in another branch",
			"steps[1].action.type":                                    "did you mean crm.get_record?",
			"steps[7].action.params.methd":                            "known are body, headers, method, query, url",
		} {
			if got := v.description(field); !strings.Contains(strings.ReplaceAll(got, `"5"`, `'5'`), text) {
				t.Errorf("%s: got %q, want %q", field, got, text)
			}
		}
	})
	t.Run("saving_says_the_same", func(t *testing.T) {
		v := s.validate(t, bad)
		res, err := s.owner.Do(t.Context(), http.MethodPost, "/v1/workflows", bad)
		if err != nil {
			t.Fatal(err)
		}
		refusal{400, "INVALID_ARGUMENT", "INVALID_FIELDS", "steps[1].action.type"}.check(t, res)
		var answer errorView
		if err := res.Decode(&answer); err != nil {
			t.Fatal(err)
		}
		_, fields := answer.reason()
		for _, p := range v.Problems {
			if p.Severity == "WARNING" {
				continue
			}
			found := false
			for _, f := range fields {
				found = found || strings.HasPrefix(f, p.Field+": ")
			}
			if !found {
				t.Errorf("%s is found by validation and not when saving", p.Field)
			}
		}
	})
	t.Run("promised_refusals", func(t *testing.T) { promisedRefusals(t, s) })
	t.Run("titles", func(t *testing.T) {
		w := s.create(t, good)
		if got := s.validate(t, good); len(got.Problems) != 1 || got.lines()[0] != "title WORKFLOW_EXISTS" {
			t.Errorf("another workflow's title: got %v", got.lines())
		}
		own := object{"id": w.ID, "title": title, "trigger": good["trigger"], "steps": good["steps"]}
		if got := s.validate(t, own); !got.Valid {
			t.Errorf("its own title: got %v", got.lines())
		}
	})
	t.Run("only_warnings", func(t *testing.T) {
		v := s.validate(t, object{"title": unique("Old"), "trigger": object{"manual": object{}}, "dateRange": object{"endTime": "2020-01-01T00:00:00Z"}})
		want := []string{"dateRange.endTime RANGE_OVER warning", "steps NO_STEPS warning"}
		if diff := cmp.Diff(want, v.lines()); diff != "" || !v.Valid {
			t.Errorf("valid %v, problems (-want +got):\n%s", v.Valid, diff)
		}
	})
	t.Run("permission", func(t *testing.T) {
		res, err := s.User(t, viewer).Do(t.Context(), http.MethodPost, "/v1/workflows:validate", good)
		if err != nil {
			t.Fatal(err)
		}
		refusal{403, "PERMISSION_DENIED", "PERMISSION_MISSING", "workflow.edit"}.check(t, res)
	})
	t.Run("action_types", func(t *testing.T) { describedActions(t, s) })
	t.Run("templates", func(t *testing.T) {
		var list struct {
			Templates []struct {
				ID       string
				Workflow object
			}
		}
		if err := s.owner.Call(t.Context(), http.MethodGet, "/v1/templates?pageSize=200", nil, &list); err != nil {
			t.Fatal(err)
		}
		if len(list.Templates) == 0 {
			t.Error("there are none")
		}
		for _, tpl := range list.Templates {
			tpl.Workflow["title"] = unique(tpl.ID) // some are seeded under their title
			if v := s.validate(t, tpl.Workflow); len(v.Problems) > 0 {
				t.Errorf("%s: %+v", tpl.ID, v.Problems)
			}
		}
	})
}

// promisedRefusals holds the rows of the promises that are about what a workflow says: validation and saving both refuse them and name
// what is wrong.
func promisedRefusals(t *testing.T, s *system) {
	manual := object{"manual": object{}}
	only := func(step object) []object { return []object{step} }
	when := func(expression string) []object {
		return only(object{"id": "a", "onlyIf": object{"expression": expression}, "stop": object{}})
	}
	many := make([]object, 501)
	for i := range many {
		many[i] = object{"id": fmt.Sprint("s", i), "stop": object{}}
	}
	deep := only(object{"id": "s0", "stop": object{}})
	for i := range 12 {
		deep = only(object{"id": fmt.Sprint("c", i), "condition": object{"branches": []object{{"when": object{"expression": "true"}, "steps": deep}}}})
	}
	list := "[" + strings.Repeat("1,", 250) + "1]"
	costly := fmt.Sprintf("%s.map(a, %s.map(b, %s.map(c, a))) == []", list, list, list)
	for name, c := range map[string]struct {
		edit  object
		field string
		text  string
	}{
		"16_nul_in_a_title":        {object{"title": "a\x00b"}, "title", ""},
		"17_empty_title":           {object{"title": ""}, "title", ""},
		"17_long_title":            {object{"title": strings.Repeat("x", 10_000)}, "title", "128"},
		"17_bidi_controls":         {object{"title": "a\u202eb"}, "title", ""},
		"23_too_many_steps":        {object{"steps": many}, "steps", "500"},
		"23_too_deep":              {object{"steps": deep}, "steps[0].condition.branches[0].steps", "10"},
		"23_missing_step":          {object{"steps": when("steps.gone.output == 1")}, "steps[0].onlyIf.expression", "there is no step gone"},
		"24_unknown_action":        {object{"steps": only(object{"id": "a", "action": object{"type": "fax.send"}})}, "steps[0].action.type", "http.request"},
		"28_syntax":                {object{"steps": when("1 +")}, "steps[0].onlyIf.expression", "1:4"},
		"28_type":                  {object{"steps": when("1 + 1")}, "steps[0].onlyIf.expression", "1:1: the expression yields a whole number, expected true or false (bool)"},
		"29_too_costly":            {object{"steps": when(costly)}, "steps[0].onlyIf.expression", "the limit is 1000000"},
		"30_long":                  {object{"steps": when("'" + strings.Repeat("x", 200_000) + "' == ''")}, "steps[0].onlyIf.expression", "4096"},
		"30_deep":                  {object{"steps": when(strings.Repeat("(", 1000) + "true" + strings.Repeat(")", 1000))}, "steps[0].onlyIf.expression", "recursion"},
		"30_regular_expression":    {object{"steps": when(`'a'.matches('(a+')`)}, "steps[0].onlyIf.expression", "no regular expression"},
		"33_end_before_start":      {object{"dateRange": object{"startTime": "2026-02-01T00:00:00Z", "endTime": "2026-01-01T00:00:00Z"}}, "dateRange.endTime", "2026-02-01"},
		"a_connection_that_is_not": {object{"steps": only(object{"id": "a", "action": object{"type": "http.request", "connection": "c", "params": object{"url": "https://a.example"}}})}, "steps[0].action.connection", ""},
	} {
		t.Run(name, func(t *testing.T) {
			w := object{"title": unique("Promise"), "trigger": manual, "steps": []object{{"id": "a", "stop": object{}}}}
			for k, v := range c.edit {
				w[k] = v
			}
			res, err := s.owner.Do(t.Context(), http.MethodPost, "/v1/workflows", w)
			if err != nil {
				t.Fatal(err)
			}
			refusal{400, "INVALID_ARGUMENT", "", c.text}.check(t, res)
			if strings.HasPrefix(name, "16_") {
				return // the edge refuses such JSON, for validation as well
			}
			v := s.validate(t, w)
			found := false
			for _, p := range v.Problems {
				found = found || strings.HasPrefix(p.Field, c.field) && strings.Contains(p.Description, c.text)
			}
			if v.Valid || !found {
				t.Errorf("got %+v, want a problem of %s with %q", v, c.field, c.text)
			}
		})
	}
	t.Run("30_slow_regular_expressions_are_not_slow", func(t *testing.T) {
		w := object{"title": unique("Promise"), "trigger": manual, "steps": when(`string(event.data.x).matches('^(a+)+$')`)}
		if v := s.validate(t, w); !v.Valid {
			t.Errorf("got %v", v.lines())
		}
	})
	t.Run("18_nesting", func(t *testing.T) {
		body := `{"title":"x","steps":` + strings.Repeat("[", 10_000) + strings.Repeat("]", 10_000) + `}`
		res, err := s.owner.Do(t.Context(), http.MethodPost, "/v1/workflows:validate", body)
		if err != nil {
			t.Fatal(err)
		}
		refusal{400, "INVALID_ARGUMENT", "", "64"}.check(t, res)
	})
}

// describedActions holds that the list of action types describes each one well enough to make a workflow of it: its example passes the
// validation in a workflow that starts when a call has ended.
func describedActions(t *testing.T, s *system) {
	var list struct {
		ActionTypes []struct {
			Type, Title, Description, Help, Idempotency string
			ParamsSchema, OutputSchema                  object
			ExampleParams                               json.RawMessage
		}
		NextPageToken string
	}
	if err := s.owner.Call(t.Context(), http.MethodGet, "/v1/actionTypes", nil, &list); err != nil {
		t.Fatal(err)
	}
	known := map[string]bool{}
	for _, a := range list.ActionTypes {
		known[a.Type] = true
		if a.Title == "" || a.Description == "" || a.Help == "" || a.Idempotency == "" || a.ParamsSchema["$schema"] == nil || a.OutputSchema["$schema"] == nil {
			t.Errorf("%s is not described: %+v", a.Type, a)
		}
		v := s.validate(t, object{
			"title": unique(a.Title), "trigger": object{"event": object{"eventType": "call.ended"}},
			"steps": []object{{"id": "a", "action": object{"type": a.Type, "params": a.ExampleParams}}},
		})
		if !v.Valid {
			t.Errorf("the example of %s is not valid: %+v", a.Type, v.Problems)
		}
	}
	for _, name := range []string{
		"http.request", "crm.get_record", "crm.search", "crm.create_record", "crm.update_record", "crm.assign", "crm.add_note", "crm.add_task",
	} {
		if !known[name] {
			t.Errorf("%s is missing", name)
		}
	}
}
