// Package session signs people in at the OpenID Connect issuer, by authorization code with PKCE, and keeps them signed in with a cookie
// that only this gateway can read. The cookie is the session: the gateway stores nothing, and any replica with the same key serves it.
//
// The browser never sees a token. For a call of the API the gateway opens the cookie and goes on with the bearer token that is in it, which
// the services verify like any other.
package session

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"time"

	"golang.org/x/oauth2"

	"workflow.uniconnect/pkg/auth"
	"workflow.uniconnect/pkg/fault"
)

const (
	// maxAge ends a session for good; then the person signs in again, at the issuer.
	maxAge = 12 * time.Hour
	// attemptAge is how long signing in at the issuer may take.
	attemptAge = 10 * time.Minute
	// renewBefore is how long before its end a token is renewed.
	renewBefore = 30 * time.Second
	// unknownLife is what we take for the life of a token whose issuer does not say.
	unknownLife   = time.Minute
	issuerTimeout = 5 * time.Second

	reasonCrossOrigin fault.Reason = "CROSS_ORIGIN"
)

// Verifier tells who a token stands for.
type Verifier interface {
	Verify(ctx context.Context, token string) (auth.Principal, error)
}

// Options describes how people sign in. All but ClientSecret and HTTPClient are required.
type Options struct {
	Issuer, Audience       string
	ClientID, ClientSecret string
	// PublicURL is where browsers reach the gateway. Without TLS there, which is for one's own machine, the cookies do without too.
	PublicURL string
	// KeyFile holds the keys of the cookies; it is made when there is none.
	KeyFile  string
	Verifier Verifier
	Logger   *slog.Logger
	// WriteError answers a call with an error in the API's shape.
	WriteError func(w http.ResponseWriter, r *http.Request, err error)
	HTTPClient *http.Client
}

// Sessions signs people in and out and turns their cookies into tokens.
type Sessions struct {
	opts    Options
	seal    *sealer
	issuer  *issuer
	renewer renewer
	session cookie
	attempt cookie
}

// New returns sessions. The issuer need not be there yet.
func New(opts Options) (*Sessions, error) {
	seal, err := openSealer(opts.KeyFile)
	if err != nil {
		return nil, err
	}
	if opts.HTTPClient == nil {
		opts.HTTPClient = &http.Client{
			Timeout:       issuerTimeout,
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		}
	}
	s := &Sessions{
		opts: opts, seal: seal,
		issuer:  newIssuer(opts),
		session: newCookie("uc_session", opts.PublicURL),
		attempt: newCookie("uc_login", opts.PublicURL),
	}
	s.renewer.recent = make(map[tokenHash]renewal)
	return s, nil
}

// state is what the session's cookie holds. Its names are short, since a cookie is.
type state struct {
	Token   string `json:"t"`
	Refresh string `json:"r,omitempty"`
	// Expires is the end of the token, Until that of the session.
	Expires int64 `json:"e"`
	Until   int64 `json:"u"`
}

// newState keeps a token that the issuer gave. Until is the end of the session.
func newState(token *oauth2.Token, until time.Time) state {
	expires := token.Expiry
	if expires.IsZero() {
		expires = time.Now().Add(unknownLife)
	}
	return state{Token: token.AccessToken, Refresh: token.RefreshToken, Expires: expires.Unix(), Until: until.Unix()}
}

var (
	errNone  = fault.Unauthenticated(fault.ReasonTokenMissing, "missing bearer token")
	errEnded = fault.Unauthenticated(fault.ReasonTokenInvalid, "the session has ended")
)

// Token returns the token of the session that the call comes with, renewed when it is about to end. A call that changes something must say
// that it comes from our own page: browsers do, and who is no browser has no session.
func (s *Sessions) Token(w http.ResponseWriter, r *http.Request) (string, error) {
	st, err := s.read(r)
	if errors.Is(err, errEnded) {
		s.session.drop(w)
	}
	if err != nil {
		return "", err
	}
	if err := sameOrigin(r); err != nil {
		return "", err
	}
	if time.Until(time.Unix(st.Expires, 0)) > renewBefore {
		return st.Token, nil
	}
	renewed, err := s.renew(r.Context(), st)
	if errors.Is(err, errEnded) {
		s.session.drop(w)
	}
	if err != nil {
		return "", err
	}
	if renewed.Token != st.Token {
		if err := s.keep(w, renewed); err != nil {
			return "", err
		}
	}
	return renewed.Token, nil
}

// read opens the session's cookie.
func (s *Sessions) read(r *http.Request) (state, error) {
	text, ok := s.session.of(r)
	if !ok {
		return state{}, errNone
	}
	var st state
	if err := s.seal.open(s.session.name, text, &st); err != nil {
		return state{}, errEnded
	}
	if time.Now().After(time.Unix(st.Until, 0)) {
		return state{}, errEnded
	}
	return st, nil
}

// keep writes the session's cookie. One that is too large does without the token for renewal: the person is sent to the issuer sooner.
func (s *Sessions) keep(w http.ResponseWriter, st state) error {
	text, err := s.seal.seal(s.session.name, st)
	if err == nil && !s.session.fits(text) {
		st.Refresh = ""
		text, err = s.seal.seal(s.session.name, st)
	}
	if err != nil {
		return err
	}
	if !s.session.fits(text) {
		return fault.ResourceExhausted(fault.ReasonTooLarge, "the issuer's token is too large for a session")
	}
	s.session.set(w, text, time.Until(time.Unix(st.Until, 0)))
	return nil
}

// sameOrigin refuses a changing call that says nothing of where it comes from. One that says it comes from elsewhere was refused before.
func sameOrigin(r *http.Request) error {
	switch r.Method {
	case http.MethodGet, http.MethodHead, http.MethodOptions:
		return nil
	}
	if r.Header.Get("Sec-Fetch-Site") == "" && r.Header.Get("Origin") == "" {
		return fault.PermissionDenied(reasonCrossOrigin, "cross-origin request refused: the request names no origin")
	}
	return nil
}
