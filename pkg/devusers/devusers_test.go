package devusers_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"workflow.uniconnect/pkg/auth"
	"workflow.uniconnect/pkg/devusers"
)

func TestUser_Principal(t *testing.T) {
	cfg := auth.Config{Dev: true, DataDir: t.TempDir()}
	issuer, err := auth.OpenIssuer(cfg.DataDir)
	if err != nil {
		t.Fatal(err)
	}
	verifier, err := auth.NewVerifier(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	for _, u := range devusers.All() {
		t.Run(u.Name, func(t *testing.T) {
			token, err := issuer.Issue(u.Principal(), time.Minute)
			if err != nil {
				t.Fatal(err)
			}
			got, err := verifier.Verify(t.Context(), token)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(u.Principal(), got); diff != "" {
				t.Errorf("principal (-want +got):\n%s", diff)
			}
			if found, ok := devusers.Find(u.Name); !ok || found.Tenant != u.Tenant {
				t.Errorf("Find: got %v %v, want the user", found, ok)
			}
		})
	}
	if _, ok := devusers.Find("nobody@acme.test"); ok {
		t.Error("Find: got a user that does not exist")
	}
}
