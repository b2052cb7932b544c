package oidctest

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"errors"
	"fmt"
	"maps"
	"sync"
	"time"

	jose "github.com/go-jose/go-jose/v4"
	"github.com/zitadel/oidc/v3/pkg/oidc"
	"github.com/zitadel/oidc/v3/pkg/op"
)

var (
	errUnknown = errors.New("unknown")
	errNotHere = errors.New("not offered by this issuer")
)

// storage is everything the issuer knows.
type storage struct {
	audience string
	life     time.Duration
	clients  map[string]Client
	users    map[string]User

	mu            sync.Mutex
	key           *signingKey
	requests      map[string]*request
	codes         map[string]string // to ids of requests
	refreshTokens map[string]*request
	refreshed     int
}

func newStorage(opts Options) *storage {
	s := &storage{
		audience: opts.Audience, life: opts.TokenLife,
		clients: make(map[string]Client), users: make(map[string]User),
		requests: make(map[string]*request), codes: make(map[string]string), refreshTokens: make(map[string]*request),
	}
	for _, c := range opts.Clients {
		s.clients[c.ID] = c
	}
	for _, u := range opts.Users {
		s.users[u.Name] = u
	}
	return s
}

func (s *storage) setKey(key *signingKey) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.key = key
}

// signIn makes a login request that of a user.
func (s *storage) signIn(id, user string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	r, ok := s.requests[id]
	_, known := s.users[user]
	if !ok || !known {
		return false
	}
	r.subject, r.signedIn = user, time.Now()
	return true
}

func (s *storage) token(ctx context.Context, clientID string) (string, error) {
	client, err := s.GetClientByClientID(ctx, clientID)
	if err != nil {
		return "", err
	}
	tokenRequest, err := s.ClientCredentialsTokenRequest(ctx, clientID, nil)
	if err != nil {
		return "", err
	}
	return op.CreateJWT(ctx, op.IssuerFromContext(ctx), tokenRequest, time.Now().Add(s.life), rand.Text(), client, s)
}

// CreateAuthRequest remembers that somebody wants to sign in.
func (s *storage) CreateAuthRequest(_ context.Context, r *oidc.AuthRequest, _ string) (op.AuthRequest, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	stored := &request{AuthRequest: *r, id: rand.Text(), audience: []string{s.audience}}
	s.requests[stored.id] = stored
	return stored, nil
}

// AuthRequestByID returns what CreateAuthRequest made.
func (s *storage) AuthRequestByID(_ context.Context, id string) (op.AuthRequest, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if r, ok := s.requests[id]; ok {
		return r, nil
	}
	return nil, errUnknown
}

// AuthRequestByCode returns the request that a code belongs to; a code is good once.
func (s *storage) AuthRequestByCode(ctx context.Context, code string) (op.AuthRequest, error) {
	s.mu.Lock()
	id, ok := s.codes[code]
	delete(s.codes, code)
	s.mu.Unlock()
	if !ok {
		return nil, errUnknown
	}
	return s.AuthRequestByID(ctx, id)
}

// SaveAuthCode remembers a code.
func (s *storage) SaveAuthCode(_ context.Context, id, code string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.codes[code] = id
	return nil
}

// DeleteAuthRequest forgets a request.
func (s *storage) DeleteAuthRequest(_ context.Context, id string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.requests, id)
	return nil
}

// CreateAccessToken names a token.
func (s *storage) CreateAccessToken(context.Context, op.TokenRequest) (id string, expires time.Time, err error) {
	return rand.Text(), time.Now().Add(s.life), nil
}

// CreateAccessAndRefreshTokens names both. A refresh token is good once: its use gives the next one.
func (s *storage) CreateAccessAndRefreshTokens(_ context.Context, r op.TokenRequest, current string) (id, refresh string, expires time.Time, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if current != "" {
		if _, ok := s.refreshTokens[current]; !ok {
			return "", "", time.Time{}, op.ErrInvalidRefreshToken
		}
		delete(s.refreshTokens, current)
		s.refreshed++
	}
	stored, ok := r.(*request)
	if !ok {
		return "", "", time.Time{}, errNotHere
	}
	next := rand.Text()
	s.refreshTokens[next] = stored
	return rand.Text(), next, time.Now().Add(s.life), nil
}

