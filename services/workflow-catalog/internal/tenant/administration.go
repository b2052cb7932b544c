package tenant

import (
	"context"
	"slices"

	"workflow.uniconnect/pkg/fault"
	"workflow.uniconnect/services/workflow-catalog/internal/workflow"
)

// permissionAdminister is what every change of a tenant's access takes.
const permissionAdminister = "access.manage"

// Caller is who changes something, and under which request id.
type Caller struct {
	workflow.Call
	// TokenRoles are those that the caller's token claims.
	TokenRoles []string
	// Permissions, unless nil, are what the settings of the platform let a program do, in the place of roles.
	Permissions []string
	// Service says that the caller is one of our own services. It may call, and has nothing to grant but by its roles.
	Service bool
	// Platform says that the caller administers the platform, which no tenant's roles bind.
	Platform bool
}

// Trace is what a change leaves in the audit. The zero value is that of a call that changed nothing, and leaves nothing.
type Trace struct {
	// Resource is what was changed, as in `roles/{id}`.
	Resource string
	// Before and After are fingerprints.
	Before, After []byte
}

// Changed reports whether there is anything to write down.
func (t *Trace) Changed() bool { return t.Resource != "" }

// Desk is a tenant's access data inside a transaction in which nobody else changes them.
type Desk interface {
	// Profile returns what is known of a user.
	Profile(ctx context.Context, who Who) (Profile, error)
	RoleDesk
	UserDesk
	ModuleDesk
	SettingsDesk
}

// RoleDesk changes roles.
type RoleDesk interface {
	// Roles returns all roles by title.
	Roles(ctx context.Context) ([]Role, error)
	// PutRole adds a role or takes the place of the one with its id, and returns it with its times.
	PutRole(ctx context.Context, role Role) (Role, error)
	// DropRole removes a role from everywhere.
	DropRole(ctx context.Context, id RoleID) error
}

// UserDesk changes users.
type UserDesk interface {
	// Member returns a user; one that nobody has heard of has no roles.
	Member(ctx context.Context, subject string) (Member, error)
	// Assign gives a user its roles and no others.
	Assign(ctx context.Context, member Member) error
	// HeldByOthers reports whether anybody else was given a role.
	HeldByOthers(ctx context.Context, id RoleID, subject string) (bool, error)
}

// ModuleDesk changes modules.
type ModuleDesk interface {
	// Module returns a module of the tenant, or ErrModuleNotFound.
	Module(ctx context.Context, name string) (Module, error)
	// SetModule switches a module.
	SetModule(ctx context.Context, name string, enabled bool, actor string) (Module, error)
}

// SettingsDesk changes settings.
type SettingsDesk interface {
	// Settings returns the settings.
	Settings(ctx context.Context) (Settings, error)
	// SetSettings replaces them; mapping is their RoleMap by ids.
	SetSettings(ctx context.Context, settings Settings, mapping map[string]RoleID) error
	// HasWorkflow reports whether the tenant has a workflow that is not being deleted.
	HasWorkflow(ctx context.Context, id workflow.ID) (bool, error)
}

// AccessStore keeps what administrators change.
type AccessStore interface {
	workflow.Replayer
	// Administer runs do in one transaction that also writes the audit, the gate that follows, and the answer to the request id. It answers
	// ErrNotFound when there is no such tenant. do may be run again when the transaction has to be.
	Administer(ctx context.Context, call workflow.Call, do func(ctx context.Context, desk Desk) (answer any, trace Trace, err error)) error
	// RegisterModule makes a module known.
	RegisterModule(ctx context.Context, module KnownModule) error
	// Role returns a role, or ErrRoleNotFound.
	Role(ctx context.Context, tenant workflow.Tenant, id RoleID) (Role, error)
	// Roles returns up to limit roles after another, by title; nil begins with the first.
	Roles(ctx context.Context, tenant workflow.Tenant, after *RoleName, limit int) ([]Role, error)
	// Members returns up to limit users that were given a role and whose subject begins with prefix, after another one.
	Members(ctx context.Context, tenant workflow.Tenant, prefix, after string, limit int) ([]Member, error)
	// Modules returns the platform's modules by name.
	Modules(ctx context.Context, tenant workflow.Tenant) ([]Module, error)
	// Settings returns the settings of a tenant, or ErrNotFound.
	Settings(ctx context.Context, tenant workflow.Tenant) (Settings, error)
}

// ErrNotFound answers for a tenant that does not exist.
var ErrNotFound = fault.NotFound("TENANT_NOT_FOUND", "the tenant does not exist")

// AdministrationDeps is what an Administration works with. All are required.
type AdministrationDeps struct {
	Store AccessStore
	NewID func() (RoleID, error)
	// Permissions are all there are.
	Permissions []string
	// Changed is told about each change after its commit. It must not block.
	Changed func()
}

