package strictjson_test

import (
	"encoding/json"
	"math"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/reflect/protoreflect"

	"workflow.uniconnect/pkg/fault"
	workflowv1 "workflow.uniconnect/proto/gen/go/uniconnect/workflow/v1"
	"workflow.uniconnect/services/gateway/internal/strictjson"
)

func workflow() protoreflect.MessageDescriptor {
	return (&workflowv1.Workflow{}).ProtoReflect().Descriptor()
}

const valid = `{"title":"On Call Ended","trigger":{"event":{"eventType":"call.ended","filter":{"expression":"true"}}},
	"steps":[{"id":"a","retry":{"maxAttempts":3,"initialInterval":"1s"},"action":{"type":"http.request","params":{"url":"http://x","n":[1,2.5e3,null,"\u00e9\ud83d\ude00"]}}}],
	"state":"INACTIVE","dateRange":{"startTime":"2026-01-01T00:00:00Z"}}`

func TestCheck_accepts(t *testing.T) {
	for name, body := range map[string]string{
		"workflow":         valid,
		"proto_names":      `{"date_range":{"start_time":"2026-01-01T00:00:00Z"}}`,
		"null_clears":      `{"settings":null,"trigger":{"event":null,"schedule":{}}}`,
		"number_as_string": `{"steps":[{"retry":{"maxAttempts":"3"}}]}`,
		"depth_64":         `{"steps":[{"action":{"params":{"v":` + strings.Repeat("[", 59) + strings.Repeat("]", 59) + `}}}]}`,
	} {
		t.Run(name, func(t *testing.T) {
			if err := strictjson.Check([]byte(body), workflow()); err != nil {
				t.Fatalf("got %v, want nil", err)
			}
			if err := protojson.Unmarshal([]byte(body), &workflowv1.Workflow{}); err != nil {
				t.Errorf("protojson: %v", err)
			}
		})
	}
}

