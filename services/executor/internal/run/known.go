package run

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// known is what expressions in one place may refer to.
type known struct {
	steps map[string]struct{}
	vars  map[string]struct{}
	// bulk says that `item` and `index` are there.
	bulk bool
}

func newKnown() known {
	return known{steps: make(map[string]struct{}), vars: make(map[string]struct{})}
}

// place is where an expression stands: what is known there, and the step it belongs to.
type place struct {
	known known
	step  string
}

// block is a list of steps inside a step.
type block struct {
	// field is the list's path from the step.
	field string
	steps []Step
	// after says that the step itself has a result when these begin.
	after bool
	// item says that they run for each item.
	item bool
}

// blocksOf returns the lists of steps inside a step.
func blocksOf(s *Step) []block {
	var all []block
	add := func(b block) {
		if len(b.steps) > 0 {
			all = append(all, b)
		}
	}
	switch {
	case s.Condition != nil:
		for i, b := range s.Condition.Branches {
			add(block{field: fmt.Sprintf("condition.branches[%d].steps", i), steps: b.Steps, after: true})
		}
		add(block{field: "condition.otherwise", steps: s.Condition.Otherwise, after: true})
	case s.Bulk != nil:
		add(block{field: "bulk.steps", steps: s.Bulk.Steps, item: true})
		add(block{field: "bulk.onItemError.steps", steps: s.Bulk.OnItemError.Steps, item: true})
	case s.Parallel != nil:
		for i, steps := range s.Parallel.Branches {
			add(block{field: fmt.Sprintf("parallel.branches[%d].steps", i), steps: steps})
		}
	case s.WaitForEvent != nil:
		add(block{field: "waitForEvent.onTimeout", steps: s.WaitForEvent.OnTimeout, after: true})
	}
	add(block{field: "onError.steps", steps: s.OnError.Steps, after: true})
	return all
}

// within returns what is known at the beginning of a block of a step.
func (k known) within(b block, s *Step) known {
	inside := known{steps: maps.Clone(k.steps), vars: maps.Clone(k.vars), bulk: k.bulk || b.item}
	if b.after {
		inside.steps[s.ID] = struct{}{}
	}
	if b.field == "bulk.onItemError.steps" {
		// Whichever step failed for the item has a result.
		for i := range s.Bulk.Steps {
			inside.pass(&s.Bulk.Steps[i])
		}
	}
	return inside
}

// pass adds a step that has been passed: whatever branch was taken in it, its steps come before. Those that ran for each item have no one
// result.
func (k known) pass(s *Step) {
	k.steps[s.ID] = struct{}{}
	if s.Set != nil {
		for name := range s.Set.Variables {
			k.vars[name] = struct{}{}
		}
	}
	for _, b := range blocksOf(s) {
		inside := k
		if b.item {
			inside.steps = make(map[string]struct{})
		}
		for i := range b.steps {
			inside.pass(&b.steps[i])
		}
	}
}

// reference checks that a path can be there. where is its line and column.
func (w *checkWalk) reference(field, where string, at place, path []string) {
	switch {
	case isItem(path):
		if !at.known.bulk {
			w.fail(field, reasonExpression, fmt.Sprintf("%s%s is known only inside a Bulk step", where, path[0]))
		}
	case len(path) < 2:
	case path[0] == "steps":
		if _, ok := at.known.steps[path[1]]; !ok {
			w.fail(field, reasonUnknownStep, where+w.whyNoStep(at, path[1]))
		}
	case path[0] == "vars":
		if _, ok := at.known.vars[path[1]]; !ok {
			w.fail(field, reasonUnknownVariable, where+whyNoVariable(at, path[1]))
		}
	}
}

// whyNoStep says why a step has no result here, and which have.
func (w *checkWalk) whyNoStep(at place, id string) string {
	position, exists := w.order[id]
	var why string
	switch {
	case !exists:
		why = "there is no step " + id
	case id == at.step:
		why = "the step " + id + " has no result of its own yet"
	case w.itemOf[id] != "" && w.itemOf[id] != w.itemOf[at.step]:
		why = fmt.Sprintf("the step %s runs for each item of %s and has no one result", id, w.itemOf[id])
	case position > w.order[at.step]:
		why = "the step " + id + " comes later"
	case w.isAround(id, at.step):
		why = "the step " + id + " is not done while the steps inside it run"
	default:
		why = "the step " + id + " is in another branch"
	}
	return why + "; " + listed("steps that can be used here", slices.SortedFunc(maps.Keys(at.known.steps), func(a, b string) int {
		return w.order[a] - w.order[b]
	}), "no step comes before")
}

// isAround reports whether a step is one of those around another.
func (w *checkWalk) isAround(id, step string) bool {
	for at := w.around[step]; at != ""; at = w.around[at] {
		if at == id {
			return true
		}
	}
	return false
}

func whyNoVariable(at place, name string) string {
	return fmt.Sprintf("no step before sets %s; %s", name, listed("variables that can be used here", slices.Sorted(maps.Keys(at.known.vars)), "none is set before"))
}

// maxListed bounds how many names an error lists.
const maxListed = 12

func listed(what string, names []string, none string) string {
	if len(names) == 0 {
		return none
	}
	more := ""
	if len(names) > maxListed {
		// The nearest are the most likely.
		names, more = names[len(names)-maxListed:], " and others"
	}
	return what + ": " + strings.Join(names, ", ") + more
}
