// Package identity looks from outside at who may talk to the system and how: people who sign in at an OpenID Connect issuer, services with
// credentials of their own, and processes that prove themselves with certificates.
package identity

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"workflow.uniconnect/pkg/oidctest"
	peerv1 "workflow.uniconnect/proto/gen/go/uniconnect/workflow/peer/v1"
	"workflow.uniconnect/test/stack"
)

const (
	audience = "uniconnect-workflow-api"
	owner    = "owner@acme.test"
	soon     = 20 * time.Second
)

// system is everything in one process, with a real issuer in the place of the development issuer.
type system struct {
	issuer                        *oidctest.Issuer
	url, scheduler, executor, bin string
}

func newSystem(t *testing.T) *system {
	t.Helper()
	addrs, err := stack.FreeAddrs(t.Context(), 3)
	if err != nil {
		t.Fatal(err)
	}
	s := &system{url: "http://" + addrs[0], scheduler: addrs[1], executor: addrs[2]}
	s.issuer = oidctest.New(t, oidctest.Options{
		Audience: audience,
		Clients: []oidctest.Client{
			{ID: "workflow-manager", Secret: "own-secret", Claims: map[string]any{"uc_kind": "service"}},
			{ID: "dashboard", Redirects: []string{s.url + "/auth/callback"}, SignedOut: []string{s.url + "/"}},
			{ID: "crm", Secret: "crm-secret", Claims: map[string]any{"uc_kind": "service"}},
			{ID: "pbx", Secret: "pbx-secret", Claims: map[string]any{"uc_kind": "client", "tenant": "acme"}},
		},
		Users: []oidctest.User{{Name: owner, Claims: map[string]any{"tenant": "acme", "email": owner}}},
	})
	stack.New(t, stack.Options{Workflowd: true, Env: []string{
		"UC_HTTP_ADDR=" + addrs[0], "UC_SCHEDULER_ADDR=" + s.scheduler, "UC_EXECUTOR_ADDR=" + s.executor,
		"UC_OIDC_ISSUER=" + s.issuer.URL, "UC_OIDC_AUDIENCE=" + audience,
		"UC_OIDC_CLIENT_ID=workflow-manager", "UC_OIDC_CLIENT_SECRET=own-secret",
		"UC_LOGIN_CLIENT_ID=dashboard", "UC_PUBLIC_URL=" + s.url,
		"UC_CROSS_TENANT_SERVICES=crm=event.publish,execution.view",
	}})
	s.bin = filepath.Join(t.TempDir(), "service-client")
	root, err := stack.Root()
	if err != nil {
		t.Fatal(err)
	}
	build := exec.CommandContext(t.Context(), "go", "build", "-o", s.bin, "./docs/examples/service-client")
	build.Dir = root
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build the example: %v\n%s", err, out)
	}
	return s
}

