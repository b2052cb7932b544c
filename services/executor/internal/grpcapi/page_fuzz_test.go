package grpcapi

import (
	"strings"
	"testing"

	"workflow.uniconnect/pkg/fault"
	"workflow.uniconnect/services/executor/internal/execution"
)

// FuzzPageToken feeds the list of executions tokens: it accepts its own alone, and those of no other tenant.
func FuzzPageToken(f *testing.F) {
	ours, theirs := pageScope{tenant: "acme"}, pageScope{tenant: "globex"}
	for _, token := range []string{"", "forged", ours.token(execution.ID{1}), theirs.token(execution.ID{1}), ours.token(aboveAll()) + "=", "AAAA", "\xff", strings.Repeat("A", 512)} {
		f.Add(token)
	}
	f.Fuzz(func(t *testing.T, token string) {
		id, err := ours.parse(token)
		if err != nil {
			if fault.KindOf(err) != fault.KindInvalidArgument {
				t.Fatalf("%q: got %v", token, err)
			}
			return
		}
		if again, err := ours.parse(ours.token(id)); err != nil || again != id {
			t.Fatalf("%q: got %v, %v; want %v", token, again, err, id)
		}
		if _, err := theirs.parse(token); err == nil && token != "" {
			t.Fatalf("%q is accepted for another tenant", token)
		}
	})
}
