// Package devusers lists the people who exist in development: those whom the seed creates, for whom `workflowd token` prints a token, and
// whom the sign-in page offers. Outside development nobody reads it.
package devusers

import (
	"slices"

	"workflow.uniconnect/pkg/auth"
)

// The roles that the seed creates in every tenant.
const (
	RoleSystemOwner = "System Owner"
	RoleBuilder     = "Workflow Builder"
	RoleViewer      = "Workflow Viewer"
	RoleUser        = "User"
)

// User is somebody of a development tenant. The name is an e-mail address and the subject of the token.
type User struct {
	Name   string
	Tenant string
	Roles  []string
}

// Principal returns what the user's token says.
func (u User) Principal() auth.Principal {
	return auth.Principal{Tenant: u.Tenant, Subject: u.Name, Kind: auth.User, Roles: slices.Clone(u.Roles), Email: u.Name}
}

// All returns the users in the order in which people are offered them.
func All() []User {
	return []User{
		{Name: "owner@acme.test", Tenant: "acme", Roles: []string{RoleSystemOwner}},
		{Name: "builder@acme.test", Tenant: "acme", Roles: []string{RoleBuilder}},
		{Name: "viewer@acme.test", Tenant: "acme", Roles: []string{RoleViewer}},
		{Name: "agent@acme.test", Tenant: "acme", Roles: []string{RoleUser}},
		{Name: "owner@globex.test", Tenant: "globex", Roles: []string{RoleSystemOwner}},
	}
}

// Find returns the user of that name.
func Find(name string) (User, bool) {
	for _, u := range All() {
		if u.Name == name {
			return u, true
		}
	}
	return User{}, false
}
