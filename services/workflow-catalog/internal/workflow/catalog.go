package workflow

import (
	"context"
	"errors"
)

// The methods of a Call, as the audit and the request ids know them.
const (
	MethodCreate     = "CreateWorkflow"
	MethodUpdate     = "UpdateWorkflow"
	MethodActivate   = "ActivateWorkflow"
	MethodDeactivate = "DeactivateWorkflow"
	MethodDelete     = "DeleteWorkflow"
)

// Call is who asks for a change and under which request id.
type Call struct {
	Tenant Tenant
	// Actor is the subject of the caller's token.
	Actor string
	// Method is what the request asks for.
	Method string
	// RequestID is the client's name for this request; empty when it gave none.
	RequestID string
	// Hash identifies the request without its id.
	Hash []byte
}

// The signals by which a Store tells the Catalog to look again. They never reach a caller.
var (
	// ErrStale says that the workflow is no longer at the version that a change was made for.
	ErrStale = errors.New("workflow changed since it was read")
	// ErrRequestKnown says that the request id has been answered in the meantime.
	ErrRequestKnown = errors.New("request id is known")
)

// Store keeps workflows. Each change is one transaction that writes the workflow, its revision when there is a new one, the change feed,
// the audit and the answer to the request id, and answers ErrRequestKnown when that is taken.
type Store interface {
	// Get returns the workflow at its current revision, or ErrNotFound.
	Get(ctx context.Context, tenant Tenant, id ID) (Workflow, error)
	// List returns a page in descending order of ids.
	List(ctx context.Context, tenant Tenant, query ListQuery) (Page, error)
	// Revision returns the workflow as a revision has it; 0 is the current one.
	Revision(ctx context.Context, tenant Tenant, id ID, revision int32) (Workflow, error)
	// Replay returns what was answered to the call's request id, and whether there is one.
	Replay(ctx context.Context, call Call) (Answer, bool, error)
	// Create adds a workflow.
	Create(ctx context.Context, call Call, w Workflow) (Workflow, error)
	// Change moves a workflow from the version it was read at, or answers ErrStale.
	Change(ctx context.Context, call Call, change Change) (Workflow, error)
	// Remember keeps the answer of a call that changed nothing, or answers ErrStale when the workflow is no longer at w's version.
	Remember(ctx context.Context, call Call, w Workflow) error
}

// Change is what a workflow becomes.
type Change struct {
	// Before is the workflow as it was read.
	Before Workflow
	// State is what it becomes.
	State State
	// Config is its new revision; nil when the configuration stays.
	Config *Config
}

// Answer is what was answered to a request id.
type Answer struct {
	Workflow Workflow
	// Gone says that the workflow was deleted since; only its id is left.
	Gone bool
}

// ListQuery asks for a page.
type ListQuery struct {
	// Before is the id after which the page begins in descending order; empty for the first page.
	Before ID
	Limit  int
}

// Page is part of a list. It may be shorter than asked for although there is more, since it is also limited in bytes.
type Page struct {
	Workflows []Workflow
	More      bool
}

// Deps is what a Catalog works with. All are required.
type Deps struct {
	Store Store
	NewID func() (ID, error)
	// Changed is told about each change after its commit. It must not block.
	Changed func()
}

// Catalog is the one place where workflows change.
type Catalog struct{ deps Deps }

// NewCatalog returns a Catalog.
func NewCatalog(deps Deps) *Catalog { return &Catalog{deps: deps} }

// Get returns a workflow.
func (c *Catalog) Get(ctx context.Context, tenant Tenant, id ID) (Workflow, error) {
	return c.deps.Store.Get(ctx, tenant, id)
}

// List returns a page of the tenant's workflows, newest first.
func (c *Catalog) List(ctx context.Context, tenant Tenant, query ListQuery) (Page, error) {
	return c.deps.Store.List(ctx, tenant, query)
}

// Revision returns a workflow as a revision has it; 0 is the current one.
func (c *Catalog) Revision(ctx context.Context, tenant Tenant, id ID, revision int32) (Workflow, error) {
	return c.deps.Store.Revision(ctx, tenant, id, revision)
}

