package tenant

import (
	"context"
	"slices"

	"workflow.uniconnect/pkg/fault"
)

// Member is a subject of tokens with the roles that it was given.
type Member struct {
	Subject string
	// Roles are in the order of their titles.
	Roles []RoleName
}

// RoleName is a role as lists name it.
type RoleName struct {
	ID    RoleID
	Title string
}

func (m *Member) holds(id RoleID) bool {
	return slices.ContainsFunc(m.Roles, func(r RoleName) bool { return r.ID == id })
}

func (m *Member) fingerprint() []byte {
	ids := make([]string, len(m.Roles))
	for i, r := range m.Roles {
		ids[i] = string(r.ID)
	}
	slices.Sort(ids)
	return fingerprint([]any{m.Subject, ids})
}

var errLastOwner = fault.FailedPrecondition("LAST_OWNER", "one System Owner must remain: give the role to somebody else first")

// UpdateUser gives a user these roles and takes all others away. The caller must hold what a role grants to give it, not to take it away; so
// nobody can lift themselves or another above themselves. One user with a role that grants everything must remain.
func (a *Administration) UpdateUser(ctx context.Context, by Caller, subject string, ids []RoleID) (Member, error) {
	return administer(ctx, a, by, func(ctx context.Context, desk Desk, actor actor) (Member, Trace, error) {
		roles, err := desk.Roles(ctx)
		if err != nil {
			return Member{}, Trace{}, err
		}
		before, err := desk.Member(ctx, subject)
		if err != nil {
			return Member{}, Trace{}, err
		}
		after := Member{Subject: subject}
		var given []Role
		for _, id := range ids {
			role, ok := byID(roles, id)
			if !ok {
				return Member{}, Trace{}, ErrRoleNotFound
			}
			if !after.holds(id) {
				given = append(given, role)
				after.Roles = append(after.Roles, RoleName{ID: role.ID, Title: role.Title})
			}
		}
		for _, role := range given {
			if before.holds(role.ID) {
				continue
			}
			if err := actor.mayGive(role); err != nil {
				return Member{}, Trace{}, err
			}
		}
		if err := ownerRemains(ctx, desk, roles, before, after); err != nil {
			return Member{}, Trace{}, err
		}
		slices.SortFunc(after.Roles, func(x, y RoleName) int {
			return compareRoles(Role{ID: x.ID, Title: x.Title}, Role{ID: y.ID, Title: y.Title})
		})
		trace := Trace{Resource: "users/" + subject, Before: before.fingerprint(), After: after.fingerprint()}
		if slices.Equal(trace.Before, trace.After) {
			return after, Trace{}, nil
		}
		return after, trace, desk.Assign(ctx, after)
	})
}

// ownerRemains refuses to take the last role away that grants everything. Roles that tokens claim do not count: nobody knows who has such a
// token.
func ownerRemains(ctx context.Context, desk Desk, roles []Role, before, after Member) error {
	for _, role := range roles {
		if !role.GrantsAll || !before.holds(role.ID) || after.holds(role.ID) {
			continue
		}
		others, err := desk.HeldByOthers(ctx, role.ID, before.Subject)
		if err != nil {
			return err
		}
		if !others {
			return errLastOwner
		}
	}
	return nil
}
