// Package security holds the system to what docs/security.md says of it, from outside: over gRPC and REST, against real processes.
package security

import (
	"context"
	"crypto/rand"
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"google.golang.org/protobuf/types/known/fieldmaskpb"

	"workflow.uniconnect/pkg/auth"
	"workflow.uniconnect/test/stack"

	accessv1 "workflow.uniconnect/proto/gen/go/uniconnect/access/v1"
	workflowv1 "workflow.uniconnect/proto/gen/go/uniconnect/workflow/v1"
)

const (
	tenant  = "acme"
	owner   = "owner@acme.test"
	viewer  = "viewer@acme.test"
	agent   = "agent@acme.test"
	foreign = "owner@globex.test"
	// soon is how long anything may take on a busy machine.
	soon = 20 * time.Second
)

// system is a deployment with one process for each service.
type system struct {
	*stack.Stack
	issuer *auth.Issuer
	db     *pgxpool.Pool
	grpc   *grpcFace
	rest   *restFace
	tokens map[string]string
	made   *fixtures // once they are
}

// TestSystem runs every check against one system. The last ones take parts of it away.
func TestSystem(t *testing.T) {
	s := newSystem(t)
	t.Run("matrix", s.matrix)
	t.Run("bad_input", s.badInput)
	t.Run("raw_http", s.rawHTTP)
	t.Run("headers", s.headers)
	for _, sp := range s.specials() {
		t.Run(fmt.Sprintf("%d_%s", sp.row, sp.name), sp.run)
	}
}

func newSystem(t *testing.T) *system {
	t.Helper()
	s := &system{Stack: stack.New(t, stack.Options{Env: []string{"UC_OIDC_CLIENT_SECRET=" + clientSecret}}), tokens: make(map[string]string)}
	if err := s.AwaitSeeds(t.Context()); err != nil {
		t.Fatal(err)
	}
	var err error
	if s.issuer, err = auth.OpenIssuer(s.Dir); err != nil {
		t.Fatal(err)
	}
	s.db = s.Database(t)
	s.grpc = newGRPCFace(t, s.Stack)
	s.rest = newRESTFace(t, s.Stack)
	s.setQuota(t, 100_000) // the checks call more often than a tenant may
	return s
}

// setQuota sets how many calls a second the tenant may make, as the platform's administrators do.
func (s *system) setQuota(t *testing.T, perSecond int32) {
	t.Helper()
	token := s.token(t, auth.Principal{Subject: "platform", Kind: auth.Service})
	a := s.grpc.call(t, token, &accessv1.UpdateTenantRequest{
		Tenant:     &accessv1.Tenant{Tenant: tenant, Settings: &accessv1.TenantSettings{Quotas: &accessv1.Quotas{RequestsPerSecond: perSecond}}},
		UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{"settings.quotas"}},
	})
	if a.refused() {
		t.Fatal(a.unexpected())
	}
}

// token returns a token for whoever is named; the same one each time.
func (s *system) token(t *testing.T, p auth.Principal) string {
	t.Helper()
	key := p.Tenant + "\x00" + p.Subject + "\x00" + p.Kind.String()
	if s.tokens[key] == "" {
		token, err := s.issuer.Issue(p, time.Hour)
		if err != nil {
			t.Fatal(err)
		}
		s.tokens[key] = token
	}
	return s.tokens[key]
}

func (s *system) userToken(t *testing.T, user string) string {
	t.Helper()
	of := tenant
	if user == foreign {
		of = "globex"
	}
	return s.token(t, auth.Principal{Tenant: of, Subject: user})
}

// must makes a call of a user that has to succeed, and returns its answer.
func must[R any](t *testing.T, s *system, user string, request message) R {
	t.Helper()
	a := s.grpc.call(t, s.userToken(t, user), request)
	for a.reason == "RATE_LIMIT" {
		a.awaitRetry(t)
		a = s.grpc.call(t, s.userToken(t, user), request)
	}
	if a.refused() {
		t.Fatalf("%T by %s: %s %s %s", request, user, a.code, a.reason, a.text)
	}
	response, ok := a.response.(R)
	if !ok {
		t.Fatalf("%T is answered with %T", request, a.response)
	}
	return response
}

// unique makes names that no other check uses.
func unique(prefix string) string { return prefix + " " + rand.Text()[:8] }

// manual is a workflow that people start.
func manual(title string, steps ...*workflowv1.Step) *workflowv1.Workflow {
	return &workflowv1.Workflow{
		Title: title, Steps: steps, Trigger: &workflowv1.Trigger{Kind: &workflowv1.Trigger_Manual{Manual: &workflowv1.ManualTrigger{}}},
	}
}

// grant gives a user of the tenant a role with exactly these permissions.
func (s *system) grant(t *testing.T, user string, permissions ...string) *accessv1.Role {
	t.Helper()
	role := must[*accessv1.CreateRoleResponse](t, s, owner, &accessv1.CreateRoleRequest{
		Role: &accessv1.Role{Title: unique("Role"), Permissions: permissions},
	}).GetRole()
	must[*accessv1.UpdateUserResponse](t, s, owner, &accessv1.UpdateUserRequest{
		User: &accessv1.User{User: user, RoleIds: []string{role.GetId()}},
	})
	return role
}

// setModule switches the tenant's module and returns when every service knows.
func (s *system) setModule(t *testing.T, enabled bool) {
	t.Helper()
	must[*accessv1.UpdateModuleResponse](t, s, owner, &accessv1.UpdateModuleRequest{Module: &accessv1.Module{Module: "workflow", Enabled: &enabled}})
	for _, request := range []message{&workflowv1.ListWorkflowsRequest{}, &workflowv1.ListExecutionsRequest{}, &workflowv1.ListEventTypesRequest{}} {
		stack.Eventually(t, soon, func(context.Context) error {
			if a := s.grpc.call(t, s.userToken(t, owner), request); a.refused() == enabled {
				return a.unexpected()
			}
			return nil
		})
	}
}

// send makes an HTTP request as it is.
func (s *system) send(t *testing.T, r *http.Request) answer {
	t.Helper()
	return s.rest.send(t, r)
}
