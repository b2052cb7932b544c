// Package tenant owns who belongs to a tenant and what they may do: modules, roles and the roles of users. Two gates decide about a
// call, the tenant's module and the permissions of the user's roles; both are closed to whom nobody has opened them.
package tenant

import (
	"context"
	"fmt"
	"regexp"
	"slices"
)

// ModuleWorkflow is the module that every workflow method stands behind.
const ModuleWorkflow = "workflow"

// The roles that every tenant has.
const (
	RoleSystemOwner = "System Owner"
	RoleUser        = "User"
)

// User is a subject of tokens with the titles of the roles that it was given.
type User struct {
	Subject string
	Roles   []string
}

// Seed is what a tenant begins with, beside the roles that every tenant has.
type Seed struct {
	Tenant, Title, TimeZone string
	Roles                   []Role
	Users                   []User
}

// Who is a subject of tokens, with the roles that its token claims.
type Who struct {
	Subject    string
	TokenRoles []string
}

// Profile is what is known of a user of a tenant. A user that nobody has heard of has no roles.
type Profile struct {
	// Closed says that the tenant is suspended, on its way out, or does not exist.
	Closed bool
	Quotas Quotas
	// Modules are those enabled for the tenant.
	Modules []string
	// Roles are those given and those that the tenant has mapped the token's to, by title.
	Roles       []string
	GrantsAll   bool
	Permissions []string
}

// ModuleEnabled reports whether the tenant's gate of a module is open.
func (p *Profile) ModuleEnabled(module string) bool { return slices.Contains(p.Modules, module) }

// Store keeps tenants.
type Store interface {
	// Profile returns what is known of a user.
	Profile(ctx context.Context, tenant string, who Who) (Profile, error)
	// AddTenant writes a tenant with everything in the seed unless the tenant exists, and says whether it did.
	AddTenant(ctx context.Context, seed Seed) (added bool, err error)
}

// Directory answers who may do what.
type Directory struct {
	store Store
	all   []string
}

// NewDirectory returns a Directory; permissions are all that exist.
func NewDirectory(store Store, permissions []string) *Directory {
	return &Directory{store: store, all: slices.Sorted(slices.Values(permissions))}
}

// Profile returns what is known of a user, with the permissions of a role that grants all spelled out, sorted.
func (d *Directory) Profile(ctx context.Context, tenant string, who Who) (Profile, error) {
	p, err := d.store.Profile(ctx, tenant, who)
	if p.GrantsAll {
		p.Permissions = slices.Clone(d.all)
	}
	return p, err
}

var tenantName = regexp.MustCompile(`^[a-z0-9]{1,32}$`)

// defaultRoles are those that every tenant has.
func defaultRoles() []Role {
	return []Role{{Title: RoleSystemOwner, GrantsAll: true, BuiltIn: true}, {Title: RoleUser, BuiltIn: true}}
}

// Ensure makes a tenant unless it exists; one that exists stays as its people have made it.
func (d *Directory) Ensure(ctx context.Context, seed Seed) (created bool, err error) {
	seed.Roles = append(defaultRoles(), seed.Roles...)
	if err := d.check(seed); err != nil {
		return false, fmt.Errorf("seed of tenant %q: %w", seed.Tenant, err)
	}
	return d.store.AddTenant(ctx, seed)
}

func (d *Directory) check(seed Seed) error {
	if !tenantName.MatchString(seed.Tenant) {
		return fmt.Errorf("the name does not match %s", tenantName)
	}
	if !isZone(seed.TimeZone) {
		return fmt.Errorf("%q is not an IANA time zone", seed.TimeZone)
	}
	titles := make(map[string]struct{}, len(seed.Roles))
	for _, role := range seed.Roles {
		if _, twice := titles[role.Title]; twice || role.Title == "" {
			return fmt.Errorf("role title %q is empty or used twice", role.Title)
		}
		titles[role.Title] = struct{}{}
		for _, p := range role.Permissions {
			if !slices.Contains(d.all, p) {
				return fmt.Errorf("role %q has the unknown permission %q", role.Title, p)
			}
		}
	}
	for _, user := range seed.Users {
		for _, role := range user.Roles {
			if _, known := titles[role]; !known {
				return fmt.Errorf("user %q has the unknown role %q", user.Subject, role)
			}
		}
	}
	return nil
}
