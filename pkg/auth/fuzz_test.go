package auth_test

import (
	"crypto/ed25519"
	"crypto/sha256"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/golang-jwt/jwt/v5"

	"workflow.uniconnect/pkg/auth"
	"workflow.uniconnect/pkg/fault"
)

// FuzzVerifier_Verify feeds the verifier texts: it must not panic, must have one answer for all that it refuses, and must accept nothing
// but what the issuer signed.
func FuzzVerifier_Verify(f *testing.F) {
	seed := sha256.Sum256([]byte("the key of this test"))
	key := ed25519.NewKeyFromSeed(seed[:]) // the same in every run, so that a corpus keeps its meaning
	p := &provider{keys: []map[string]string{edJWK("k", key.Public().(ed25519.PublicKey))}}
	v, err := auth.NewVerifier(f.Context(), auth.Config{Issuer: issuerURL, Audience: audience, HTTPClient: &http.Client{Transport: p}})
	if err != nil {
		f.Fatal(err)
	}
	claims := jwt.MapClaims{"iss": issuerURL, "aud": audience, "sub": "u", "tenant": "acme", "exp": 4102444800, "roles": []string{"a"}}
	token := jwt.NewWithClaims(jwt.SigningMethodEdDSA, claims)
	token.Header["kid"] = "k"
	good, err := token.SignedString(key)
	if err != nil {
		f.Fatal(err)
	}
	if _, err := v.Verify(f.Context(), good); err != nil {
		f.Fatalf("the token that signs are taken from is not good: %v", err)
	}
	none, err := jwt.NewWithClaims(jwt.SigningMethodNone, claims).SignedString(jwt.UnsafeAllowNoneSignatureType)
	if err != nil {
		f.Fatal(err)
	}
	parts := strings.Split(good, ".")
	for _, text := range []string{
		good, none, "", ".", "..", "...", parts[0], parts[0] + "." + parts[1], parts[0] + "." + parts[1] + ".", parts[1] + "." + parts[0] + "." + parts[2],
		"e30.e30.e30", "bnVsbA.bnVsbA.", "W10.W10.W10", good + ".", good + "=", strings.ToUpper(good), strings.Repeat(".", 10_000),
		"eyJhbGciOiJFZERTQSIsImtpZCI6Ii4uLy4uL3gifQ." + parts[1] + "." + parts[2],
	} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		_, err := v.Verify(t.Context(), text)
		if err == nil && text != good {
			t.Fatalf("accepted %q", text)
		}
		if refused, ok := fault.As(err); err != nil && (!ok || refused.Kind != fault.KindUnauthenticated || refused.Message != "token not accepted") {
			t.Fatalf("%q: got %v", text, err)
		}
	})
}

// FuzzVerifier_claims signs what it is given: however odd the issuer's claims are, who comes out is one that may exist.
func FuzzVerifier_claims(f *testing.F) {
	d := newDev(f)
	for _, text := range []string{
		`{}`, `null`, `[]`, `{"iss":"uniconnect-development","aud":"uniconnect-workflow","sub":"u","tenant":"acme","exp":4102444800}`,
		`{"iss":"uniconnect-development","aud":["uniconnect-workflow"],"sub":"u","uc_kind":"service","exp":4102444800.5,"roles":["a","b"]}`,
		`{"iss":"uniconnect-development","aud":["uniconnect-workflow",7],"sub":null,"tenant":{},"exp":1e400}`,
		`{"iss":"uniconnect-development","aud":"uniconnect-workflow","sub":"\u0000","tenant":"*","exp":4102444800,"nonce":1,"email":"\ud800"}`,
		`{"exp":-1,"nbf":99999999999999999999,"iat":"x","typ":"ID","events":{},"cnf":[]}`,
	} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		p, err := d.verifier.Verify(t.Context(), d.raw(t, text))
		if refused, ok := fault.As(err); err != nil && (!ok || refused.Kind != fault.KindUnauthenticated) {
			t.Fatalf("got %v", err)
		}
		if err != nil {
			return
		}
		if p.Kind == auth.User && p.Tenant == "" || p.Subject == "" || strings.ContainsAny(p.Tenant, "*.> \x00") || len(p.Tenant) > 32 {
			t.Errorf("accepted %+v", p)
		}
		for _, s := range slices.Concat([]string{p.Subject, p.Email}, p.Roles) {
			if strings.ContainsAny(s, "\x00\r\n") {
				t.Errorf("accepted %q", s)
			}
		}
	})
}
