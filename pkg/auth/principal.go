// Package auth answers who is calling. It verifies bearer tokens, makes them in development, fetches them for our own services, and
// carries the caller through a call's context. What a caller may do is package access's.
package auth

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"unicode/utf8"
)

// Kind tells people from programs.
type Kind uint8

// The kinds of callers. The zero value is the weaker one.
const (
	User Kind = iota
	Service
)

// String returns the kind for logs.
func (k Kind) String() string {
	if k == Service {
		return "service"
	}
	return "user"
}

// Principal is a caller whose token was verified.
type Principal struct {
	// Tenant is never empty for a User; a Service may act for all tenants and then has none.
	Tenant  string
	Subject string
	Kind    Kind
	Roles   []string
	Email   string
}

// TenantPattern is what a tenant's name looks like. It is part of NATS subjects and keys, so nothing else is safe.
const TenantPattern = `^[a-z0-9]{1,32}$`

var tenantRegexp = regexp.MustCompile(TenantPattern)

var errNoTenant = errors.New("no tenant in token")

const maxSubject = 256

// check returns why p cannot be a caller.
func (p *Principal) check() error {
	switch {
	case p.Kind == User && p.Tenant == "":
		return errNoTenant
	case p.Tenant != "" && !tenantRegexp.MatchString(p.Tenant):
		return fmt.Errorf("tenant does not match %s", TenantPattern)
	case p.Subject == "" || len(p.Subject) > maxSubject || !utf8.ValidString(p.Subject):
		return fmt.Errorf("subject is not a text of 1 to %d bytes", maxSubject)
	case strings.ContainsFunc(p.Subject, func(r rune) bool { return r < 0x20 || r == 0x7f }):
		return errors.New("subject holds a control character")
	}
	return nil
}

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
