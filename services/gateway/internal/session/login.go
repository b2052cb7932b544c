package session

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"

	"workflow.uniconnect/pkg/fault"
)

const (
	loginPath    = "/auth/login"
	callbackPath = "/auth/callback"
	logoutPath   = "/auth/logout"
	sessionPath  = "/auth/session"
)

// attempt is what the gateway must know when a person comes back from the issuer. The browser carries it, sealed.
type attempt struct {
	State    string `json:"s"`
	Nonce    string `json:"n"`
	Verifier string `json:"v"`
	Return   string `json:"r"`
	Until    int64  `json:"u"`
}

// Pages are what is served, by path. Those of GET change nothing but the caller's own cookies.
func (s *Sessions) Pages() (get, post map[string]http.Handler) {
	get = map[string]http.Handler{
		loginPath:    http.HandlerFunc(s.login),
		callbackPath: http.HandlerFunc(s.callback),
		sessionPath:  http.HandlerFunc(s.describe),
	}
	return get, map[string]http.Handler{logoutPath: http.HandlerFunc(s.logout)}
}

// login sends a person to the issuer; `return` is where they want to be afterwards.
func (s *Sessions) login(w http.ResponseWriter, r *http.Request) {
	d, err := s.issuer.describe(r.Context())
	if err != nil {
		s.opts.WriteError(w, r, err)
		return
	}
	a := attempt{
		State: rand.Text(), Nonce: rand.Text(), Verifier: oauth2.GenerateVerifier(),
		Return: localPath(r.URL.Query().Get("return")), Until: time.Now().Add(attemptAge).Unix(),
	}
	sealed, err := s.seal.seal(s.attempt.name, a)
	if err != nil {
		s.opts.WriteError(w, r, err)
		return
	}
	s.attempt.set(w, sealed, attemptAge)
	http.Redirect(w, r, d.config.AuthCodeURL(a.State, oidc.Nonce(a.Nonce), oauth2.S256ChallengeOption(a.Verifier),
		oauth2.SetAuthURLParam("audience", s.opts.Audience)), http.StatusSeeOther)
}

// callback is where the issuer sends them back to.
func (s *Sessions) callback(w http.ResponseWriter, r *http.Request) {
	a, err := s.attemptOf(r)
	s.attempt.drop(w) // an attempt is good once
	if err == nil {
		err = s.signIn(w, r, a)
	}
	if err != nil {
		s.opts.WriteError(w, r, err)
		return
	}
	http.Redirect(w, r, a.Return, http.StatusSeeOther)
}

// attemptOf returns what this browser began. An answer to what another one began is not for this one.
func (s *Sessions) attemptOf(r *http.Request) (attempt, error) {
	text, ok := s.attempt.of(r)
	if !ok {
		return attempt{}, refused(errors.New("no sign-in was begun here"))
	}
	var a attempt
	if err := s.seal.open(s.attempt.name, text, &a); err != nil {
		return attempt{}, refused(err)
	}
	given := r.URL.Query().Get("state")
	switch {
	case time.Now().After(time.Unix(a.Until, 0)):
		return attempt{}, refused(errors.New("signing in took too long"))
	case subtle.ConstantTimeCompare([]byte(given), []byte(a.State)) == 0:
		return attempt{}, fault.PermissionDenied(reasonCrossOrigin, "this sign-in was begun elsewhere: begin again at "+loginPath)
	}
	return a, nil
}

// signIn begins the session. The token must be one that the API accepts, of the person who signed in.
func (s *Sessions) signIn(w http.ResponseWriter, r *http.Request, a attempt) error {
	ctx, cancel := context.WithTimeout(r.Context(), 2*issuerTimeout)
	defer cancel()
	d, err := s.issuer.describe(ctx)
	if err != nil {
		return err
	}
	token, subject, err := s.issuer.redeem(ctx, d, a, r.URL.Query())
	if err != nil {
		return err
	}
	p, err := s.opts.Verifier.Verify(ctx, token.AccessToken)
	if err != nil {
		return err
	}
	if p.Subject != subject {
		return refused(errors.New("the access token is another person's"))
	}
	return s.keep(w, newState(token, time.Now().Add(maxAge)))
}

// logout ends the session here, makes its refresh token useless at the issuer, and says where the person ends the issuer's own session.
func (s *Sessions) logout(w http.ResponseWriter, r *http.Request) {
	if err := sameOrigin(r); err != nil {
		s.opts.WriteError(w, r, err)
		return
	}
	s.session.drop(w)
	s.attempt.drop(w)
	answer := struct {
		URL string `json:"url,omitempty"`
	}{}
	if st, err := s.read(r); err == nil {
		answer.URL = s.end(r.Context(), st)
	}
	writeJSON(w, answer)
}

// end does at the issuer what can be done now. That it cannot does not keep anybody signed in here.
func (s *Sessions) end(ctx context.Context, st state) string {
	s.renewer.forget(st)
	ctx, cancel := context.WithTimeout(ctx, issuerTimeout)
	defer cancel()
	d, err := s.issuer.describe(ctx)
	if err == nil {
		err = s.issuer.revoke(ctx, d, st)
	}
	if err != nil {
		s.opts.Logger.WarnContext(ctx, "the issuer was not told that a session has ended", "error", err)
	}
	if d == nil {
		return ""
	}
	return s.issuer.signOutURL(d)
}

// describe tells the page whether somebody is signed in. Who it is, GetMe says.
func (s *Sessions) describe(w http.ResponseWriter, r *http.Request) {
	answer := struct {
		SignedIn bool   `json:"signedIn"`
		LoginURL string `json:"loginUrl"`
		Expires  string `json:"expireTime,omitempty"`
	}{LoginURL: loginPath}
	if st, err := s.read(r); err == nil {
		answer.SignedIn, answer.Expires = true, time.Unix(st.Until, 0).UTC().Format(time.RFC3339)
	}
	writeJSON(w, answer)
}

func writeJSON(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	// A client that went away is the only way this fails.
	_ = json.NewEncoder(w).Encode(v)
}

// localPath returns text if it is a place on this very site, else the start page: nobody is sent elsewhere by a link to us.
func localPath(text string) string {
	u, err := url.Parse(text)
	odd := func(r rune) bool { return r <= ' ' || r == '\\' || r >= 0x7f }
	if err != nil || u.Scheme != "" || u.Host != "" || !strings.HasPrefix(text, "/") || strings.HasPrefix(text, "//") ||
		strings.HasPrefix(text, "/auth/") || strings.ContainsFunc(text, odd) || len(text) > 1024 {
		return "/"
	}
	return text
}
