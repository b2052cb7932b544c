package tenant

import (
	"context"
	"errors"
	"strings"
	"time"

	"workflow.uniconnect/pkg/fault"
	"workflow.uniconnect/services/workflow-catalog/internal/workflow"
)

// State is whether a tenant can be used. The numbers are those of the contract.
type State int16

// The states.
const (
	Active State = 1
	// Suspended refuses every call and starts nothing; executions under way finish.
	Suspended State = 2
	// Deleting is for good.
	Deleting State = 3
)

// String returns the state as the contract names it.
func (s State) String() string {
	switch s {
	case Suspended:
		return "SUSPENDED"
	case Deleting:
		return "DELETING"
	case Active:
	}
	return "ACTIVE"
}

// Tenant is a customer of the platform.
type Tenant struct {
	Name       workflow.Tenant
	Title      string
	State      State
	Settings   Settings
	CreateTime time.Time
}

// Fingerprint identifies what can change of a tenant, but its settings, which have their own.
func (t *Tenant) Fingerprint() []byte { return fingerprint([]any{t.Name, t.Title, t.State}) }

// defaultZone is that of tenants that name none.
const defaultZone = "UTC"

// ActionDeleted is the line in the platform's audit that says that everything of a tenant is gone.
const ActionDeleted = "TenantDeleted"

// The methods of the platform's calls, as the audit and the request ids know them.
const (
	MethodCreate  = "CreateTenant"
	MethodUpdate  = "UpdateTenant"
	MethodSuspend = "SuspendTenant"
	MethodResume  = "ResumeTenant"
	MethodDelete  = "DeleteTenant"
)

// ErrExists answers for a name that a tenant has, or had until lately: what is still on its way to the one must not reach another.
var ErrExists = fault.AlreadyExists("TENANT_EXISTS", "a tenant has this name, or had it in the last 30 days")

var errConfirmTenant = fault.FailedPrecondition("CONFIRM_MISMATCH", "confirm is not the tenant's name")

// ErrDeleting answers for a change of a tenant on its way out.
var ErrDeleting = fault.FailedPrecondition(fault.ReasonTenantState, "the tenant is being deleted").With("state", Deleting.String())

// Shift is a change of state.
type Shift struct {
	To State
	// Note is why, for the audit.
	Note string
}

// LifecycleStore keeps tenants. Each change is one transaction that writes what changes, the gate that follows, the tenant's audit and the
// answer to the request id, which for these calls is one of the caller's and not of the tenant's.
type LifecycleStore interface {
	workflow.Replayer
	// CreateTenant adds a tenant with everything in the seed and has settle put its settings in place, or answers ErrExists.
	CreateTenant(ctx context.Context, call workflow.Call, seed Seed, settle func(ctx context.Context, desk Desk) error) (Tenant, error)
	// Tenant returns a tenant, or ErrNotFound.
	Tenant(ctx context.Context, name workflow.Tenant) (Tenant, error)
	// Tenants returns up to limit tenants whose names follow another, by name.
	Tenants(ctx context.Context, after workflow.Tenant, limit int) ([]Tenant, error)
	// ShiftTenant changes the state. Where it is so already nothing changes; a tenant on its way out answers ErrDeleting to all but Deleting.
	ShiftTenant(ctx context.Context, call workflow.Call, shift Shift) (Tenant, error)
	// RenameTenant changes the title. Where it is so already nothing changes.
	RenameTenant(ctx context.Context, call workflow.Call, title string) (Tenant, error)
	// Export hands what the catalog has of a tenant, but the tenant itself, to yield.
	Export(ctx context.Context, name workflow.Tenant, yield func(kind string, document []byte) error) error
}

// Exporter is another service that holds something of tenants.
type Exporter interface {
	Export(ctx context.Context, name workflow.Tenant, yield func(kind string, document []byte) error) error
}

// LifecycleDeps is what a Lifecycle works with. All are required.
type LifecycleDeps struct {
	Store LifecycleStore
	// Administration changes settings.
	Administration *Administration
	// Exporters are the other services.
	Exporters []Exporter
	// Changed is told about each change after its commit. It must not block.
	Changed func()
}

// Lifecycle is how the platform makes tenants and ends them; package deletion does the rest of an end.
type Lifecycle struct{ deps LifecycleDeps }

// NewLifecycle returns a Lifecycle.
func NewLifecycle(deps LifecycleDeps) *Lifecycle { return &Lifecycle{deps: deps} }

// Begin is what a tenant begins with, beside what every tenant has.
type Begin struct {
	Title string
	// Owner is the subject of the first System Owner.
	Owner string
	// Settings makes the settings of the defaults.
	Settings func(Settings) (Settings, error)
}

// Create makes a tenant with the roles that every tenant has, its module enabled and one System Owner.
func (l *Lifecycle) Create(ctx context.Context, call workflow.Call, begin Begin) (Tenant, error) {
	if err := checkBegin(call.Tenant, &begin); err != nil {
		return Tenant{}, err
	}
	seed := Seed{
		Tenant: string(call.Tenant), Title: begin.Title, TimeZone: defaultZone, Roles: defaultRoles(),
		Users: []User{{Subject: begin.Owner, Roles: []string{RoleSystemOwner}}},
	}
	return l.once(ctx, call, func() (Tenant, error) {
		return l.deps.Store.CreateTenant(ctx, call, seed, func(ctx context.Context, desk Desk) error {
			before, err := desk.Settings(ctx)
			if err != nil {
				return err
			}
			after, err := begin.Settings(before)
			if err != nil {
				return err
			}
			mapping, err := checkSettings(ctx, desk, before, &after, Caller{Call: call, Platform: true})
			if err != nil {
				return err
			}
			return desk.SetSettings(ctx, after, mapping)
		})
	})
}

