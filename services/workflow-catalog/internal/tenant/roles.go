package tenant

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/text/cases"
	"golang.org/x/text/unicode/norm"

	"workflow.uniconnect/pkg/fault"
)

// RoleID identifies a role: a UUID in its text form.
type RoleID string

// Role is a set of permissions with a title.
type Role struct {
	ID          RoleID
	Title       string
	Description string
	// GrantsAll includes what later releases add.
	GrantsAll bool
	// Permissions are sorted.
	Permissions []string
	// BuiltIn roles cannot be changed.
	BuiltIn bool
	// Users is how many were given the role.
	Users                  int
	CreateTime, UpdateTime time.Time
}

// MaxRoles bounds the roles of a tenant.
const MaxRoles = 500

// Fingerprint identifies what people can change of a role.
func (r *Role) Fingerprint() []byte {
	return fingerprint([]any{r.ID, r.Title, r.Description, r.GrantsAll, r.Permissions})
}

// ETag names the role's present content.
func (r *Role) ETag() string { return etagOf(r.Fingerprint()) }

// fingerprint identifies values that JSON can hold.
func fingerprint(values any) []byte {
	text, err := json.Marshal(values)
	if err != nil {
		panic(fmt.Sprintf("fingerprint of %T: %v", values, err)) // cannot happen: texts, numbers and lists of them
	}
	sum := sha256.Sum256(text)
	return sum[:]
}

const etagBytes = 8

func etagOf(sum []byte) string { return hex.EncodeToString(sum[:etagBytes]) }

// titleKey makes titles equal that people read as equal.
func titleKey(title string) string {
	return strings.Join(strings.Fields(norm.NFKC.String(cases.Fold().String(norm.NFKC.String(title)))), " ")
}

func byTitle(roles []Role, title string) (Role, bool) {
	key := titleKey(title)
	i := slices.IndexFunc(roles, func(r Role) bool { return titleKey(r.Title) == key })
	if i < 0 {
		return Role{}, false
	}
	return roles[i], true
}

func byID(roles []Role, id RoleID) (Role, bool) {
	i := slices.IndexFunc(roles, func(r Role) bool { return r.ID == id })
	if i < 0 {
		return Role{}, false
	}
	return roles[i], true
}

// The refusals about roles.
var (
	// ErrRoleNotFound answers for a role that does not exist, never did, or belongs to another tenant: nobody can tell which.
	ErrRoleNotFound = fault.NotFound("ROLE_NOT_FOUND", "the role does not exist")

	errBuiltIn = fault.FailedPrecondition("ROLE_BUILT_IN", "the role is built in and cannot be changed")
)

// CreateRole adds a role. Nobody grants what they lack.
func (a *Administration) CreateRole(ctx context.Context, by Caller, role Role) (Role, error) {
	return administer(ctx, a, by, func(ctx context.Context, desk Desk, actor actor) (Role, Trace, error) {
		role := role
		if err := a.tidy(&role); err != nil {
			return Role{}, Trace{}, err
		}
		if err := actor.mayGrant(role.Permissions); err != nil {
			return Role{}, Trace{}, err
		}
		roles, err := desk.Roles(ctx)
		if err != nil {
			return Role{}, Trace{}, err
		}
		if err := free(roles, role); err != nil {
			return Role{}, Trace{}, err
		}
		if len(roles) >= MaxRoles {
			return Role{}, Trace{}, fault.ResourceExhausted(fault.ReasonLimitReached, "the tenant has as many roles as it can have").
				With("limit", "roles").With("value", strconv.Itoa(MaxRoles))
		}
		if role.ID, err = a.deps.NewID(); err != nil {
			return Role{}, Trace{}, err
		}
		role, err = desk.PutRole(ctx, role)
		return role, Trace{Resource: roleResource(role.ID), After: role.Fingerprint()}, err
	})
}

