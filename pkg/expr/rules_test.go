package expr

import (
	"strings"
	"testing"
)

func TestRuleGroup_Expression(t *testing.T) {
	data := `{"data": {"s": "it's \"hot\" \u00fc\u2028", "n": 5, "f": 2.5, "tags": ["vip", 3], "before": {"status": "new"}, "none": null}}`
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
		"changed":                 {Rule{Field: "event.data.record.status", Operator: Changed}, true},
		"not changed":             {Rule{Field: "event.data.record.owner", Operator: Changed}, false},
		"nested any": {Rule{Group: &RuleGroup{Any: true, Rules: []Rule{
			{Field: "event.data.n", Operator: Equals, Value: 4.0}, {Field: "event.data.n", Operator: Equals, Value: 5.0},
		}}}, true},
	} {
		t.Run(name, func(t *testing.T) {
			source, ruleErr := RuleGroup{Rules: []Rule{c.rule}}.Expression()
			if ruleErr != nil {
				t.Fatal(ruleErr)
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
	for range maxRuleDepth {
		deep = RuleGroup{Rules: []Rule{{Group: &deep}}}
	}
	for name, c := range map[string]struct {
		group RuleGroup
		want  string
	}{
		"injection":    {RuleGroup{Rules: []Rule{{Field: `event.x == 1 || true`, Operator: Equals, Value: 1.0}}}, ".rules[0].field"},
		"in text":      {RuleGroup{Rules: []Rule{{Field: "event.x", Operator: In, Value: "a"}}}, ".rules[0].value"},
		"map value":    {RuleGroup{Rules: []Rule{{Field: "event.x", Operator: Equals, Value: map[string]any{}}}}, ".rules[0].value"},
		"no operator":  {RuleGroup{Rules: []Rule{{Field: "event.x"}}}, ".rules[0].operator"},
		"no rule":      {RuleGroup{}, ".rules"},
		"nested":       {RuleGroup{Rules: []Rule{{Group: &RuleGroup{Rules: []Rule{{Field: "a b"}}}}}}, ".rules[0].group.rules[0].field"},
		"too deep":     {deep, strings.Repeat(".rules[0].group", maxRuleDepth)},
		"number start": {RuleGroup{Rules: []Rule{{Field: "event.x", Operator: StartsWith, Value: 1.0}}}, ".rules[0].value"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := c.group.Expression()
			if err == nil || err.Path != c.want {
				t.Errorf("got %v, want a problem at %s", err, c.want)
			}
		})
	}
}
