package workflow_test

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"workflow.uniconnect/services/workflow-catalog/internal/workflow"
)

// steps returns n steps with ids of their own.
func steps(prefix string, n int) []workflow.Step {
	out := make([]workflow.Step, n)
	for i := range out {
		out[i].ID = fmt.Sprint(prefix, i)
	}
	return out
}

// nested returns a step that holds a step, and so on, depth levels in all.
func nested(depth int) []workflow.Step {
	s := workflow.Step{ID: fmt.Sprint("n", depth)}
	if depth > 1 {
		s.Blocks = []workflow.Block{{Field: "bulk.steps", Steps: nested(depth - 1)}}
	}
	return []workflow.Step{s}
}

func TestOutline_Check(t *testing.T) {
	noon := time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
	cases := map[string]struct {
		outline workflow.Outline
		want    []string
	}{
		"empty":             {workflow.Outline{}, nil},
		"good":              {workflow.Outline{Start: noon, End: noon.Add(1), Steps: append(steps("s", 490), nested(10)...), Size: 512 << 10}, nil},
		"open_range":        {workflow.Outline{Start: noon}, nil},
		"end_at_start":      {workflow.Outline{Start: noon, End: noon}, []string{"dateRange.endTime FIELD_RULE"}},
		"end_before_start":  {workflow.Outline{Start: noon, End: noon.Add(-1)}, []string{"dateRange.endTime FIELD_RULE"}},
		"too_many_in_lists": {workflow.Outline{Steps: []workflow.Step{{ID: "a", Blocks: []workflow.Block{{Field: "bulk.steps", Steps: steps("b", 500)}}}}}, []string{"steps LIMIT_REACHED"}},
		"too_deep":          {workflow.Outline{Steps: nested(11)}, []string{"steps[0]" + strings.Repeat(".bulk.steps[0]", 9) + ".bulk.steps LIMIT_REACHED"}},
		"too_large":         {workflow.Outline{Size: 512<<10 + 1}, []string{" TOO_LARGE"}},
		"empty_ids":         {workflow.Outline{Steps: make([]workflow.Step, 2)}, nil}, // the contract's rule names them
		"all_at_once": {
			workflow.Outline{Start: noon, End: noon, Steps: []workflow.Step{
				{ID: "a"},
				{ID: "b", Blocks: []workflow.Block{
					{Field: "condition.branches[0].steps", Steps: []workflow.Step{{ID: "a"}}},
					{Field: "condition.otherwise", Steps: []workflow.Step{{ID: "c"}, {ID: "b"}}},
				}},
				{ID: "c"},
			}},
			[]string{
				"dateRange.endTime FIELD_RULE", "steps[1].condition.branches[0].steps[0].id DUPLICATE_ID",
				"steps[1].condition.otherwise[1].id DUPLICATE_ID", "steps[2].id DUPLICATE_ID",
			},
		},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			var got []string
			for _, v := range c.outline.Check() {
				got = append(got, v.Field+" "+string(v.Reason))
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestNewConfig_is_canonical(t *testing.T) {
	a, err := workflow.NewConfig("T", "", []byte(`{"b": 1e3, "a": {"y": "<&>", "x": 12345678901234567890}}`))
	if err != nil {
		t.Fatal(err)
	}
	b, err := workflow.NewConfig("T", "", []byte("{\"a\":{\"x\":12345678901234567890,\n\"y\":\"<&>\"},\"b\":1e3}"))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(a.Hash, b.Hash) || string(a.Document) != `{"a":{"x":12345678901234567890,"y":"<&>"},"b":1e3}` {
		t.Errorf("got %s and %s, want one canonical text", a.Document, b.Document)
	}
	c, err := workflow.NewConfig("T", "", []byte(`{"b": 1e3}`))
	if err != nil || bytes.Equal(a.Hash, c.Hash) {
		t.Errorf("other configuration: same hash or %v", err)
	}
	on, off := workflow.Workflow{State: workflow.Active, Config: a}, workflow.Workflow{State: workflow.Inactive, Config: a}
	if bytes.Equal(on.Fingerprint(), off.Fingerprint()) {
		t.Error("the fingerprint does not see the state")
	}
}
