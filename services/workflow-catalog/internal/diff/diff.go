// Package diff tells what makes two configurations of a workflow differ, in terms of steps and fields. It knows the shape of a
// configuration's document, in its JSON form, and nothing else.
//
// Steps are the same step when they have the same id, wherever they are. Branches of a step are the same branch when they have the same
// index, or, where branches were added or removed, when they say the same.
package diff

import (
	"encoding/json"
	"fmt"
	"slices"
)

// Kind is what happened. The numbers are those of the contract.
type Kind int32

// The kinds.
const (
	StepAdded    Kind = 1
	StepRemoved  Kind = 2
	StepMoved    Kind = 3
	FieldChanged Kind = 4
)

// Change is one difference. Of steps inside a step that was added or removed only those are told that are on both sides.
type Change struct {
	Kind Kind
	// StepID and StepTitle name the step; both are empty for a field of the workflow itself.
	StepID, StepTitle string
	// FromPath and ToPath are where the step is on each side, for example `steps[0].condition.branches[1].steps[2]`; empty where it is not.
	FromPath, ToPath string
	// Field is the field from the step, or from the workflow; empty unless a field changed.
	Field string
	// Before and After are the value of the field, or the step that was removed or added. nil means that there is none, which is not null.
	Before, After json.RawMessage
}

const (
	stepsField    = "steps"
	settingsField = "settings"
)

// Compare returns what differs between two documents, in the order in which people read the new one. What was removed stands where it was.
func Compare(from, to []byte) ([]Change, error) {
	before, err := decode(from)
	if err != nil {
		return nil, fmt.Errorf("decode the old side: %w", err)
	}
	after, err := decode(to)
	if err != nil {
		return nil, fmt.Errorf("decode the new side: %w", err)
	}
	c := &comparison{from: newTree(before), to: newTree(after), pairs: make(map[list][]int)}
	c.workflow(before, after)
	return c.changes, c.err
}

func decode(document []byte) (map[string]any, error) {
	if len(document) == 0 {
		return map[string]any{}, nil
	}
	var value map[string]any
	return value, json.Unmarshal(document, &value)
}

// comparison collects changes.
type comparison struct {
	from, to *tree
	// pairs has the index on the new side of each branch of a step of the old side.
	pairs   map[list][]int
	changes []Change
	err     error
}

// workflow compares all fields, in the order in which people read them: the settings come last.
func (c *comparison) workflow(before, after map[string]any) {
	head := slices.DeleteFunc(names(before, after), func(name string) bool { return name == stepsField || name == settingsField })
	c.members(Change{}, before, after, head)
	c.steps()
	c.members(Change{}, before, after, []string{settingsField})
}

// steps compares all steps, in the order of the new side.
func (c *comparison) steps() {
	moved := c.moved()
	removed := c.removed(moved)
	c.tell(removed[place{}])
	for _, key := range c.to.order {
		now := c.to.nodes[key]
		was, kept := c.from.nodes[key]
		switch {
		case kept:
			at := Change{StepID: now.id, StepTitle: now.title(), FromPath: was.path, ToPath: now.path}
			if moved[key] {
				m := at
				m.Kind = StepMoved
				c.changes = append(c.changes, m)
			}
			bare, changed := bareStep(was.step), bareStep(now.step)
			c.members(at, bare, changed, names(bare, changed))
		case now.parent == "" || c.from.nodes[now.parent] != nil:
			c.changes = append(c.changes, Change{
				Kind: StepAdded, StepID: now.id, StepTitle: now.title(), ToPath: now.path, After: c.encode(now.step),
			})
		}
		c.tell(removed[place{parent: key}])
		c.tell(removed[place{after: key}])
	}
}

// tell tells of steps that were removed.
func (c *comparison) tell(gone []*node) {
	for _, was := range gone {
		c.changes = append(c.changes, Change{
			Kind: StepRemoved, StepID: was.id, StepTitle: was.title(), FromPath: was.path, Before: c.encode(was.step),
		})
	}
}

// place is behind a step, or at the beginning of a parent, or of the workflow.
type place struct{ parent, after string }

// removed returns the outermost steps that are gone, by the place where people would look for them.
func (c *comparison) removed(moved map[string]bool) map[place][]*node {
	gone := make(map[place][]*node)
	behind := make(map[list]string) // the last step of each list that stayed where it was
	for _, key := range c.from.order {
		was := c.from.nodes[key]
		switch {
		case c.to.nodes[key] != nil:
			if !moved[key] {
				behind[was.list] = key
			}
		case was.parent == "" || c.to.nodes[was.parent] != nil:
			at := place{parent: was.parent}
			if last := behind[was.list]; last != "" {
				at = place{after: last}
			}
			gone[at] = append(gone[at], was)
		}
	}
	return gone
}

func (c *comparison) encode(value any) json.RawMessage {
	text, err := json.Marshal(value)
	if err != nil && c.err == nil {
		c.err = fmt.Errorf("encode a value: %w", err)
	}
	return text
}