// Administration is the one place where access changes. What it decides, it decides inside the transaction that writes it: two changes of
// a tenant come one after the other, and the second sees what the first has left.
type Administration struct{ deps AdministrationDeps }

// NewAdministration returns an Administration.
func NewAdministration(deps AdministrationDeps) *Administration { return &Administration{deps: deps} }

// Permissions returns all permissions there are, sorted.
func (a *Administration) Permissions() []string {
	return slices.Sorted(slices.Values(a.deps.Permissions))
}

// Role returns a role, or ErrRoleNotFound.
func (a *Administration) Role(ctx context.Context, tenant workflow.Tenant, id RoleID) (Role, error) {
	return a.deps.Store.Role(ctx, tenant, id)
}

// Roles returns up to limit roles after another, by title, and whether there are more.
func (a *Administration) Roles(ctx context.Context, tenant workflow.Tenant, after *RoleName, limit int) ([]Role, bool, error) {
	found, err := a.deps.Store.Roles(ctx, tenant, after, limit+1)
	found, more := cut(found, limit)
	return found, more, err
}

// Members returns up to limit users after another, by subject, and whether there are more.
func (a *Administration) Members(ctx context.Context, tenant workflow.Tenant, prefix, after string, limit int) ([]Member, bool, error) {
	found, err := a.deps.Store.Members(ctx, tenant, prefix, after, limit+1)
	found, more := cut(found, limit)
	return found, more, err
}

// Modules returns the platform's modules by name.
func (a *Administration) Modules(ctx context.Context, tenant workflow.Tenant) ([]Module, error) {
	return a.deps.Store.Modules(ctx, tenant)
}

// Settings returns the settings of a tenant.
func (a *Administration) Settings(ctx context.Context, tenant workflow.Tenant) (Settings, error) {
	return a.deps.Store.Settings(ctx, tenant)
}

func cut[T any](found []T, limit int) ([]T, bool) {
	if len(found) > limit {
		return found[:limit], true
	}
	return found, false
}

// administer runs one change, or answers what was answered to its request id before.
func administer[T any](ctx context.Context, a *Administration, by Caller, do func(context.Context, Desk, actor) (T, Trace, error)) (T, error) {
	return workflow.Once(ctx, a.deps.Store, by.Call, func() (T, error) {
		var answer T
		err := a.deps.Store.Administer(ctx, by.Call, func(ctx context.Context, desk Desk) (any, Trace, error) {
			actor, err := a.actor(ctx, desk, by)
			if err != nil {
				return nil, Trace{}, err
			}
			var trace Trace
			answer, trace, err = do(ctx, desk, actor)
			return answer, trace, err
		})
		if err == nil {
			a.deps.Changed()
		}
		return answer, err
	})
}

// actor is what a caller holds and so may grant.
type actor struct {
	everything  bool
	permissions []string
}

// actor looks again whether the caller may do this at all: whoever let the call pass may have known the roles of a moment ago.
func (a *Administration) actor(ctx context.Context, desk Desk, by Caller) (actor, error) {
	if by.Platform {
		return actor{everything: true}, nil
	}
	p, err := desk.Profile(ctx, Who{Subject: by.Actor, TokenRoles: by.TokenRoles})
	if err != nil {
		return actor{}, err
	}
	if p.Closed {
		return actor{}, fault.PermissionDenied(fault.ReasonTenantState, "the tenant is not in use")
	}
	held := actor{everything: p.GrantsAll, permissions: p.Permissions}
	if by.Permissions != nil {
		held = actor{permissions: by.Permissions}
	}
	if !by.Service && !held.everything && !slices.Contains(held.permissions, permissionAdminister) {
		return actor{}, fault.PermissionDenied(fault.ReasonPermissionMissing, "permission "+permissionAdminister+" is missing").
			With("permission", permissionAdminister)
	}
	return held, nil
}

// mayGrant answers for a permission that the actor lacks.
func (a actor) mayGrant(permissions []string) error {
	for _, p := range permissions {
		if !a.everything && !slices.Contains(a.permissions, p) {
			return notHeld(p)
		}
	}
	return nil
}

// everyPermission is what a role grants that grants also what later releases add.
const everyPermission = "*"

// mayGive is mayGrant for all that a role grants.
func (a actor) mayGive(role Role) error {
	if role.GrantsAll && !a.everything {
		return notHeld(everyPermission)
	}
	return a.mayGrant(role.Permissions)
}

func notHeld(permission string) error {
	return fault.PermissionDenied("PERMISSION_NOT_HELD", "nobody grants what they lack: permission "+permission).With("permission", permission)
}