// TokenRequestByRefreshToken returns the request that began the session.
func (s *storage) TokenRequestByRefreshToken(_ context.Context, token string) (op.RefreshTokenRequest, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if r, ok := s.refreshTokens[token]; ok {
		return r, nil
	}
	return nil, op.ErrInvalidRefreshToken
}

// TerminateSession has nothing to end: who signs in is the test's decision.
func (s *storage) TerminateSession(context.Context, string, string) error { return nil }

// RevokeToken ends a refresh token.
func (s *storage) RevokeToken(_ context.Context, token, _, clientID string) *oidc.Error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if r, ok := s.refreshTokens[token]; ok && r.ClientID != clientID {
		return oidc.ErrInvalidClient()
	}
	delete(s.refreshTokens, token)
	return nil
}

// GetRefreshTokenInfo says whose a refresh token is.
func (s *storage) GetRefreshTokenInfo(_ context.Context, _, token string) (user, id string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r, ok := s.refreshTokens[token]
	if !ok {
		return "", "", op.ErrInvalidRefreshToken
	}
	return r.subject, token, nil
}

// SigningKey returns the present key.
func (s *storage) SigningKey(context.Context) (op.SigningKey, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.key, nil
}

// SignatureAlgorithms returns that of all keys.
func (s *storage) SignatureAlgorithms(context.Context) ([]jose.SignatureAlgorithm, error) {
	return []jose.SignatureAlgorithm{jose.RS256}, nil
}

// KeySet returns the present key.
func (s *storage) KeySet(context.Context) ([]op.Key, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return []op.Key{&publicKey{s.key}}, nil
}

// GetClientByClientID returns a client.
func (s *storage) GetClientByClientID(_ context.Context, id string) (op.Client, error) {
	c, ok := s.clients[id]
	if !ok {
		return nil, fmt.Errorf("client %s: %w", id, errUnknown)
	}
	return &client{c}, nil
}

// AuthorizeClientIDSecret checks a secret.
func (s *storage) AuthorizeClientIDSecret(_ context.Context, id, secret string) error {
	c, ok := s.clients[id]
	if !ok || c.Secret == "" || subtle.ConstantTimeCompare([]byte(c.Secret), []byte(secret)) == 0 {
		return errUnknown
	}
	return nil
}

// ClientCredentials is AuthorizeClientIDSecret for a client that wants a token for itself.
func (s *storage) ClientCredentials(ctx context.Context, id, secret string) (op.Client, error) {
	if err := s.AuthorizeClientIDSecret(ctx, id, secret); err != nil {
		return nil, err
	}
	return s.GetClientByClientID(ctx, id)
}

// ClientCredentialsTokenRequest says what is in such a token.
func (s *storage) ClientCredentialsTokenRequest(_ context.Context, id string, scopes []string) (op.TokenRequest, error) {
	return &request{AuthRequest: oidc.AuthRequest{ClientID: id, Scopes: scopes}, subject: id, audience: []string{s.audience}}, nil
}

// SetUserinfoFromScopes says whose it is and nothing else.
func (s *storage) SetUserinfoFromScopes(_ context.Context, info *oidc.UserInfo, user, _ string, _ []string) error {
	info.Subject = user
	return nil
}

// SetUserinfoFromToken is not offered.
func (s *storage) SetUserinfoFromToken(context.Context, *oidc.UserInfo, string, string, string) error {
	return errNotHere
}

// SetIntrospectionFromToken is not offered.
func (s *storage) SetIntrospectionFromToken(context.Context, *oidc.IntrospectionResponse, string, string, string) error {
	return errNotHere
}

// GetPrivateClaimsFromScopes returns the claims of a person or of a client.
func (s *storage) GetPrivateClaimsFromScopes(_ context.Context, subject, _ string, _ []string) (map[string]any, error) {
	if user, ok := s.users[subject]; ok {
		return maps.Clone(user.Claims), nil
	}
	return maps.Clone(s.clients[subject].Claims), nil
}

// GetKeyByIDAndClientID is not offered.
func (s *storage) GetKeyByIDAndClientID(context.Context, string, string) (*jose.JSONWebKey, error) {
	return nil, errNotHere
}

// ValidateJWTProfileScopes is not offered.
func (s *storage) ValidateJWTProfileScopes(context.Context, string, []string) ([]string, error) {
	return nil, errNotHere
}

// Health is always good.
func (s *storage) Health(context.Context) error { return nil }
