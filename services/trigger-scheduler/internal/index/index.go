// Package index owns the answer to "which workflows does this event start?". It holds every active workflow in memory by tenant and event
// type; equality tests that a filter joins with && are looked up, so that a workflow whose field differs costs nothing, and only the
// rest is evaluated. It does not know where definitions and events come from.
//
// # Concurrency
//
// Readers take no lock: they load the tenant's view, which never changes. Writers, one at a time, build a tenant's new view beside the old one
// and swap it in; the new one shares with the old whatever is the same. A view that was loaded after a message was pulled therefore holds
// every change applied before the pull; package activation rests on this.
//
// # Expressions
//
// Compiling is what costs: 0.1 to 0.2 ms for each expression, against microseconds for the rest. So a snapshot is taken in without compiling:
// package predicate scans expressions for their equalities, and whatever must be evaluated is compiled by the first event that needs it, or
// by Prepare in the background. A change is compiled at once, which names its problems.
package index

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"workflow.uniconnect/services/trigger-scheduler/internal/event"
	"workflow.uniconnect/services/trigger-scheduler/internal/predicate"
	"workflow.uniconnect/services/trigger-scheduler/internal/start"
)

// Index is the index. It is safe for concurrent use.
type Index struct {
	env *predicate.Env
	// views is replaced when a tenant is added; a tenant's view when one of its workflows changes.
	views atomic.Pointer[map[event.Tenant]*tenant]
	size  atomic.Int64
	// gates is replaced when one changes.
	gates atomic.Pointer[map[event.Tenant]history]

	mu      sync.Mutex
	shelves map[place]*shelf  // guarded by mu
	types   map[ID]event.Type // of all workflows on shelves; guarded by mu
}

type tenant struct {
	groups atomic.Pointer[map[event.Type]*group]
}

// New returns an empty index.
func New(env *predicate.Env) *Index {
	x := &Index{env: env, shelves: make(map[place]*shelf), types: make(map[ID]event.Type)}
	x.views.Store(&map[event.Tenant]*tenant{})
	x.gates.Store(&map[event.Tenant]history{})
	return x
}

// Len returns how many workflows events can start.
func (x *Index) Len() int { return int(x.size.Load()) }

// Apply puts definitions in the place of what was known of the same workflows. A definition that does not compile is left out, and named in
// the error; the others apply.
func (x *Index) Apply(defs []Definition) error {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.apply(defs, nil, x.compile)
}

// Replace makes defs the whole content. Workflows that are not among them are gone with it. Their expressions are compiled when an event
// first needs them, or by Prepare, so that a large content is there at once.
func (x *Index) Replace(defs []Definition) error {
	x.mu.Lock()
	defer x.mu.Unlock()
	gone := maps.Clone(x.types)
	for i := range defs {
		delete(gone, ID{defs[i].Tenant, defs[i].Workflow})
	}
	return x.apply(defs, slices.Collect(maps.Keys(gone)), x.read)
}

// Remove forgets a workflow.
func (x *Index) Remove(id ID) {
	x.mu.Lock()
	defer x.mu.Unlock()
	_ = x.apply(nil, []ID{id}, x.read) // only a definition can fail
}

// RemoveTenant forgets all workflows of a tenant.
func (x *Index) RemoveTenant(name event.Tenant) {
	x.mu.Lock()
	defer x.mu.Unlock()
	var gone []ID
	for id := range x.types {
		if id.Tenant == name {
			gone = append(gone, id)
		}
	}
	_ = x.apply(nil, gone, x.read) // only a definition can fail
}

// ChangedSince returns the definitions that took effect at t or later, or whose tenant's gate opened since.
func (x *Index) ChangedSince(t time.Time) []Definition {
	gates := *x.gates.Load()
	return x.definitions(func(w *Workflow) bool { return !w.Effective.Before(t) || gates[w.Tenant].openedSince(t) })
}

// place is a group's name.
type place struct {
	tenant event.Tenant
	typ    event.Type
}

func (x *Index) apply(defs []Definition, gone []ID, compile func(*Definition) (*Workflow, error)) error {
	var errs []error
	// What becomes of the workflows of a place; nil is removed.
	changes := make(map[place]map[start.WorkflowID]*Workflow)
	set := func(at place, id start.WorkflowID, w *Workflow) {
		if changes[at] == nil {
			changes[at] = make(map[start.WorkflowID]*Workflow)
		}
		changes[at][id] = w
	}
	drop := func(id ID) {
		if typ, ok := x.types[id]; ok {
			set(place{id.Tenant, typ}, id.Workflow, nil)
			delete(x.types, id)
		}
	}
	for _, id := range gone {
		drop(id)
	}
	compiled, failures := compileAll(defs, compile)
	for i := range defs {
		def := &defs[i]
		id := ID{def.Tenant, def.Workflow}
		drop(id)
		if failures[i] != nil {
			errs = append(errs, named(def, failures[i]))
		}
		if w := compiled[i]; w != nil {
			x.types[id] = def.Trigger.Type
			set(place{def.Tenant, def.Trigger.Type}, def.Workflow, w)
		}
	}
	x.show(changes)
	x.size.Store(int64(len(x.types)))
	return errors.Join(errs...)
}

func named(def *Definition, err error) error {
	return fmt.Errorf("workflow %s revision %d: %w", def.Workflow, def.Revision, err)
}

