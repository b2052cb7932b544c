package gateway_test

import (
	"encoding/json"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"workflow.uniconnect/pkg/devusers"
	"workflow.uniconnect/pkg/service"
)

func anonymous(r *http.Request) { r.Header.Del("Authorization") }

func TestGateway_page(t *testing.T) {
	w := newWorld(t)
	page := w.do(t, "GET", "/", "", anonymous)
	if page.code != 200 || !strings.HasPrefix(page.header.Get("Content-Type"), "text/html") {
		t.Fatalf("got %d %s", page.code, page.header.Get("Content-Type"))
	}
	policy := page.header.Get("Content-Security-Policy")
	for _, want := range []string{"default-src 'none'", "script-src 'self'", "connect-src 'self'", "frame-ancestors 'none'", "base-uri 'none'"} {
		if !strings.Contains(policy, want) {
			t.Errorf("policy %q lacks %q", policy, want)
		}
	}
	for _, bad := range []string{"unsafe", "*", "http:"} {
		if strings.Contains(policy, bad) {
			t.Errorf("policy %q has %q", policy, bad)
		}
	}
	for name, want := range map[string]string{
		"X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer", "X-Frame-Options": "DENY", "Access-Control-Allow-Origin": "",
	} {
		if got := page.header.Get(name); got != want {
			t.Errorf("%s: got %q, want %q", name, got, want)
		}
	}
	// The policy forbids what is inline, so none may be there; every file that is named must be.
	if inline := regexp.MustCompile(`(?i)<script(>|[^>]*[^/]>\s*[^<\s])|<style|\son[a-z]+=|\sstyle=|javascript:`).Find(page.body); inline != nil {
		t.Errorf("the page has inline code: %q", inline)
	}
	assets := regexp.MustCompile(`/assets/[a-z.]+`).FindAllString(string(page.body), -1)
	script := w.do(t, "GET", "/assets/app.js", "", anonymous)
	assets = append(assets, regexp.MustCompile(`/assets/[a-z.]+`).FindAllString(string(script.body), -1)...)
	if len(assets) < 4 {
		t.Errorf("assets: got %v", assets)
	}
	for _, path := range assets {
		if got := w.do(t, "GET", path, "", anonymous); got.code != 200 || len(got.body) == 0 || got.header.Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("%s: got %d, %d bytes", path, got.code, len(got.body))
		}
	}
	// Untrusted text goes through textContent alone.
	if sink := regexp.MustCompile(`innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(`).Find(script.body); sink != nil {
		t.Errorf("the script uses %q", sink)
	}
	if got := w.do(t, "HEAD", "/", "", anonymous); got.code != 200 || len(got.body) != 0 {
		t.Errorf("HEAD: got %d with %d bytes", got.code, len(got.body))
	}
}

func TestGateway_development_sign_in(t *testing.T) {
	w := newWorld(t)
	var list struct {
		Users []struct{ User, Tenant string }
	}
	if err := json.Unmarshal(w.do(t, "GET", "/dev/users", "", anonymous).body, &list); err != nil {
		t.Fatal(err)
	}
	if len(list.Users) != len(devusers.All()) {
		t.Fatalf("users: got %v", list.Users)
	}
	for _, u := range list.Users {
		got := w.do(t, "POST", "/dev/token", `{"user":"`+u.User+`"}`, anonymous)
		var answer struct{ Token string }
		if err := json.Unmarshal(got.body, &answer); err != nil || got.code != 200 {
			t.Fatalf("%s: got %d %s", u.User, got.code, got.body)
		}
		me := asMap(t, w.do(t, "GET", "/v1/access/me", "", header("Authorization", "Bearer "+answer.Token)).body)
		if me["user"] != u.User || me["tenant"] != u.Tenant {
			t.Errorf("me: got %v, want %s of %s", me, u.User, u.Tenant)
		}
	}
	tests := map[string]struct {
		body string
		edit func(*http.Request)
		code int
	}{
		"unknown_user": {`{"user":"root@acme.test"}`, nil, 400},
		"no_json":      {`user=owner@acme.test`, nil, 400},
		"more_json":    {`{"user":"owner@acme.test"}{}`, nil, 400},
		"tenant_too":   {`{"user":"owner@acme.test","tenant":"globex"}`, nil, 400},
		"form":         {`user=owner@acme.test`, header("Content-Type", "application/x-www-form-urlencoded"), 415},
		"cross_site":   {`{"user":"owner@acme.test"}`, header("Sec-Fetch-Site", "cross-site"), 403},
		"same_site":    {`{"user":"owner@acme.test"}`, header("Sec-Fetch-Site", "same-site"), 403},
		"origin":       {`{"user":"owner@acme.test"}`, header("Origin", "https://evil.test"), 403},
		"rebound_name": {`{"user":"owner@acme.test"}`, func(r *http.Request) { r.Host = "evil.test:8080" }, 403},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got := w.do(t, "POST", "/dev/token", tt.body, func(r *http.Request) {
				anonymous(r)
				if tt.edit != nil {
					tt.edit(r)
				}
			})
			if got.code != tt.code || strings.Contains(string(got.body), "token\":") {
				t.Errorf("got %d %s, want %d", got.code, got.body, tt.code)
			}
		})
	}
}

