package access

import (
	"cmp"
	"context"
	"crypto/sha256"
	"fmt"
	"slices"
	"strings"
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

// Grants are the gates of one caller: the tenant itself, its module, and what the caller's roles grant, as PermissionName spells it.
type Grants struct {
	// TenantClosed says that the tenant is suspended, on its way out, or does not exist.
	TenantClosed  bool
	ModuleEnabled bool
	Permissions   map[string]struct{}
	Quotas        Quotas
}

// Quotas are limits of a tenant; 0 is the default.
type Quotas struct {
	// RequestsPerSecond is over all methods.
	RequestsPerSecond int
	Workflows         int
	// Streams is how many are open at a time.
	Streams int
}

// The defaults of quotas.
const (
	DefaultRequestsPerSecond = 200
	DefaultWorkflows         = 100_000
	DefaultStreams           = 100
)

// OrDefault returns the quotas with what is 0 spelled out.
func (q Quotas) OrDefault() Quotas {
	return Quotas{
		RequestsPerSecond: cmp.Or(q.RequestsPerSecond, DefaultRequestsPerSecond),
		Workflows:         cmp.Or(q.Workflows, DefaultWorkflows),
		Streams:           cmp.Or(q.Streams, DefaultStreams),
	}
}

// GrantsFunc looks the grants of a caller up. A user it does not know has none.
//
// For a service identity that acts for a tenant it is asked too, but for the gates of the tenant and its module alone.
type GrantsFunc func(ctx context.Context, who auth.Principal) (Grants, error)

// Options describes an Enforcer.
type Options struct {
	// Module is the module whose gate the methods stand behind.
	Module string
	Grants GrantsFunc
	// Platform names the service identities that may call Platform methods.
	Platform []string
	// Files holds the rules; all linked proto files when nil.
	Files *protoregistry.Files
}

// Enforcer lets calls pass or refuses them. It is safe for concurrent use.
type Enforcer struct {
	module   string
	platform []string
	rules    map[string]Rule
	lookup   GrantsFunc
	flight   singleflight.Group
	known    *cache.Cache[user, dated]
	// forgets counts calls of Forget: an answer that was asked for before one of them is no answer any more.
	forgets atomic.Int64
}

// user is whom grants belong to: the same subject may come with other roles in its token.
type user struct {
	tenant, subject string
	roles           [sha256.Size]byte
}

func userOf(p auth.Principal) user {
	u := user{tenant: p.Tenant, subject: p.Subject}
	if len(p.Roles) > 0 {
		u.roles = sha256.Sum256([]byte(strings.Join(p.Roles, "\x00")))
	}
	return u
}

type dated struct {
	grants  Grants
	until   time.Time
	forgets int64
}

// NewEnforcer reads the rules of all methods.
func NewEnforcer(opts Options) *Enforcer {
	files := opts.Files
	if files == nil {
		files = protoregistry.GlobalFiles
	}
	return &Enforcer{
		module:   opts.Module,
		platform: opts.Platform,
		rules:    rulesOf(files),
		lookup:   opts.Grants,
		known:    cache.New[user, dated](grantsSize),
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
// One of our own services is trusted with what it does, not with where: it passes Internal methods, and a tenant's methods only with
// that tenant in its token and through the gates of that tenant and its module. Another service is granted what it may do.
func (e *Enforcer) Authorize(ctx context.Context, fullMethod string, p auth.Principal) error {
	rule, ok := e.rules[fullMethod]
	switch {
	case !ok:
		return fault.PermissionDenied(fault.ReasonPermissionMissing, "the method admits nobody")
	case rule.Audience == Internal && p.Kind == auth.Service:
		return nil
	case rule.Audience == Internal:
		return fault.PermissionDenied(fault.ReasonInternalMethod, "the method is for service identities")
	case rule.Audience == Platform && e.administers(p):
		return nil
	case rule.Audience == Platform:
		return fault.PermissionDenied(fault.ReasonPlatformMethod, "the method is for the platform's administrators")
	case p.Tenant == "":
		return fault.PermissionDenied(fault.ReasonPermissionMissing, "a service identity without a tenant may not call a tenant's methods")
	}
	grants, err := e.grants(ctx, p)
	if err != nil {
		return err
	}
	return e.judge(rule, p, grants)
}

// administers reports whether a caller is an administrator of the platform. One that acts for a tenant is none.
func (e *Enforcer) administers(p auth.Principal) bool {
	return p.Kind != auth.User && p.Tenant == "" && slices.Contains(e.platform, p.Subject)
}

func (e *Enforcer) judge(rule Rule, p auth.Principal, grants Grants) error {
	switch {
	case grants.TenantClosed:
		return fault.PermissionDenied(fault.ReasonTenantState, "the tenant is not in use")
	case !rule.ModuleExempt && !grants.ModuleEnabled:
		return fault.PermissionDenied(fault.ReasonModuleDisabled, fmt.Sprintf("module %s is not enabled for the tenant", e.module)).
			With("module", e.module)
	case rule.Audience != Granted || p.Kind == auth.Service:
		return nil
	}
	_, granted := grants.Permissions[rule.Permission]
	if p.Permissions != nil {
		// Another service that named the tenant itself may do what the settings say, whatever a user of its name may.
		granted = slices.Contains(p.Permissions, rule.Permission)
	}
	if !granted {
		return fault.PermissionDenied(fault.ReasonPermissionMissing, "permission "+rule.Permission+" is missing").
			With("permission", rule.Permission)
	}
	return nil
}

// Quotas returns the limits of the caller's tenant, spelled out.
func (e *Enforcer) Quotas(ctx context.Context, p auth.Principal) (Quotas, error) {
	grants, err := e.grants(ctx, p)
	return grants.Quotas.OrDefault(), err
}

// Forget drops all that is known, for the process that changes grants itself: there a change applies at once.
func (e *Enforcer) Forget() { e.forgets.Add(1) }

func (e *Enforcer) grants(ctx context.Context, p auth.Principal) (Grants, error) {
	who, forgets := userOf(p), e.forgets.Load() // before the question: an answer is as old as that
	if hit, ok := e.known.Get(who); ok && hit.forgets == forgets && time.Now().Before(hit.until) {
		return hit.grants, nil
	}
	// The flight serves every call of this caller, so it ends with its own timeout and not with the call that began it.
	done := e.flight.DoChan(fmt.Sprintf("%d %s\x00%s\x00%x", forgets, who.tenant, who.subject, who.roles), func() (any, error) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), grantsTimeout)
		defer cancel()
		asked := time.Now()
		grants, err := e.lookup(ctx, p)
		if err != nil {
			return Grants{}, err
		}
		e.known.Put(who, dated{grants, asked.Add(grantsAge), forgets})
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
