package workflow

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"workflow.uniconnect/services/workflow-catalog/internal/diff"
)

// Outcome is what became of an imported document. The numbers are those of the contract.
type Outcome int16

// The outcomes.
const (
	ImportCreated   Outcome = 1
	ImportUpdated   Outcome = 2
	ImportUnchanged Outcome = 3
)

// Titles finds workflows by what people call them.
type Titles interface {
	// Titled returns the workflow of that title, or ErrNotFound. One on its way out has no title any more.
	Titled(ctx context.Context, tenant Tenant, title string) (Workflow, error)
}

// Document is a workflow as a document describes it.
type Document struct {
	// ID says which workflow it becomes; empty means the one of its title.
	ID    ID
	Title string
	// State is 0 where the document does not say: ACTIVE for a new workflow, as it is for another.
	State State
	// Build makes and checks the configuration of the workflow with that id, which a new one does not have. It may be called again when
	// another change was quicker.
	Build func(ctx context.Context, id ID) (Config, error)
	// May answers whether the caller may do what the document asks for beside changing a workflow: MethodCreate, MethodActivate.
	May func(ctx context.Context, method string) error
}

// Imported is what became of a document. It is the answer to a request id too, and then has no Changes.
type Imported struct {
	// Workflow is what there is now. One that was not created, only tried, has no id.
	Workflow
	Outcome Outcome
	// FromRevision and FromState are what an updated workflow was before.
	FromRevision int32
	FromState    State
	// Changes are what differs from FromRevision.
	Changes []diff.Change `json:"-"`
}

// Import saves a document: as a new workflow, as a change of configuration or state or both at once, or not at all when nothing differs.
func (c *Catalog) Import(ctx context.Context, call Call, d Document) (Imported, error) {
	done, err := once(ctx, c, call, func() (Imported, error) {
		return race(func() (Imported, error) {
			next, err := c.plan(ctx, call, d)
			if err != nil {
				return Imported{}, err
			}
			call := call
			call.Answer = func(w Workflow) any {
				answer := next.answer
				answer.Workflow = w
				return answer
			}
			switch next.answer.Outcome {
			case ImportUnchanged:
				return next.answer, c.deps.Store.Remember(ctx, call, next.change.Before, next.answer)
			case ImportCreated:
				next.answer.Workflow, err = c.add(ctx, call, next.change.State, *next.change.Config)
				if errors.Is(err, TitleTaken("")) {
					err = ErrStale
				}
			default:
				next.answer.Workflow, err = c.deps.Store.Change(ctx, call, next.change)
			}
			return next.answer, err
		})
	})
	if err != nil {
		return Imported{}, err
	}
	return c.compared(ctx, done)
}

// TryImport tells what Import would do, and does nothing.
func (c *Catalog) TryImport(ctx context.Context, call Call, d Document) (Imported, error) {
	next, err := c.plan(ctx, call, d)
	if err != nil {
		return Imported{}, err
	}
	answer := next.answer
	answer.Workflow = next.change.Before
	answer.Tenant, answer.State = call.Tenant, next.change.State
	if next.change.Config != nil {
		answer.Config = *next.change.Config
	}
	if answer.Outcome != ImportUpdated {
		return answer, nil
	}
	if err := c.checkTitle(ctx, answer.Tenant, answer.ID, answer.Config.Title); err != nil {
		return Imported{}, err
	}
	answer.Changes, err = diff.Compare(next.change.Before.Config.Document, answer.Config.Document)
	return answer, err
}

// imports is what is to be done with a document, and what will be said of it.
type imports struct {
	change Change
	answer Imported
}

func (c *Catalog) plan(ctx context.Context, call Call, d Document) (imports, error) {
	current, err := c.target(ctx, call, d)
	if errors.Is(err, ErrNotFound) && d.ID == "" {
		return c.planNew(ctx, d)
	}
	if err != nil {
		return imports{}, err
	}
	state := d.State
	if state == 0 {
		state = current.State
	}
	if state != current.State {
		if err := d.May(ctx, MethodActivate); err != nil {
			return imports{}, err
		}
	}
	config, err := d.Build(ctx, current.ID)
	if err != nil {
		return imports{}, err
	}
	next := imports{change: Change{Before: current, State: state, Config: &config, Origin: Updated}}
	next.answer.FromRevision, next.answer.FromState, next.answer.Outcome = current.Revision, current.State, ImportUpdated
	if bytes.Equal(config.Hash, current.Config.Hash) {
		next.change.Config = nil // a state alone makes no revision
	}
	if next.change.settled() {
		next.answer = Imported{Workflow: current, Outcome: ImportUnchanged}
	}
	return next, nil
}

func (c *Catalog) planNew(ctx context.Context, d Document) (imports, error) {
	if err := d.May(ctx, MethodCreate); err != nil {
		return imports{}, err
	}
	config, err := d.Build(ctx, "")
	state := d.State
	if state == 0 {
		state = Active
	}
	return imports{change: Change{State: state, Config: &config}, answer: Imported{Outcome: ImportCreated}}, err
}

// target returns the workflow that a document becomes.
func (c *Catalog) target(ctx context.Context, call Call, d Document) (Workflow, error) {
	if d.ID != "" {
		return c.open(ctx, call, Target{ID: d.ID})
	}
	return c.deps.Store.Titled(ctx, call.Tenant, d.Title)
}

// compared adds what differs from before.
func (c *Catalog) compared(ctx context.Context, done Imported) (Imported, error) {
	if done.Outcome != ImportUpdated || done.FromRevision == done.Revision {
		return done, nil
	}
	before, err := c.deps.Store.Revision(ctx, done.Tenant, done.ID, done.FromRevision)
	if errors.Is(err, ErrNotFound) {
		return done, nil // deleted since: what was done is known, what differed went with it
	}
	if err != nil {
		return Imported{}, err
	}
	done.Changes, err = diff.Compare(before.Config.Document, done.Config.Document)
	if err != nil {
		return Imported{}, fmt.Errorf("compare with what was before: %w", err)
	}
	return done, nil
}
