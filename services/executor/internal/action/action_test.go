package action_test

import (
	"context"
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"workflow.uniconnect/pkg/expr"
	"workflow.uniconnect/pkg/fault"
	"workflow.uniconnect/services/executor/internal/action"
	"workflow.uniconnect/services/executor/internal/run"
)

// echo is a handler that answers with what it was given.
type echo struct{ violations []fault.Violation }

func (e echo) Check(map[string]any) []fault.Violation { return e.violations }

func (e echo) Do(_ context.Context, c action.Call) run.Outcome {
	out, err := json.Marshal(c.Params)
	if err != nil {
		return action.Failed(fault.ReasonInternal, err.Error())
	}
	return action.Succeeded(out)
}

func registry(t testing.TB, h action.Handler) *action.Registry {
	t.Helper()
	return registryOf(t, h, action.HTTPRequest, action.CRMGetRecord, action.CRMUpdateRecord)
}

func registryOf(t testing.TB, h action.Handler, names ...string) *action.Registry {
	t.Helper()
	var types []action.Type
	for _, name := range names {
		ty, err := action.Define(name, h)
		if err != nil {
			t.Fatal(err)
		}
		types = append(types, ty)
	}
	return action.NewRegistry(types...)
}

func TestRegistry_Check(t *testing.T) {
	const http, get, update = action.HTTPRequest, action.CRMGetRecord, action.CRMUpdateRecord
	rule := func(field, text string) fault.Violation {
		return fault.Violation{Field: field, Description: text, Reason: fault.ReasonFieldRule}
	}
	cases := map[string]struct {
		actionType string
		params     map[string]any
		want       []fault.Violation
	}{
		"ok": {http, map[string]any{"method": "POST", "url": "https://a.example", "body": map[string]any{"a": 1.0}}, nil},
		"unknown_type": {"http.requets", nil, []fault.Violation{{
			Field: "type", Reason: "UNKNOWN_ACTION_TYPE",
			Description: "is not a known action type; did you mean http.request? known are crm.get_record, crm.update_record, http.request",
		}}},
		"unknown_and_unlike": {"fax.send", nil, []fault.Violation{{
			Field: "type", Reason: "UNKNOWN_ACTION_TYPE",
			Description: "is not a known action type; known are crm.get_record, crm.update_record, http.request",
		}}},
		"missing":      {http, nil, []fault.Violation{rule("params.url", "is required")}},
		"wrong_type":   {http, map[string]any{"url": 7.0}, []fault.Violation{rule("params.url", "got number, want string")}},
		"wrong_method": {http, map[string]any{"url": "u", "method": "FETCH"}, []fault.Violation{rule("params.method", "value must be one of 'GET', 'POST', 'PUT', 'PATCH', 'DELETE', 'HEAD', 'OPTIONS'")}},
		"misspelt": {http, map[string]any{"url": "u", "boddy": 1.0}, []fault.Violation{
			rule("params.boddy", "is not a parameter of this action; known are body, headers, method, query, url"),
		}},
		"inside_a_map":  {http, map[string]any{"url": "u", "headers": map[string]any{"X-A": nil}}, []fault.Violation{rule("params.headers.X-A", "got null, want boolean or number or string")}},
		"inside_a_list": {http, map[string]any{"url": "u", "query": map[string]any{"q": []any{"a", nil}}}, []fault.Violation{rule("params.query.q[1]", "got null, want boolean or number or string")}},
		"template_for_any_type": {http, map[string]any{
			"url": "${event.data.url}", "method": "${vars.m}", "headers": "${vars.h}", "query": map[string]any{"q": "${vars.q}"},
		}, nil},
		"template_within_text":   {get, map[string]any{"module": "lead${vars.s}", "id": "1"}, nil},
		"escaped_is_no_template": {get, map[string]any{"module": "$${x}", "id": "1"}, []fault.Violation{rule("params.module", "'$${x}' does not match pattern '^[a-z][a-z0-9_]{0,62}$'")}},
		"all_problems_at_once": {update, map[string]any{"module": "Leads", "fields": map[string]any{}}, []fault.Violation{
			rule("params.id", "is required"),
			rule("params.module", "'Leads' does not match pattern '^[a-z][a-z0-9_]{0,62}$'"),
			rule("params.fields", "minProperties: got 0, want 1"),
		}},
		"numbers_as_ids": {get, map[string]any{"module": "leads", "id": int64(7)}, nil},
	}
	r := registry(t, echo{})
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			got := r.Check(c.actionType, c.params)
			byField := cmpopts.SortSlices(func(a, b fault.Violation) bool { return a.Field < b.Field })
			if diff := cmp.Diff(c.want, got, byField); diff != "" {
				t.Errorf("violations (-want +got):\n%s", diff)
			}
		})
	}
	t.Run("the_handler_adds_its_own", func(t *testing.T) {
		own := rule("params.url", "no")
		got := registry(t, echo{violations: []fault.Violation{own}}).Check(http, map[string]any{"url": "u"})
		if diff := cmp.Diff([]fault.Violation{own}, got); diff != "" {
			t.Errorf("violations (-want +got):\n%s", diff)
		}
	})
}

