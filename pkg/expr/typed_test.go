package expr

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// callSchema describes an event's payload as trigger-scheduler does.
const callSchema = `{
	"type": "object",
	"properties": {
		"talk_ms": {"type": "integer"},
		"score": {"type": "number"},
		"result": {"enum": ["answered", "missed", null]},
		"from": {"type": ["string", "null"]},
		"hot": {"type": "boolean"},
		"started_at": {"type": "string", "format": "date-time"},
		"tags": {"type": "array", "items": {"type": "string"}},
		"legs": {"type": "array", "items": {"$ref": "#/$defs/leg"}},
		"lead": {"$ref": "#/$defs/lead"},
		"labels": {"type": "object", "additionalProperties": {"type": "string"}},
		"record": {"type": "object"},
		"any": true
	},
	"$defs": {
		"leg": {"type": "object", "properties": {"id": {"type": "string"}, "ms": {"type": "integer"}}},
		"lead": {"type": "object", "properties": {"id": {"type": "string"}, "next": {"$ref": "#/$defs/lead"}}}
	}
}`

func schemaOfText(t testing.TB, text string) *Schema {
	t.Helper()
	var document map[string]any
	if err := json.Unmarshal([]byte(text), &document); err != nil {
		t.Fatal(err)
	}
	s, err := SchemaFromJSON(document)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func typedEnv(t testing.TB) *Env {
	t.Helper()
	env, err := NewEnv(
		Variable{Name: "event", Type: Map, Schema: ObjectOf(map[string]*Schema{
			"id": SchemaOf(String), "type": SchemaOf(String), "data": schemaOfText(t, callSchema),
		})},
		Variable{Name: "vars", Type: Map},
		Variable{Name: "now", Type: Timestamp},
	)
	if err != nil {
		t.Fatal(err)
	}
	return env
}

func TestEnv_Compile_finds_what_cannot_work_with_the_schema(t *testing.T) {
	env := typedEnv(t)
	for source, want := range map[string]string{
		`event.data.talk_ms > "5"`:                  `1:20: > needs both sides of one kind: event.data.talk_ms is a whole number, "5" is text`,
		`event.data.talk_ms == "5"`:                 `1:20: == needs both sides of one kind: event.data.talk_ms is a whole number, "5" is text`,
		"event.data.hot &&\n  event.data.from == 5": `2:19: == needs both sides of one kind: event.data.from is text, 5 is a whole number`,
		`event.data["talk_ms"] > "5"`:               `1:23: > needs both sides of one kind: event.data["talk_ms"] is a whole number, "5" is text`,
		`event.data.result == 1`:                    `1:19: == needs both sides of one kind: event.data.result is text, 1 is a whole number`,
		`event.data.started_at > now`:               `1:23: > needs both sides of one kind: event.data.started_at is text, now is a point in time; write timestamp(event.data.started_at)`,
		`event.data.talk_ms / 1000.0 > 1.0`:         `1:20: / needs both sides of one kind: event.data.talk_ms is a whole number, 1000.0 is a number with a fraction; write double(event.data.talk_ms)`,
		`event.data.talk_ms`:                        `1:1: the expression yields a whole number, expected true or false (bool)`,
		`event.data`:                                `1:1: the expression yields an object, expected true or false (bool)`,
		`!event.data.from`:                          `1:1: ! does not fit: event.data.from is text`,
		`event.data.from && true`:                   `1:11: event.data.from is text, expected true or false (bool)`,
		`event.data.talk_ms.startsWith("4")`:        `1:30: startsWith does not fit: event.data.talk_ms is a whole number, "4" is text`,
		`event.data.from.startsWith(4)`:             `1:27: startsWith does not fit: event.data.from is text, 4 is a whole number`,
		`event.data.talk_ms.seconds == 4`:           `1:19: event.data.talk_ms is a whole number and has no field seconds`,
		`has(event.data.talk_ms.seconds)`:           `1:4: event.data.talk_ms is a whole number and has no field seconds`,
		`event.dta.talk_ms == 4`:                    `1:6: event has no field dta; it has data, id, type`,
		`event.data.lead > 5`:                       `1:17: > needs both sides of one kind: event.data.lead is an object, 5 is a whole number`,
		`event.data.lead.next.next.id == 5`:         `1:30: == needs both sides of one kind: event.data.lead.next.next.id is text, 5 is a whole number`,
		`event.data.labels.x == 5`:                  `1:21: == needs both sides of one kind: event.data.labels.x is text, 5 is a whole number`,
		`5 in event.data.tags`:                      `1:3: in never finds it: 5 is a whole number, event.data.tags is a list of texts`,
		`event.data.talk_ms in ["a"]`:               `1:20: in never finds it: event.data.talk_ms is a whole number, ["a"] is a list of texts`,
		`"a" in event.data.from`:                    `1:5: in needs a list or an object on its right side: "a" is text, event.data.from is text`,
		`event.data.talk_ms.exists(x, x > 1)`:       `1:11: event.data.talk_ms is a whole number, expected a list or an object`,
		`event.data.tags.exists(x, x > 1)`:          `1:29: > needs both sides of one kind: x is text, 1 is a whole number`,
		`event.data.hot - true`:                     `1:16: - does not work with these: event.data.hot is true or false, true is true or false`,
		`event.data.tags["a"] == "b"`:               `1:16: [ ] takes the number of an element of a list or the name of a field: event.data.tags is a list of texts, "a" is text`,
		`(event.data.hot ? 1 : 2) == "x"`:           `1:26: == needs both sides of one kind: event.data.hot ? 1 : 2 is a whole number, "x" is text`,
		`size(event.data.talk_ms) > 1`:              `1:5: size does not fit: event.data.talk_ms is a whole number`,
		`evnt.data.hot`:                             `1:1: undeclared reference to evnt; known are event, now, vars`,
		`lower(event.data.from) == "a"`:             `1:6: undeclared reference to the function lower`,
		`event.data.hot &&`:                         `1:18: Syntax error: the expression ends where something is missing`,
		`event.data.hot )`:                          `1:16: Syntax error: unexpected ')' expecting the end`,
		`1 + "a" == "1a"`:                           `1:3: + needs both sides of one kind: 1 is a whole number, "a" is text; write string(1)`,
		`event.data.from.matches("(")`:              "1:25: invalid matches argument: no regular expression, missing closing ): `(`",
		`timestamp("tomorrow") < now`:               `1:11: invalid timestamp argument: write it as "2026-11-23T12:00:00Z"`,
		`now + duration("1 day") < now`:             `1:16: invalid duration argument: write it as "1h30m" or "90s"`,
	} {
		t.Run(source, func(t *testing.T) {
			_, err := env.Compile(source, Bool)
			if err == nil || !strings.HasPrefix(err.Error(), want) {
				t.Errorf("got  %v\nwant %s", err, want)
			}
		})
	}
}

func TestEnv_Compile_accepts_what_may_work_with_the_schema(t *testing.T) {
	env := typedEnv(t)
	data, err := Decode([]byte(`{"id": "e1", "type": "call.ended", "data": {
		"talk_ms": 5, "score": 2.5, "result": "answered", "from": null, "hot": true, "started_at": "2026-01-01T00:00:00Z", "tags": ["a"],
		"legs": [{"id": "l1", "ms": 3}], "lead": {"id": "x", "next": {"id": "y", "next": {"id": "z"}}}, "labels": {"a": "b"},
		"record": {"name": "n"}, "any": 1, "unknown": {"deep": 1}}}`))
	if err != nil {
		t.Fatal(err)
	}
	in := Vars{"event": data, "vars": map[string]any{"n": int64(1)}, "now": time.Unix(1_800_000_000, 0)}
	for _, source := range []string{
		`event.data.talk_ms > 4 && event.data.talk_ms < 5.5 && event.data.talk_ms == 5.0 && event.data.talk_ms in [5.0, 1.5]`,
		`event.data.score > 2 && event.data.score == 2.5`,
		`event.data.from == null && event.data.lead != null && event.data.talk_ms != null && event.data.tags != null && event.data != null`,
		`has(event.data.unknown) && event.data.unknown.deep == 1 && !has(event.data.nothing)`,
		`event.data["talk_ms"] == 5 && event.data["unknown"]["deep"] == 1 && event["data"]["lead"]["id"] == "x"`,
		`"talk_ms" in event.data && !("x" in event.data.lead) && "id" in event.data.legs[0]`,
		`event.data.exists(k, k == "hot") && event.data.lead.all(k, k != "") && size(event.data.lead) == 2`,
		`event.data.legs.exists(l, l.ms > 2 && l.id == "l1") && event.data.legs[0].ms == 3 && event.data.legs.filter(l, l.ms > 1)[0]["id"] == "l1"`,
		`event.data.tags[0] == "a" && event.data.tags.map(x, x + "b") == ["ab"] && size(event.data.tags + [1]) == 2`,
		`(has(event.data.from) ? event.data.talk_ms : "none") == 5`,
		`(event.data.hot ? event.data.lead : event.data.record).id == "x"`,
		`type(event.data.talk_ms) == int && type(event.data) == map && type(event.data.from) != string`,
		`event.data.lead == {"id": "x", "next": {"id": "y", "next": {"id": "z"}}}`,
		`[event.data.talk_ms, event.data.tags][0] == 5 && {"a": event.data.lead, "b": 1}.a.id == "x"`,
		`timestamp(event.data.started_at) < now && duration(string(event.data.talk_ms) + "ms") < duration("1s")`,
		`event.data.any == 1 && event.data.record.name == "n" && event.data.labels.a == "b" && event.data.labels["a"].startsWith("b")`,
		`event.data.lead.next.next.id == "z" && vars.n == 1 && vars["n"] > 0`,
		`[1].all(event, event > 0)`,
		`event.data.talk_ms + vars.n == 6 && double(event.data.talk_ms) / 2.0 == 2.5`,
		`[{"a": 1}, {"a": 2}].exists_one(e, e.a == 2)`,
	} {
		t.Run(source, func(t *testing.T) {
			p, err := env.Compile(source, Bool)
			if err != nil {
				t.Fatal(err)
			}
			ok, err := p.EvalBool(t.Context(), in)
			if err != nil || !ok {
				t.Errorf("got %v, %v; want true", ok, err)
			}
		})
	}
}

func TestEnv_Compile_refuses_what_costs_too_much_whatever_the_data(t *testing.T) {
	list := "[" + strings.Repeat("1,", 500) + "1]"
	source := fmt.Sprintf("%s.map(a, %s.map(b, [1,2,3,4,5,6,7,8,9].map(c, a + b + c))) == []", list, list)
	_, err := typedEnv(t).Compile(source, Bool)
	if err == nil || !strings.Contains(err.Error(), "the limit is 1000000") {
		t.Errorf("got %v, want the limit", err)
	}
	if _, err := typedEnv(t).Compile(`event.data.legs.all(a, event.data.legs.all(b, a.ms + b.ms > 0))`, Bool); err != nil {
		t.Errorf("small data would do: %v", err)
	}
}

func TestProgram_Type(t *testing.T) {
	env := typedEnv(t)
	for source, want := range map[string]Type{
		`event.data.talk_ms`: Int, `event.data.score`: Any, `event.data.from`: String, `event.data.hot`: Bool, `event.data.tags`: List,
		`event.data.lead`: Map, `event.data`: Map, `event.data.unknown`: Any, `now`: String, `duration("1s")`: String, `2.5`: Double,
		`event.data.hot ? "a" : "b"`: String, `event.data.hot ? 1 : vars.x`: Any, `{"a": 1}`: Map, `vars`: Map, `event.data["talk_ms"]`: Int,
	} {
		p, err := env.Compile(source, Any)
		if err != nil {
			t.Errorf("%s: %v", source, err)
			continue
		}
		if got := p.Type(); got != want {
			t.Errorf("%s: got %d, want %d", source, got, want)
		}
	}
}

func TestProgram_References(t *testing.T) {
	env, err := NewEnv(Variable{Name: "steps", Type: Map}, Variable{Name: "vars", Type: Map}, Variable{Name: "event", Type: Map})
	if err != nil {
		t.Fatal(err)
	}
	p, err := env.Compile("has(steps.a.output.id) && steps[\"b\"].output.items[0].x == vars.y &&\n vars.list.exists(vars, vars.z > event.n) && steps[vars.k] != null", Bool)
	if err != nil {
		t.Fatal(err)
	}
	want := []Reference{
		{[]string{"steps", "a", "output", "id"}, 1, 5},
		{[]string{"steps", "b", "output", "items"}, 1, 27},
		{[]string{"vars", "y"}, 1, 59},
		{[]string{"vars", "list"}, 2, 2},
		{[]string{"event", "n"}, 2, 34},
		{[]string{"steps"}, 2, 46},
		{[]string{"vars", "k"}, 2, 52},
	}
	if diff := cmp.Diff(want, p.References()); diff != "" {
		t.Errorf("references (-want +got):\n%s", diff)
	}
}

func TestSchemaFromJSON(t *testing.T) {
	for name, c := range map[string]struct {
		document string
		want     string // Go type names of fields a, b, …: see typeNames
	}{
		"types":         {`{"properties": {"a": {"type": "integer"}, "b": {"type": "number"}, "c": {"type": "boolean"}}}`, "int any bool"},
		"with null":     {`{"type": "object", "properties": {"a": {"type": ["null", "integer"]}, "b": {"type": ["string", "integer"]}, "c": {"type": "null"}}}`, "int any any"},
		"values":        {`{"type": "object", "properties": {"a": {"enum": ["x"]}, "b": {"const": "x"}, "c": {"enum": ["x", 1]}}}`, "string string any"},
		"references":    {`{"type": "object", "properties": {"a": {"$ref": "#/$defs/t"}, "b": {"$ref": "#/properties/a"}, "c": {"$ref": "https://example.com/x"}}, "$defs": {"t": {"type": "string"}}}`, "string string any"},
		"circle":        {`{"type": "object", "properties": {"a": {"$ref": "#/properties/b"}, "b": {"$ref": "#/properties/a"}, "c": {"$ref": "#"}}}`, "any any map"},
		"booleans":      {`{"type": "object", "properties": {"a": true, "b": false}, "additionalProperties": {"type": "integer"}}`, "any any int"},
		"not the types": {`{"type": "object", "properties": {"a": {"allOf": [{"type": "string"}]}, "b": {"type": "uuid"}}, "patternProperties": {"c": {}}, "additionalProperties": {"type": "string"}}`, "any any any"},
		"no object":     {`{"type": "array", "items": {"type": "string"}}`, "any any any"},
	} {
		t.Run(name, func(t *testing.T) {
			s := schemaOfText(t, c.document)
			names := map[Type]string{Any: "any", Bool: "bool", Int: "int", String: "string", List: "list", Map: "map"}
			got := names[s.At("a").Type()] + " " + names[s.At("b").Type()] + " " + names[s.At("c").Type()]
			if got != c.want {
				t.Errorf("got %s, want %s", got, c.want)
			}
		})
	}
	for name, document := range map[string]string{
		"type": `{"type": 5}`, "types": `{"type": [5]}`, "properties": `{"type": "object", "properties": []}`,
		"property": `{"type": "object", "properties": {"a": 5}}`, "reference": `{"$ref": "#/$defs/x"}`, "reference type": `{"$ref": 5}`,
		"items": `{"type": "array", "items": 5}`,
	} {
		t.Run("refuses_"+name, func(t *testing.T) {
			var m map[string]any
			if err := json.Unmarshal([]byte(document), &m); err != nil {
				t.Fatal(err)
			}
			if _, err := SchemaFromJSON(m); err == nil {
				t.Error("no error")
			}
		})
	}
}

func TestEnv_CheckRules(t *testing.T) {
	env := typedEnv(t)
	for name, c := range map[string]struct {
		rule Rule
		want string
	}{
		"text for a number":      {Rule{Field: "event.data.talk_ms", Operator: GreaterThan, Value: "5"}, `.rules[0].value: event.data.talk_ms is a whole number, "5" is text`},
		"number for text":        {Rule{Field: "event.data.from", Operator: Equals, Value: 5.0}, `.rules[0].value: event.data.from is text, 5 is a whole number`},
		"fraction":               {Rule{Field: "event.data.talk_ms", Operator: LessThan, Value: 5.5}, ""},
		"null":                   {Rule{Field: "event.data.from", Operator: Equals, Value: nil}, ""},
		"unknown field":          {Rule{Field: "event.data.nothing", Operator: Equals, Value: 5.0}, ""},
		"any number":             {Rule{Field: "event.data.score", Operator: GreaterThan, Value: 5.0}, ""},
		"order of yes and no":    {Rule{Field: "event.data.hot", Operator: LessThan, Value: 5.0}, `.rules[0].value: event.data.hot is true or false, which has no order`},
		"no such attribute":      {Rule{Field: "event.dta.x", Operator: Exists}, `.rules[0].field: event has no field dta; it has data, id, type`},
		"below a number":         {Rule{Field: "event.data.talk_ms.x", Operator: Exists}, `.rules[0].field: event.data.talk_ms is a whole number and has no field x`},
		"object":                 {Rule{Field: "event.data.lead", Operator: Equals, Value: "x"}, `.rules[0].value: event.data.lead is an object, "x" is text`},
		"member":                 {Rule{Field: "event.data.tags", Operator: Contains, Value: "x"}, ""},
		"member of another type": {Rule{Field: "event.data.tags", Operator: Contains, Value: 5.0}, `.rules[0].value: event.data.tags is a list of texts, 5 is a whole number`},
		"part of a text":         {Rule{Field: "event.data.from", Operator: Contains, Value: "+49"}, ""},
		"part of a number":       {Rule{Field: "event.data.talk_ms", Operator: Contains, Value: "5"}, `.rules[0].value: event.data.talk_ms is a whole number, which contains nothing`},
		"number in a text":       {Rule{Field: "event.data.from", Operator: NotContains, Value: 5.0}, `.rules[0].value: event.data.from is text, 5 is a whole number`},
		"start of a number":      {Rule{Field: "event.data.talk_ms", Operator: StartsWith, Value: "5"}, `.rules[0].value: event.data.talk_ms is a whole number, expected text`},
		"one of":                 {Rule{Field: "event.data.result", Operator: In, Value: []any{"answered", 5.0}}, `.rules[0].value: event.data.result is text, 5 is a whole number`},
		"nested":                 {Rule{Group: &RuleGroup{Rules: []Rule{{Field: "event.data.hot", Operator: Equals, Value: "yes"}}}}, `.rules[0].group.rules[0].value: event.data.hot is true or false, "yes" is text`},
		"another variable":       {Rule{Field: "vars.x", Operator: Equals, Value: 5.0}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			got := ""
			for _, problem := range env.CheckRules(&RuleGroup{Rules: []Rule{c.rule}}) {
				got += problem.Error()
			}
			if got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
		})
	}
}

