package session

import (
	"context"
	"crypto/subtle"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"

	"workflow.uniconnect/pkg/fault"
)

// issuer is the OpenID Connect issuer, as its own document describes it. It is asked for that when somebody first signs in.
type issuer struct {
	opts Options

	mu    sync.Mutex
	known *described
}

// described is an issuer whose document was read.
type described struct {
	config   oauth2.Config
	verifier *oidc.IDTokenVerifier
	document document
}

type document struct {
	Scopes     []string `json:"scopes_supported"`
	Revocation string   `json:"revocation_endpoint"`
	EndSession string   `json:"end_session_endpoint"`
	// NamesItself says that answers tell which issuer they are of.
	NamesItself bool `json:"authorization_response_iss_parameter_supported"`
}

func newIssuer(opts Options) *issuer { return &issuer{opts: opts} }

// context makes the libraries use our client.
func (i *issuer) context(ctx context.Context) context.Context {
	return oidc.ClientContext(ctx, i.opts.HTTPClient)
}

func (i *issuer) describe(ctx context.Context) (*described, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.known != nil {
		return i.known, nil
	}
	// The keys of ID tokens are fetched with this context later, when the call that asked first has long ended.
	provider, err := oidc.NewProvider(i.context(context.WithoutCancel(ctx)), i.opts.Issuer)
	if err != nil {
		return nil, away(err)
	}
	d := &described{verifier: provider.Verifier(&oidc.Config{ClientID: i.opts.ClientID})}
	if err := provider.Claims(&d.document); err != nil {
		return nil, away(err)
	}
	d.config = oauth2.Config{
		ClientID: i.opts.ClientID, ClientSecret: i.opts.ClientSecret, Endpoint: provider.Endpoint(),
		RedirectURL: i.opts.PublicURL + callbackPath, Scopes: []string{oidc.ScopeOpenID},
	}
	if slices.Contains(d.document.Scopes, oidc.ScopeOfflineAccess) {
		d.config.Scopes = append(d.config.Scopes, oidc.ScopeOfflineAccess)
	}
	i.known = d
	return d, nil
}

func away(cause error) error {
	return fault.Unavailable(fault.ReasonServiceUnavailable, "the issuer of tokens does not answer").WithCause(cause)
}

// refused is what a person reads when signing in came to nothing; the cause, for the log, says why.
func refused(cause error) error {
	return fault.Unauthenticated(fault.ReasonTokenInvalid, "signing in did not succeed: begin again at "+loginPath).WithCause(cause)
}

// ofIssuer tells an issuer that says no from one that is away.
func ofIssuer(err error) error {
	var answer *oauth2.RetrieveError
	if errors.As(err, &answer) && answer.Response != nil && answer.Response.StatusCode < http.StatusInternalServerError {
		return refused(err)
	}
	return away(err)
}

// redeem turns the code of a finished sign-in into tokens and checks that they belong to it.
func (i *issuer) redeem(ctx context.Context, d *described, a attempt, answer url.Values) (*oauth2.Token, string, error) {
	if iss := answer.Get("iss"); iss != i.opts.Issuer && (iss != "" || d.document.NamesItself) {
		return nil, "", refused(errors.New("the answer is of another issuer"))
	}
	if code := answer.Get("error"); code != "" {
		return nil, "", refused(errors.New("the issuer answered " + strings.ToValidUTF8(code, "")))
	}
	ctx = i.context(ctx)
	token, err := d.config.Exchange(ctx, answer.Get("code"), oauth2.VerifierOption(a.Verifier))
	if err != nil {
		return nil, "", ofIssuer(err)
	}
	raw, _ := token.Extra("id_token").(string)
	id, err := d.verifier.Verify(ctx, raw)
	switch {
	case err != nil:
		return nil, "", refused(err)
	case subtle.ConstantTimeCompare([]byte(id.Nonce), []byte(a.Nonce)) == 0:
		return nil, "", refused(errors.New("the ID token is of another sign-in"))
	case id.AccessTokenHash != "" && id.VerifyAccessToken(token.AccessToken) != nil:
		return nil, "", refused(errors.New("the ID token is of another access token"))
	}
	return token, id.Subject, nil
}

// revoke tells the issuer that a session has ended.
func (i *issuer) revoke(ctx context.Context, d *described, st state) error {
	if d.document.Revocation == "" || st.Refresh == "" {
		return nil
	}
	form := url.Values{"token": {st.Refresh}, "token_type_hint": {"refresh_token"}}
	if i.opts.ClientSecret == "" {
		form.Set("client_id", i.opts.ClientID)
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, d.document.Revocation, strings.NewReader(form.Encode()))
	if err != nil {
		return err
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if i.opts.ClientSecret != "" {
		r.SetBasicAuth(url.QueryEscape(i.opts.ClientID), url.QueryEscape(i.opts.ClientSecret))
	}
	resp, err := i.opts.HTTPClient.Do(r)
	if err != nil {
		return err
	}
	if err := resp.Body.Close(); err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return errors.New("the issuer answered " + resp.Status)
	}
	return nil
}

// signOutURL is where the person ends the session with the issuer itself; empty when the issuer has no such place.
func (i *issuer) signOutURL(d *described) string {
	u, err := url.Parse(d.document.EndSession)
	if err != nil || d.document.EndSession == "" {
		return ""
	}
	query := u.Query()
	query.Set("client_id", i.opts.ClientID)
	query.Set("post_logout_redirect_uri", i.opts.PublicURL+"/")
	u.RawQuery = query.Encode()
	return u.String()
}