func TestGateway_development_sign_in_exists_with_dev_only(t *testing.T) {
	for name, change := range map[string]func(*service.Deps){
		"without_dev": func(d *service.Deps) { d.Settings.Dev = false },
		"with_issuer": func(d *service.Deps) { d.Settings.OIDCIssuer = "https://issuer.test" },
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, change)
			if got := w.do(t, "POST", "/dev/token", `{"user":"owner@acme.test"}`, anonymous); got.code != 404 {
				t.Errorf("token: got %d %s, want 404", got.code, got.body)
			}
			if got := w.do(t, "GET", "/dev/users", "", anonymous); got.code != 404 {
				t.Errorf("users: got %d, want 404", got.code)
			}
		})
	}
}

func TestGateway_openapi(t *testing.T) {
	w := newWorld(t)
	got := w.do(t, "GET", "/v1/openapi.json", "", anonymous)
	var doc struct {
		OpenAPI    string
		Info       struct{ Title, Version string }
		Paths      map[string]map[string]struct{ OperationID string }
		Components struct {
			Schemas         map[string]any
			SecuritySchemes map[string]any
		}
	}
	if err := json.Unmarshal(got.body, &doc); err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(doc.OpenAPI, "3.1") || doc.Info.Title == "" || doc.Info.Version == "" {
		t.Errorf("got %s %+v", doc.OpenAPI, doc.Info)
	}
	if _, ok := doc.Components.SecuritySchemes["bearer"]; !ok {
		t.Error("no bearer scheme")
	}
	if strings.Contains(string(got.body), ".peer.") || strings.Contains(string(got.body), "google.rpc.Status\"") {
		t.Error("the document shows internal messages or gRPC's own error")
	}
	// Every reference leads somewhere.
	for _, ref := range regexp.MustCompile(`"#/components/schemas/([^"]+)"`).FindAllSubmatch(got.body, -1) {
		var at any = doc.Components.Schemas
		for name := range strings.SplitSeq(string(ref[1]), "/") {
			members, _ := at.(map[string]any)
			at = members[name]
		}
		if at == nil {
			t.Errorf("no schema %s", ref[1])
		}
	}
	// Every route answers as the document says: with anything but 404 and 405 for want of a token.
	var routes []string
	for path, operations := range doc.Paths {
		for method := range operations {
			routes = append(routes, strings.ToUpper(method)+" "+path)
			concrete := regexp.MustCompile(`\{[^}]+\}`).ReplaceAllString(path, someID)
			if got := w.do(t, strings.ToUpper(method), concrete, "", anonymous); got.code != 401 && path != "/v1/openapi.json" {
				t.Errorf("%s %s without a token: got %d, want 401", method, path, got.code)
			}
		}
	}
	slices.Sort(routes)
	want := []string{
		"DELETE /v1/access/roles/{id}", "DELETE /v1/workflows/{id}", "DELETE /v1/workflows/{id}/draft",
		"DELETE /v1/workflows/{workflowId}/backups/{id}", "GET /v1/access/me", "GET /v1/access/modules", "GET /v1/access/permissions",
		"GET /v1/access/roles", "GET /v1/access/roles/{id}", "GET /v1/access/users", "GET /v1/actionTypes", "GET /v1/auditEntries",
		"GET /v1/deadLetters", "GET /v1/eventTypes", "GET /v1/executions", "GET /v1/executions/{id}", "GET /v1/openapi.json",
		"GET /v1/templates", "GET /v1/templates/{id}", "GET /v1/tenant/settings", "GET /v1/workflows", "GET /v1/workflows/{id}",
		"GET /v1/workflows/{id}/draft", "GET /v1/workflows/{id}:deletePreview", "GET /v1/workflows/{id}:diff",
		"GET /v1/workflows/{id}:export", "GET /v1/workflows/{workflowId}/backups", "GET /v1/workflows/{workflowId}/executions",
		"GET /v1/workflows/{workflowId}/revisions", "GET /v1/workflows/{workflowId}/revisions/{revision}", "GET /v1/workflows:watch",
		"PATCH /v1/access/modules/{module}", "PATCH /v1/access/roles/{id}", "PATCH /v1/access/users/{user}", "PATCH /v1/tenant/settings",
		"PATCH /v1/workflows/{id}", "POST /v1/access/roles", "POST /v1/events", "POST /v1/workflows", "POST /v1/workflows/{id}:activate",
		"POST /v1/workflows/{id}:backup", "POST /v1/workflows/{id}:deactivate", "POST /v1/workflows/{id}:duplicate",
		"POST /v1/workflows/{id}:publish", "POST /v1/workflows/{id}:reset", "POST /v1/workflows/{workflowId}/backups/{id}:restore",
		"POST /v1/workflows/{workflowId}:run", "POST /v1/workflows:import", "POST /v1/workflows:validate", "PUT /v1/workflows/{id}/draft",
	}
	if diff := cmp.Diff(want, routes); diff != "" {
		t.Errorf("routes (-want +got):\n%s", diff)
	}
}