// example runs the documented example as a service.
func (s *system) example(ctx context.Context, service, tenant string) (string, error) {
	cmd := exec.CommandContext(ctx, s.bin)
	cmd.Env = []string{
		"CLIENT_ID=" + service, "CLIENT_SECRET=" + service + "-secret", "TOKEN_URL=" + s.issuer.URL + "/oauth/token", "AUDIENCE=" + audience,
		"SCHEDULER_ADDR=" + s.scheduler, "EXECUTOR_ADDR=" + s.executor, "TENANT=" + tenant,
	}
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// person is a browser.
type person struct {
	*http.Client
	url string
}

func (s *system) signIn(t *testing.T, user string) *person {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	p := &person{&http.Client{Transport: &http.Transport{}, Jar: jar, Timeout: soon}, s.url}
	t.Cleanup(p.CloseIdleConnections)
	s.issuer.SignIn(user)
	if status, body := p.call(t, http.MethodGet, "/auth/login", nil); status != http.StatusOK {
		t.Fatalf("signing in ends with %d: %s", status, body)
	}
	return p
}

func (p *person) call(t *testing.T, method, path string, body any) (int, string) {
	t.Helper()
	var content io.Reader
	if body != nil {
		text, err := json.Marshal(body)
		if err != nil {
			t.Fatal(err)
		}
		content = bytes.NewReader(text)
	}
	r, err := http.NewRequestWithContext(t.Context(), method, p.url+path, content)
	if err != nil {
		t.Fatal(err)
	}
	if method != http.MethodGet {
		r.Header.Set("Origin", p.url)
		r.Header.Set("Content-Type", "application/json")
	}
	resp, err := p.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(text)
}

// TestIdentities is the way of people and of services in one system.
func TestIdentities(t *testing.T) {
	s := newSystem(t)
	owner := s.signIn(t, owner)

	t.Run("a_person_works", func(t *testing.T) {
		var me struct {
			Tenant      string
			User        string
			Permissions []string
		}
		stack.Eventually(t, soon, func(context.Context) error { // the tenants are seeded while the system comes up
			code, body := owner.call(t, http.MethodGet, "/v1/access/me", nil)
			if err := json.Unmarshal([]byte(body), &me); code != http.StatusOK || err != nil || len(me.Permissions) == 0 {
				return fmt.Errorf("got %d: %s", code, body)
			}
			return nil
		})
		if me.Tenant != "acme" || me.User != "owner@acme.test" {
			t.Errorf("got %+v", me)
		}
		workflow := map[string]any{
			"title": "Counted calls", "trigger": map[string]any{"event": map[string]any{"eventType": "call.ended"}},
			"steps": []any{map[string]any{"id": "count", "title": "Count", "set": map[string]any{"variables": map[string]any{"n": "1 + 1"}}}},
		}
		stack.Eventually(t, soon, func(context.Context) error {
			if code, body := owner.call(t, http.MethodPost, "/v1/workflows", workflow); code != http.StatusOK && code != http.StatusConflict {
				return fmt.Errorf("got %d: %s", code, body)
			}
			return nil
		})
	})
	t.Run("a_service_for_the_tenant_it_names", func(t *testing.T) {
		stack.Eventually(t, soon, func(ctx context.Context) error {
			out, err := s.example(ctx, "crm", "acme")
			if err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			if !strings.Contains(out, "published example-") || !strings.Contains(out, "SUCCEEDED") {
				return fmt.Errorf("got %s", out)
			}
			return nil
		})
		if out, err := s.example(t.Context(), "crm", "globex"); err != nil || !strings.Contains(out, "\n0 executions") {
			t.Errorf("for globex, which has none: %v\n%s", err, out)
		}
	})
	for tenant, want := range map[string]string{"": "PermissionDenied", "unknown1": "PermissionDenied", "a.b": "InvalidArgument"} {
		t.Run("a_service_that_names_"+tenant, func(t *testing.T) {
			if out, err := s.example(t.Context(), "crm", tenant); err == nil || !strings.Contains(out, want) {
				t.Errorf("got %v\n%s\nwant %s", err, out, want)
			}
		})
	}
	t.Run("a_service_of_one_tenant", func(t *testing.T) { s.serviceOfOneTenant(t, owner) })
	t.Run("others_are_not_our_own_services", func(t *testing.T) { s.internal(t) })
}

// serviceOfOneTenant has the tenant in its token and may do what the tenant's roles say.
func (s *system) serviceOfOneTenant(t *testing.T, owner *person) {
	if out, err := s.example(t.Context(), "pbx", ""); err == nil || !strings.Contains(out, "permission event.publish is missing") {
		t.Errorf("without a role: got %v\n%s", err, out)
	}
	var roles struct{ Roles []struct{ ID, Title string } }
	code, body := owner.call(t, http.MethodGet, "/v1/access/roles", nil)
	if err := json.Unmarshal([]byte(body), &roles); code != http.StatusOK || err != nil {
		t.Fatalf("roles: %d %s", code, body)
	}
	var builder string
	for _, r := range roles.Roles {
		if strings.Contains(r.Title, "Builder") {
			builder = r.ID
		}
	}
	code, body = owner.call(t, http.MethodPatch, "/v1/access/users/pbx", map[string]any{"roleIds": []string{builder}})
	if code != http.StatusOK {
		t.Fatalf("give the service a role: %d %s", code, body)
	}
	stack.Eventually(t, soon, func(ctx context.Context) error {
		if out, err := s.example(ctx, "pbx", ""); err != nil {
			return fmt.Errorf("%w\n%s", err, out)
		}
		return nil
	})
	if out, err := s.example(t.Context(), "pbx", "globex"); err == nil || !strings.Contains(out, "may not choose the tenant") {
		t.Errorf("for another tenant: got %v\n%s", err, out)
	}
}

// internal methods are for our own services, even if the issuer calls another one a service too.
func (s *system) internal(t *testing.T) {
	conn, err := grpc.NewClient(s.executor, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	for _, service := range []string{"crm", "pbx"} {
		token, err := s.issuer.Token(t.Context(), service)
		if err != nil {
			t.Fatal(err)
		}
		ctx := metadata.AppendToOutgoingContext(t.Context(), "authorization", "Bearer "+token)
		_, err = peerv1.NewStartServiceClient(conn).StartExecutions(ctx, &peerv1.StartExecutionsRequest{})
		if got := status.Convert(err).Message(); got != "the method is for service identities" {
			t.Errorf("%s: got %v", service, err)
		}
	}
}
