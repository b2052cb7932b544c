package expr

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func newEnv(t testing.TB) *Env {
	t.Helper()
	env, err := NewEnv(Variable{Name: "event", Type: Map}, Variable{Name: "now", Type: Timestamp}, Variable{Name: "index", Type: Int})
	if err != nil {
		t.Fatal(err)
	}
	return env
}

func scope(t testing.TB, event string) Vars {
	t.Helper()
	v, err := Decode([]byte(event))
	if err != nil {
		t.Fatal(err)
	}
	return Vars{"event": v, "now": time.Date(2026, 3, 29, 1, 30, 0, 0, time.UTC), "index": int64(7)}
}

func TestProgram_Eval(t *testing.T) {
	event := `{"data": {"n": 5, "big": 9007199254740993, "f": 5.5, "whole": 5.0, "s": "x", "list": [1, 2.5, "a"], "m": {"k": null}}}`
	for source, want := range map[string]string{
		`event.data.n + 1`:                         `6`,
		`event.data.big`:                           `9007199254740993`,
		`event.data.whole == 5`:                    `true`,
		`event.data.f * 2.0`:                       `11.0`,
		`event.data.list`:                          `[1, 2.5, "a"]`,
		`event.data.m`:                             `{"k": null}`,
		`{"a": [event.data.n], "b": event.data.s}`: `{"a": [5], "b": "x"}`,
		`now`:                               `"2026-03-29T01:30:00Z"`,
		`now + duration("90m")`:             `"2026-03-29T03:00:00Z"`,
		`duration("1500ms")`:                `"1.5s"`,
		`duration("-250ms")`:                `"-0.25s"`,
		`duration("3600s")`:                 `"3600s"`,
		`duration("0s")`:                    `"0s"`,
		`b"hi"`:                             `"aGk="`,
		`event.data.list.filter(x, x == 1)`: `[1]`,
		`has(event.data.missing)`:           `false`,
		`index > 6 ? "big" : "small"`:       `"big"`,
	} {
		t.Run(source, func(t *testing.T) {
			p, err := newEnv(t).Compile(source, Any)
			if err != nil {
				t.Fatal(err)
			}
			got, err := p.Eval(t.Context(), scope(t, event))
			if err != nil {
				t.Fatal(err)
			}
			wantValue, err := Decode([]byte(want))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(wantValue, got); diff != "" {
				t.Errorf("value (-want +got):\n%s", diff)
			}
		})
	}
}

func TestProgram_Eval_writes_times_within_data_as_text(t *testing.T) {
	p, err := newEnv(t).Compile(`event`, Any)
	if err != nil {
		t.Fatal(err)
	}
	at := time.Date(2026, 11, 23, 13, 0, 0, 0, time.FixedZone("", 3600))
	got, err := p.Eval(t.Context(), Vars{"event": map[string]any{"list": []any{map[string]any{"at": at}}, "n": int64(1)}})
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]any{"list": []any{map[string]any{"at": "2026-11-23T12:00:00Z"}}, "n": int64(1)}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("value (-want +got):\n%s", diff)
	}
}

func TestEnv_Compile_names_the_place(t *testing.T) {
	deep := strings.Repeat("(", 200) + "1" + strings.Repeat(")", 200)
	for name, c := range map[string]struct {
		source string
		want   Type
		line   int
		column int
		text   string
	}{
		"unknown variable": {"event.data.n == 1 &&\n  evnt.x", Bool, 2, 3, "undeclared reference"},
		"syntax":           {"event.data.n ==", Bool, 1, 16, "Syntax error"},
		"wrong type":       {"index + 1", Bool, 1, 1, "yields a whole number, expected true or false (bool)"},
		"bad regex":        {`"a".matches("(")`, Bool, 1, 13, "invalid matches argument"},
		"too long":         {strings.Repeat("1+", MaxLength) + "1", Any, 1, 1, "the limit is 4096"},
		"too deep":         {deep, Any, 1, 0, ""},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := newEnv(t).Compile(c.source, c.want)
			var got *Error
			if !errors.As(err, &got) {
				t.Fatalf("got error %v, want *Error", err)
			}
			if got.Line != c.line || (c.column > 0 && got.Column != c.column) || !strings.Contains(got.Message, c.text) {
				t.Errorf("got %v, want %d:%d with %q", got, c.line, c.column, c.text)
			}
		})
	}
}