// What the check against schemas accepts is compiled without them, so nothing that it accepts may fail there, nor may anything panic.
func FuzzEnv_Compile(f *testing.F) {
	for _, s := range []string{
		`event.data.talk_ms > 5`, `event.data.lead["id"] in event.data.tags`, `event.data.exists(k, event.data[k] == 1)`, `type(event) == map ? event.data : {}`,
		`event.data.legs.map(l, l.ms).exists_one(x, x == 1.0)`, `[event].all(event, event.x)`, `has(event.data.lead.next)`,
	} {
		f.Add(s)
	}
	env := typedEnv(f)
	f.Fuzz(func(t *testing.T, s string) {
		p, err := env.Compile(s, Any)
		if err != nil {
			return
		}
		p.References()
		_, _ = p.Eval(t.Context(), Vars{"event": map[string]any{"data": map[string]any{}}, "vars": map[string]any{}, "now": time.Unix(0, 0)})
	})
}

func BenchmarkNewEnv_with_schema(b *testing.B) {
	for b.Loop() {
		typedEnv(b)
	}
}

func TestExpressions(t *testing.T) {
	var v any
	if err := json.Unmarshal([]byte(`{"b": ["x", "${a.b}", {"c": "n=${1} $${x} ${ {'}': 2} }"}], "a": "${open", "n": 5}`), &v); err != nil {
		t.Fatal(err)
	}
	got, errs := Expressions(v)
	want := []Embedded{
		{Path: ".b[1]", Source: "a.b", Whole: true}, {Path: ".b[2].c", Source: "1"}, {Path: ".b[2].c", Source: " {'}': 2} "},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("expressions (-want +got):\n%s", diff)
	}
	if len(errs) != 1 || errs[0].Path != ".a" {
		t.Errorf("got errors %v, want one at .a", errs)
	}
}