func TestRegistry_CheckTypes(t *testing.T) {
	const http, get, update = action.HTTPRequest, action.CRMGetRecord, action.CRMUpdateRecord
	cases := map[string]struct {
		actionType string
		params     map[string]any
		types      map[string]expr.Type
		want       map[string]string
	}{
		"number_for_text": {
			http, map[string]any{"url": "${event.data.n}"}, map[string]expr.Type{".url": expr.Int},
			map[string]string{"params.url": "the expression yields a whole number, expected text"},
		},
		"text_for_an_object": {
			http, map[string]any{"url": "u", "headers": "${event.id}"}, map[string]expr.Type{".headers": expr.String},
			map[string]string{"params.headers": "the expression yields text, expected an object"},
		},
		"inside_lists_and_objects": {
			http,
			map[string]any{"url": "u", "query": map[string]any{"q": []any{"${a}", "${b}"}}, "headers": map[string]any{"X": "${a}", "Y": "${b}"}},
			map[string]expr.Type{".query.q[0]": expr.Int, ".query.q[1]": expr.Map, ".headers.X": expr.Bool, ".headers.Y": expr.List},
			map[string]string{
				"params.query.q[1]": "the expression yields an object, expected true or false or a number or text",
				"params.headers.Y":  "the expression yields a list, expected true or false or a number or text",
			},
		},
		"text_for_a_number":        {update, map[string]any{"expected_version": "v${a}"}, map[string]expr.Type{".expected_version": expr.String}, map[string]string{"params.expected_version": "the expression yields text, expected a whole number"}},
		"number_for_text_or_whole": {get, map[string]any{"id": "${a}"}, map[string]expr.Type{".id": expr.Int}, nil},
		"fraction_for_whole":       {get, map[string]any{"id": "${a}"}, map[string]expr.Type{".id": expr.Double}, map[string]string{"params.id": "the expression yields a number with a fraction, expected a whole number or text"}},
		"rules_of_the_value":       {get, map[string]any{"module": "${a}", "id": "${a}"}, map[string]expr.Type{".module": expr.String, ".id": expr.String}, nil},
		"not_known":                {http, map[string]any{"url": "${a}"}, nil, nil},
		"unknown_action":           {"fax.send", map[string]any{"url": "${a}"}, map[string]expr.Type{".url": expr.Int}, nil},
		"unknown_parameter":        {http, map[string]any{"url": "u", "x": "${a}"}, map[string]expr.Type{".x": expr.Int}, nil},
	}
	r := registry(t, echo{})
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			var got map[string]string
			for _, v := range r.CheckTypes(c.actionType, c.params, c.types) {
				if got == nil {
					got = map[string]string{}
				}
				got[v.Field] = v.Description
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("violations (-want +got):\n%s", diff)
			}
		})
	}
}

