package auth_test

import (
	"strings"
	"testing"

	"workflow.uniconnect/pkg/auth"
	"workflow.uniconnect/pkg/fault"
)

// FuzzBearer feeds headers to what takes the token out of them: one header of one scheme with one token passes, everything else is refused
// as the caller's doing.
func FuzzBearer(f *testing.F) {
	for _, text := range []string{"", "Bearer x", "bearer x", "Bearer", "Bearer ", "Bearer  x", "Basic x", "Bearer x y", "Bearer x,Bearer y", "Bearer\tx", "Bearerx", "Bearer x\r\nX: y", "Bearer \x00"} {
		f.Add(text, "")
		f.Add(text, text)
	}
	f.Fuzz(func(t *testing.T, first, second string) {
		values := []string{first}
		if second != "" {
			values = append(values, second)
		}
		token, err := auth.Bearer(values...)
		if err != nil {
			if fault.KindOf(err) != fault.KindUnauthenticated || token != "" {
				t.Fatalf("%q: got %q, %v", values, token, err)
			}
			return
		}
		if len(values) > 1 {
			t.Fatalf("two headers are accepted: %q", values)
		}
		if token == "" || strings.ContainsAny(token, " \t\r\n\x00,") || !strings.HasSuffix(first, token) || !strings.EqualFold(first[:6], "bearer") {
			t.Fatalf("%q: got the token %q", first, token)
		}
	})
}
