package expr

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestRuleGroup_Expression(t *testing.T) {
	data := `{"data": {"s": "it's \"hot\" \u00fc\u2028", "n": 5, "f": 2.5, "tags": ["vip", 3], "before": {"status": "new"}, "none": null, "changed": ["email"], "my-field": "x", "in": 1}}`
	for name, c := range map[string]struct {
		rule Rule
		want bool
	}{
		"equals text with quotes": {Rule{Field: "event.data.s", Operator: Equals, Value: "it's \"hot\" \u00fc\u2028"}, true},
		"equals whole float":      {Rule{Field: "event.data.n", Operator: Equals, Value: 5.0}, true},
		"not equals":              {Rule{Field: "event.data.n", Operator: NotEquals, Value: 5.0}, false},
		"greater":                 {Rule{Field: "event.data.f", Operator: GreaterThan, Value: 2.0}, true},
		"greater or equal":        {Rule{Field: "event.data.f", Operator: GreaterOrEqual, Value: 2.5}, true},
		"less":                    {Rule{Field: "event.data.f", Operator: LessThan, Value: 2.5}, false},
		"less or equal":           {Rule{Field: "event.data.n", Operator: LessOrEqual, Value: 5.5}, true},
		"contains text":           {Rule{Field: "event.data.s", Operator: Contains, Value: "hot"}, true},
		"contains member":         {Rule{Field: "event.data.tags", Operator: Contains, Value: "vip"}, true},
		"contains number":         {Rule{Field: "event.data.tags", Operator: Contains, Value: 3.0}, true},
		"not contains":            {Rule{Field: "event.data.tags", Operator: NotContains, Value: "cold"}, true},
		"starts with":             {Rule{Field: "event.data.s", Operator: StartsWith, Value: "it"}, true},
		"ends with":               {Rule{Field: "event.data.s", Operator: EndsWith, Value: "it"}, false},
		"in":                      {Rule{Field: "event.data.n", Operator: In, Value: []any{1.0, 5.0}}, true},
		"not in":                  {Rule{Field: "event.data.n", Operator: NotIn, Value: []any{1.0, 5.0}}, false},
		"exists":                  {Rule{Field: "event.data.n", Operator: Exists}, true},
		"exists below nothing":    {Rule{Field: "event.data.a.b.c", Operator: Exists}, false},
		"not exists":              {Rule{Field: "event.data.a.b", Operator: NotExists}, true},
		"not exists below null":   {Rule{Field: "event.data.none.id", Operator: NotExists}, true},
		"not exists below text":   {Rule{Field: "event.data.s.id", Operator: NotExists}, true},
		"not exists in a list":    {Rule{Field: "event.data.tags.vip", Operator: NotExists}, true},
		"null exists":             {Rule{Field: "event.data.none", Operator: Exists}, true},
		"changed":                 {Rule{Field: "event.data.record.status", Operator: Changed}, true},
		"not changed":             {Rule{Field: "event.data.record.owner", Operator: Changed}, false},
		"changed by name":         {Rule{Field: "event.data.email", Operator: Changed}, true},
		"a name of odd letters":   {Rule{Field: "event.data.my-field", Operator: Equals, Value: "x"}, true},
		"a name that CEL keeps":   {Rule{Field: "event.data.in", Operator: Exists}, true},
		"quotes in a name":        {Rule{Field: `event.data.a"] == 1 || true || event["`, Operator: Exists}, false},
		"nested any": {Rule{Group: &RuleGroup{Any: true, Rules: []Rule{
			{Field: "event.data.n", Operator: Equals, Value: 4.0}, {Field: "event.data.n", Operator: Equals, Value: 5.0},
		}}}, true},
	} {
		t.Run(name, func(t *testing.T) {
			group := RuleGroup{Rules: []Rule{c.rule}}
			source, problems := group.Expression()
			if len(problems) > 0 {
				t.Fatal(problems[0])
			}
			p, err := newEnv(t).Compile(source, Bool)
			if err != nil {
				t.Fatalf("compile %s: %v", source, err)
			}
			got, err := p.EvalBool(t.Context(), scope(t, data))
			if err != nil {
				t.Fatalf("evaluate %s: %v", source, err)
			}
			if got != c.want {
				t.Errorf("%s: got %v, want %v", source, got, c.want)
			}
		})
	}
}

func TestRuleGroup_Expression_names_the_problem(t *testing.T) {
	deep := RuleGroup{Rules: []Rule{{Field: "event.x", Operator: Exists}}}
	for range MaxRuleDepth {
		deep = RuleGroup{Rules: []Rule{{Group: &deep}}}
	}
	for name, c := range map[string]struct {
		group RuleGroup
		want  []string
	}{
		"injection":       {RuleGroup{Rules: []Rule{{Field: `true || event.x`, Operator: Equals, Value: 1.0}}}, []string{".rules[0].field"}},
		"in text":         {RuleGroup{Rules: []Rule{{Field: "event.x", Operator: In, Value: "a"}}}, []string{".rules[0].value"}},
		"map value":       {RuleGroup{Rules: []Rule{{Field: "event.x", Operator: Equals, Value: map[string]any{}}}}, []string{".rules[0].value"}},
		"no operator":     {RuleGroup{Rules: []Rule{{Field: "event.x"}}}, []string{".rules[0].operator"}},
		"no rule":         {RuleGroup{}, []string{".rules"}},
		"nested":          {RuleGroup{Rules: []Rule{{Group: &RuleGroup{Rules: []Rule{{Field: "a b"}}}}}}, []string{".rules[0].group.rules[0].field"}},
		"too deep":        {deep, []string{strings.Repeat(".rules[0].group", MaxRuleDepth)}},
		"number start":    {RuleGroup{Rules: []Rule{{Field: "event.x", Operator: StartsWith, Value: 1.0}}}, []string{".rules[0].value"}},
		"order of a list": {RuleGroup{Rules: []Rule{{Field: "event.x", Operator: LessThan, Value: []any{1.0}}}}, []string{".rules[0].value"}},
		"all at once": {RuleGroup{Any: true, Rules: []Rule{{Field: "event..x", Operator: Exists}, {Field: "event.x", Operator: "LIKE", Value: "a"}}},
			[]string{".rules[0].field", ".rules[1].operator"}},
	} {
		t.Run(name, func(t *testing.T) {
			_, problems := c.group.Expression()
			var got []string
			for _, p := range problems {
				got = append(got, p.Path)
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("problems (-want +got):\n%s", diff)
			}
		})
	}
}