func TestProgram_Eval_stops_at_the_cost_limit(t *testing.T) {
	env := newEnv(t)
	p, err := env.Compile(`event.l.all(a, event.l.all(b, event.l.all(c, a + b + c >= 0)))`, Bool)
	if err != nil {
		t.Fatal(err)
	}
	list := make([]any, 500)
	for i := range list {
		list[i] = int64(i)
	}
	_, err = p.EvalBool(t.Context(), Vars{"event": map[string]any{"l": list}})
	if err == nil || !strings.Contains(err.Error(), "cost limit") {
		t.Errorf("got %v, want the cost limit", err)
	}
}

// Joined text grows without a comprehension: 128 times a large value are hundreds of megabytes on the way.
func TestProgram_Eval_stops_joining(t *testing.T) {
	t.Parallel()
	in := scope(t, `{"data":{"s":"`+strings.Repeat("x", 1<<20)+`"}}`)
	for _, value := range []string{"event.data.s", "string(event.data.s)", "bytes(event.data.s)"} {
		t.Run(value, func(t *testing.T) {
			source := value
			for len(source) < MaxLength/2-10 {
				source = "(" + source + "+" + source + ")"
			}
			p, err := newEnv(t).Compile("size("+source+")", Any)
			if err != nil {
				t.Fatal(err)
			}
			if v, err := p.Eval(t.Context(), in); err == nil || !strings.Contains(err.Error(), "cost limit") {
				t.Errorf("got %v, %v; want the cost limit", v, err)
			}
		})
	}
}

func TestTemplate_Eval_stops_when_too_large(t *testing.T) {
	t.Parallel()
	in := scope(t, `{"data":{"s":"`+strings.Repeat("x", 1<<20)+`"}}`)
	var same, inText []any
	for range 100 {
		same, inText = append(same, "${event}"), append(inText, "say ${event.data.s}")
	}
	for name, data := range map[string]any{
		"same_value": same, "in_texts": inText, "in_one_text": strings.Repeat("${event.data.s}", 100), "in_a_list": "${[event, event, event]}",
	} {
		t.Run(name, func(t *testing.T) {
			template, errs := newEnv(t).CompileTemplate(map[string]any{"body": data})
			if len(errs) > 0 {
				t.Fatal(errs)
			}
			if _, err := template.Eval(t.Context(), in); !errors.Is(err, ErrTooLarge) {
				t.Errorf("got %v, want ErrTooLarge", err)
			}
		})
	}
}

func TestProgram_EvalBool_needs_a_bool(t *testing.T) {
	p, err := newEnv(t).Compile(`event.data.n`, Bool)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.EvalBool(t.Context(), scope(t, `{"data": {"n": 1}}`)); err == nil {
		t.Error("an int passed for a bool")
	}
	if _, err := p.EvalBool(t.Context(), scope(t, `{"data": {}}`)); err == nil {
		t.Error("a missing field passed for a bool")
	}
}

func TestTemplate_Eval(t *testing.T) {
	event := `{"data": {"id": "lead-1", "n": 5, "tags": ["a"]}}`
	for name, c := range map[string]struct{ template, want string }{
		"whole keeps the type":  {`"${event.data.n}"`, `5`},
		"whole keeps a list":    {`{"x": ["${event.data.tags}"]}`, `{"x": [["a"]]}`},
		"interpolates":          {`"/leads/${event.data.id}?n=${event.data.n}!"`, `"/leads/lead-1?n=5!"`},
		"interpolates JSON":     {`"t=${event.data.tags}"`, `"t=[\"a\"]"`},
		"literal":               {`"a $${x} $${"`, `"a ${x} ${"`},
		"braces in the program": {`"${ {'}': '{' + \"}\"}['}'] }"`, `"{}"`},
		"raw strings":           {`"${ r'}' + '''}''' }"`, `"}}"`},
		"multi-byte":            {`"ü${'ö}' + 'ß'}ä"`, `"üö}ßä"`},
		"numbers become ints":   {`{"a": 1, "b": 1.5}`, `{"a": 1, "b": 1.5}`},
		"a dollar alone":        {`"costs $5"`, `"costs $5"`},
	} {
		t.Run(name, func(t *testing.T) {
			var v any
			if err := json.Unmarshal([]byte(c.template), &v); err != nil {
				t.Fatal(err)
			}
			template, errs := newEnv(t).CompileTemplate(v)
			if len(errs) > 0 {
				t.Fatal(errs[0])
			}
			got, err := template.Eval(t.Context(), scope(t, event))
			if err != nil {
				t.Fatal(err)
			}
			want, err := Decode([]byte(c.want))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("value (-want +got):\n%s", diff)
			}
		})
	}
}

