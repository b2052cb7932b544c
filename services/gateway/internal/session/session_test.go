package session

import (
	"io"
	"log/slog"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"workflow.uniconnect/pkg/auth"
	"workflow.uniconnect/pkg/fault"
	"workflow.uniconnect/pkg/oidctest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const audience = "workflow-api"

// site is the part of the gateway that sessions need, with a real issuer. What it answers at /token is the token of the session.
type site struct {
	*Sessions
	issuer *oidctest.Issuer
	url    string
}

func newSite(t *testing.T, life time.Duration) *site {
	t.Helper()
	mux := http.NewServeMux()
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	s := &site{url: server.URL}
	s.issuer = oidctest.New(t, oidctest.Options{
		Audience: audience, TokenLife: life,
		Clients: []oidctest.Client{{ID: "dashboard", Secret: "s3cret+/=", Redirects: []string{s.url + callbackPath}, SignedOut: []string{s.url + "/"}}},
		Users:   []oidctest.User{{Name: "a@acme.test", Claims: map[string]any{"tenant": "acme"}}, {Name: "b@acme.test", Claims: map[string]any{"tenant": "acme"}}},
	})
	client := &http.Client{Transport: &http.Transport{}, Timeout: 10 * time.Second}
	t.Cleanup(client.CloseIdleConnections)
	verifier, err := auth.NewVerifier(t.Context(), auth.Config{Issuer: s.issuer.URL, Audience: audience, HTTPClient: client})
	if err != nil {
		t.Fatal(err)
	}
	s.Sessions, err = New(Options{
		Issuer: s.issuer.URL, Audience: audience, ClientID: "dashboard", ClientSecret: "s3cret+/=", PublicURL: s.url,
		KeyFile: filepath.Join(t.TempDir(), "session.key"), Verifier: verifier, HTTPClient: client,
		Logger: slog.New(slog.DiscardHandler), WriteError: writeError,
	})
	if err != nil {
		t.Fatal(err)
	}
	get, post := s.Pages()
	for path, h := range get {
		mux.Handle("GET "+path, h)
	}
	for path, h := range post {
		mux.Handle("POST "+path, h)
	}
	mux.HandleFunc("/token", func(w http.ResponseWriter, r *http.Request) {
		token, err := s.Token(w, r)
		if err != nil {
			writeError(w, r, err)
			return
		}
		_, _ = io.WriteString(w, token)
	})
	mux.HandleFunc("/{$}", func(http.ResponseWriter, *http.Request) {})
	return s
}

func writeError(w http.ResponseWriter, _ *http.Request, err error) {
	f, _ := fault.As(err)
	http.Error(w, string(f.Reason)+" "+f.Message, map[fault.Kind]int{
		fault.KindUnauthenticated: 401, fault.KindPermissionDenied: 403, fault.KindUnavailable: 503,
	}[f.Kind])
}

// browser does not follow redirects by itself, so that a test can step in on the way.
func (s *site) browser(t *testing.T) *http.Client {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	c := &http.Client{
		Transport: &http.Transport{}, Jar: jar, Timeout: 10 * time.Second,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	t.Cleanup(c.CloseIdleConnections)
	return c
}

// reply is an answer whose body was read.
type reply struct {
	StatusCode int
	Header     http.Header
	cookies    []*http.Cookie
}

func get(t *testing.T, c *http.Client, address string, cookies ...*http.Cookie) (reply, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, address, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, cookie := range cookies {
		r.AddCookie(cookie)
	}
	resp, err := c.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return reply{resp.StatusCode, resp.Header, resp.Cookies()}, string(body)
}

// begin goes from our login page through the issuer's and stops where the issuer sends the person back to us.
func (s *site) begin(t *testing.T, c *http.Client, user, query string) (back *url.URL) {
	t.Helper()
	s.issuer.SignIn(user)
	at := s.url + loginPath + query
	for range 6 {
		resp, body := get(t, c, at)
		next, err := url.Parse(resp.Header.Get("Location"))
		if err != nil || resp.Header.Get("Location") == "" {
			t.Fatalf("%s answers %d: %s", at, resp.StatusCode, body)
		}
		if !next.IsAbs() {
			next, _ = url.Parse(s.issuer.URL + next.String())
		}
		if next.Path == callbackPath {
			return next
		}
		at = next.String()
	}
	t.Fatal("the issuer does not send anybody back")
	return nil
}

func cookieOf(resp reply, name string) *http.Cookie {
	for _, c := range resp.cookies {
		if c.Name == name {
			return c
		}
	}
	return nil
}

func TestSessions_signIn(t *testing.T) {
	s := newSite(t, time.Hour)
	c := s.browser(t)
	resp, _ := get(t, c, s.url+loginPath+"?return=/workflows/7%3Ftab=runs")
	to, err := url.Parse(resp.Header.Get("Location"))
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"response_type": "code", "client_id": "dashboard", "code_challenge_method": "S256", "redirect_uri": s.url + callbackPath,
		"audience": audience, "scope": "openid offline_access",
	} {
		if got := to.Query().Get(name); got != want {
			t.Errorf("%s: got %q, want %q", name, got, want)
		}
	}
	for _, name := range []string{"state", "nonce", "code_challenge"} {
		if len(to.Query().Get(name)) < 20 {
			t.Errorf("%s: got %q", name, to.Query().Get(name))
		}
	}
	back := s.begin(t, c, "a@acme.test", "?return=/workflows/7%3Ftab=runs")
	resp, body := get(t, c, back.String())
	if got := resp.Header.Get("Location"); resp.StatusCode != http.StatusSeeOther || got != "/workflows/7?tab=runs" {
		t.Fatalf("got %d to %q: %s", resp.StatusCode, got, body)
	}
	cookie := cookieOf(resp, "uc_session")
	if cookie == nil || !cookie.HttpOnly || cookie.SameSite != http.SameSiteLaxMode || cookie.Path != "/" || cookie.Domain != "" ||
		cookie.MaxAge != int(maxAge/time.Second) && cookie.MaxAge != int(maxAge/time.Second)-1 {
		t.Errorf("got cookie %+v", cookie)
	}
	_, token := get(t, c, s.url+"/token")
	if strings.Contains(cookie.String(), strings.Split(token, ".")[1][:20]) || len(cookie.Name)+len(cookie.Value) > maxCookie {
		t.Error("the cookie shows the token, or is too large")
	}
	if gone := cookieOf(resp, "uc_login"); gone == nil || gone.MaxAge >= 0 {
		t.Errorf("the attempt is left: %+v", gone)
	}
}

// Whatever is wrong with an answer, it makes no session.
func TestSessions_callback_refuses(t *testing.T) {
	s := newSite(t, time.Hour)
	// resealed is the attempt of a browser, changed by somebody who has our key: what only the issuer's answer can then give away.
	resealed := func(t *testing.T, c *http.Client, change func(*attempt)) {
		t.Helper()
		at, err := url.Parse(s.url)
		if err != nil {
			t.Fatal(err)
		}
		for _, cookie := range c.Jar.Cookies(at) {
			var a attempt
			if cookie.Name != "uc_login" {
				continue
			}
			if err := s.seal.open("uc_login", cookie.Value, &a); err != nil {
				t.Fatal(err)
			}
			change(&a)
			if cookie.Value, err = s.seal.seal("uc_login", a); err != nil {
				t.Fatal(err)
			}
			c.Jar.SetCookies(at, []*http.Cookie{cookie})
		}
	}
	with := func(name, value string) func(*testing.T, *http.Client, *url.URL) {
		return func(_ *testing.T, _ *http.Client, back *url.URL) {
			q := back.Query()
			q.Set(name, value)
			back.RawQuery = q.Encode()
		}
	}
	cases := map[string]struct {
		change func(t *testing.T, c *http.Client, back *url.URL)
		want   int
	}{
		"untouched":     {func(*testing.T, *http.Client, *url.URL) {}, http.StatusSeeOther},
		"no_state":      {with("state", ""), http.StatusForbidden},
		"other_state":   {with("state", "x"), http.StatusForbidden},
		"no_code":       {with("code", ""), http.StatusUnauthorized},
		"invented_code": {with("code", "x"), http.StatusUnauthorized},
		"error":         {with("error", "access_denied"), http.StatusUnauthorized},
		"other_issuer":  {with("iss", "https://evil.test"), http.StatusUnauthorized},
		"other_browser": {func(t *testing.T, c *http.Client, _ *url.URL) { c.Jar, _ = cookiejar.New(nil) }, http.StatusUnauthorized},
		"code_of_other": {func(t *testing.T, _ *http.Client, back *url.URL) {
			// An attacker's own code, slipped into the way back: it is bound to the attacker's PKCE verifier.
			with("code", s.begin(t, s.browser(t), "b@acme.test", "").Query().Get("code"))(t, nil, back)
		}, http.StatusUnauthorized},
		"code_used_twice": {func(t *testing.T, c *http.Client, back *url.URL) {
			at, _ := url.Parse(s.url)
			kept := c.Jar.Cookies(at)
			if resp, body := get(t, c, back.String()); resp.StatusCode != http.StatusSeeOther {
				t.Fatalf("the first use: %d %s", resp.StatusCode, body)
			}
			c.Jar, _ = cookiejar.New(nil)
			c.Jar.SetCookies(at, kept)
		}, http.StatusUnauthorized},
		"other_nonce":    {func(t *testing.T, c *http.Client, _ *url.URL) { resealed(t, c, func(a *attempt) { a.Nonce = "x" }) }, http.StatusUnauthorized},
		"other_verifier": {func(t *testing.T, c *http.Client, _ *url.URL) { resealed(t, c, func(a *attempt) { a.Verifier += "x" }) }, http.StatusUnauthorized},
		"too_late":       {func(t *testing.T, c *http.Client, _ *url.URL) { resealed(t, c, func(a *attempt) { a.Until = 1 }) }, http.StatusUnauthorized},
		"issuer_away": {func(t *testing.T, _ *http.Client, _ *url.URL) {
			s.issuer.Away(true)
			t.Cleanup(func() { s.issuer.Away(false) })
		}, http.StatusServiceUnavailable},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			c := s.browser(t)
			back := s.begin(t, c, "a@acme.test", "")
			tc.change(t, c, back)
			resp, body := get(t, c, back.String())
			if resp.StatusCode != tc.want {
				t.Fatalf("got %d, want %d: %s", resp.StatusCode, tc.want, body)
			}
			if begun := cookieOf(resp, "uc_session") != nil; begun != (tc.want == http.StatusSeeOther) {
				t.Errorf("a session was begun: %v", begun)
			}
			if strings.Contains(body, "evil") || strings.Contains(body, "access_denied") {
				t.Errorf("the answer repeats what it was given: %s", body)
			}
		})
	}
}

