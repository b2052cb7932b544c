package listing_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"workflow.uniconnect/pkg/fault"
	"workflow.uniconnect/pkg/listing"
)

func schema() *listing.Schema {
	return &listing.Schema{
		Fields: []listing.Field{
			{Name: "state", Operators: []listing.Operator{listing.Equal, listing.NotEqual}, Values: []string{"ACTIVE", "INACTIVE"}},
			{Name: "event_type", Operators: []listing.Operator{listing.Equal, listing.NotEqual}},
			{Name: "title", Operators: []listing.Operator{listing.Has}},
			{Name: "create_time", Type: listing.Time, Operators: []listing.Operator{listing.Less, listing.GreaterOrEqual}},
		},
		Orders: []string{"create_time", "title"},
	}
}

func TestSchema_Filter(t *testing.T) {
	noon := time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
	cases := map[string]struct {
		filter string
		want   []listing.Term
	}{
		"empty":  {"  ", nil},
		"quoted": {`state = "ACTIVE"`, []listing.Term{{Field: "state", Operator: "=", Value: "ACTIVE"}}},
		"bare":   {`state!=INACTIVE`, []listing.Term{{Field: "state", Operator: "!=", Value: "INACTIVE"}}},
		"single": {`event_type = 'call.ended'`, []listing.Term{{Field: "event_type", Operator: "=", Value: "call.ended"}}},
		"dotted": {`eventType = call.ended`, []listing.Term{{Field: "event_type", Operator: "=", Value: "call.ended"}}},
		"number": {`event_type = 7`, []listing.Term{{Field: "event_type", Operator: "=", Value: "7"}}},
		"time": {`createTime >= "2026-01-01T13:00:00+01:00"`, []listing.Term{
			{Field: "create_time", Operator: ">=", Value: "2026-01-01T13:00:00+01:00", Time: noon.In(time.FixedZone("", 3600))},
		}},
		"all": {`state = "ACTIVE" AND (event_type = "x" AND title : "ünï \"c\" call")`, []listing.Term{
			{Field: "state", Operator: "=", Value: "ACTIVE"}, {Field: "event_type", Operator: "=", Value: "x"},
			{Field: "title", Operator: ":", Value: `ünï "c" call`},
		}},
		"hostile_values_are_values": {`title : "'; DROP TABLE workflows; --" AND event_type = "\\' OR 1=1"`, []listing.Term{
			{Field: "title", Operator: ":", Value: "'; DROP TABLE workflows; --"}, {Field: "event_type", Operator: "=", Value: `\' OR 1=1`},
		}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			got, err := schema().Filter(c.filter)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestSchema_Filter_refuses(t *testing.T) {
	for name, c := range map[string]struct{ filter, says string }{
		"sql":            {`id;drop`, "a comparison is missing beside `id;drop`"},
		"sql_quoted":     {`state = "ACTIVE" OR 1=1`, "OR"},
		"unknown_field":  {`owner = "me"`, "unknown field `owner`"},
		"path":           {`state.x = "ACTIVE"`, "unknown field `state.x`"},
		"string_field":   {`"state" = "ACTIVE"`, "unknown field `state`"},
		"operator":       {`state > "ACTIVE"`, "state does not compare with >"},
		"value":          {`state = "active"`, "ACTIVE, INACTIVE"},
		"not":            {`NOT state = "ACTIVE"`, "NOT"},
		"minus":          {`-state = "ACTIVE"`, "NOT"},
		"fuzzy":          {`state = "ACTIVE" title : "x"`, "write AND"},
		"alone":          {`call`, "comparison"},
		"alone_quoted":   {`"call"`, "comparison"},
		"function":       {`title(1)`, "functions"},
		"function_value": {`state = f("x")`, "quotes"},
		"no_value":       {`state =`, "column"},
		"open_quote":     {`title : "x`, "column"},
		"control":        {`title : "a\x00b"`, "control characters"},
		"time":           {`create_time < "yesterday"`, "2026-11-01T00:00:00Z"},
		"too_many":       {strings.Repeat(`title : "x" AND `, 40) + `title : "x"`, "32"},
		"nested":         {strings.Repeat(`(`, 500), "column"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := schema().Filter(c.filter)
			f, ok := fault.As(err)
			if !ok || f.Kind != fault.KindInvalidArgument || f.Reason != listing.ReasonFilter {
				t.Fatalf("got %v, want FILTER", err)
			}
			if !strings.Contains(f.Message, c.says) || !strings.Contains(f.Message, "fields are state (= !=), event_type (= !=), title (:)") {
				t.Errorf("message: got %q, want %q and the fields", f.Message, c.says)
			}
			if len(f.Violations) != 1 || f.Violations[0].Field != "filter" {
				t.Errorf("violations: got %v, want one of filter", f.Violations)
			}
		})
	}
}

func FuzzSchema_Filter(f *testing.F) {
	for _, seed := range []string{`state = "ACTIVE" AND title : "x y"`, `a.b.c:*`, `(((`, `- - 1`, `"\x00"`, `f(a, "b")`, "\u00ff = \u2028"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		terms, err := schema().Filter(text)
		if err != nil && fault.KindOf(err) != fault.KindInvalidArgument {
			t.Errorf("got %v, want INVALID_ARGUMENT", err)
		}
		if err != nil && len(terms) > 0 {
			t.Errorf("got terms %v beside %v", terms, err)
		}
	})
}

func TestSchema_Order(t *testing.T) {
	newest := listing.Order{Field: "create_time", Desc: true}
	for text, want := range map[string]listing.Order{
		"":                newest,
		" ":               newest,
		"title":           {Field: "title"},
		"title asc":       {Field: "title"},
		"createTime desc": newest,
		" title  desc ":   {Field: "title", Desc: true},
	} {
		if got, err := schema().Order(text, newest); err != nil || got != want {
			t.Errorf("%q: got %v, %v; want %v", text, got, err, want)
		}
	}
	for _, text := range []string{"id;drop", "state", "title,create_time", "title DESC", "title desc desc", "title; --"} {
		_, err := schema().Order(text, newest)
		if f, ok := fault.As(err); !ok || f.Reason != listing.ReasonOrderBy || !strings.Contains(f.Message, "create_time, title") {
			t.Errorf("%q: got %v, want ORDER_BY with the orders", text, err)
		}
	}
	if got := newest.String() + ", " + (listing.Order{Field: "title"}).String(); got != "create_time desc, title" {
		t.Errorf("text: got %q", got)
	}
}

func TestScope(t *testing.T) {
	scope := listing.NewScope("workflows", "acme", `state = "ACTIVE"`, "title")
	token := scope.Token([]byte("here"))
	if got, err := scope.Position(token); err != nil || string(got) != "here" {
		t.Errorf("got %q, %v; want the position", got, err)
	}
	if got, err := scope.Position(""); err != nil || got != nil {
		t.Errorf("first page: got %q, %v", got, err)
	}
	others := map[string]listing.Scope{
		"list":   listing.NewScope("executions", "acme", `state = "ACTIVE"`, "title"),
		"tenant": listing.NewScope("workflows", "globex", `state = "ACTIVE"`, "title"),
		"filter": listing.NewScope("workflows", "acme", "", "title"),
		"order":  listing.NewScope("workflows", "acme", `state = "ACTIVE"`, "title desc"),
		"cut":    listing.NewScope("workflow", "sacme", `state = "ACTIVE"`, "title"),
	}
	for name, other := range others {
		if _, err := other.Position(token); fault.KindOf(err) != fault.KindInvalidArgument {
			t.Errorf("other %s: got %v, want PAGE_TOKEN", name, err)
		}
	}
	for _, bad := range []string{"x", "!!!!", token + "=", token[1:], strings.Repeat("A", 500), listing.Scope{}.Token([]byte("x")), scope.Token(nil)} {
		_, err := scope.Position(bad)
		if f, ok := fault.As(err); !ok || f.Reason != listing.ReasonPageToken {
			t.Errorf("%q: got %v, want PAGE_TOKEN", bad, err)
		}
	}
}
