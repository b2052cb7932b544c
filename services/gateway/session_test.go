package gateway_test

import (
	"crypto/tls"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"workflow.uniconnect/pkg/admin"
	"workflow.uniconnect/pkg/auth"
	"workflow.uniconnect/pkg/certs"
	"workflow.uniconnect/pkg/certs/certstest"
	"workflow.uniconnect/pkg/config"
	"workflow.uniconnect/pkg/oidctest"
	"workflow.uniconnect/pkg/service"
	"workflow.uniconnect/pkg/telemetry"
	"workflow.uniconnect/services/gateway"
)

const loginAudience = "workflow-api"

// portal is a gateway where people sign in at a real issuer.
type portal struct {
	*world
	issuer *oidctest.Issuer
}

func newPortal(t *testing.T, life time.Duration) *portal {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := listener.Addr().String() // its own from now on: the issuer must know it before the gateway has it
	if err := listener.Close(); err != nil {
		t.Fatal(err)
	}
	p := &portal{world: &world{url: "http://" + addr, dataDir: t.TempDir(), fake: &fake{moduleEnabled: true}}}
	p.issuer = oidctest.New(t, oidctest.Options{
		Audience: loginAudience, TokenLife: life,
		Clients: []oidctest.Client{{ID: "dashboard", Redirects: []string{p.url + "/auth/callback"}, SignedOut: []string{p.url + "/"}}},
		Users: []oidctest.User{
			{Name: "owner@acme.test", Claims: map[string]any{"tenant": "acme"}},
			{Name: "nobody@acme.test"},
		},
	})
	p.client = &http.Client{Transport: &http.Transport{}, Timeout: 20 * time.Second}
	t.Cleanup(p.client.CloseIdleConnections)
	verifier, err := auth.NewVerifier(t.Context(), auth.Config{Issuer: p.issuer.URL, Audience: loginAudience, HTTPClient: p.client})
	if err != nil {
		t.Fatal(err)
	}
	server := p.backend(t, verifier)
	backends := sync.OnceFunc(run(t, server.Run))
	g, err := gateway.New(t.Context(), service.Deps{
		Settings: config.Settings{
			HTTPAddr: addr, CatalogAddr: server.Addr(), SchedulerAddr: server.Addr(), ExecutorAddr: server.Addr(),
			OIDCIssuer: p.issuer.URL, OIDCAudience: loginAudience, LoginClientID: "dashboard", PublicURL: p.url,
			SessionKeyFile: filepath.Join(p.dataDir, "session.key"),
		},
		Telemetry: telemetry.Discard(), Verifier: verifier, Readiness: admin.NewReadiness(telemetry.Discard().Logger),
	})
	if err != nil {
		t.Fatal(err)
	}
	stop := run(t, g.Run)
	t.Cleanup(backends)
	t.Cleanup(stop)
	return p
}

// browser follows redirects and keeps cookies.
type browser struct {
	*http.Client
	portal *portal
}

func (p *portal) browser(t *testing.T) *browser {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Transport: &http.Transport{}, Jar: jar, Timeout: 20 * time.Second}
	t.Cleanup(client.CloseIdleConnections)
	return &browser{client, p}
}

func (b *browser) send(t *testing.T, method, path, body string, edit ...func(*http.Request)) answer {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, b.portal.url+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if method != http.MethodGet {
		r.Header.Set("Origin", b.portal.url)
		r.Header.Set("Content-Type", "application/json")
	}
	for _, e := range edit {
		e(r)
	}
	resp, err := b.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	content, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer{resp.StatusCode, resp.Header, content}
}

func (b *browser) signIn(t *testing.T) {
	t.Helper()
	b.portal.issuer.SignIn("owner@acme.test")
	if a := b.send(t, http.MethodGet, "/auth/login", ""); a.code != http.StatusOK || !strings.Contains(string(a.body), "<html") {
		t.Fatalf("signing in ends with %d: %s", a.code, a.body)
	}
}

// The way of a person: sign in at the issuer, work, sign out.
func TestSession_signIn_work_signOut(t *testing.T) {
	p := newPortal(t, time.Hour)
	b := p.browser(t)
	if a := b.send(t, http.MethodGet, "/v1/workflows", ""); a.code != http.StatusUnauthorized || a.problem(t).reason() != "TOKEN_MISSING" {
		t.Errorf("before: got %d %s", a.code, a.body)
	}
	b.signIn(t)
	if a := b.send(t, http.MethodGet, "/v1/workflows", ""); a.code != http.StatusOK {
		t.Fatalf("a read: got %d: %s", a.code, a.body)
	}
	_, md := p.fake.seen()
	if got := strings.Join(md.Get("authorization"), ","); !strings.HasPrefix(got, "Bearer ey") || len(md.Get("cookie")) > 0 {
		t.Errorf("the service got authorization %q and cookies %q, want a bearer token alone", got, md.Get("cookie"))
	}
	if a := b.send(t, http.MethodPost, "/v1/workflows", `{"title":"x","trigger":{"manual":{}}}`); a.code != http.StatusOK {
		t.Errorf("a change: got %d: %s", a.code, a.body)
	}
	var session struct {
		SignedIn bool
		LoginURL string
	}
	if a := b.send(t, http.MethodGet, "/auth/session", ""); json.Unmarshal(a.body, &session) != nil || !session.SignedIn {
		t.Errorf("session: got %s", a.body)
	}
	// An explicit token wins over the cookie.
	if a := b.send(t, http.MethodGet, "/v1/workflows", "", header("Authorization", "Bearer x")); a.code != http.StatusUnauthorized {
		t.Errorf("a bad token beside a good session: got %d, want 401", a.code)
	}

	a := b.send(t, http.MethodPost, "/auth/logout", "")
	var out struct{ URL string }
	if err := json.Unmarshal(a.body, &out); a.code != http.StatusOK || err != nil {
		t.Fatalf("signing out: got %d %s", a.code, a.body)
	}
	if p.issuer.Sessions() != 0 {
		t.Error("the issuer still has the session's refresh token")
	}
	end, err := url.Parse(out.URL)
	if err != nil || !strings.HasPrefix(out.URL, p.issuer.URL) || end.Query().Get("post_logout_redirect_uri") != p.url+"/" {
		t.Errorf("where the issuer's session ends: got %q", out.URL)
	}
	resp, err := b.Get(out.URL)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusOK || resp.Request.URL.String() != p.url+"/" {
		t.Errorf("after the issuer's end of session: got %d at %s", resp.StatusCode, resp.Request.URL)
	}
	if a := b.send(t, http.MethodGet, "/v1/workflows", ""); a.code != http.StatusUnauthorized {
		t.Errorf("after signing out: got %d, want 401", a.code)
	}
}