func TestRegistry_Do(t *testing.T) {
	r := registry(t, echo{})
	t.Run("ok", func(t *testing.T) {
		got := r.Do(t.Context(), action.Call{Type: action.CRMGetRecord, Params: map[string]any{"module": "leads", "id": "1"}})
		if got.Err != nil || string(got.Output) != `{"id":"1","module":"leads"}` {
			t.Errorf("got %s, %+v", got.Output, got.Err)
		}
		if got.StartTime.IsZero() || got.EndTime.Before(got.StartTime) {
			t.Errorf("times: got %v to %v", got.StartTime, got.EndTime)
		}
	})
	t.Run("parameters_are_checked_again", func(t *testing.T) {
		// What a template came to may still look like one.
		got := r.Do(t.Context(), action.Call{Type: action.CRMGetRecord, Params: map[string]any{"module": "${x}", "id": "1"}})
		want := &run.Error{Reason: "ACTION_PARAMS", Message: "params.module: '${x}' does not match pattern '^[a-z][a-z0-9_]{0,62}$'"}
		if diff := cmp.Diff(want, got.Err); diff != "" {
			t.Errorf("error (-want +got):\n%s", diff)
		}
	})
	t.Run("unknown_type", func(t *testing.T) {
		got := r.Do(t.Context(), action.Call{Type: "fax.send"})
		if got.Err == nil || got.Err.Reason != "UNKNOWN_ACTION_TYPE" || got.Err.Retryable {
			t.Errorf("got %+v, want UNKNOWN_ACTION_TYPE, not retryable", got.Err)
		}
	})
}

func TestRegistry_Types_have_help_everywhere(t *testing.T) {
	r := registryOf(t, echo{}, action.HTTPRequest, action.CRMGetRecord, action.CRMSearch, action.CRMCreateRecord, action.CRMUpdateRecord,
		action.CRMAssign, action.CRMAddNote, action.CRMAddTask)
	for _, ty := range r.Types() {
		if ty.Title == "" || ty.Description == "" || ty.Help == "" || ty.Idempotency == "" {
			t.Errorf("%s: title %q, description %q, help %q, idempotency %q", ty.Name, ty.Title, ty.Description, ty.Help, ty.Idempotency)
		}
		var example map[string]any
		if err := json.Unmarshal(ty.Example, &example); err != nil {
			t.Fatal(err)
		}
		for _, v := range r.Check(ty.Name, example) {
			t.Errorf("%s: the example breaks a rule: %s: %s", ty.Name, v.Field, v.Description)
		}
		for which, raw := range map[string]json.RawMessage{"params": ty.Params, "output": ty.Output} {
			var s struct {
				Schema     string `json:"$schema"`
				Properties map[string]struct{ Title, Description string }
			}
			if err := json.Unmarshal(raw, &s); err != nil {
				t.Fatal(err)
			}
			if want := "https://json-schema.org/draft/2020-12/schema"; s.Schema != want {
				t.Errorf("%s %s: got $schema %q, want %q", ty.Name, which, s.Schema, want)
			}
			for name, p := range s.Properties {
				if p.Title == "" || p.Description == "" {
					t.Errorf("%s %s.%s: title %q, description %q", ty.Name, which, name, p.Title, p.Description)
				}
			}
		}
	}
}

func BenchmarkRegistry_Do_check(b *testing.B) {
	ty, err := action.Define(action.HTTPRequest, nothing{})
	if err != nil {
		b.Fatal(err)
	}
	r := action.NewRegistry(ty)
	c := action.Call{Type: action.HTTPRequest, Params: map[string]any{
		"method": "POST", "url": "http://127.0.0.1:9110/sink/a",
		"body": map[string]any{"call_id": "c-1", "from": "+12025550100", "nested": map[string]any{"a": int64(1), "b": "x"}},
	}}
	b.ReportAllocs()
	for b.Loop() {
		if o := r.Do(b.Context(), c); o.Err != nil {
			b.Fatal(o.Err)
		}
	}
}

type nothing struct{ echo }

func (nothing) Do(context.Context, action.Call) run.Outcome { return run.Outcome{} }