func (s *site) signedIn(t *testing.T) *http.Cookie {
	t.Helper()
	c := s.browser(t)
	resp, body := get(t, c, s.begin(t, c, "a@acme.test", "").String())
	cookie := cookieOf(resp, "uc_session")
	if cookie == nil {
		t.Fatalf("no session: %d %s", resp.StatusCode, body)
	}
	return cookie
}

func TestSessions_Token_refuses_what_is_no_session(t *testing.T) {
	s := newSite(t, time.Hour)
	good := s.signedIn(t).Value
	sealed := func(purpose string, v any) string {
		text, err := s.seal.seal(purpose, v)
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	long := time.Now().Add(time.Hour).Unix()
	for name, value := range map[string]string{
		"text": "x", "one_bit": "A" + good[1:], "cut": good[:len(good)-1], "twice": good + good, "huge": strings.Repeat("A", 3*maxCookie),
		"an_attempt":  sealed("uc_login", attempt{State: "s"}),
		"over":        sealed("uc_session", state{Token: "t", Expires: long, Until: 1}),
		"expired":     sealed("uc_session", state{Token: "t", Expires: 1, Until: long}),
		"no_json":     sealed("uc_session", []int{1}),
		"other_key":   func() string { o := newSite(t, time.Hour); return o.signedIn(t).Value }(),
		"no_key_made": "",
	} {
		t.Run(name, func(t *testing.T) {
			resp, body := get(t, s.browser(t), s.url+"/token", &http.Cookie{Name: "uc_session", Value: value})
			if resp.StatusCode != http.StatusUnauthorized {
				t.Errorf("got %d: %s", resp.StatusCode, body)
			}
			if gone := cookieOf(resp, "uc_session"); value != "" && (gone == nil || gone.MaxAge >= 0) {
				t.Errorf("the cookie is left: %+v", gone)
			}
		})
	}
	if resp, body := get(t, s.browser(t), s.url+"/token", &http.Cookie{Name: "uc_session", Value: good}, &http.Cookie{Name: "uc_session", Value: good}); resp.StatusCode != http.StatusUnauthorized {
		t.Errorf("two cookies of the name: got %d: %s", resp.StatusCode, body)
	}
}

// Many calls with one cookie renew it once; a refresh token is good once, so a second renewal would end the session.
func TestSessions_Token_renews_once(t *testing.T) {
	s := newSite(t, 10*time.Second)
	cookie := s.signedIn(t)
	var wg sync.WaitGroup
	for range 20 {
		c := s.browser(t)
		wg.Go(func() {
			resp, body := get(t, c, s.url+"/token", cookie)
			if resp.StatusCode != http.StatusOK || cookieOf(resp, "uc_session") == nil {
				t.Errorf("got %d: %s", resp.StatusCode, body)
			}
		})
	}
	wg.Wait()
	if got := s.issuer.Refreshed(); got != 1 {
		t.Errorf("renewed %d times, want once", got)
	}
}

func TestSessions_Token_when_the_issuer_says_no(t *testing.T) {
	s := newSite(t, 10*time.Second)
	cookie := s.signedIn(t)
	s.issuer.Away(true)
	if resp, body := get(t, s.browser(t), s.url+"/token", cookie); resp.StatusCode != http.StatusOK {
		t.Errorf("a good token while the issuer is away: got %d: %s", resp.StatusCode, body)
	}
	s.issuer.Away(false)
	s.issuer.EndSessions()
	resp, body := get(t, s.browser(t), s.url+"/token", cookie)
	if resp.StatusCode != http.StatusUnauthorized || !strings.Contains(body, "the session has ended") {
		t.Errorf("ended at the issuer: got %d: %s", resp.StatusCode, body)
	}
}

func TestSessions_issuer_away_at_first(t *testing.T) {
	s := newSite(t, time.Hour)
	s.issuer.Away(true)
	if resp, _ := get(t, s.browser(t), s.url+loginPath); resp.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("got %d, want 503", resp.StatusCode)
	}
	s.issuer.Away(false)
	s.signedIn(t)
}

