package index

import (
	"maps"
	"slices"
	"sort"
	"time"

	"workflow.uniconnect/services/trigger-scheduler/internal/event"
)

// Gate is a change of whether anything of a tenant starts.
type Gate struct {
	Tenant event.Tenant
	Open   bool
	// Effective is when it took effect, by the catalog's clock.
	Effective time.Time
	// Deleted says that the tenant is on its way out.
	Deleted bool
}

// keepGates is longer than the stream keeps events, counted from the newest change of the same tenant.
const keepGates = 8 * 24 * time.Hour

// closed is a time during which nothing that was published starts anything. It has no end as long as until is zero.
type closed struct{ from, until time.Time }

// history is a tenant's closed times, in order and apart from each other. It does not change.
type history []closed

// holds reports whether the gate was closed at a time.
func (h history) holds(at time.Time) bool {
	i := sort.Search(len(h), func(i int) bool { return h[i].from.After(at) })
	return i > 0 && (h[i-1].until.IsZero() || at.Before(h[i-1].until))
}

// with returns the history after another change. One that says what is so already changes nothing.
func (h history) with(g Gate) history {
	shut := len(h) > 0 && h[len(h)-1].until.IsZero()
	if shut != g.Open {
		return h
	}
	next := slices.DeleteFunc(slices.Clone(h), func(c closed) bool {
		return !c.until.IsZero() && c.until.Before(g.Effective.Add(-keepGates))
	})
	if !g.Open {
		return append(next, closed{from: g.Effective})
	}
	next[len(next)-1].until = g.Effective
	return next
}

// openedSince reports whether the gate opened at t or later.
func (h history) openedSince(t time.Time) bool {
	return slices.ContainsFunc(h, func(c closed) bool { return !c.until.IsZero() && !c.until.Before(t) })
}

// Gates applies changes of gates in their order, and returns the definitions of the tenants whose gate opened. What is known of a deleted
// tenant is forgotten.
func (x *Index) Gates(gates []Gate) []Definition {
	if len(gates) == 0 {
		return nil
	}
	x.mu.Lock()
	opened := x.shut(gates, *x.gates.Load())
	x.mu.Unlock()
	for _, g := range gates {
		if g.Deleted {
			x.RemoveTenant(g.Tenant)
		}
	}
	return x.definitions(func(w *Workflow) bool { return opened[w.Tenant] })
}

// ReplaceGates makes gates the whole history.
func (x *Index) ReplaceGates(gates []Gate) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.shut(gates, nil)
}

// shut makes the histories those of before with further changes, and returns the tenants whose gate opened. The lock is held.
func (x *Index) shut(gates []Gate, before map[event.Tenant]history) map[event.Tenant]bool {
	next, opened := maps.Clone(before), make(map[event.Tenant]bool)
	if next == nil {
		next = make(map[event.Tenant]history)
	}
	for _, g := range gates {
		next[g.Tenant] = next[g.Tenant].with(g)
		opened[g.Tenant] = opened[g.Tenant] || g.Open
	}
	x.gates.Store(&next)
	return opened
}

// ClosedAt reports whether a tenant's gate was closed at a time.
func (x *Index) ClosedAt(name event.Tenant, at time.Time) bool {
	gates := *x.gates.Load()
	return len(gates) > 0 && gates[name].holds(at)
}

// definitions returns those of the workflows that ask says yes to.
func (x *Index) definitions(ask func(*Workflow) bool) []Definition {
	x.mu.Lock()
	defer x.mu.Unlock()
	var defs []Definition
	for _, s := range x.shelves {
		for _, w := range s.members {
			if ask(w) {
				defs = append(defs, w.Definition)
			}
		}
	}
	return defs
}