// show changes the shelves and swaps the views of their tenants.
func (x *Index) show(changes map[place]map[start.WorkflowID]*Workflow) {
	views := make(map[event.Tenant]map[event.Type]*group)
	for at, changed := range changes {
		s := x.shelves[at]
		if s == nil {
			s = newShelf()
			x.shelves[at] = s
		}
		s.change(changed)
		groups := views[at.tenant]
		if groups == nil {
			groups = maps.Clone(x.groups(at.tenant))
			if groups == nil {
				groups = make(map[event.Type]*group)
			}
			views[at.tenant] = groups
		}
		groups[at.typ] = s.group
		if len(s.members) == 0 {
			delete(groups, at.typ)
			delete(x.shelves, at)
		}
	}
	tenants := *x.views.Load()
	var added map[event.Tenant]*tenant
	for name, groups := range views {
		t := tenants[name]
		if t == nil {
			if added == nil {
				added = maps.Clone(tenants)
			}
			t = &tenant{}
			added[name] = t
		}
		t.groups.Store(&groups)
	}
	if added != nil {
		x.views.Store(&added)
	}
}

// Prepare compiles the expressions that Replace left, one after the other, and names the workflows that have one which does not compile.
// Such a workflow starts nothing. It ends early with the context.
func (x *Index) Prepare(ctx context.Context) error {
	var errs []error
	for _, w := range x.workflows() {
		if ctx.Err() != nil {
			break
		}
		if err := w.prepare(); err != nil {
			errs = append(errs, named(&w.Definition, err))
		}
	}
	return errors.Join(errs...)
}

// workflows returns all workflows.
func (x *Index) workflows() []*Workflow {
	x.mu.Lock()
	defer x.mu.Unlock()
	list := make([]*Workflow, 0, len(x.types))
	for _, s := range x.shelves {
		list = slices.AppendSeq(list, maps.Values(s.members))
	}
	return list
}

// groups returns a tenant's view, nil when it has none.
func (x *Index) groups(name event.Tenant) map[event.Type]*group {
	t := (*x.views.Load())[name]
	if t == nil {
		return nil
	}
	return *t.groups.Load()
}

// Matched says what became of an event.
type Matched struct {
	// Starts holds the starts that were appended.
	Starts []start.Start
	// FilterErrors counts filters that failed, for example on a field the event lacks; they do not match.
	FilterErrors int
	// KeyErrors counts dedupe keys without a value; the event's own id takes their place, since dropping a start is worse than repeating one.
	KeyErrors int
}

// Match appends to starts one for each workflow that ev starts.
func (x *Index) Match(ctx context.Context, ev *event.Event, starts []start.Start) Matched {
	out := Matched{Starts: starts}
	g := x.groups(ev.Tenant)[ev.Type]
	if g == nil || x.ClosedAt(ev.Tenant, ev.Published) {
		return out
	}
	m := matching{ctx: ctx, scope: scope{ev: ev}, out: &out}
	var buf [16]value
	values := buf[:]
	if g.paths.count > len(values) {
		values = make([]value, g.paths.count)
	}
	values = values[:g.paths.count]
	g.paths.values(ev, values)
	for slot, bucket := range g.buckets {
		if bucket == nil || values[slot].kind == absent {
			continue
		}
		for _, w := range bucket[values[slot]] {
			m.try(w, values)
		}
	}
	for _, w := range g.rest {
		m.try(w, values)
	}
	return out
}

// matching is one event on its way through a group. It lives no longer than the call that holds its context.
type matching struct {
	ctx   context.Context
	scope scope
	out   *Matched
}

func (m *matching) try(w *Workflow, values []value) {
	ev := m.scope.ev
	if !w.accepts(ev) {
		return
	}
	for _, t := range w.tests {
		if values[t.slot] != t.want {
			return
		}
	}
	if !w.filter.Exact() || len(w.tests) != len(w.filter.Equalities()) {
		ok, err := w.filter.Match(m.ctx, &m.scope)
		if err != nil {
			m.out.FilterErrors++
		}
		if err != nil || !ok {
			return
		}
	}
	s := start.Start{
		Tenant: ev.Tenant, Workflow: w.Workflow, Revision: w.Revision, TTL: start.DefaultTTL, Event: ev, Traceparent: ev.Traceparent,
	}
	s.Key, s.TTL = m.key(w)
	m.out.Starts = append(m.out.Starts, s)
}

func (m *matching) key(w *Workflow) (start.Key, time.Duration) {
	if w.dedupe != nil {
		v, err := w.dedupe.Eval(m.ctx, &m.scope)
		if err == nil && v != nil && v != "" {
			var text []byte
			if text, err = json.Marshal(v); err == nil {
				return start.DedupeKey(w.Workflow, text), w.window()
			}
		}
		m.out.KeyErrors++
	}
	return start.EventKey(w.Workflow, m.scope.ev), start.DefaultTTL
}

func (w *Workflow) window() time.Duration {
	if w.Trigger.DedupeWindow > 0 {
		return w.Trigger.DedupeWindow
	}
	return start.DefaultWindow
}

// scope shows an event to expressions. The payload is decoded once, when the first expression asks for it.
type scope struct {
	ev      *event.Event
	decoded map[string]any
}

// Resolve implements expr.Scope.
func (s *scope) Resolve(name string) (any, bool) {
	switch name {
	case "event":
		if s.decoded == nil {
			s.decoded = s.ev.Value()
		}
		return s.decoded, true
	case "now":
		return s.ev.Published, true
	}
	return nil, false
}
