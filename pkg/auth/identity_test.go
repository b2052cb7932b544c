package auth_test

import (
	"strings"
	"testing"

	"github.com/golang-jwt/jwt/v5"
	"github.com/google/go-cmp/cmp"

	"workflow.uniconnect/pkg/auth"
	"workflow.uniconnect/pkg/fault"
)

// Only the subjects on the list are our own services, whatever a token says of itself.
func TestVerifier_kinds(t *testing.T) {
	key, _ := newKeys(t)
	p := &provider{keys: []map[string]string{rsaJWK("k", &key.PublicKey)}}
	cfg := p.config()
	cfg.Peers = []string{"executor"}
	cfg.Grants = map[string][]string{"crm": {"event.publish"}, "executor": {"workflow.view"}, "person": {"workflow.view"}}
	v, err := auth.NewVerifier(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	cases := map[string]struct {
		subject, kind, tenant string
		want                  auth.Principal
		refused               bool
	}{
		"own_service":           {"executor", "service", "", auth.Principal{Kind: auth.Service}, false},
		"own_service_as_client": {"executor", "client", "acme", auth.Principal{Kind: auth.Client}, false},
		"own_subject_no_kind":   {"executor", "", "acme", auth.Principal{Kind: auth.User}, false},
		"other_service":         {"mailer", "service", "acme", auth.Principal{Kind: auth.Client}, false},
		"other_without_grant":   {"mailer", "service", "", auth.Principal{Kind: auth.Client}, false},
		"granted":               {"crm", "service", "", auth.Principal{Kind: auth.Client, Permissions: []string{"event.publish"}}, false},
		"granted_with_tenant":   {"crm", "client", "acme", auth.Principal{Kind: auth.Client}, false},
		"person_on_the_list":    {"person", "", "acme", auth.Principal{Kind: auth.User}, false},
		"person_no_tenant":      {"person", "user", "", auth.Principal{}, true},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			claims := oidcClaims()
			claims["sub"] = c.subject
			for name, value := range map[string]string{"tenant": c.tenant, "uc_kind": c.kind} {
				delete(claims, name)
				if value != "" {
					claims[name] = value
				}
			}
			got, err := v.Verify(t.Context(), sign(t, jwt.SigningMethodRS256, map[string]any{"kid": "k"}, claims, key))
			if (err != nil) != c.refused {
				t.Fatalf("got %v, want refused %v", err, c.refused)
			}
			if c.refused {
				return
			}
			c.want.Subject, c.want.Tenant = c.subject, c.tenant
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestPrincipal_Acting(t *testing.T) {
	granted := auth.Principal{Subject: "crm", Kind: auth.Client, Permissions: []string{"event.publish"}}
	cases := map[string]struct {
		who    auth.Principal
		tenant string
		want   fault.Kind
	}{
		"granted":                {granted, "acme", fault.KindNone},
		"wildcard":               {granted, "*", fault.KindInvalidArgument},
		"empty":                  {granted, "", fault.KindInvalidArgument},
		"not_granted":            {auth.Principal{Subject: "crm", Kind: auth.Client}, "acme", fault.KindPermissionDenied},
		"own_tenant":             {auth.Principal{Tenant: "acme", Subject: "u"}, "acme", fault.KindNone},
		"another_tenant":         {auth.Principal{Tenant: "acme", Subject: "u"}, "globex", fault.KindPermissionDenied},
		"another_of_a_client":    {auth.Principal{Tenant: "acme", Subject: "crm", Kind: auth.Client}, "globex", fault.KindPermissionDenied},
		"one_of_our_own":         {auth.Principal{Subject: "executor", Kind: auth.Service}, "acme", fault.KindPermissionDenied},
		"our_own_with_a_grant":   {auth.Principal{Subject: "executor", Kind: auth.Service, Permissions: []string{"event.publish"}}, "acme", fault.KindPermissionDenied},
		"permissions_and_tenant": {auth.Principal{Tenant: "acme", Subject: "crm", Kind: auth.Client, Permissions: []string{"event.publish"}}, "globex", fault.KindPermissionDenied},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			got, err := c.who.Acting(c.tenant)
			if fault.KindOf(err) != c.want {
				t.Fatalf("got %v, want %v", err, c.want)
			}
			if err == nil && (got.Tenant != c.tenant || got.Subject != c.who.Subject) {
				t.Errorf("got %+v", got)
			}
		})
	}
}

func TestParseGrants(t *testing.T) {
	got, err := auth.ParseGrants(" crm=event.publish,execution.view ; a=b==workflow.view;")
	want := map[string][]string{"crm": {"event.publish", "execution.view"}, "a=b=": {"workflow.view"}}
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
	for _, bad := range []string{"crm", "=event.publish", "crm=", "crm=a,,b", "crm=a;crm=b"} {
		if got, err := auth.ParseGrants(bad); err == nil || !strings.Contains(err.Error(), `"`) {
			t.Errorf("%q: got %v, %v; want an error that quotes it", bad, got, err)
		}
	}
}
