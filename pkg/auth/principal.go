// Package auth answers who is calling. It verifies bearer tokens, makes them in development, fetches them for our own services, and
// carries the caller through a call's context. What a caller may do is package access's.
package auth

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"workflow.uniconnect/pkg/fault"
)

// Kind tells people from programs, and our own programs from others.
type Kind uint8

// The kinds of callers. The zero value is the weakest one.
const (
	// User is a person.
	User Kind = iota
	// Service is one of the Workflow Manager's own services. It alone may call internal methods.
	Service
	// Client is another service of the platform. What it may do is granted to it as to a person, or by the settings; see Acting.
	Client
)

// String returns the kind for logs.
func (k Kind) String() string {
	switch k {
	case Service:
		return kindService
	case Client:
		return kindClient
	}
	return kindUser
}

// What the claim uc_kind says.
const (
	kindUser    = "user"
	kindService = "service"
	kindClient  = "client"
)

// Principal is a caller whose token was verified.
type Principal struct {
	// Tenant is never empty for a User; programs may act for all tenants and then have none.
	Tenant  string
	Subject string
	Kind    Kind
	Roles   []string
	Email   string
	// Permissions are what the settings let a Client do in the tenant that it names. Nil: its tenant's roles say what it may do.
	Permissions []string
}

// TenantPattern is what a tenant's name looks like. It is part of NATS subjects and keys, so nothing else is safe.
const TenantPattern = `^[a-z0-9]{1,32}$`

var tenantRegexp = regexp.MustCompile(TenantPattern)

var errNoTenant = errors.New("no tenant in token")

const (
	maxSubject = 256
	maxRoles   = 200
)

// check returns why p cannot be a caller.
func (p *Principal) check() error {
	switch {
	case p.Kind == User && p.Tenant == "":
		return errNoTenant
	case p.Tenant != "" && !tenantRegexp.MatchString(p.Tenant):
		return fmt.Errorf("tenant does not match %s", TenantPattern)
	case p.Subject == "" || !printable(p.Subject):
		return fmt.Errorf("subject is not a text of 1 to %d bytes", maxSubject)
	case len(p.Roles) > maxRoles || slices.ContainsFunc(p.Roles, func(role string) bool { return !printable(role) }):
		return fmt.Errorf("roles are not up to %d texts", maxRoles)
	}
	return nil
}

func printable(text string) bool {
	control := func(r rune) bool { return r < 0x20 || r == 0x7f }
	return len(text) <= maxSubject && utf8.ValidString(text) && !strings.ContainsFunc(text, control)
}

// Acting returns p as it acts for the tenant that a call names. Only a Client that the settings let choose may name one; for whoever
// has a tenant, naming another is refused and not ignored, so that nothing is done in a tenant that was not meant.
func (p Principal) Acting(tenant string) (Principal, error) {
	switch {
	case !tenantRegexp.MatchString(tenant):
		return p, fault.Invalid(fault.Violation{Field: TenantKey, Description: "does not match " + TenantPattern, Reason: fault.ReasonFieldRule})
	case p.Tenant == tenant:
		return p, nil
	case p.Kind != Client || p.Tenant != "" || len(p.Permissions) == 0:
		return p, fault.PermissionDenied(fault.ReasonPermissionMissing, "the caller may not choose the tenant")
	}
	p.Tenant = tenant
	return p, nil
}

// TenantKey is the metadata in which a Client that may choose names the tenant of a call.
const TenantKey = "uc-tenant"

type (
	principalKey struct{}
	tokenKey     struct{}
)

// NewContext returns a context that carries the caller.
func NewContext(ctx context.Context, p Principal) context.Context {
	return context.WithValue(ctx, principalKey{}, p)
}

// FromContext returns the caller of this call.
func FromContext(ctx context.Context) (Principal, bool) {
	p, ok := ctx.Value(principalKey{}).(Principal)
	return p, ok
}

// NewTokenContext returns a context that carries the caller's verified token, for calls made on the caller's behalf.
func NewTokenContext(ctx context.Context, token string) context.Context {
	return context.WithValue(ctx, tokenKey{}, token)
}

// TokenFromContext returns the token that the caller came with.
func TokenFromContext(ctx context.Context) (string, bool) {
	token, ok := ctx.Value(tokenKey{}).(string)
	return token, ok
}
