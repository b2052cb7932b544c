package auth_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"net/url"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"workflow.uniconnect/pkg/auth"
	"workflow.uniconnect/pkg/fault"
)

const (
	issuerURL = "https://id.test/realm"
	audience  = "workflow-api"
)

// provider is an OIDC issuer behind a transport, so that its answers cost no time of a test's own clock.
type provider struct {
	mu      sync.Mutex
	keys    []map[string]string
	down    bool
	fetches int    // of the key set
	during  func() // while the key set is fetched
	keysAt  string // where the key set is said to be, unless that is the usual place
	status  int    // of every answer, unless all is well
	tokens  int
	form    url.Values // of the last token request
	issue   func() string
}

func (p *provider) RoundTrip(req *http.Request) (*http.Response, error) {
	p.mu.Lock()
	during := p.during
	p.mu.Unlock()
	if req.URL.Path == "/realm/keys" && during != nil {
		during()
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.down {
		return nil, errors.New("connection refused")
	}
	var body any
	switch req.URL.Path {
	case "/realm/.well-known/openid-configuration":
		keysAt := issuerURL + "/keys"
		if p.keysAt != "" {
			keysAt = p.keysAt
		}
		body = map[string]any{"issuer": issuerURL, "jwks_uri": keysAt, "token_endpoint": issuerURL + "/token", "authorization_endpoint": issuerURL + "/auth"}
	case "/realm/keys":
		p.fetches++
		body = map[string]any{"keys": p.keys}
	case "/realm/token":
		p.tokens++
		content, err := io.ReadAll(req.Body)
		if err != nil {
			return nil, err
		}
		if p.form, err = url.ParseQuery(string(content)); err != nil {
			return nil, err
		}
		body = map[string]any{"access_token": p.issue(), "token_type": "Bearer", "expires_in": 300}
	default:
		return nil, fmt.Errorf("unexpected path %s", req.URL.Path)
	}
	encoded, err := json.Marshal(body)
	if err != nil {
		return nil, err
	}
	status := http.StatusOK
	if p.status != 0 {
		status = p.status
	}
	return &http.Response{
		StatusCode: status, Header: http.Header{"Content-Type": {"application/json"}},
		Body: io.NopCloser(bytes.NewReader(encoded)), Request: req,
	}, nil
}

func (p *provider) set(change func(*provider)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	change(p)
}

func (p *provider) keyFetches() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.fetches
}

func (p *provider) config() auth.Config {
	return auth.Config{Issuer: issuerURL, Audience: audience, HTTPClient: &http.Client{Transport: p}}
}