func TestCheck_refuses(t *testing.T) {
	const malformed, fields = "MALFORMED_JSON", "INVALID_FIELDS"
	tests := map[string]struct {
		body, reason string
		field, text  string
	}{
		"unknown_field":         {`{"title":"a","colour":"red"}`, fields, "colour", "unknown field"},
		"unknown_nested":        {`{"steps":[{},{"action":{"typ":"x"}}]}`, fields, "steps[1].action.typ", "unknown field"},
		"unknown_odd_name":      {`{"a.b":1}`, fields, `["a.b"]`, "unknown field"},
		"duplicate":             {`{"title":"a","title":"b"}`, fields, "title", "given twice"},
		"duplicate_spellings":   {`{"dateRange":{},"date_range":{}}`, fields, "dateRange", "given twice"},
		"duplicate_escaped":     {`{"title":"a","\u0074itle":"b"}`, fields, "title", "given twice"},
		"duplicate_in_params":   {`{"steps":[{"action":{"params":{"x":1,"x":2}}}]}`, fields, "steps[0].action.params.x", "given twice"},
		"two_triggers":          {`{"trigger":{"event":{},"schedule":{}}}`, fields, "trigger.schedule", "excludes event"},
		"string_for_list":       {`{"steps":"x"}`, fields, "steps", "must be a list"},
		"list_for_object":       {`{"trigger":[]}`, fields, "trigger", "must be an object"},
		"number_for_string":     {`{"title":7}`, fields, "title", "must be a string"},
		"string_for_bool":       {`{"steps":[{"retry":{"maxAttempts":true}}]}`, fields, "steps[0].retry.maxAttempts", "must be a number"},
		"unknown_enum":          {`{"state":"SLEEPING"}`, fields, "state", "INACTIVE, ACTIVE, DELETING"},
		"date_for_time":         {`{"dateRange":{"startTime":"2026-01-01"}}`, fields, "dateRange.startTime", "must be a time such as"},
		"month_13":              {`{"dateRange":{"endTime":"2026-13-01T00:00:00Z"}}`, fields, "dateRange.endTime", "must be a time such as"},
		"number_for_time":       {`{"dateRange":{"endTime":1700000000}}`, fields, "dateRange.endTime", "must be a time such as"},
		"minutes_for_duration":  {`{"settings":{"stepTimeout":"5m"}}`, fields, "settings.stepTimeout", "must be a duration in seconds"},
		"number_for_duration":   {`{"settings":{"stepTimeout":5}}`, fields, "settings.stepTimeout", "must be a duration in seconds"},
		"list_for_params":       {`{"steps":[{"action":{"params":[]}}]}`, fields, "steps[0].action.params", "must be an object"},
		"root_null":             {` null`, fields, "", "must be an object"},
		"root_list":             {`[]`, fields, "", "must be an object"},
		"trailing":              {`{"title":"a"} {}`, malformed, "", "trailing data"},
		"trailing_comma":        {`{"title":"a",}`, malformed, "", "field name"},
		"list_trailing_comma":   {`{"steps":[{},]}`, malformed, "steps[1]", "unexpected character"},
		"no_comma":              {`{"title":"a" "state":1}`, malformed, "", "expected a comma"},
		"cut":                   {`{"title":"a`, malformed, "title", "unexpected end"},
		"empty":                 {``, malformed, "", "unexpected end"},
		"invalid_utf8":          {"{\"title\":\"a\xff\"}", malformed, "title", "invalid UTF-8"},
		"nul":                   {`{"title":"a\u0000"}`, malformed, "title", "NUL"},
		"control":               {"{\"title\":\"a\nb\"}", malformed, "title", "control character"},
		"half_pair":             {`{"title":"\ud800x"}`, malformed, "title", "surrogate"},
		"leading_zero":          {`{"steps":[01]}`, malformed, "steps[0]", "invalid number"},
		"byte_order_mark":       {"\ufeff{}", malformed, "", "unexpected character"},
		"depth_65":              {`{"steps":[{"action":{"params":{"v":` + strings.Repeat("[", 60) + strings.Repeat("]", 60) + `}}}]}`, malformed, "steps[0].action.params.v", "deeper than 64"},
		"depth_10000":           {strings.Repeat("[", 10_000), malformed, "[0]", "deeper than 64"},
		"depth_10000_in_params": {`{"steps":[{"action":{"params":` + strings.Repeat(`{"a":`, 10_000), malformed, "steps[0].action.params.a.a", "deeper than 64"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			f, ok := fault.As(strictjson.Check([]byte(tt.body), workflow()))
			if !ok {
				t.Fatal("got no fault")
			}
			if f.Kind != fault.KindInvalidArgument || string(f.Reason) != tt.reason {
				t.Errorf("got %v %s, want INVALID_ARGUMENT %s", f.Kind, f.Reason, tt.reason)
			}
			v := f.Violations[0]
			exact := !strings.HasPrefix(name, "depth")
			if exact && v.Field != tt.field || !strings.HasPrefix(v.Field, tt.field) {
				t.Errorf("field: got %q, want %q", v.Field, tt.field)
			}
			if !strings.Contains(v.Description, tt.text) {
				t.Errorf("description: got %q, want %q", v.Description, tt.text)
			}
		})
	}
}

func TestCheck_names_every_problem(t *testing.T) {
	err := strictjson.Check([]byte(`{"title":1,"colour":2,"steps":[{"typ":3}]}`), workflow())
	f, _ := fault.As(err)
	var got []string
	for _, v := range f.Violations {
		got = append(got, v.Field)
	}
	if want := "title colour steps[0].typ"; strings.Join(got, " ") != want {
		t.Errorf("got %v, want %s", got, want)
	}
}

