package session

import (
	"net/http"
	"strings"
	"time"
)

// maxCookie is what every browser keeps, of name and value together.
const maxCookie = 4096

// cookie is one of our cookies. With TLS its name begins with __Host-, which a browser takes from this very host alone, and only with TLS.
type cookie struct {
	name   string
	secure bool
}

func newCookie(name, publicURL string) cookie {
	secure := strings.HasPrefix(publicURL, "https://")
	if secure {
		name = "__Host-" + name
	}
	return cookie{name, secure}
}

func (c cookie) fits(value string) bool { return len(c.name)+len(value) <= maxCookie }

// of returns the cookie's value in a call.
func (c cookie) of(r *http.Request) (string, bool) {
	found := r.CookiesNamed(c.name)
	if len(found) != 1 || found[0].Value == "" {
		return "", false
	}
	return found[0].Value, true
}

func (c cookie) set(w http.ResponseWriter, value string, age time.Duration) {
	http.SetCookie(w, &http.Cookie{ //nolint:gosec // Secure is missing on one's own machine alone, where there is no TLS
		Name: c.name, Value: value, Path: "/", MaxAge: max(1, int(age/time.Second)),
		Secure: c.secure, HttpOnly: true,
		SameSite: http.SameSiteLaxMode, // Strict would hide it from the issuer's way back
	})
}

func (c cookie) drop(w http.ResponseWriter) {
	http.SetCookie(w, &http.Cookie{ //nolint:gosec // see set
		Name: c.name, Path: "/", MaxAge: -1, Secure: c.secure, HttpOnly: true, SameSite: http.SameSiteLaxMode,
	})
}
