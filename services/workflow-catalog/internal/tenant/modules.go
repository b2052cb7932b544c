package tenant

import (
	"context"
	"time"

	"workflow.uniconnect/pkg/fault"
)

// Module is a part of the platform and whether a tenant has it.
type Module struct {
	Name, Title string
	Enabled     bool
	// UpdateTime and UpdateUser are of the tenant's last word about it; zero where it has said none.
	UpdateTime time.Time
	UpdateUser string
}

// ErrModuleNotFound answers for a module that the platform does not have.
var ErrModuleNotFound = fault.NotFound("MODULE_NOT_FOUND", "the module does not exist")

// UpdateModule switches a module on or off for everybody in the tenant.
func (a *Administration) UpdateModule(ctx context.Context, by Caller, module Module) (Module, error) {
	return administer(ctx, a, by, func(ctx context.Context, desk Desk, _ actor) (Module, Trace, error) {
		before, err := desk.Module(ctx, module.Name)
		if err != nil || before.Enabled == module.Enabled {
			return before, Trace{}, err
		}
		after, err := desk.SetModule(ctx, module.Name, module.Enabled, by.Actor)
		return after, Trace{Resource: "modules/" + module.Name, Before: before.fingerprint(), After: after.fingerprint()}, err
	})
}

func (m *Module) fingerprint() []byte { return fingerprint([]any{m.Name, m.Enabled}) }

// KnownModule is a module as the platform registers it.
type KnownModule struct {
	Name, Title string
	// DefaultEnabled is whether tenants have it that have not said otherwise.
	DefaultEnabled bool
}

// RegisterModule makes a module known to all tenants, or changes its title and default. The module of the workflows is ours and stays as
// it is.
func (a *Administration) RegisterModule(ctx context.Context, module KnownModule) error {
	if module.Name == ModuleWorkflow {
		return fault.Invalid(fault.Violation{Field: "module", Description: "is the Workflow Manager's own"})
	}
	if err := a.deps.Store.RegisterModule(ctx, module); err != nil {
		return err
	}
	a.deps.Changed()
	return nil
}
