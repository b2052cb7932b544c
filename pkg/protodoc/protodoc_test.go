package protodoc_test

import (
	"errors"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	yamlv4 "go.yaml.in/yaml/v4"
	"google.golang.org/genproto/googleapis/api/annotations"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/structpb"

	"workflow.uniconnect/pkg/protodoc"
)

var limits = protodoc.Limits{Bytes: 1 << 20, Depth: 64}

func object(t *testing.T, fields map[string]any) *structpb.Struct {
	t.Helper()
	s, err := structpb.NewStruct(fields)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestMarshal_yaml(t *testing.T) {
	m := object(t, map[string]any{
		"plain": "Hello ${event.data.name}", "expression": "event.data.x == 'a'", "ternary": "a ? b : c", "cron": "0 0 * * *",
		"block": "first\n\n  second # no comment\n", "open block": "a\nb", "trailing": "a \nb", "leading": " a\nb", "crlf": "a\r\nb",
		"empty": "", "list": []any{}, "object": map[string]any{}, "nothing": nil, "truth": true, "n": 1.5, "big": 1e21,
		"nested": []any{[]any{"a", "b"}, map[string]any{"x": 1, "y": []any{"z"}}, map[string]any{}, "text\nlines"},
		"on":     "on", "no": "No", "exp": "1e3", "hex": "0x10", "octal": "010", "phone": "+49301234", "clock": "12:30",
		"time": "2026-11-01T00:00:00Z", "tilde": "~", "merge": "<<", "dash": "- a", "hash": "a #b", "colon": "a: b", "end": "a:",
		"bidi": "a\u202eb", "emoji": "👩‍👩‍👧 ok", "nbsp": "a\u00a0b", "tab": "a\tb", "del": "a\x7f\u0085b", "bom": "\ufeffa", "star": "*a", "duration": "30s",
	})
	got, err := protodoc.Marshal(m, protodoc.YAML)
	if err != nil {
		t.Fatal(err)
	}
	want := `bidi: "a\u202eb"
big: 1e+21
block: |
  first

    second # no comment
bom: "\ufeffa"
clock: "12:30"
colon: "a: b"
crlf: "a\r\nb"
cron: 0 0 * * *
dash: "- a"
del: "a\u007f\u0085b"
duration: 30s
emoji: "👩‍👩‍👧 ok"
empty: ""
end: "a:"
exp: "1e3"
expression: event.data.x == 'a'
hash: "a #b"
hex: "0x10"
leading: " a\nb"
list: []
merge: "<<"
"n": 1.5
nbsp: "a\u00a0b"
nested:
  - - a
    - b
  - x: 1
    "y":
      - z
  - {}
  - |-
    text
    lines
"no": "No"
nothing: null
object: {}
octal: "010"
"on": "on"
open block: |-
  a
  b
phone: "+49301234"
plain: Hello ${event.data.name}
star: "*a"
tab: "a\tb"
ternary: "a ? b : c"
tilde: "~"
time: "2026-11-01T00:00:00Z"
trailing: "a \nb"
truth: true
`
	if diff := cmp.Diff(want, string(got)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestMarshal_json(t *testing.T) {
	m := &annotations.HttpRule{
		Selector: "a.B", Pattern: &annotations.HttpRule_Get{Get: "/v1/{id}"}, Body: "<\u2028>",
		AdditionalBindings: []*annotations.HttpRule{{Pattern: &annotations.HttpRule_Custom{Custom: &annotations.CustomHttpPattern{}}}},
	}
	got, err := protodoc.Marshal(m, protodoc.JSON)
	if err != nil {
		t.Fatal(err)
	}
	want := `{
  "selector": "a.B",
  "get": "/v1/{id}",
  "body": "<\u2028>",
  "additionalBindings": [
    {
      "custom": {}
    }
  ]
}
`
	if diff := cmp.Diff(want, string(got)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestUnmarshal_reads_scalars_by_type(t *testing.T) {
	cases := map[string]struct{ text, want string }{
		"on": {"selector: on", "on"}, "octal": {"selector: 010", "010"}, "number": {"selector: 1e3", "1e3"}, "time": {"selector: 2026-01-01", "2026-01-01"},
		"null": {"selector: ~", ""}, "quoted_null": {`selector: "null"`, "null"}, "folded": {"selector: >-\n  a\n  b", "a b"},
		"single": {"selector: 'it''s'", "it's"}, "comment": {"selector: a # b", "a"}, "json_in_yaml": {`"selector": "\u00e4"`, "ä"},
		"json": {` {"selector": "\ud83d\ude00"}`, "😀"}, "bom": {"\ufeffselector: a", "a"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			var m annotations.HttpRule
			if err := protodoc.Unmarshal([]byte(c.text), &m, limits); err != nil {
				t.Fatal(err)
			}
			if m.GetSelector() != c.want {
				t.Errorf("got %q, want %q", m.GetSelector(), c.want)
			}
		})
	}
}

func TestUnmarshal_resolves_what_has_no_type(t *testing.T) {
	var m structpb.Struct
	text := "a: 1\nb: 1.5e3\nc: TRUE\nd: null\ne:\nf: 12:30\ng: 2026-01-01\nh: y\ni: -0.5\nj: [1, {k: v}]\n1: one\ntrue: x\n"
	if err := protodoc.Unmarshal([]byte(text), &m, limits); err != nil {
		t.Fatal(err)
	}
	want := object(t, map[string]any{
		"a": 1, "b": 1500, "c": true, "d": nil, "e": nil, "f": "12:30", "g": "2026-01-01", "h": "y", "i": -0.5,
		"j": []any{1, map[string]any{"k": "v"}}, "1": "one", "true": "x",
	})
	if diff := cmp.Diff(want, &m, protocmp.Transform()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestUnmarshal_refuses(t *testing.T) {
	type refusal struct {
		text, want string
		free       bool // read as a Struct
	}
	cases := map[string]refusal{
		"empty":               {text: "", want: "1:1: the document is empty"},
		"only_comments":       {text: "# nothing\n", want: "1:1: the document is empty"},
		"list":                {text: "- a", want: "1:1: must be an object, not a list"},
		"syntax":              {text: "selector: a\nbody: b: c\n", want: "2:8: is not YAML: mapping values are not allowed in this context"},
		"tab":                 {text: "get:\n\t- a", want: "2:1: is not YAML: found character that cannot start any token"},
		"json_syntax":         {text: "{\n \"get\": ,}", want: "2:9: is not JSON: invalid character"},
		"json_trailing":       {text: "{} {}", want: "1:4: is not JSON: invalid character"},
		"json_cut":            {text: `{"get": "`, want: "1:9: is not JSON: unexpected end"},
		"unknown":             {text: "selektor: a\nfoo: 1", want: "1:1: selektor: unknown field: there are selector, get, put, post, delete, patch, custom, body, responseBody, additionalBindings\n2:1: foo: unknown field"},
		"spelling":            {text: "responsebody: a", want: "1:1: responsebody: unknown field: write responseBody"},
		"twice":               {text: "get: a\nget: b", want: "2:1: get: is given twice"},
		"twice_in_json":       {text: "{\"get\": \"a\",\n \"get\": \"b\"}", want: "2:2: get: is given twice"},
		"twice_in_two_names":  {text: "response_body: a\nresponseBody: b", want: "2:1: responseBody: is given twice"},
		"oneof":               {text: "get: a\nput: b", want: "2:1: put: excludes get: give one of them"},
		"anchor":              {text: "get: &a x", want: "1:6: get: anchors (&a) are not read"},
		"alias":               {text: "get: &a x\nput: *a", want: "2:6: put: aliases (*a) are not read"},
		"tag":                 {text: "get: !!str x", want: "1:6: get: tags (!!str) are not read"},
		"local_tag":           {text: "get: !x x", want: "1:6: get: tags (!x) are not read"},
		"merge":               {text: "<<: {get: x}", want: "1:1: <<: merge keys are not read"},
		"documents":           {text: "get: a\n---\nget: b", want: "2:1: another document begins"},
		"documents_broken":    {text: "get: a\n---\nget: b: c", want: "is not YAML"},
		"complex_key":         {text: "? [a]\n: b", want: "1:3: a key must be text"},
		"kind":                {text: "additionalBindings: {get: a}", want: "1:21: additionalBindings: must be a list, not an object"},
		"text_for_object":     {text: "custom: x", want: "1:9: custom: must be an object, not text"},
		"list_for_text":       {text: "get: [a]", want: "1:6: get: must be text, not a list"},
		"bool_in_json":        {text: `{"get": true}`, want: "1:9: get: must be text, not true or false"},
		"null_item":           {text: "additionalBindings:\n  - get: a\n  -\n", want: "additionalBindings[1]: must be an object, not"},
		"utf8":                {text: "get: \xff", want: "1:6: is not UTF-8"},
		"control":             {text: "get: a\x01b", want: `1:7: holds the control character '\x01'`},
		"half_a_pair":         {text: `{"get": "\ud83d"}`, want: "1:9: holds half of a surrogate pair"},
		"deep":                {text: strings.Repeat("[", 65) + strings.Repeat("]", 65), want: "1:65: " + strings.Repeat("[0]", 64) + ": nests deeper than 64 levels"},
		"deep_json":           {text: strings.Repeat(`{"a":`, 65) + "1" + strings.Repeat("}", 65), want: "nests deeper than 64 levels"},
		"very_deep":           {text: strings.Repeat("[", 500000), want: "is not YAML: exceeded max depth"},
		"very_deep_json":      {text: strings.Repeat(`{"a":`, 200000), want: "exceeded max depth"},
		"long":                {text: strings.Repeat("#", 1<<20+1), want: "1: the document has 1048577 bytes, at most 1048576 are allowed"},
		"yes":                 {text: "a: yes", want: `1:4: a: yes is a truth value in some versions of YAML and text in others: write true, false or "yes"`, free: true},
		"octal":               {text: "a: [010]", want: `1:5: a[0]: 010 is a number in some versions of YAML: write it as JSON has it, or "010" when it is text`, free: true},
		"hex":                 {text: "a: 0x10", want: "0x10 is a number in some versions", free: true},
		"plus":                {text: "a: +49301234567", want: "+49301234567 is a number in some versions", free: true},
		"inf":                 {text: "a: -.inf", want: "-.inf is a number in some versions", free: true},
		"long_identifier":     {text: "a: 12345678901234567891", want: "1:4: a: the number cannot be kept exactly", free: true},
		"huge":                {text: `{"a": 1e999}`, want: "1:7: a: the number cannot be kept exactly", free: true},
		"several_of_one_kind": {text: "get: [a]\nbody: {}\nfoo: 1", want: "1:6: get: must be text, not a list\n2:7: body: must be text, not an object\n3:1: foo: unknown field"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			var m proto.Message = &annotations.HttpRule{}
			if c.free {
				m = &structpb.Struct{}
			}
			begin := time.Now()
			err := protodoc.Unmarshal([]byte(c.text), m, limits)
			if took := time.Since(begin); took > 20*time.Second {
				t.Errorf("took %v", took)
			}
			var refused *protodoc.Error
			if !errors.As(err, &refused) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want it to contain %q", err, c.want)
			}
		})
	}
}

// An alias bomb must be refused, not unfolded.
func TestUnmarshal_refuses_alias_bombs(t *testing.T) {
	bomb := "a0: &a0 [x, x, x, x, x, x, x, x, x]\n"
	for i := range 20 {
		prev, next := string(rune('a'+i)), string(rune('b'+i))
		bomb += next + "0: &" + next + "0 [" + strings.Repeat("*"+prev+"0, ", 8) + "*" + prev + "0]\n"
	}
	err := protodoc.Unmarshal([]byte(bomb), &structpb.Struct{}, limits)
	if err == nil || !strings.Contains(err.Error(), "anchors (&a0) are not read") {
		t.Errorf("got %v", err)
	}
}

// What is written is read back as it was, in both formats, and written again it is the same text. Other readers of YAML agree.
func TestRoundTrip(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 1))
	for range 3000 {
		m := object(t, map[string]any{})
		m.Fields = randomStruct(r, 4).GetFields()
		for _, format := range []protodoc.Format{protodoc.YAML, protodoc.JSON} {
			first, err := protodoc.Marshal(m, format)
			if err != nil {
				t.Fatal(err)
			}
			if len(m.GetFields()) == 0 {
				continue // {} is JSON
			}
			var back structpb.Struct
			if err := protodoc.Unmarshal(first, &back, limits); err != nil {
				t.Fatalf("%v\n%s", err, first)
			}
			if diff := cmp.Diff(m, &back, protocmp.Transform()); diff != "" {
				t.Fatalf("(-want +got):\n%s\n%s", diff, first)
			}
			second, err := protodoc.Marshal(&back, format)
			if err != nil {
				t.Fatal(err)
			}
			if string(first) != string(second) {
				t.Fatalf("written again it differs:\n%s\n%s", first, second)
			}
			if format == protodoc.YAML {
				var other map[string]any
				if err := yamlv4.Unmarshal(first, &other); err != nil {
					t.Fatalf("%v\n%s", err, first)
				}
			}
		}
	}
}

func randomStruct(r *rand.Rand, depth int) *structpb.Struct {
	s := &structpb.Struct{Fields: map[string]*structpb.Value{}}
	for range r.IntN(5) {
		s.Fields[randomText(r)] = randomValue(r, depth)
	}
	return s
}

func randomValue(r *rand.Rand, depth int) *structpb.Value {
	switch k := r.IntN(10); {
	case k == 0:
		return structpb.NewNullValue()
	case k == 1:
		return structpb.NewBoolValue(r.IntN(2) == 0)
	case k == 2:
		return structpb.NewNumberValue(float64(r.IntN(2000) - 1000))
	case k == 3:
		v := math.Float64frombits(r.Uint64())
		if math.IsNaN(v) || math.IsInf(v, 0) {
			v = 0.1
		}
		return structpb.NewNumberValue(v)
	case k == 4 && depth > 0:
		return structpb.NewStructValue(randomStruct(r, depth-1))
	case k == 5 && depth > 0:
		l := &structpb.ListValue{}
		for range r.IntN(4) {
			l.Values = append(l.Values, randomValue(r, depth-1))
		}
		return structpb.NewListValue(l)
	}
	return structpb.NewStringValue(randomText(r))
}

// randomText favours what has a meaning of its own somewhere.
func randomText(r *rand.Rand) string {
	pieces := []string{
		"a", "Z", "ä", "日本", "👩‍👩‍👧", " ", "  ", "\n", "\n\n", "\t", "\r", "\x00", "\x1f", "\u0085", "\u00a0", "\u2028", "\ufeff", "\ufffd", "\u202e", "\U0010ffff", "\U000e0001",
		":", ": ", " #", "#", "-", "- ", "---", "...", "?", "? ", "!", "&a", "*a", "|", ">", "%", "@", "`", "'", "\"", "\\", "\\n", "{", "}", "[", "]", ",", "${a.b}", "$", "=", "<<", "~",
		"null", "true", "yes", "on", "No", "1", "0", "010", "0x1F", "1e3", "1_0", "12:30", "2026-01-01", "T00:00:00Z", ".5", "+1", "-1", ".inf", ".nan", "0 0 * * *", "30s",
	}
	var out strings.Builder
	for range r.IntN(5) {
		out.WriteString(pieces[r.IntN(len(pieces))])
	}
	if r.IntN(200) == 0 {
		out.WriteString(strings.Repeat("long ", 500))
	}
	return out.String()
}

func FuzzUnmarshal(f *testing.F) {
	for _, seed := range []string{"a: b", "{\"a\": 1}", "- &a [*a]", "a: |\n  x\n", "? a\n: b", "a: !!binary x", "%YAML 1.2\n---\na: 'b'"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		var m structpb.Struct
		if protodoc.Unmarshal(text, &m, limits) != nil {
			return
		}
		again, err := protodoc.Marshal(&m, protodoc.YAML)
		if err != nil || !utf8.Valid(again) {
			t.Fatalf("%v: %q", err, again)
		}
		var back structpb.Struct
		if err := protodoc.Unmarshal(again, &back, protodoc.Limits{Bytes: 16 << 20, Depth: 64}); err != nil {
			t.Fatalf("%v\n%s", err, again)
		}
		if !proto.Equal(&m, &back) {
			t.Fatalf("%s\n%s", text, again)
		}
	})
}
