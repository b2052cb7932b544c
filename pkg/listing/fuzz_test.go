package listing

import (
	"bytes"
	"strings"
	"testing"
)

// FuzzScope_Position feeds a list tokens that it may not have given out: it must not panic, must accept nothing but its own form of its own
// list, and each position must have one token.
func FuzzScope_Position(f *testing.F) {
	ours, theirs := NewScope("workflows", "acme", "title"), NewScope("workflows", "globex", "title")
	for _, token := range []string{
		"", "forged", ours.Token([]byte("position")), theirs.Token([]byte("position")), ours.Token([]byte{0}), ours.Token([]byte("x")) + "=", ours.Token(nil),
		strings.Repeat("A", 512), "AQ", "\xff", "é", ours.Token([]byte("x"))[1:], strings.ToLower(ours.Token([]byte("position"))),
	} {
		f.Add(token)
	}
	f.Fuzz(func(t *testing.T, token string) {
		position, err := ours.Position(token)
		switch {
		case err != nil || token == "":
			return
		case len(position) == 0:
			t.Fatalf("%q says nothing and is accepted", token)
		case ours.Token(position) != token:
			t.Fatalf("%q is another spelling of %q", token, ours.Token(position))
		}
		if _, err := theirs.Position(token); err == nil {
			t.Fatalf("%q is accepted by the list of another tenant", token)
		}
		if again, err := ours.Position(ours.Token(position)); err != nil || !bytes.Equal(again, position) {
			t.Fatalf("got %q, %v; want %q", again, err, position)
		}
	})
}