func TestEnv_CompileTemplate_names_every_string(t *testing.T) {
	_, errs := newEnv(t).CompileTemplate(map[string]any{"a": []any{"ok", "${1 +}"}, "b": map[string]any{"c": "${open"}})
	got := map[string]bool{}
	for _, e := range errs {
		got[e.Path] = true
	}
	if diff := cmp.Diff(map[string]bool{".a[1]": true, ".b.c": true}, got); diff != "" {
		t.Errorf("paths (-want +got):\n%s", diff)
	}
}

func TestTemplate_Eval_names_the_string_that_fails(t *testing.T) {
	template, errs := newEnv(t).CompileTemplate(map[string]any{"a": []any{"${event.data.missing}"}})
	if len(errs) > 0 {
		t.Fatal(errs[0])
	}
	_, err := template.Eval(t.Context(), scope(t, `{"data": {}}`))
	if err == nil || !strings.HasPrefix(err.Error(), ".a[0]: ") {
		t.Errorf("got %v, want the path .a[0]", err)
	}
}

func TestProgram_Equalities(t *testing.T) {
	p, err := newEnv(t).Compile(`event.data.result == "answered" && (true == event.data.hot && event.data.n == 3) && (event.data.a == 1 || index == 2)`, Bool)
	if err != nil {
		t.Fatal(err)
	}
	want := []Equality{
		{Path: []string{"event", "data", "result"}, Value: "answered"},
		{Path: []string{"event", "data", "hot"}, Value: true},
		{Path: []string{"event", "data", "n"}, Value: int64(3)},
	}
	if diff := cmp.Diff(want, p.Equalities()); diff != "" {
		t.Errorf("equalities (-want +got):\n%s", diff)
	}
}

func FuzzCompileTemplate(f *testing.F) {
	for _, s := range []string{"${event.data}", "a ${ {'}': 1} } $${", "${'\\u00e9}'}", "${\"", "${r'}", "${\xa2}", "\xa2${'\xa2'}\xa2"} {
		f.Add(s)
	}
	env := newEnv(f)
	f.Fuzz(func(t *testing.T, s string) {
		template, errs := env.CompileTemplate(s)
		if len(errs) > 0 {
			return
		}
		// Whatever compiles must evaluate or fail, never panic.
		_, _ = template.Eval(t.Context(), Vars{"event": map[string]any{}, "now": time.Unix(0, 0), "index": int64(0)})
	})
}

func BenchmarkProgram_EvalBool(b *testing.B) {
	env := newEnv(b)
	p, err := env.Compile(`event.data.result == "answered" && event.data.talk_ms > 1000`, Bool)
	if err != nil {
		b.Fatal(err)
	}
	vars := scope(b, `{"data": {"result": "answered", "talk_ms": 5000}}`)
	b.ReportAllocs()
	for b.Loop() {
		if ok, err := p.EvalBool(b.Context(), vars); err != nil || !ok {
			b.Fatal(ok, err)
		}
	}
}

func TestProgram_OnlyEqualities(t *testing.T) {
	env, err := NewEnv(Variable{Name: "event", Type: Map})
	if err != nil {
		t.Fatal(err)
	}
	cases := map[string]bool{
		`event.data.a == "x"`: true,
		`event.data.a == "x" && 3 == event.data.b && event.c == true`: true,
		`event.data.a == "x" && event.data.b > 3`:                     false,
		`event.data.a == "x" || event.data.b == 3`:                    false,
		`!(event.data.a == "x")`:                                      false,
		`event.data.a == event.data.b`:                                false,
	}
	for source, want := range cases {
		p, err := env.Compile(source, Bool)
		if err != nil {
			t.Fatal(err)
		}
		if got := p.OnlyEqualities(); got != want {
			t.Errorf("%s: got %v, want %v", source, got, want)
		}
	}
}
