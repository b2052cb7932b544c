package auth

import (
	"context"
	"crypto"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"workflow.uniconnect/pkg/fault"
	"workflow.uniconnect/pkg/internal/cache"
)

const (
	// maxToken is far above any real token and far below what a parser minds.
	maxToken = 8 << 10
	// leeway is the clock skew we forgive.
	leeway = 30 * time.Second
	// cacheAge bounds how long a token outlives its key's removal from the issuer's set, beyond the set's own age.
	cacheAge  = time.Minute
	cacheSize = 4096
)

// Config says whose tokens are accepted and how this process gets its own.
type Config struct {
	// Dev allows the development issuer, whose key is in DataDir. An OIDC issuer, when set, takes its place.
	Dev     bool
	DataDir string

	Issuer, Audience       string
	ClientID, ClientSecret string
	// Peers are the subjects of the Workflow Manager's own services at the OIDC issuer. The development issuer's services are all our own.
	Peers []string
	// Grants are what other services may do in the tenants they name, by subject; see Principal.Acting.
	Grants map[string][]string
	// HTTPClient reaches the issuer; a client with a timeout when nil.
	HTTPClient *http.Client
}

func (c *Config) client() *http.Client {
	if c.HTTPClient != nil {
		return c.HTTPClient
	}
	return &http.Client{
		Timeout: 5 * time.Second,
		// Where keys and tokens come from is said by the issuer's own document and by nobody else.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

var errNoIssuer = errors.New("nobody may sign tokens: set UC_OIDC_ISSUER and UC_OIDC_AUDIENCE, or --dev for development")

// Verifier tells whether a token is genuine, ours and of now. It remembers tokens it has accepted, in bounded memory.
type Verifier struct {
	parser *jwt.Parser
	keys   keySource
	// kind corrects what a token says of its subject.
	kind   func(claimed Kind, subject string) Kind
	grants map[string][]string
	seen   *cache.Cache[[sha256.Size]byte, verified]
}

// keySource finds the public key for a token's header.
type keySource interface {
	key(ctx context.Context, kid, alg string) (crypto.PublicKey, error)
	ready(ctx context.Context) error
}

type verified struct {
	principal Principal
	until     time.Time
}

// NewVerifier returns a verifier. It fails when nobody could sign. An issuer that is away does not fail it: Ready says so until the
// issuer was reached.
func NewVerifier(_ context.Context, cfg Config) (*Verifier, error) {
	switch {
	case cfg.Issuer != "":
		if cfg.Audience == "" {
			return nil, errors.New("no audience is set for the issuer's tokens")
		}
		v := newVerifier(newKeySet(cfg), cfg.Issuer, cfg.Audience, algorithms()...)
		v.grants = cfg.Grants
		v.kind = func(claimed Kind, subject string) Kind {
			if claimed == Service && !slices.Contains(cfg.Peers, subject) {
				return Client
			}
			return claimed
		}
		return v, nil
	case cfg.Dev:
		issuer, err := OpenIssuer(cfg.DataDir)
		if err != nil {
			return nil, err
		}
		v := newVerifier(issuer.public(), DevIssuer, DevAudience, "ES256")
		v.grants = cfg.Grants
		return v, nil
	}
	return nil, errNoIssuer
}

func newVerifier(keys keySource, issuer, audience string, algorithms ...string) *Verifier {
	return &Verifier{
		parser: jwt.NewParser(
			jwt.WithValidMethods(algorithms),
			jwt.WithIssuer(issuer),
			jwt.WithAudience(audience),
			jwt.WithExpirationRequired(),
			jwt.WithLeeway(leeway),
			jwt.WithStrictDecoding(),
		),
		keys: keys,
		kind: func(claimed Kind, _ string) Kind { return claimed },
		seen: cache.New[[sha256.Size]byte, verified](cacheSize),
	}
}

// Ready returns why no token can be verified now. While it does, calls are answered with UNAVAILABLE.
func (v *Verifier) Ready(ctx context.Context) error { return v.keys.ready(ctx) }

// Verify returns the caller that the token stands for. A token that is not accepted gets one answer whatever is wrong with it; the
// cause, for the log, says what.
func (v *Verifier) Verify(ctx context.Context, token string) (Principal, error) {
	if len(token) > maxToken {
		return Principal{}, refused(errors.New("token is too long"))
	}
	sum := sha256.Sum256([]byte(token))
	now := time.Now()
	if hit, ok := v.seen.Get(sum); ok && now.Before(hit.until) {
		return hit.principal, nil
	}
	var c claims
	_, err := v.parser.ParseWithClaims(token, &c, func(t *jwt.Token) (any, error) { return v.keyFor(ctx, t) })
	if err != nil {
		// The issuer being away is not the token's fault.
		if f, ok := fault.As(err); ok && f.Kind == fault.KindUnavailable {
			return Principal{}, f
		}
		return Principal{}, refused(err)
	}
	p := v.principal(&c)
	if err := p.check(); errors.Is(err, errNoTenant) {
		// The token is genuine, so its owner may know what it lacks.
		return Principal{}, fault.Unauthenticated(fault.ReasonTokenInvalid, err.Error())
	} else if err != nil {
		return Principal{}, refused(err)
	}
	until := now.Add(cacheAge)
	if end := c.ExpiresAt.Add(leeway); end.Before(until) {
		until = end
	}
	v.seen.Put(sum, verified{p, until})
	return p, nil
}

func (v *Verifier) keyFor(ctx context.Context, t *jwt.Token) (crypto.PublicKey, error) {
	if _, ok := t.Header["crit"]; ok {
		return nil, errors.New("header crit names extensions that are not known here")
	}
	if typ, ok := t.Header["typ"]; ok && !acceptedType(typ) {
		return nil, fmt.Errorf("type %q is not an access token's", typ)
	}
	// Everything else in the header, jku, x5u and jwk above all, is not read.
	kid, _ := t.Header["kid"].(string)
	return v.keys.key(ctx, kid, t.Method.Alg())
}

func acceptedType(typ any) bool {
	text, _ := typ.(string)
	switch strings.TrimPrefix(strings.ToLower(text), "application/") {
	case "jwt", "at+jwt":
		return true
	}
	return false
}

func refused(cause error) error {
	return fault.Unauthenticated(fault.ReasonTokenInvalid, "token not accepted").WithCause(cause)
}

func (v *Verifier) principal(c *claims) Principal {
	p := Principal{Tenant: c.Tenant, Subject: c.Subject, Roles: c.Roles}
	if printable(c.Email) {
		p.Email = c.Email
	}
	claimed := User
	switch c.Kind {
	case kindService:
		claimed = Service
	case kindClient:
		claimed = Client
	}
	p.Kind = v.kind(claimed, p.Subject)
	if p.Kind == Client && p.Tenant == "" {
		p.Permissions = v.grants[p.Subject]
	}
	return p
}

// Bearer returns the token of an Authorization value. None is TOKEN_MISSING; anything but one bearer token is TOKEN_INVALID.
func Bearer(values ...string) (string, error) {
	if len(values) == 0 || len(values) == 1 && values[0] == "" {
		return "", fault.Unauthenticated(fault.ReasonTokenMissing, "missing bearer token")
	}
	if len(values) > 1 {
		return "", refused(errors.New("several authorization values"))
	}
	scheme, token, ok := strings.Cut(values[0], " ")
	odd := func(r rune) bool { return r <= ' ' || r > '~' || r == ',' } // of no token, but of two in one header
	if !ok || !strings.EqualFold(scheme, "Bearer") || token == "" || strings.ContainsFunc(token, odd) {
		return "", refused(errors.New("authorization is no bearer token"))
	}
	return token, nil
}
