package workflow_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"workflow.uniconnect/services/workflow-catalog/internal/workflow"
)

func TestOutline_Calls(t *testing.T) {
	inner := []workflow.Step{{ID: "x"}, {ID: "y", Calls: "b"}}
	o := workflow.Outline{Steps: []workflow.Step{
		{ID: "one", Calls: "a"},
		{ID: "two", Blocks: []workflow.Block{{Field: "condition.branches[1].steps", Steps: inner}, {Field: "condition.otherwise", Steps: inner}}},
	}}
	want := []workflow.StepCall{
		{Field: "steps[0].callWorkflow.workflowId", Callee: "a"},
		{Field: "steps[1].condition.branches[1].steps[1].callWorkflow.workflowId", Callee: "b"},
		{Field: "steps[1].condition.otherwise[1].callWorkflow.workflowId", Callee: "b"},
	}
	got := o.Calls()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]workflow.ID{"a", "b"}, workflow.Callees(got)); diff != "" {
		t.Errorf("callees (-want +got):\n%s", diff)
	}
}

func TestCheckCalls(t *testing.T) {
	graph := workflow.CallGraph{
		Callees: map[workflow.ID][]workflow.ID{"a": {"b", "c"}, "b": {"c"}, "c": {"me"}, "d": {"e"}, "e": nil},
		Titles:  map[workflow.ID]string{"a": "A", "b": "B", "c": "C", "d": "D"},
	}
	cases := map[string]struct {
		caller workflow.ID
		calls  string
		want   []string
	}{
		"nothing":         {"me", "", nil},
		"good":            {"me", "d e", nil},
		"itself":          {"me", "me", []string{"steps[0] WORKFLOW_CYCLE the workflow would call itself"}},
		"direct":          {"me", "c", []string{`steps[0] WORKFLOW_CYCLE the workflows would call each other in a circle: "Me" → "C" → "Me"`}},
		"shortest_way":    {"me", "a", []string{`steps[0] WORKFLOW_CYCLE the workflows would call each other in a circle: "Me" → "A" → "C" → "Me"`}},
		"unknown":         {"me", "x", []string{"steps[0] UNKNOWN_WORKFLOW there is no workflow with the id x; choose one that exists"}},
		"all_at_once":     {"me", "x d me", []string{"steps[0] UNKNOWN_WORKFLOW there is no workflow with the id x; choose one that exists", "steps[2] WORKFLOW_CYCLE the workflow would call itself"}},
		"new_has_no_id":   {"", "a d", nil},
		"new_and_unknown": {"", "x", []string{"steps[0] UNKNOWN_WORKFLOW there is no workflow with the id x; choose one that exists"}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			var calls []workflow.StepCall
			for i, callee := range strings.Fields(tc.calls) {
				calls = append(calls, workflow.StepCall{Field: fmt.Sprintf("steps[%d]", i), Callee: workflow.ID(callee)})
			}
			var got []string
			for _, v := range workflow.CheckCalls(tc.caller, "Me", calls, graph) {
				got = append(got, fmt.Sprintf("%s %s %s", v.Field, v.Reason, v.Description))
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// A long circle is told within bounds, and a graph in which ways multiply takes no longer for it.
func TestCheckCalls_large(t *testing.T) {
	graph := workflow.CallGraph{Callees: make(map[workflow.ID][]workflow.ID)}
	const layers = 200
	at := func(layer, n int) workflow.ID { return workflow.ID(fmt.Sprintf("w-%d-%d", layer, n)) }
	for layer := range layers {
		for n := range 2 {
			graph.Callees[at(layer, n)] = []workflow.ID{at(layer+1, 0), at(layer+1, 1)}
		}
	}
	graph.Callees[at(layers, 0)] = []workflow.ID{"me"}
	graph.Callees[at(layers, 1)] = nil
	got := workflow.CheckCalls("me", "Me", []workflow.StepCall{{Field: "steps[0]", Callee: at(0, 0)}}, graph)
	if len(got) != 1 || !strings.HasSuffix(got[0].Description, ` → w-7-0 → 193 more → "Me"`) {
		t.Errorf("got %+v", got)
	}
}
