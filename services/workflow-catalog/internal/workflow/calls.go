package workflow

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"workflow.uniconnect/pkg/fault"
)

const (
	reasonCycle           fault.Reason = "WORKFLOW_CYCLE"
	reasonUnknownWorkflow fault.Reason = "UNKNOWN_WORKFLOW"
)

// StepCall is a step that starts another workflow.
type StepCall struct {
	// Field is the path of the id in JSON form, for example `steps[1].callWorkflow.workflowId`.
	Field string
	// Callee is the workflow that is called.
	Callee ID
}

// Calls returns the steps that call a workflow, in the order in which people read them.
func (o Outline) Calls() []StepCall { return appendCalls(nil, "steps", o.Steps) }

func appendCalls(calls []StepCall, field string, steps []Step) []StepCall {
	for i, s := range steps {
		path := field + "[" + strconv.Itoa(i) + "]"
		if s.Calls != "" {
			calls = append(calls, StepCall{Field: path + ".callWorkflow.workflowId", Callee: s.Calls})
		}
		for _, b := range s.Blocks {
			calls = appendCalls(calls, path+"."+b.Field, b.Steps)
		}
	}
	return calls
}

// Callees returns the workflows that the calls name, each once and in one order for all.
func Callees(calls []StepCall) []ID {
	all := make([]ID, len(calls))
	for i, c := range calls {
		all[i] = c.Callee
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// CallGraph is what there is to know to judge the calls of one workflow.
type CallGraph struct {
	// Callees are the workflows that are called and exist, with what they call in turn, directly and indirectly.
	Callees map[ID][]ID
	// Titles are of the workflows that are in Callees, as far as they are known.
	Titles map[ID]string
}

// CheckCalls finds the calls of workflows that do not exist, and those that lead back to the caller: it would start itself for ever. The
// caller has no id while it is being created, and then nobody calls it.
func CheckCalls(caller ID, title string, calls []StepCall, graph CallGraph) []fault.Violation {
	var found []fault.Violation
	for _, c := range calls {
		if _, exists := graph.Callees[c.Callee]; !exists && c.Callee != caller {
			found = append(found, fault.Violation{
				Field: c.Field, Reason: reasonUnknownWorkflow,
				Description: fmt.Sprintf("there is no workflow with the id %s; choose one that exists", c.Callee),
			})
			continue
		}
		if way := graph.way(c.Callee, caller); way != nil {
			found = append(found, fault.Violation{Field: c.Field, Reason: reasonCycle, Description: graph.circle(title, way)})
		}
	}
	return found
}

// way returns the shortest way along the calls, or nil when there is none. It is empty when from is where it leads to.
func (g CallGraph) way(from, to ID) []ID {
	if to == "" {
		return nil
	}
	before := map[ID]ID{from: ""}
	for queue := []ID{from}; len(queue) > 0; queue = queue[1:] {
		at := queue[0]
		if at == to {
			way := []ID{}
			for step := before[at]; step != ""; step = before[step] {
				way = append(way, step)
			}
			slices.Reverse(way)
			return way
		}
		for _, next := range g.Callees[at] {
			if _, seen := before[next]; !seen {
				before[next] = at
				queue = append(queue, next)
			}
		}
	}
	return nil
}

// maxCircle is how many workflows a description names before it says how many more there are.
const maxCircle = 8

// circle describes the way from a workflow back to itself by the titles along it.
func (g CallGraph) circle(title string, way []ID) string {
	if len(way) == 0 {
		return "the workflow would call itself"
	}
	names := []string{strconv.Quote(title)}
	for i, id := range way {
		if i == maxCircle {
			names = append(names, fmt.Sprintf("%d more", len(way)-i))
			break
		}
		name := strconv.Quote(g.Titles[id])
		if g.Titles[id] == "" {
			name = string(id)
		}
		names = append(names, name)
	}
	names = append(names, strconv.Quote(title))
	return "the workflows would call each other in a circle: " + strings.Join(names, " → ")
}
