package index

import (
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"workflow.uniconnect/pkg/fault"
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
	dedupe *predicate.Key
	// tests are the filter's equalities by slot of the group they are in.
	tests []test
	// home is the test that it is kept by, nil for none.
	home *test
}

// compileAll compiles definitions on all processors: a first snapshot may hold tens of thousands.
func compileAll(defs []Definition, compile func(*Definition) (*Workflow, error)) ([]*Workflow, []error) {
	compiled, failures := make([]*Workflow, len(defs)), make([]error, len(defs))
	var next atomic.Int64
	var wg sync.WaitGroup
	for range min(runtime.GOMAXPROCS(0), len(defs)) {
		wg.Go(func() {
			for i := int(next.Add(1)) - 1; i < len(defs); i = int(next.Add(1)) - 1 {
				compiled[i], failures[i] = compile(&defs[i])
			}
		})
	}
	wg.Wait()
	return compiled, failures
}

// read returns the workflow, or nil when no event can start it. Its expressions are not compiled.
func (x *Index) read(def *Definition) (*Workflow, error) {
	if !def.Active || !def.HasSteps || def.Trigger == nil {
		return nil, nil
	}
	w := &Workflow{Definition: *def}
	var violations []fault.Violation
	if w.filter, violations = x.env.Defer(def.Trigger.Filter, "filter"); len(violations) > 0 {
		return nil, asError(violations)
	}
	if def.Trigger.DedupeKey != "" {
		w.dedupe = x.env.DeferKey(def.Trigger.DedupeKey)
	}
	return w, nil
}

// compile is read with the expressions compiled.
func (x *Index) compile(def *Definition) (*Workflow, error) {
	if !def.Active || !def.HasSteps || def.Trigger == nil {
		return nil, nil
	}
	filter, violations := x.env.Compile(def.Trigger.Filter, "filter")
	w := &Workflow{Definition: *def, filter: filter}
	if def.Trigger.DedupeKey != "" {
		dedupe, more := x.env.CompileKey(def.Trigger.DedupeKey, "dedupeKey")
		w.dedupe, violations = dedupe, append(violations, more...)
	}
	if len(violations) > 0 {
		return nil, asError(violations)
	}
	return w, nil
}

func (w *Workflow) prepare() error {
	if err := w.filter.Prepare(); err != nil {
		return fmt.Errorf("filter: %w", err)
	}
	if w.dedupe == nil {
		return nil
	}
	if err := w.dedupe.Prepare(); err != nil {
		return fmt.Errorf("dedupeKey: %w", err)
	}
	return nil
}

func asError(violations []fault.Violation) error {
	texts := make([]string, len(violations))
	for i, v := range violations {
		texts[i] = v.Field + ": " + v.Description
	}
	return errors.New(strings.Join(texts, "; "))
}

// accepts applies the rules that are about times: the event was published since the workflow is active, and happened within its range.
func (w *Workflow) accepts(ev *event.Event) bool {
	return !ev.Published.Before(w.ActiveSince) &&
		(w.From.IsZero() || !ev.Time.Before(w.From)) &&
		(w.Until.IsZero() || ev.Time.Before(w.Until))
}
