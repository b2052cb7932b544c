package auth

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2/clientcredentials"

	"workflow.uniconnect/pkg/fault"
)

// devTokenTTL is short, so that renewal is exercised every day and not first in production.
const devTokenTTL = 15 * time.Minute

// TokenSource gives a service its own token and renews it in time. It is safe for concurrent use.
type TokenSource struct {
	fetch func(context.Context) (string, time.Time, error)

	// turn holds one value for whoever may look and fetch; a channel, so that waiting ends with the context.
	turn            chan struct{}
	token           string
	renew, deadline time.Time
	// failed is why the last attempt gave nothing; calls in the second after it are told the same and do not wait one after the other.
	failed error
}

// NewTokenSource returns the source of this process's identity: the development issuer's with the given subject, or the client
// credentials of an OIDC issuer. A process without credentials gets a source that fails when it is used: the gateway never
// needs one. The issuer is asked when a token is first needed, and again until it answers.
func NewTokenSource(_ context.Context, cfg Config, subject string) (*TokenSource, error) {
	switch {
	case cfg.Issuer != "" && cfg.ClientID != "":
		return newTokenSource(fetchOIDC(cfg)), nil
	case cfg.Issuer != "":
		return newTokenSource(func(context.Context) (string, time.Time, error) {
			return "", time.Time{}, errors.New("this process has no identity: set UC_OIDC_CLIENT_ID and UC_OIDC_CLIENT_SECRET")
		}), nil
	case cfg.Dev:
		issuer, err := OpenIssuer(cfg.DataDir)
		if err != nil {
			return nil, err
		}
		return newTokenSource(func(context.Context) (string, time.Time, error) {
			token, err := issuer.Issue(Principal{Subject: subject, Kind: Service}, devTokenTTL)
			return token, time.Now().Add(devTokenTTL), err
		}), nil
	}
	return nil, errNoIssuer
}

func newTokenSource(fetch func(context.Context) (string, time.Time, error)) *TokenSource {
	s := &TokenSource{fetch: fetch, turn: make(chan struct{}, 1)}
	s.turn <- struct{}{}
	return s
}

// Token returns a token that is good for a while. It is renewed when a fifth of its life is left; while renewal fails, the old one
// serves to its end.
func (s *TokenSource) Token(ctx context.Context) (string, error) {
	select {
	case <-s.turn:
	case <-ctx.Done():
		return "", ctx.Err()
	}
	defer func() { s.turn <- struct{}{} }()

	now := time.Now()
	if now.Before(s.renew) && s.failed != nil && !now.Before(s.deadline) {
		return "", s.failed
	}
	if now.Before(s.renew) {
		return s.token, nil
	}
	fetchCtx, cancel := context.WithTimeout(ctx, fetchTimeout)
	defer cancel()
	token, expires, err := s.fetch(fetchCtx)
	switch {
	case err == nil:
		s.token, s.deadline, s.failed = token, expires, nil
		s.renew = expires.Add(-expires.Sub(now) / 5)
		return s.token, nil
	case now.Before(s.deadline):
		s.renew = now.Add(time.Second)
		return s.token, nil
	}
	s.renew = time.Now().Add(time.Second)
	s.failed = fault.Unavailable(fault.ReasonServiceUnavailable, "the service's own token cannot be had now").WithCause(err)
	return "", s.failed
}

func fetchOIDC(cfg Config) func(context.Context) (string, time.Time, error) {
	credentials := clientcredentials.Config{
		ClientID: cfg.ClientID, ClientSecret: cfg.ClientSecret,
		EndpointParams: url.Values{"audience": {cfg.Audience}},
	}
	// One call at a time comes here, the one that has the source's turn.
	return func(ctx context.Context) (string, time.Time, error) {
		ctx = oidc.ClientContext(ctx, cfg.client())
		if credentials.TokenURL == "" {
			provider, err := oidc.NewProvider(ctx, cfg.Issuer)
			if err != nil {
				return "", time.Time{}, fmt.Errorf("discover issuer: %w", err)
			}
			credentials.TokenURL = provider.Endpoint().TokenURL
		}
		token, err := credentials.Token(ctx)
		if err != nil {
			return "", time.Time{}, fmt.Errorf("fetch token: %w", err)
		}
		expires := token.Expiry
		if expires.IsZero() {
			expires = time.Now().Add(time.Minute)
		}
		return token.AccessToken, expires, nil
	}
}