func b64(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

func rsaJWK(kid string, k *rsa.PublicKey) map[string]string {
	return map[string]string{"kty": "RSA", "kid": kid, "use": "sig", "n": b64(k.N.Bytes()), "e": b64(big.NewInt(int64(k.E)).Bytes())}
}

func ecJWK(kid string, k *ecdsa.PublicKey) map[string]string {
	point, err := k.Bytes() // 4, then x and y of 32 bytes each
	if err != nil {
		panic(err) // the tests make their keys themselves
	}
	return map[string]string{"kty": "EC", "crv": "P-256", "kid": kid, "x": b64(point[1:33]), "y": b64(point[33:])}
}

func edJWK(kid string, k ed25519.PublicKey) map[string]string {
	return map[string]string{"kty": "OKP", "crv": "Ed25519", "kid": kid, "alg": "EdDSA", "x": b64(k)}
}

func with(m map[string]string, key, value string) map[string]string {
	m[key] = value
	return m
}

func oidcClaims() jwt.MapClaims {
	c := goodClaims()
	c["iss"], c["aud"], c["exp"] = issuerURL, []string{"account", audience}, time.Now().Add(100*time.Hour).Unix()
	return c
}

func TestVerifier_oidc(t *testing.T) {
	rsaKey, edKey := newKeys(t)
	ecKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	weak, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	p := &provider{keys: []map[string]string{
		rsaJWK("r", &rsaKey.PublicKey), ecJWK("e", &ecKey.PublicKey), edJWK("d", edKey.Public().(ed25519.PublicKey)),
		rsaJWK("weak", &weak.PublicKey), with(rsaJWK("enc", &rsaKey.PublicKey), "use", "enc"), with(rsaJWK("ps", &rsaKey.PublicKey), "alg", "PS256"),
		{"kty": "oct", "kid": "oct", "k": "AAAA"},
		{"kty": "EC", "crv": "P-256", "kid": "off", "x": b64(make([]byte, 32)), "y": b64(make([]byte, 32))},
	}}
	v, err := auth.NewVerifier(t.Context(), p.config())
	if err != nil {
		t.Fatal(err)
	}
	cases := map[string]struct {
		method jwt.SigningMethod
		kid    string
		key    any
		ok     bool
	}{
		"rs256":                 {jwt.SigningMethodRS256, "r", rsaKey, true},
		"es256":                 {jwt.SigningMethodES256, "e", ecKey, true},
		"eddsa":                 {jwt.SigningMethodEdDSA, "d", edKey, true},
		"ps256_not_on_the_list": {jwt.SigningMethodPS256, "r", rsaKey, false},
		"rs384_not_on_the_list": {jwt.SigningMethodRS384, "r", rsaKey, false},
		"hs256_with_rsa_public": {jwt.SigningMethodHS256, "r", rsaKey.N.Bytes(), false},
		"key_of_another_kid":    {jwt.SigningMethodES256, "r", ecKey, false},
		"key_for_encryption":    {jwt.SigningMethodRS256, "enc", rsaKey, false},
		"key_for_another_alg":   {jwt.SigningMethodRS256, "ps", rsaKey, false},
		"es256_with_rsa_key_id": {jwt.SigningMethodES256, "d", ecKey, false},
		"weak_rsa":              {jwt.SigningMethodRS256, "weak", weak, false},
		"no_kid_among_many":     {jwt.SigningMethodRS256, "", rsaKey, false},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			_, err := v.Verify(t.Context(), sign(t, c.method, map[string]any{"kid": c.kid}, oidcClaims(), c.key))
			if (err == nil) != c.ok {
				t.Errorf("got %v, want accepted %v", err, c.ok)
			}
		})
	}
	t.Run("development_token", func(t *testing.T) {
		d := newDev(t)
		cfg := p.config()
		cfg.Dev, cfg.DataDir = true, d.dir // an issuer that is set takes the development issuer's place
		v, err := auth.NewVerifier(t.Context(), cfg)
		if err != nil {
			t.Fatal(err)
		}
		token, err := d.issuer.Issue(auth.Principal{Tenant: "acme", Subject: "u"}, time.Minute)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := v.Verify(t.Context(), token); err == nil {
			t.Error("a development token is accepted beside an OIDC issuer")
		}
	})
}

func TestTokenSource_oidc(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &provider{}
		p.issue = func() string { return fmt.Sprintf("token-%d", p.tokens) }
		cfg := p.config()
		cfg.ClientID, cfg.ClientSecret = "executor", "s3cret"
		source, err := auth.NewTokenSource(t.Context(), cfg, "ignored")
		if err != nil {
			t.Fatal(err)
		}
		expect := func(want string) {
			t.Helper()
			got, err := source.Token(t.Context())
			if err != nil || got != want {
				t.Errorf("got %q, %v; want %q", got, err, want)
			}
		}
		expect("token-1")
		expect("token-1")
		if got := p.form.Get("grant_type"); got != "client_credentials" {
			t.Errorf("grant_type: got %q", got)
		}
		<-time.After(250 * time.Second) // over four fifths of its life
		expect("token-2")
		p.set(func(p *provider) { p.down = true })
		<-time.After(250 * time.Second)
		expect("token-2") // renewal fails, the token is still good
		<-time.After(time.Minute)
		if _, err := source.Token(t.Context()); fault.KindOf(err) != fault.KindUnavailable {
			t.Errorf("after its end: got %v, want UNAVAILABLE", err)
		}
	})
}

// While the issuer is away, calls that come together fail together; once it is back, so are tokens.
func TestTokenSource_issuer_away_at_the_start(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &provider{down: true, issue: func() string { return "token" }}
		cfg := p.config()
		cfg.ClientID, cfg.ClientSecret = "executor", "s3cret"
		source, err := auth.NewTokenSource(t.Context(), cfg, "ignored")
		if err != nil {
			t.Fatalf("the start fails: %v", err)
		}
		for range 3 {
			if _, err := source.Token(t.Context()); fault.KindOf(err) != fault.KindUnavailable {
				t.Errorf("got %v, want UNAVAILABLE", err)
			}
		}
		p.set(func(p *provider) { p.down = false })
		<-time.After(2 * time.Second)
		if got, err := source.Token(t.Context()); err != nil || got != "token" {
			t.Errorf("2 s after the issuer came: got %q, %v", got, err)
		}
	})
}

func TestTokenSource_without_credentials_fails_in_use(t *testing.T) {
	source, err := auth.NewTokenSource(t.Context(), (&provider{}).config(), "gateway")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := source.Token(t.Context()); err == nil {
		t.Error("got a token, want an error")
	}
}