// With TLS the cookies are bound to this very host.
func TestNewCookie(t *testing.T) {
	w := httptest.NewRecorder()
	newCookie("uc_session", "https://workflow.example.com").set(w, "v", time.Hour)
	want := "__Host-uc_session=v; Path=/; Max-Age=3600; HttpOnly; Secure; SameSite=Lax"
	if got := w.Header().Get("Set-Cookie"); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestLocalPath(t *testing.T) {
	for text, want := range map[string]string{
		"": "/", "/": "/", "/a/b?c=d#e": "/a/b?c=d#e", "//evil.test": "/", `/\evil.test`: "/", `\\evil.test`: "/", "https://evil.test": "/",
		"/\t/evil.test": "/", "javascript:alert(1)": "/", "a": "/", "/auth/logout": "/", "/a b": "/", "/" + strings.Repeat("a", 2000): "/", "/%zz": "/",
	} {
		if got := localPath(text); got != want {
			t.Errorf("%q: got %q, want %q", text, got, want)
		}
	}
}

func TestOpenSealer(t *testing.T) {
	path := filepath.Join(t.TempDir(), "new", "session.key")
	var wg sync.WaitGroup
	sealers := make([]*sealer, 8)
	for i := range sealers {
		wg.Go(func() {
			var err error
			if sealers[i], err = openSealer(path); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if t.Failed() {
		return
	}
	text, err := sealers[0].seal("p", "v")
	if err != nil {
		t.Fatal(err)
	}
	var other string
	if err := sealers[0].open("another purpose", text, &other); err == nil {
		t.Error("what was sealed for one purpose opens for another")
	}
	for i, s := range sealers {
		var v string
		if err := s.open("p", text, &v); err != nil || v != "v" {
			t.Errorf("process %d has another key: %v", i, err)
		}
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("got %v, %v; want mode 0600", info, err)
	}
	// A new key is put before the old one.
	old, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n"+string(old)), 0o600); err != nil {
		t.Fatal(err)
	}
	rotated, err := openSealer(path)
	if err != nil {
		t.Fatal(err)
	}
	var v string
	if err := rotated.open("p", text, &v); err != nil {
		t.Errorf("the old key opens no more: %v", err)
	}
	fresh, err := rotated.seal("p", "v")
	if err != nil {
		t.Fatal(err)
	}
	if err := sealers[0].open("p", fresh, &v); err == nil {
		t.Error("the old key still seals")
	}
	for _, bad := range []string{"", "\n", "AAAA\n", "not base64\n"} {
		if err := os.WriteFile(path, []byte(bad), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := openSealer(path); err == nil {
			t.Errorf("%q: got a sealer, want an error", bad)
		}
	}
}
