package index

import (
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"workflow.uniconnect/pkg/expr"
	"workflow.uniconnect/services/trigger-scheduler/internal/event"
	"workflow.uniconnect/services/trigger-scheduler/internal/predicate"
	"workflow.uniconnect/services/trigger-scheduler/internal/start"
)

// Definition is a workflow as the catalog announces it.
type Definition struct {
	Tenant   event.Tenant
	Workflow start.WorkflowID
	Title    string
	Revision int32
	// Active says that the workflow's state lets it start.
	Active bool
	// HasSteps says that there is something to start.
	HasSteps bool
	// Effective is when this version took effect, ActiveSince when the workflow last became active, by the catalog's clock.
	Effective   time.Time
	ActiveSince time.Time
	// Trigger is nil when no event starts the workflow.
	Trigger *Trigger
	// From (inclusive) and Until (exclusive) bound the time of the events that start it; zero is open.
	From, Until time.Time
}

// Trigger says which events start a workflow.
type Trigger struct {
	Type   event.Type
	Filter predicate.Source
	// DedupeKey is an expression, empty for source and id.
	DedupeKey    string
	DedupeWindow time.Duration
}

// ID names a workflow across tenants.
type ID struct {
	Tenant   event.Tenant
	Workflow start.WorkflowID
}

// Workflow is a definition that events can start, compiled. It does not change.
type Workflow struct {
	Definition
	filter *predicate.Predicate
	dedupe *expr.Program
	// tests are the filter's equalities by slot of the group they are in.
	tests []test
}

// compileAll compiles definitions on all processors: a first snapshot may hold tens of thousands.
func (x *Index) compileAll(defs []Definition) ([]*Workflow, []error) {
	compiled, failures := make([]*Workflow, len(defs)), make([]error, len(defs))
	var next atomic.Int64
	var wg sync.WaitGroup
	for range min(runtime.GOMAXPROCS(0), len(defs)) {
		wg.Go(func() {
			for i := int(next.Add(1)) - 1; i < len(defs); i = int(next.Add(1)) - 1 {
				compiled[i], failures[i] = x.compile(defs[i])
			}
		})
	}
	wg.Wait()
	return compiled, failures
}

// compile returns the workflow, or nil when no event can start it.
func (x *Index) compile(def Definition) (*Workflow, error) {
	if !def.Active || !def.HasSteps || def.Trigger == nil {
		return nil, nil
	}
	w := &Workflow{Definition: def}
	var err error
	filter, violations := x.env.Compile(def.Trigger.Filter, "filter")
	if err = asError(violations); err != nil {
		return nil, err
	}
	w.filter = filter
	if def.Trigger.DedupeKey != "" {
		w.dedupe, violations = x.env.CompileKey(def.Trigger.DedupeKey, "dedupeKey")
		if err = asError(violations); err != nil {
			return nil, err
		}
	}
	return w, nil
}

// accepts applies the rules that are about times: the event was published since the workflow is active, and happened within its range.
func (w *Workflow) accepts(ev *event.Event) bool {
	return !ev.Published.Before(w.ActiveSince) &&
		(w.From.IsZero() || !ev.Time.Before(w.From)) &&
		(w.Until.IsZero() || ev.Time.Before(w.Until))
}
