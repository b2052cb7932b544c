package index

import (
	"maps"
	"slices"
)

// edit makes a group of another that differs in few workflows, and shares with it whatever is the same.
type edit struct {
	group *group
	// paths, rest and buckets tell what is the new group's own already.
	paths, rest bool
	buckets     map[int]bool
}

func newEdit(old *group) *edit {
	g := *old
	g.buckets = slices.Clone(old.buckets)
	return &edit{group: &g, buckets: make(map[int]bool)}
}

func (e *edit) remove(w *Workflow) {
	isW := func(other *Workflow) bool { return other == w }
	if w.home == nil {
		e.ownRest()
		e.group.rest = slices.DeleteFunc(e.group.rest, isW)
		return
	}
	bucket := e.bucket(w.home.slot)
	left := slices.DeleteFunc(slices.Clone(bucket[w.home.want]), isW)
	if len(left) == 0 {
		delete(bucket, w.home.want)
		return
	}
	bucket[w.home.want] = left
}

// add returns the workflow as the group holds it.
func (e *edit) add(w *Workflow) *Workflow {
	usable := indexable(w.filter.Equalities())
	if !e.paths && slices.ContainsFunc(usable, e.group.paths.lacks) {
		e.group.paths, e.paths = e.group.paths.clone(), true
	}
	own := w.within(e.group.paths)
	for len(e.group.buckets) < e.group.paths.count {
		e.group.buckets = append(e.group.buckets, nil)
	}
	if own.home = own.best(func(slot int) int { return len(e.group.buckets[slot]) }); own.home == nil {
		e.ownRest()
		e.group.rest = append(e.group.rest, own)
		return own
	}
	bucket := e.bucket(own.home.slot)
	bucket[own.home.want] = append(slices.Clip(bucket[own.home.want]), own)
	return own
}

func (e *edit) ownRest() {
	if !e.rest {
		e.group.rest, e.rest = slices.Clone(e.group.rest), true
	}
}

// bucket returns a slot's bucket, to be changed.
func (e *edit) bucket(slot int) map[value][]*Workflow {
	if !e.buckets[slot] {
		e.buckets[slot] = true
		if e.group.buckets[slot] = maps.Clone(e.group.buckets[slot]); e.group.buckets[slot] == nil {
			e.group.buckets[slot] = make(map[value][]*Workflow)
		}
	}
	return e.group.buckets[slot]
}