// Other sites cannot use a person's session, nor end it.
func TestSession_crossOrigin(t *testing.T) {
	p := newPortal(t, time.Hour)
	b := p.browser(t)
	b.signIn(t)
	before, _ := p.fake.seen()
	for name, edit := range map[string]func(*http.Request){
		"no_origin":    func(r *http.Request) { r.Header.Del("Origin") },
		"other_origin": header("Origin", "https://evil.test"),
		"null_origin":  header("Origin", "null"),
		"other_port":   header("Origin", "http://127.0.0.1:1"),
		"cross_site":   header("Sec-Fetch-Site", "cross-site"),
		"same_site":    header("Sec-Fetch-Site", "same-site"),
	} {
		t.Run(name, func(t *testing.T) {
			for _, path := range []string{"/v1/workflows", "/auth/logout"} {
				a := b.send(t, http.MethodPost, path, `{"title":"x"}`, edit)
				if a.code != http.StatusForbidden || a.problem(t).reason() != "CROSS_ORIGIN" {
					t.Errorf("%s: got %d %s", path, a.code, a.body)
				}
			}
		})
	}
	if after, _ := p.fake.seen(); after != before {
		t.Errorf("%d calls reached the services", after-before)
	}
	if a := b.send(t, http.MethodGet, "/v1/workflows", ""); a.code != http.StatusOK {
		t.Errorf("the session was ended from elsewhere: got %d", a.code)
	}
}

// A page sends many calls at once; the session is renewed once, and no call notices.
func TestSession_renewal(t *testing.T) {
	p := newPortal(t, 20*time.Second) // always about to end
	b := p.browser(t)
	b.signIn(t)
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			if a := b.send(t, http.MethodGet, "/v1/workflows", ""); a.code != http.StatusOK {
				t.Errorf("got %d: %s", a.code, a.body)
			}
		})
	}
	wg.Wait()
	// Those that came with the second cookie renewed that one, once as well.
	if got := p.issuer.Refreshed(); got < 1 || got > 20 {
		t.Errorf("refreshed %d times", got)
	}
	p.issuer.Away(true)
	if a := b.send(t, http.MethodGet, "/v1/workflows", ""); a.code != http.StatusOK {
		t.Errorf("a good token while the issuer is away: got %d: %s", a.code, a.body)
	}
}

// A person whom the API knows nothing of gets no session.
func TestSession_withoutTenant(t *testing.T) {
	p := newPortal(t, time.Hour)
	b := p.browser(t)
	p.issuer.SignIn("nobody@acme.test")
	a := b.send(t, http.MethodGet, "/auth/login", "")
	if a.code != http.StatusUnauthorized || a.problem(t).Message != "no tenant in token" {
		t.Errorf("got %d %s", a.code, a.body)
	}
	if a := b.send(t, http.MethodGet, "/v1/workflows", ""); a.code != http.StatusUnauthorized {
		t.Errorf("a call then: got %d, want 401", a.code)
	}
}

// The gateway speaks TLS itself when it is given a certificate, HTTP/2 included, and takes a new certificate without a restart.
func TestGateway_tls(t *testing.T) {
	authority := certstest.New(t)
	dir := t.TempDir()
	files := certs.Files{Cert: filepath.Join(dir, "tls.crt"), Key: filepath.Join(dir, "tls.key")}
	authority.Issue(t, files, 1)
	w := newWorld(t, func(d *service.Deps) {
		d.Settings.HTTPTLSCertFile, d.Settings.HTTPTLSKeyFile = files.Cert, files.Key
		d.Settings.PublicURL = "https://localhost"
	})
	get := func() (serial int64, proto string, h http.Header) {
		t.Helper()
		transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: authority.Pool()}, ForceAttemptHTTP2: true}
		defer transport.CloseIdleConnections()
		resp, err := (&http.Client{Transport: transport, Timeout: 10 * time.Second}).Get(strings.Replace(w.url, "http:", "https:", 1) + "/livez")
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		return resp.TLS.PeerCertificates[0].SerialNumber.Int64(), resp.Proto, resp.Header
	}
	serial, proto, h := get()
	if serial != 1 || proto != "HTTP/2.0" || h.Get("Strict-Transport-Security") == "" {
		t.Errorf("got certificate %d, %s, %v", serial, proto, h)
	}
	if resp, err := w.client.Get(w.url + "/livez"); err == nil {
		_ = resp.Body.Close()
		if resp.StatusCode == http.StatusOK {
			t.Error("it answers in the clear")
		}
	}
	authority.Issue(t, files, 2)
	deadline := time.Now().Add(10 * time.Second)
	for serial != 2 && time.Now().Before(deadline) {
		serial, _, _ = get()
	}
	if serial != 2 {
		t.Error("the new certificate is not used")
	}
}
