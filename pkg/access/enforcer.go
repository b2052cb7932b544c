package access

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"golang.org/x/sync/singleflight"
	"google.golang.org/protobuf/reflect/protoregistry"

	"workflow.uniconnect/pkg/auth"
	"workflow.uniconnect/pkg/fault"
	"workflow.uniconnect/pkg/internal/cache"
)

const (
	// grantsAge is the promise of the contract: a change of role or module applies everywhere within this time.
	grantsAge     = time.Second
	grantsTimeout = 2 * time.Second
	grantsSize    = 4096
)

// Grants are the two gates of one user: the tenant's module and what the user's roles grant, as PermissionName spells it.
type Grants struct {
	ModuleEnabled bool
	Permissions   map[string]struct{}
}

// GrantsFunc looks the grants of a user up. A user it does not know has none.
//
// For a service identity that acts for a tenant it is asked too, with the service's subject, but for the module gate alone.
type GrantsFunc func(ctx context.Context, tenant, subject string) (Grants, error)

// Options describes an Enforcer.
type Options struct {
	// Module is the module whose gate the methods stand behind.
	Module string
	Grants GrantsFunc
	// Files holds the rules; all linked proto files when nil.
	Files *protoregistry.Files
}

// Enforcer lets calls pass or refuses them. It is safe for concurrent use.
type Enforcer struct {
	module string
	rules  map[string]Rule
	lookup GrantsFunc
	flight singleflight.Group
	known  *cache.Cache[user, dated]
	// forgets counts calls of Forget: an answer that was asked for before one of them is not kept.
	forgets atomic.Int64
}

type user struct{ tenant, subject string }

func (u user) key() string { return u.tenant + "\x00" + u.subject }

type dated struct {
	grants Grants
	until  time.Time
}

// NewEnforcer reads the rules of all methods.
func NewEnforcer(opts Options) *Enforcer {
	files := opts.Files
	if files == nil {
		files = protoregistry.GlobalFiles
	}
	return &Enforcer{
		module: opts.Module,
		rules:  rulesOf(files),
		lookup: opts.Grants,
		known:  cache.New[user, dated](grantsSize),
	}
}

// RuleFor returns the rule of a method, named as gRPC names it: /package.Service/Method.
func (e *Enforcer) RuleFor(fullMethod string) (Rule, bool) {
	rule, ok := e.rules[fullMethod]
	return rule, ok
}

// Covers reports whether a method has a rule.
func (e *Enforcer) Covers(fullMethod string) bool {
	_, ok := e.rules[fullMethod]
	return ok
}

// Authorize returns nil when the caller may call the method, else why not.
//
// A service identity is trusted with what it does, not with where: it passes Internal methods, and a tenant's methods only with
// that tenant in its token and through that tenant's module gate.
func (e *Enforcer) Authorize(ctx context.Context, fullMethod string, p auth.Principal) error {
	rule, ok := e.rules[fullMethod]
	switch {
	case !ok:
		return fault.PermissionDenied(fault.ReasonPermissionMissing, "the method admits nobody")
	case rule.Audience == Internal && p.Kind == auth.Service:
		return nil
	case rule.Audience == Internal:
		return fault.PermissionDenied(fault.ReasonInternalMethod, "the method is for service identities")
	case p.Tenant == "":
		return fault.PermissionDenied(fault.ReasonPermissionMissing, "a service identity without a tenant may call internal methods only")
	}
	needsPermission := rule.Audience == Granted && p.Kind == auth.User
	if rule.ModuleExempt && !needsPermission {
		return nil
	}
	grants, err := e.grants(ctx, user{p.Tenant, p.Subject})
	if err != nil {
		return err
	}
	if !rule.ModuleExempt && !grants.ModuleEnabled {
		return fault.PermissionDenied(fault.ReasonModuleDisabled, fmt.Sprintf("module %s is not enabled for the tenant", e.module)).
			With("module", e.module)
	}
	if _, granted := grants.Permissions[rule.Permission]; needsPermission && !granted {
		return fault.PermissionDenied(fault.ReasonPermissionMissing, "permission "+rule.Permission+" is missing").
			With("permission", rule.Permission)
	}
	return nil
}

// Forget drops what is known, for the process that changes grants itself: there a change applies at once.
func (e *Enforcer) Forget(tenant, subject string) {
	who := user{tenant, subject}
	e.forgets.Add(1)
	e.flight.Forget(who.key())
	e.known.Put(who, dated{})
}

func (e *Enforcer) grants(ctx context.Context, who user) (Grants, error) {
	if hit, ok := e.known.Get(who); ok && time.Now().Before(hit.until) {
		return hit.grants, nil
	}
	// The flight serves every call of this user, so it ends with its own timeout and not with the call that began it.
	done := e.flight.DoChan(who.key(), func() (any, error) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), grantsTimeout)
		defer cancel()
		asked, forgets := time.Now(), e.forgets.Load() // before the answer: an answer is as old as its question
		grants, err := e.lookup(ctx, who.tenant, who.subject)
		if err != nil {
			return Grants{}, err
		}
		if e.forgets.Load() == forgets {
			e.known.Put(who, dated{grants, asked.Add(grantsAge)})
		}
		return grants, nil
	})
	select {
	case r := <-done:
		if r.Err != nil {
			return Grants{}, fault.Unavailable(fault.ReasonServiceUnavailable, "permissions cannot be looked up now").WithCause(r.Err)
		}
		return r.Val.(Grants), nil
	case <-ctx.Done():
		return Grants{}, ctx.Err()
	}
}
