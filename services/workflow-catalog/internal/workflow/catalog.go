package workflow

import (
	"bytes"
	"context"
	"errors"
)

// Store keeps workflows and what belongs to them. Each change is one transaction that writes what changes, the change feed, the audit and
// the answer to the request id, and answers ErrRequestKnown when that is taken, and ErrStale when what it was given is no longer so.
type Store interface {
	// Get returns the workflow at its current revision, or ErrNotFound.
	Get(ctx context.Context, tenant Tenant, id ID) (Workflow, error)
	// Taken returns those of the titles that workflows of the tenant have.
	Taken(ctx context.Context, tenant Tenant, titles []string) ([]string, error)
	Replayer
	// Create adds a workflow.
	Create(ctx context.Context, call Call, w Workflow) (Workflow, error)
	// Change moves a workflow from the version it was read at.
	Change(ctx context.Context, call Call, change Change) (Workflow, error)
	// Remember keeps the answer of a call that changed nothing, if w is still at its version.
	Remember(ctx context.Context, call Call, w Workflow, answer any) error
	History
	Drafts
	Titles
	Lists
}

// Change is what a workflow becomes.
type Change struct {
	// Before is the workflow as it was read.
	Before Workflow
	// State is what it becomes.
	State State
	// Config is its new revision; nil when the configuration stays.
	Config *Config
	// Origin is what makes the new revision.
	Origin Origin
	// Source is the backup that the configuration comes from, if any. It must still be there, and for a reset still be the last.
	Source *Backup
	// Draft is the draft that is published, if any. It must still be so, and ends.
	Draft *Draft
}

// settled reports whether the change leaves configuration and state as they are.
func (c *Change) settled() bool {
	return c.State == c.Before.State && (c.Config == nil || bytes.Equal(c.Config.Hash, c.Before.Config.Hash))
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

// Build makes and checks a configuration from one that is stored. It may be called again when another change was quicker.
type Build func(ctx context.Context, from Config) (Config, error)

// Create adds a workflow in the given state. build makes and checks the configuration; it is not called for a repeated request.
func (c *Catalog) Create(ctx context.Context, call Call, state State, build func(context.Context) (Config, error)) (Workflow, error) {
	return once(ctx, c, call, func() (Workflow, error) {
		config, err := build(ctx)
		if err != nil {
			return Workflow{}, err
		}
		return c.add(ctx, call, state, config)
	})
}

func (c *Catalog) add(ctx context.Context, call Call, state State, config Config) (Workflow, error) {
	id, err := c.deps.NewID()
	if err != nil {
		return Workflow{}, err
	}
	return c.deps.Store.Create(ctx, call, Workflow{
		Tenant: call.Tenant, ID: id, State: state, Revision: 1, Version: 1, Config: config, CreateUser: call.Actor, UpdateUser: call.Actor,
	})
}

// Target names the workflow that a call is about, and the version it must be at unless ETag is empty.
type Target struct {
	ID   ID
	ETag string
}

// Update saves a new revision, unless build makes of the present one what it is already. build may be called again when another change was
// quicker.
func (c *Catalog) Update(ctx context.Context, call Call, target Target, build func(context.Context, Workflow) (Config, error)) (Workflow, error) {
	return c.change(ctx, call, target, func(current Workflow) (Change, error) {
		config, err := build(ctx, current)
		return Change{State: current.State, Config: &config, Origin: Updated}, err
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
	return c.change(ctx, call, Target{ID: id}, func(Workflow) (Change, error) { return Change{State: state}, nil })
}

// Delete marks a workflow DELETING; the rest is up to package deletion. confirm must be its title unless it is empty.
func (c *Catalog) Delete(ctx context.Context, call Call, target Target, confirm string) (Workflow, error) {
	w, err := c.change(ctx, call, target, func(current Workflow) (Change, error) {
		if confirm != "" && confirm != current.Config.Title {
			return Change{}, errConfirm
		}
		return Change{State: Deleting}, nil
	})
	if errors.Is(err, ErrForgotten) {
		// A repeated deletion that is over. What was deleted is known from the request alone.
		return Workflow{Tenant: call.Tenant, ID: target.ID, State: Deleting}, nil
	}
	return w, err
}

// change reads the workflow, has next decide and applies the decision to exactly that version.
func (c *Catalog) change(ctx context.Context, call Call, target Target, next func(Workflow) (Change, error)) (Workflow, error) {
	return once(ctx, c, call, func() (Workflow, error) {
		return race(func() (Workflow, error) {
			current, err := c.open(ctx, call, target)
			if err != nil {
				return Workflow{}, err
			}
			change, err := next(current)
			if err != nil {
				return Workflow{}, err
			}
			change.Before = current
			if change.settled() {
				return current, c.deps.Store.Remember(ctx, call, current, current)
			}
			return c.deps.Store.Change(ctx, call, change)
		})
	})
}

// open returns a workflow that may be changed, at the version that the target asks for.
func (c *Catalog) open(ctx context.Context, call Call, target Target) (Workflow, error) {
	current, err := c.deps.Store.Get(ctx, call.Tenant, target.ID)
	switch {
	case err != nil:
		return Workflow{}, err
	case target.ETag != "" && target.ETag != current.ETag():
		return Workflow{}, etagMismatch(current)
	case current.State == Deleting:
		return Workflow{}, errDeleting
	}
	return current, nil
}
