package grpcapi

import (
	"strings"
	"testing"

	"workflow.uniconnect/pkg/fault"
)

// FuzzPageToken feeds a list tokens: it accepts its own alone, and those of no other tenant and no other list.
func FuzzPageToken(f *testing.F) {
	for _, token := range []string{
		"", "forged", writeToken("acme", deadLetterToken, "1"), writeToken("globex", deadLetterToken, "1"), writeToken("acme", eventTypeToken, "call.ended"),
		writeToken("acme", deadLetterToken, ""), "AAAA", "\xff", strings.Repeat("A", 512), writeToken("acme", deadLetterToken, "a/b") + "=",
	} {
		f.Add(token)
	}
	f.Fuzz(func(t *testing.T, token string) {
		position, err := readToken("acme", deadLetterToken, token)
		if err != nil {
			if fault.KindOf(err) != fault.KindInvalidArgument {
				t.Fatalf("%q: got %v", token, err)
			}
			return
		}
		if token == "" {
			return
		}
		if again, err := readToken("acme", deadLetterToken, writeToken("acme", deadLetterToken, position)); err != nil || again != position {
			t.Fatalf("%q: got %q, %v; want %q", token, again, err, position)
		}
		if _, err := readToken("globex", deadLetterToken, token); err == nil {
			t.Fatalf("%q is accepted for another tenant", token)
		}
		if _, err := readToken("acme", eventTypeToken, token); err == nil {
			t.Fatalf("%q is accepted by another list", token)
		}
	})
}