func checkBegin(name workflow.Tenant, begin *Begin) error {
	var found []fault.Violation
	if !tenantName.MatchString(string(name)) {
		found = append(found, fault.Violation{Field: "tenant.tenant", Description: "must be 1 to 32 lower-case letters and digits"})
	}
	if begin.Title = strings.TrimSpace(begin.Title); begin.Title == "" {
		found = append(found, fault.Violation{Field: "tenant.title", Description: "must not be blank"})
	}
	const maxSubject = 256
	if !isText(begin.Owner, maxSubject) {
		found = append(found, fault.Violation{Field: "owner", Description: "must be a subject of tokens: 1 to 256 printable characters"})
	}
	return fault.Check(found...)
}

// Get returns a tenant.
func (l *Lifecycle) Get(ctx context.Context, name workflow.Tenant) (Tenant, error) {
	return l.deps.Store.Tenant(ctx, name)
}

// List returns up to limit tenants after another, by name, and whether there are more.
func (l *Lifecycle) List(ctx context.Context, after workflow.Tenant, limit int) ([]Tenant, bool, error) {
	found, err := l.deps.Store.Tenants(ctx, after, limit+1)
	found, more := cut(found, limit)
	return found, more, err
}

// Patch changes a tenant. What is nil stays.
type Patch struct {
	Title *string
	// ETag, unless empty, is of the settings that Settings is made for.
	ETag     string
	Settings func(Settings) (Settings, error)
}

// Update changes title and settings. The settings come first: they may be refused. A repetition of a call that ended between the two does
// what is left.
func (l *Lifecycle) Update(ctx context.Context, call workflow.Call, patch Patch) (Tenant, error) {
	current, err := l.deps.Store.Tenant(ctx, call.Tenant)
	if err != nil {
		return Tenant{}, err
	}
	if current.State == Deleting {
		return Tenant{}, ErrDeleting
	}
	if patch.Title != nil {
		if *patch.Title = strings.TrimSpace(*patch.Title); *patch.Title == "" {
			return Tenant{}, fault.Invalid(fault.Violation{Field: "tenant.title", Description: "must not be blank"})
		}
	}
	if patch.Settings != nil {
		by := Caller{Call: call, Platform: true}
		if _, err := l.deps.Administration.UpdateSettings(ctx, by, patch.ETag, patch.Settings); err != nil {
			return Tenant{}, err
		}
	}
	if patch.Title != nil {
		// To do it twice is to do it once, and the request id is taken.
		call.RequestID = ""
		if _, err := l.deps.Store.RenameTenant(ctx, call, *patch.Title); err != nil {
			return Tenant{}, err
		}
	}
	return l.deps.Store.Tenant(ctx, call.Tenant)
}

// Suspend refuses every call of a tenant and starts nothing any more, until it is resumed.
func (l *Lifecycle) Suspend(ctx context.Context, call workflow.Call, reason string) (Tenant, error) {
	return l.shift(ctx, call, Shift{To: Suspended, Note: reason})
}

// Resume ends a suspension. What happened meanwhile starts nothing.
func (l *Lifecycle) Resume(ctx context.Context, call workflow.Call) (Tenant, error) {
	return l.shift(ctx, call, Shift{To: Active})
}

// Delete marks a tenant as on its way out, which is for good. confirm must be its name.
func (l *Lifecycle) Delete(ctx context.Context, call workflow.Call, confirm string) (Tenant, error) {
	if _, err := l.deps.Store.Tenant(ctx, call.Tenant); err == nil && confirm != string(call.Tenant) {
		return Tenant{}, errConfirmTenant
	}
	t, err := l.shift(ctx, call, Shift{To: Deleting})
	if errors.Is(err, workflow.ErrForgotten) {
		// A repeated deletion that is over.
		return Tenant{Name: call.Tenant, State: Deleting}, nil
	}
	return t, err
}

func (l *Lifecycle) shift(ctx context.Context, call workflow.Call, shift Shift) (Tenant, error) {
	return l.once(ctx, call, func() (Tenant, error) { return l.deps.Store.ShiftTenant(ctx, call, shift) })
}

func (l *Lifecycle) once(ctx context.Context, call workflow.Call, do func() (Tenant, error)) (Tenant, error) {
	return workflow.Once(ctx, l.deps.Store, call, func() (Tenant, error) {
		done, err := do()
		if err == nil {
			l.deps.Changed()
		}
		return done, err
	})
}

// Export hands everything of a tenant but the tenant itself to yield: what the catalog has, then what the other services have. Each document
// is whole; together they are of the time that reading them took.
func (l *Lifecycle) Export(ctx context.Context, name workflow.Tenant, yield func(kind string, document []byte) error) error {
	if err := l.deps.Store.Export(ctx, name, yield); err != nil {
		return err
	}
	for _, e := range l.deps.Exporters {
		if err := e.Export(ctx, name, yield); err != nil {
			return err
		}
	}
	return nil
}
