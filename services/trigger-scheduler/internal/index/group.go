package index

import (
	"cmp"
	"slices"
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
func newGroup(members []*Workflow) *group {
	slices.SortFunc(members, func(a, b *Workflow) int { return cmp.Compare(a.Workflow, b.Workflow) })
	g := &group{paths: newPaths()}
	own := make([]*Workflow, len(members))
	distinct := make(map[int]map[value]struct{})
	for i, m := range members {
		// The old group's readers may still hold m, whose slots are of that group.
		w := *m
		w.tests = nil
		usable, _ := indexable(w.filter.Equalities())
		for _, equality := range usable {
			want, _ := literalValue(equality.Value)
			slot := g.paths.slot(equality.Path)
			w.tests = append(w.tests, test{slot, want})
			if distinct[slot] == nil {
				distinct[slot] = make(map[value]struct{})
			}
			distinct[slot][want] = struct{}{}
		}
		own[i] = &w
	}
	g.buckets = make([]map[value][]*Workflow, g.paths.count)
	for _, w := range own {
		if len(w.tests) == 0 {
			g.rest = append(g.rest, w)
			continue
		}
		best := slices.MaxFunc(w.tests, func(a, b test) int { return cmp.Compare(len(distinct[a.slot]), len(distinct[b.slot])) })
		if g.buckets[best.slot] == nil {
			g.buckets[best.slot] = make(map[value][]*Workflow)
		}
		g.buckets[best.slot][best.want] = append(g.buckets[best.slot][best.want], w)
	}
	return g
}
