package security

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"google.golang.org/grpc/codes"

	"workflow.uniconnect/pkg/auth"

	workflowv1 "workflow.uniconnect/proto/gen/go/uniconnect/workflow/v1"
)

// forger makes tokens that the issuer would not.
type forger struct {
	key    *ecdsa.PrivateKey // the issuer's own, where the test is about what it signs
	header map[string]any    // of a good token
}

func (s *system) forger(t *testing.T) *forger {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(s.Dir, "dev-issuer.pem"))
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(text)
	if block == nil {
		t.Fatal("the issuer's key is no PEM")
	}
	key, err := x509.ParseECPrivateKey(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	good, _, err := jwt.NewParser().ParseUnverified(s.userToken(t, owner), jwt.MapClaims{})
	if err != nil {
		t.Fatal(err)
	}
	return &forger{key, good.Header}
}

// sign returns a token whose header and claims are a good one's with these changes.
func (f *forger) sign(t *testing.T, method jwt.SigningMethod, key any, header, claims map[string]any) string {
	t.Helper()
	now := time.Now().Unix()
	all := jwt.MapClaims{"iss": auth.DevIssuer, "aud": auth.DevAudience, "sub": owner, "tenant": tenant, "iat": now, "exp": now + 600}
	for name, value := range claims {
		if all[name] = value; value == nil {
			delete(all, name)
		}
	}
	token := jwt.NewWithClaims(method, all)
	for name, value := range f.header {
		if name != "alg" {
			token.Header[name] = value
		}
	}
	maps.Copy(token.Header, header)
	text, err := token.SignedString(key)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// refuseTokens holds that each token gets the one answer, over both protocols, and that it says nothing of why.
func (s *system) refuseTokens(t *testing.T, tokens map[string]string) {
	t.Helper()
	if a := s.grpc.call(t, s.forger(t).sign(t, jwt.SigningMethodES256, s.forger(t).key, nil, nil), &workflowv1.ListWorkflowsRequest{}); a.refused() {
		t.Fatalf("the token that the others are taken from is not good: %v", a.unexpected())
	}
	for name, token := range tokens {
		text := "token not accepted"
		if strings.HasPrefix(name, "no_tenant") {
			text = "no tenant in token" // the one reason that a caller can do something about
		}
		for _, f := range s.faces() {
			t.Run(name+"/"+f.name(), func(t *testing.T) {
				want{codes.Unauthenticated, 401, "TOKEN_INVALID", text}.check(t, f.call(t, token, &workflowv1.ListWorkflowsRequest{}))
			})
		}
	}
}

func (s *system) forgedTokens(t *testing.T) {
	f := s.forger(t)
	public, err := x509.MarshalPKIXPublicKey(&f.key.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	good := s.userToken(t, owner)
	parts := strings.Split(good, ".")
	s.refuseTokens(t, map[string]string{
		"none":        f.sign(t, jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType, nil, nil),
		"none_as_ec":  f.sign(t, jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType, map[string]any{"alg": "ES256"}, nil),
		"hmac_der":    f.sign(t, jwt.SigningMethodHS256, public, nil, nil),
		"hmac_pem":    f.sign(t, jwt.SigningMethodHS256, pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: public}), nil, nil),
		"other_key":   f.sign(t, jwt.SigningMethodES256, newKey(t), nil, nil),
		"unsigned":    parts[0] + "." + parts[1] + ".",
		"two_parts":   parts[0] + "." + parts[1],
		"other_claim": parts[0] + "." + strings.Split(s.userToken(t, foreign), ".")[1] + "." + parts[2],
		"junk":        "junk",
	})
}

func newKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func (s *system) tokensForOthers(t *testing.T) {
	f := s.forger(t)
	signed := func(claims map[string]any) string { return f.sign(t, jwt.SigningMethodES256, f.key, nil, claims) }
	now := time.Now().Unix()
	s.refuseTokens(t, map[string]string{
		"audience": signed(map[string]any{"aud": "another-service"}), "no_audience": signed(map[string]any{"aud": nil}),
		"issuer": signed(map[string]any{"iss": "https://evil.test"}), "expired": signed(map[string]any{"exp": now - 600}),
		"no_expiry": signed(map[string]any{"exp": nil}), "not_yet": signed(map[string]any{"nbf": now + 600}),
		"id_token": f.sign(t, jwt.SigningMethodES256, f.key, map[string]any{"typ": "JWT"}, map[string]any{"nonce": "x"}),
	})
}

func (s *system) keysFromTheToken(t *testing.T) {
	f := s.forger(t)
	own := newKey(t)
	with := func(header map[string]any) string { return f.sign(t, jwt.SigningMethodES256, own, header, nil) }
	s.refuseTokens(t, map[string]string{
		"kid_path": with(map[string]any{"kid": "../../x"}), "kid_sql": with(map[string]any{"kid": "x' OR '1'='1"}), "kid_url": with(map[string]any{"kid": s.RESTURL}),
		"jku": with(map[string]any{"jku": "https://evil.test/keys"}), "x5u": with(map[string]any{"x5u": "https://evil.test/cert"}),
		"jwk":  with(map[string]any{"jwk": map[string]any{"kty": "EC", "crv": "P-256", "x": own.X.Bytes(), "y": own.Y.Bytes()}}),
		"crit": f.sign(t, jwt.SigningMethodES256, f.key, map[string]any{"crit": []string{"x"}, "x": 1}, nil),
	})
}

func (s *system) noTenant(t *testing.T) {
	f := s.forger(t)
	tokens := make(map[string]string)
	for name, tenant := range map[string]any{"no_tenant": nil, "no_tenant_empty": "", "any": "*", "dotted": "a.b", "list": []string{"acme"}, "upper": "ACME", "long": strings.Repeat("a", 33)} {
		tokens[name] = f.sign(t, jwt.SigningMethodES256, f.key, nil, map[string]any{"tenant": tenant})
	}
	s.refuseTokens(t, tokens)
}

// longToken is as long as headers may be, and longer.
func (s *system) longToken(t *testing.T) {
	request := &workflowv1.ListWorkflowsRequest{}
	want{codes.Unauthenticated, 401, "TOKEN_INVALID", "token not accepted"}.check(t, s.grpc.call(t, strings.Repeat(".", 10_000), request))
	// A longer one is refused by the transport, on either side of it.
	if a := s.grpc.call(t, strings.Repeat(".", 100_000), request); !a.refused() {
		t.Error("a token of 100,000 dots is accepted")
	}
}
