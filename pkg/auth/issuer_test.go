package auth_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"workflow.uniconnect/pkg/auth"
	"workflow.uniconnect/pkg/fault"
	"workflow.uniconnect/pkg/oidctest"
)

// A service gets its token from a real issuer with its credentials, and the others accept it for what it is.
func TestVerifier_real_issuer(t *testing.T) {
	issuer := oidctest.New(t, oidctest.Options{Audience: audience, TokenLife: 5 * time.Minute, Clients: []oidctest.Client{
		{ID: "executor", Secret: "s3cret+/=&", Claims: map[string]any{"uc_kind": "service"}},
		{ID: "crm", Secret: "other", Claims: map[string]any{"uc_kind": "client", "tenant": "acme", "roles": []string{"builder"}}},
	}})
	client := &http.Client{Transport: &http.Transport{}, Timeout: 5 * time.Second}
	t.Cleanup(client.CloseIdleConnections)
	config := func(id, secret string) auth.Config {
		return auth.Config{
			Issuer: issuer.URL, Audience: audience, ClientID: id, ClientSecret: secret, Peers: []string{"executor"}, HTTPClient: client,
		}
	}
	verifier, err := auth.NewVerifier(t.Context(), config("", ""))
	if err != nil {
		t.Fatal(err)
	}
	if err := verifier.Ready(t.Context()); err != nil {
		t.Fatalf("not ready: %v", err)
	}
	for _, want := range []auth.Principal{
		{Subject: "executor", Kind: auth.Service},
		{Subject: "crm", Tenant: "acme", Kind: auth.Client, Roles: []string{"builder"}},
	} {
		secret := map[string]string{"executor": "s3cret+/=&", "crm": "other"}[want.Subject]
		source, err := auth.NewTokenSource(t.Context(), config(want.Subject, secret), "")
		if err != nil {
			t.Fatal(err)
		}
		token, err := source.Token(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		got, err := verifier.Verify(t.Context(), token)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	}
	source, err := auth.NewTokenSource(t.Context(), config("executor", "wrong"), "")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := source.Token(t.Context()); fault.KindOf(err) != fault.KindUnavailable {
		t.Errorf("with a wrong secret: got %v, want UNAVAILABLE", err)
	}
	issuer.Away(true)
	token, err := issuer.Token(t.Context(), "executor")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := verifier.Verify(t.Context(), token); err != nil {
		t.Errorf("a token that was never seen, while the issuer is away: %v", err)
	}
}
