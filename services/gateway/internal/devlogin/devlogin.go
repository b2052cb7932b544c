// Package devlogin signs development users in. It exists with --dev only: outside, nothing links its handlers to a path.
package devlogin

import (
	"encoding/json"
	"io"
	"mime"
	"net"
	"net/http"
	"strings"
	"time"

	"workflow.uniconnect/pkg/auth"
	"workflow.uniconnect/pkg/devusers"
	"workflow.uniconnect/pkg/fault"
)

const (
	tokenTTL = 12 * time.Hour
	maxBody  = 1 << 10
)

// Issuer makes tokens. auth.Issuer is one.
type Issuer interface {
	Issue(p auth.Principal, ttl time.Duration) (string, error)
}

var errHost = fault.PermissionDenied("CROSS_ORIGIN", "sign in under localhost or an IP address")

// isLocal tells whether a Host header is one that no other site's name server can have led here: a page of such a site would count as of
// the same origin.
func isLocal(host string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	return host == "localhost" || strings.HasSuffix(host, ".localhost") || net.ParseIP(strings.Trim(host, "[]")) != nil
}

// ErrorWriter answers a call with an error in the API's shape.
type ErrorWriter func(w http.ResponseWriter, r *http.Request, err error)

// Users answers who may be signed in.
func Users() http.Handler {
	type user struct {
		User   string   `json:"user"`
		Tenant string   `json:"tenant"`
		Roles  []string `json:"roles"`
	}
	var answer struct {
		Users []user `json:"users"`
	}
	for _, u := range devusers.All() {
		answer.Users = append(answer.Users, user{u.Name, u.Tenant, u.Roles})
	}
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { writeJSON(w, answer) })
}

// Token answers {"user": "…"} with {"token": "…"}. It takes JSON alone, which no form of another site can send.
func Token(issuer Issuer, writeError ErrorWriter) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !isLocal(r.Host) {
			writeError(w, r, errHost)
			return
		}
		media, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
		if err != nil || media != "application/json" {
			writeError(w, r, fault.InvalidArgument("CONTENT_TYPE", "the content type is not supported: send application/json"))
			return
		}
		var request struct {
			User string `json:"user"`
		}
		decoder := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxBody))
		decoder.DisallowUnknownFields()
		if err := decoder.Decode(&request); err != nil || decoder.Decode(&struct{}{}) != io.EOF {
			writeError(w, r, fault.InvalidArgument("MALFORMED_JSON", `the body must be {"user": "…"}`))
			return
		}
		user, ok := devusers.Find(request.User)
		if !ok {
			writeError(w, r, fault.Invalid(fault.Violation{Field: "user", Description: "is not a development user"}))
			return
		}
		token, err := issuer.Issue(user.Principal(), tokenTTL)
		if err != nil {
			writeError(w, r, err)
			return
		}
		writeJSON(w, map[string]string{"token": token})
	})
}

func writeJSON(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	// A client that went away is the only way this fails.
	_ = json.NewEncoder(w).Encode(v)
}