func TestPathAt(t *testing.T) {
	const line = `  "title": "é", "steps": [{"retry": {"maxAttempts": 99999999999}}]}`
	body := "{\n" + line
	column := utf8.RuneCountInString(line[:strings.Index(line, "999")]) + 1
	if got := strictjson.PathAt([]byte(body), 2, column); got != "steps[0].retry.maxAttempts" {
		t.Errorf("value: got %q", got)
	}
	if got := strictjson.PathAt([]byte(body), 2, 3); got != "title" {
		t.Errorf("key: got %q", got)
	}
	if got := strictjson.PathAt([]byte(body), 9, 9); got != "" {
		t.Errorf("beyond the end: got %q, want the root", got)
	}
}

// TestCheck_costs_in_proportion compares bodies made to be slow with others eight times as long: they may cost more than eight times as
// much, for the noise, but not the sixty-four times of a square.
func TestCheck_costs_in_proportion(t *testing.T) {
	const size, factor = 1 << 15, 8
	for name, body := range map[string]func(size int) string{
		"lines":          func(size int) string { return `{"steps":[` + strings.Repeat("\n", size) + `0]}` },
		"unknown_fields": func(size int) string { return "{" + strings.Repeat(`"x":1,`, size/6) + `"y":1}` },
		"deep_lists": func(size int) string {
			return `{"steps":` + strings.Repeat("[", 60) + strings.Repeat("0,", size/2) + "0" + strings.Repeat("]", 60) + "}"
		},
		"long_key": func(size int) string { return `{"` + strings.Repeat("x", size) + `":1}` },
		"escapes":  func(size int) string { return `{"title":"` + strings.Repeat(`\u0041`, size/6) + `"}` },
	} {
		t.Run(name, func(t *testing.T) {
			least := func(size int) time.Duration {
				text := []byte(body(size))
				best := time.Duration(math.MaxInt64)
				for range 3 {
					begin := time.Now()
					_ = strictjson.Check(text, workflow())
					_ = strictjson.PathAt(text, size, 1)
					_ = strictjson.PathAt(text, 1, size)
					best = min(best, time.Since(begin))
				}
				return best
			}
			short, long := least(size), least(factor*size)
			if limit := factor * factor / 2 * max(short, time.Millisecond); long > limit {
				t.Errorf("%d bytes took %v, %d times as many %v: want at most %v", size, short, factor, long, limit)
			}
		})
	}
}

// FuzzCheck holds the checker against the standard library and protojson: what it lets pass, both must read; what is JSON by the
// standard library and free of what we refuse on purpose, it lets pass.
func FuzzCheck(f *testing.F) {
	for _, seed := range []string{
		valid, `{"a":[1,{"b":null}],"c":"\u0041\n"}`, `{"a":1,"a":2}`, `[]`, `"x"`, `-0.0e+1`, `{"a":01}`, "\"\xff\"", `"\ud800"`, `"\u0000"`,
		`{"a":tru}`, `{"a":1}x`, strings.Repeat("[", 70), `{"":{"":1}}`, `1_0`, "\x00", `{"trigger":{"event":{},"schedule":{}}}`,
	} {
		f.Add([]byte(seed))
	}
	anything := (&workflowv1.CloudEvent{}).ProtoReflect().Descriptor().Fields().ByName("data").Message()
	f.Fuzz(func(t *testing.T, data []byte) {
		err := strictjson.Check(data, anything)
		if err == nil && !json.Valid(data) {
			t.Fatalf("accepted what is no JSON: %q", data)
		}
		if fl, ok := fault.As(err); ok && json.Valid(data) && !refusedOnPurpose(fl) {
			t.Fatalf("refused valid JSON %q: %v", data, err)
		}
		if strictjson.Check(data, workflow()) == nil && err != nil {
			t.Fatalf("accepted as a workflow but not as JSON: %q", data)
		}
		for line := range 3 {
			_ = strictjson.PathAt(data, line, len(data)/2)
		}
	})
}

func refusedOnPurpose(f *fault.Error) bool {
	for _, v := range f.Violations {
		for _, text := range []string{"given twice", "deeper than", "invalid UTF-8", "NUL", "surrogate"} {
			if strings.Contains(v.Description, text) {
				return true
			}
		}
	}
	return false
}
