// Package oidctest runs an OpenID Connect issuer for tests: the provider of github.com/zitadel/oidc with what it knows in memory. It speaks
// the protocol as real ones do; only its login page asks for no password.
package oidctest

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/zitadel/oidc/v3/pkg/op"
)

const (
	keyBits     = 2048
	defaultLife = time.Hour
)

// Client is a program that the issuer knows. Without a secret it is a public one, which proves itself with PKCE alone.
type Client struct {
	ID, Secret string
	// Redirects are where people may be sent back to after signing in, and SignedOut after signing out.
	Redirects, SignedOut []string
	// Claims are added to the tokens that the client gets for itself.
	Claims map[string]any
}

// User is a person who may sign in.
type User struct {
	Name   string
	Claims map[string]any
}

// Options describes an issuer.
type Options struct {
	// Audience is that of every access token.
	Audience string
	Clients  []Client
	Users    []User
	// TokenLife is how long access tokens live; an hour when zero.
	TokenLife time.Duration
}

// Issuer is a running issuer.
type Issuer struct {
	// URL is what the tokens name as their issuer.
	URL string

	storage *storage
	handler http.Handler

	mu   sync.Mutex
	away bool
	next string // who signs in
}

// New starts an issuer that ends with the test.
func New(tb testing.TB, opts Options) *Issuer {
	tb.Helper()
	if opts.TokenLife == 0 {
		opts.TokenLife = defaultLife
	}
	i := &Issuer{}
	server := httptest.NewServer(i)
	tb.Cleanup(server.Close)
	i.URL = server.URL
	i.storage = newStorage(opts)
	i.RotateKey(tb)
	var secret [32]byte
	if _, err := rand.Read(secret[:]); err != nil {
		tb.Fatal(err)
	}
	config := &op.Config{
		CryptoKey: secret, CodeMethodS256: true, AuthMethodPost: true, GrantTypeRefreshToken: true,
		DefaultLogoutRedirectURI: i.URL + "/signed-out",
	}
	provider, err := op.NewProvider(config, i.storage, op.StaticIssuer(i.URL), op.WithAllowInsecure())
	if err != nil {
		tb.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.Handle("/", provider)
	mux.HandleFunc("GET "+loginPath, func(w http.ResponseWriter, r *http.Request) {
		id := r.URL.Query().Get("id")
		ctx := op.ContextWithIssuer(r.Context(), i.URL)
		if !i.storage.signIn(id, i.signingIn()) {
			http.Error(w, "nobody of that name", http.StatusForbidden)
			return
		}
		http.Redirect(w, r, op.AuthCallbackURL(provider)(ctx, id), http.StatusSeeOther)
	})
	mux.HandleFunc("GET /signed-out", func(http.ResponseWriter, *http.Request) {})
	i.mu.Lock()
	defer i.mu.Unlock()
	i.handler = mux
	return i
}

// ServeHTTP answers, unless the issuer is away.
func (i *Issuer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	i.mu.Lock()
	away, handler := i.away, i.handler
	i.mu.Unlock()
	if away || handler == nil {
		http.Error(w, "away", http.StatusBadGateway)
		return
	}
	handler.ServeHTTP(w, r)
}

// SignIn says who signs in at the login page from now on.
func (i *Issuer) SignIn(user string) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.next = user
}

func (i *Issuer) signingIn() string {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.next
}

// Away makes the issuer answer every call with an error, or no longer so.
func (i *Issuer) Away(away bool) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.away = away
}

// RotateKey signs with a new key from now on and withdraws the one before.
func (i *Issuer) RotateKey(tb testing.TB) {
	tb.Helper()
	key, err := rsa.GenerateKey(rand.Reader, keyBits)
	if err != nil {
		tb.Fatal(err)
	}
	i.storage.setKey(&signingKey{id: rand.Text(), key: key})
}

// Refreshed counts how often a token was renewed with a refresh token.
func (i *Issuer) Refreshed() int {
	i.storage.mu.Lock()
	defer i.storage.mu.Unlock()
	return i.storage.refreshed
}

// Sessions counts the refresh tokens that are good.
func (i *Issuer) Sessions() int {
	i.storage.mu.Lock()
	defer i.storage.mu.Unlock()
	return len(i.storage.refreshTokens)
}

// EndSessions makes all refresh tokens useless.
func (i *Issuer) EndSessions() {
	i.storage.mu.Lock()
	defer i.storage.mu.Unlock()
	clear(i.storage.refreshTokens)
}

// Token returns an access token as a client gets it for itself.
func (i *Issuer) Token(ctx context.Context, clientID string) (string, error) {
	return i.storage.token(op.ContextWithIssuer(ctx, i.URL), clientID)
}