// UpdateRole changes a role that is not built in to what patch makes of it. The caller must hold what the role grants afterwards and did not
// before.
func (a *Administration) UpdateRole(ctx context.Context, by Caller, target RoleTarget, patch func(Role) (Role, error)) (Role, error) {
	return administer(ctx, a, by, func(ctx context.Context, desk Desk, actor actor) (Role, Trace, error) {
		before, roles, err := open(ctx, desk, target)
		if err != nil {
			return Role{}, Trace{}, err
		}
		after, err := patch(before)
		if err != nil {
			return Role{}, Trace{}, err
		}
		if err := a.tidy(&after); err != nil {
			return Role{}, Trace{}, err
		}
		added := slices.DeleteFunc(slices.Clone(after.Permissions), func(p string) bool { return slices.Contains(before.Permissions, p) })
		if err := actor.mayGrant(added); err != nil {
			return Role{}, Trace{}, err
		}
		if err := free(roles, after); err != nil {
			return Role{}, Trace{}, err
		}
		if before.ETag() == after.ETag() {
			return before, Trace{}, nil
		}
		after, err = desk.PutRole(ctx, after)
		return after, Trace{Resource: roleResource(after.ID), Before: before.Fingerprint(), After: after.Fingerprint()}, err
	})
}

// DeleteRole removes a role that is not built in. Users lose it, and values of tokens stand for it no more.
func (a *Administration) DeleteRole(ctx context.Context, by Caller, target RoleTarget) error {
	_, err := administer(ctx, a, by, func(ctx context.Context, desk Desk, _ actor) (struct{}, Trace, error) {
		before, _, err := open(ctx, desk, target)
		if err != nil {
			return struct{}{}, Trace{}, err
		}
		return struct{}{}, Trace{Resource: roleResource(before.ID), Before: before.Fingerprint()}, desk.DropRole(ctx, before.ID)
	})
	return err
}

// RoleTarget names the role that a call is about, and what it must be unless ETag is empty.
type RoleTarget struct {
	ID   RoleID
	ETag string
}

func open(ctx context.Context, desk Desk, target RoleTarget) (Role, []Role, error) {
	roles, err := desk.Roles(ctx)
	if err != nil {
		return Role{}, nil, err
	}
	role, ok := byID(roles, target.ID)
	switch {
	case !ok:
		return Role{}, nil, ErrRoleNotFound
	case role.BuiltIn:
		return Role{}, nil, errBuiltIn
	case target.ETag != "" && target.ETag != role.ETag():
		return Role{}, nil, fault.Aborted("ETAG_MISMATCH", "the role changed since it was read").With("etag", role.ETag())
	}
	return role, roles, nil
}

// tidy sorts the permissions and answers what is wrong with the role.
func (a *Administration) tidy(role *Role) error {
	var found []fault.Violation
	role.Title = strings.TrimSpace(role.Title)
	if role.Title == "" {
		found = append(found, fault.Violation{Field: "title", Description: "must not be blank"})
	}
	for i, p := range role.Permissions {
		if !slices.Contains(a.deps.Permissions, p) {
			found = append(found, fault.Violation{
				Field: fmt.Sprintf("permissions[%d]", i), Description: "is not a permission; see the list of permissions",
			})
		}
	}
	role.Permissions = slices.Compact(slices.Sorted(slices.Values(role.Permissions)))
	return fault.Check(found...)
}

// free answers for a title that another role has. A role keeps the one that it has.
func free(roles []Role, role Role) error {
	if before, ok := byID(roles, role.ID); ok && titleKey(before.Title) == titleKey(role.Title) {
		return nil
	}
	if other, taken := byTitle(roles, role.Title); taken {
		return fault.AlreadyExists("ROLE_EXISTS", "a role with this title exists").With("role_id", string(other.ID))
	}
	return nil
}

func roleResource(id RoleID) string { return "roles/" + string(id) }

func compareRoles(a, b Role) int {
	return cmp.Or(cmp.Compare(a.Title, b.Title), cmp.Compare(a.ID, b.ID))
}
