package catalog

import (
	"context"

	"workflow.uniconnect/services/workflow-catalog/internal/tenant"
)

// TenantSeed is what a tenant begins with, beside the roles `System Owner` and `User` that every tenant has.
type TenantSeed struct {
	// Tenant is its name, as tokens and subjects have it; TimeZone is an IANA zone.
	Tenant, Title, TimeZone string
	Roles                   []RoleSeed
	Users                   []UserSeed
}

// RoleSeed is a role with its permissions, for example `workflow.view`.
type RoleSeed struct {
	Title       string
	Permissions []string
}

// UserSeed is a subject of tokens with the titles of its roles.
type UserSeed struct {
	Subject string
	Roles   []string
}

// EnsureTenant makes a tenant with its module enabled, its roles and users. A tenant that exists is left as it is,
// and created is false.
func (s *Service) EnsureTenant(ctx context.Context, seed TenantSeed) (created bool, err error) {
	in := tenant.Seed{Tenant: seed.Tenant, Title: seed.Title, TimeZone: seed.TimeZone}
	for _, r := range seed.Roles {
		in.Roles = append(in.Roles, tenant.Role{Title: r.Title, Permissions: r.Permissions})
	}
	for _, u := range seed.Users {
		in.Users = append(in.Users, tenant.User(u))
	}
	return s.directory.Ensure(ctx, in)
}