// Create adds a workflow in the given state. build makes and checks the configuration; it is not called for a repeated request.
func (c *Catalog) Create(ctx context.Context, call Call, state State, build func(context.Context) (Config, error)) (Workflow, error) {
	return c.once(ctx, call, func() (Workflow, error) {
		config, err := build(ctx)
		if err != nil {
			return Workflow{}, err
		}
		id, err := c.deps.NewID()
		if err != nil {
			return Workflow{}, err
		}
		return c.deps.Store.Create(ctx, call, Workflow{
			Tenant: call.Tenant, ID: id, State: state, Revision: 1, Version: 1, Config: config,
			CreateUser: call.Actor, UpdateUser: call.Actor,
		})
	})
}

// Target names the workflow that a call is about, and the version it must be at unless ETag is empty.
type Target struct {
	ID   ID
	ETag string
}

// Update saves a new revision. build makes and checks it from the present one; it may be called again when another change was quicker.
func (c *Catalog) Update(ctx context.Context, call Call, target Target, build func(context.Context, Workflow) (Config, error)) (Workflow, error) {
	return c.change(ctx, call, target, func(current Workflow) (Change, error) {
		config, err := build(ctx, current)
		return Change{Before: current, State: current.State, Config: &config}, err
	})
}

// Activate lets a workflow's trigger start it. Where it is ACTIVE already nothing changes.
func (c *Catalog) Activate(ctx context.Context, call Call, id ID) (Workflow, error) {
	return c.setState(ctx, call, id, Active)
}

// Deactivate stops new starts. Where the workflow is INACTIVE already nothing changes.
func (c *Catalog) Deactivate(ctx context.Context, call Call, id ID) (Workflow, error) {
	return c.setState(ctx, call, id, Inactive)
}

func (c *Catalog) setState(ctx context.Context, call Call, id ID, state State) (Workflow, error) {
	return c.change(ctx, call, Target{ID: id}, func(current Workflow) (Change, error) {
		return Change{Before: current, State: state}, nil
	})
}

// Delete marks a workflow DELETING; the rest is up to package deletion. confirm must be its title unless it is empty.
func (c *Catalog) Delete(ctx context.Context, call Call, target Target, confirm string) (Workflow, error) {
	return c.change(ctx, call, target, func(current Workflow) (Change, error) {
		if confirm != "" && confirm != current.Config.Title {
			return Change{}, errConfirm
		}
		return Change{Before: current, State: Deleting}, nil
	})
}

// maxRaces bounds how often a change without an etag is tried when others keep being quicker.
const maxRaces = 20

// change reads the workflow, has next decide and applies the decision to exactly that version.
func (c *Catalog) change(ctx context.Context, call Call, target Target, next func(Workflow) (Change, error)) (Workflow, error) {
	return c.once(ctx, call, func() (Workflow, error) {
		for attempt := 1; ; attempt++ {
			current, err := c.deps.Store.Get(ctx, call.Tenant, target.ID)
			switch {
			case err != nil:
				return Workflow{}, err
			case target.ETag != "" && target.ETag != current.ETag():
				return Workflow{}, etagMismatch(current)
			case current.State == Deleting:
				return Workflow{}, errDeleting
			}
			change, err := next(current)
			if err != nil {
				return Workflow{}, err
			}
			changed := current
			if change.Config == nil && change.State == current.State {
				err = c.deps.Store.Remember(ctx, call, current)
			} else {
				changed, err = c.deps.Store.Change(ctx, call, change)
			}
			if !errors.Is(err, ErrStale) {
				return changed, err
			}
			if attempt == maxRaces {
				return Workflow{}, etagMismatch(current)
			}
		}
	})
}

// once answers a repeated request as the first time, and does do otherwise.
func (c *Catalog) once(ctx context.Context, call Call, do func() (Workflow, error)) (Workflow, error) {
	if w, known, err := c.replay(ctx, call); known || err != nil {
		return w, err
	}
	w, err := do()
	if errors.Is(err, ErrRequestKnown) {
		w, known, err := c.replay(ctx, call)
		if err == nil && !known {
			err = errRequestGone
		}
		return w, err
	}
	if err != nil {
		return Workflow{}, err
	}
	c.deps.Changed()
	return w, nil
}

func (c *Catalog) replay(ctx context.Context, call Call) (Workflow, bool, error) {
	if call.RequestID == "" {
		return Workflow{}, false, nil
	}
	answer, known, err := c.deps.Store.Replay(ctx, call)
	switch {
	case err != nil || !known:
		return Workflow{}, false, err
	case !answer.Gone:
		return answer.Workflow, true, nil
	case answer.Workflow.State == Deleting:
		return answer.Workflow, true, nil
	}
	return Workflow{}, true, ErrNotFound
}
