package index

import (
	"cmp"
	"slices"

	"workflow.uniconnect/services/trigger-scheduler/internal/start"
)

// group holds the workflows of one tenant and event type. It does not change.
type group struct {
	paths *paths
	// buckets holds, by slot and value, the workflows that one equality decides about; nil where no workflow is kept by that slot.
	buckets []map[value][]*Workflow
	// rest holds the workflows without an equality.
	rest []*Workflow
}

// newGroup arranges the workflows. A filter with several equalities is kept under the field with the most different values in the
// group: that tells workflows apart best.
func newGroup(members []*Workflow) (*group, []*Workflow) {
	slices.SortFunc(members, func(a, b *Workflow) int { return cmp.Compare(a.Workflow, b.Workflow) })
	g := &group{paths: newPaths()}
	own := make([]*Workflow, len(members))
	distinct := make(map[int]map[value]struct{})
	for i, m := range members {
		own[i] = m.within(g.paths)
		for _, t := range own[i].tests {
			if distinct[t.slot] == nil {
				distinct[t.slot] = make(map[value]struct{})
			}
			distinct[t.slot][t.want] = struct{}{}
		}
	}
	g.buckets = make([]map[value][]*Workflow, g.paths.count)
	for _, w := range own {
		if w.home = w.best(func(slot int) int { return len(distinct[slot]) }); w.home == nil {
			g.rest = append(g.rest, w)
			continue
		}
		if g.buckets[w.home.slot] == nil {
			g.buckets[w.home.slot] = make(map[value][]*Workflow)
		}
		g.buckets[w.home.slot][w.home.want] = append(g.buckets[w.home.slot][w.home.want], w)
	}
	return g, own
}

// within returns a copy of the workflow with its tests by the slots of a group. The old group's readers may still hold the original.
func (w *Workflow) within(p *paths) *Workflow {
	own := *w
	own.tests, own.home = nil, nil
	usable := indexable(w.filter.Equalities())
	for _, equality := range usable {
		want, _ := literalValue(equality.Value)
		own.tests = append(own.tests, test{p.slot(equality.Path), want})
	}
	return &own
}

// best returns the test of the slot that tells the most workflows apart.
func (w *Workflow) best(distinct func(slot int) int) *test {
	if len(w.tests) == 0 {
		return nil
	}
	best := slices.MaxFunc(w.tests, func(a, b test) int { return cmp.Compare(distinct(a.slot), distinct(b.slot)) })
	return &best
}

// shelf is what the writer knows of a group.
type shelf struct {
	group   *group
	members map[start.WorkflowID]*Workflow
	// edits counts the changes since the group was arranged anew.
	edits int
}

func newShelf() *shelf {
	s := &shelf{members: make(map[start.WorkflowID]*Workflow)}
	s.group, _ = newGroup(nil)
	return s
}

const (
	// manyChanges is the share of a group from which on it costs less to arrange it anew than to edit it.
	manyChanges = 8
	// manyEdits is how many edits beyond the group's size leave it as it is: they only add slots, and never move a workflow.
	manyEdits = 1024
)

// change sets or, where nil, removes members.
func (s *shelf) change(changed map[start.WorkflowID]*Workflow) {
	s.edits += len(changed)
	if len(changed)*manyChanges >= len(s.members) || s.edits > len(s.members)+manyEdits {
		s.arrange(changed)
		return
	}
	e := newEdit(s.group)
	for id, w := range changed {
		if old := s.members[id]; old != nil {
			e.remove(old)
			delete(s.members, id)
		}
		if w != nil {
			s.members[id] = e.add(w)
		}
	}
	s.group = e.group
}

func (s *shelf) arrange(changed map[start.WorkflowID]*Workflow) {
	for id, w := range changed {
		if w == nil {
			delete(s.members, id)
		} else {
			s.members[id] = w
		}
	}
	all := make([]*Workflow, 0, len(s.members))
	for _, w := range s.members {
		all = append(all, w)
	}
	s.group, all = newGroup(all)
	for _, w := range all {
		s.members[w.Workflow] = w
	}
	s.edits = 0
}
