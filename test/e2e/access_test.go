package e2e

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"workflow.uniconnect/pkg/auth"
	"workflow.uniconnect/test/stack"
)

// applies is how long a change of access may take to apply everywhere, which is a second, and what a busy machine adds.
const applies = 3 * time.Second

// replicas is more than there are of any service.
const replicas = 4

type roleView struct {
	ID, Title, Etag string
	Permissions     []string
	UserCount       int
	BuiltIn         bool
}

// client is one of anybody with a token, who need not be known.
func (s *system) client(t *testing.T, p auth.Principal) *stack.Client {
	t.Helper()
	issuer, err := auth.OpenIssuer(s.Dir)
	if err != nil {
		t.Fatal(err)
	}
	token, err := issuer.Issue(p, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	return s.ClientWithToken(token)
}

func (s *system) refuses(t *testing.T, c *stack.Client, method, path string, body any, want refusal) {
	t.Helper()
	res, err := c.Do(t.Context(), method, path, body)
	if err != nil {
		t.Fatal(err)
	}
	want.check(t, res)
}

func (s *system) createRole(t *testing.T, permissions ...string) roleView {
	t.Helper()
	var role roleView
	body := object{"title": unique("Role"), "permissions": permissions}
	if err := s.owner.Call(t.Context(), http.MethodPost, "/v1/access/roles", body, &role); err != nil {
		t.Fatal(err)
	}
	return role
}

func (s *system) give(t *testing.T, user string, roles ...string) {
	t.Helper()
	if err := s.owner.Call(t.Context(), http.MethodPatch, "/v1/access/users/"+user, object{"roleIds": roles}, nil); err != nil {
		t.Fatal(err)
	}
}

// access administers roles, users, modules and settings as the dashboard does.
func access(t *testing.T, s *system) {
	t.Run("one_permission", func(t *testing.T) { onePermission(t, s) })
	t.Run("grants", func(t *testing.T) { grantsLimits(t, s) })
	t.Run("last_owner", func(t *testing.T) { lastOwner(t, s) })
	t.Run("settings", func(t *testing.T) { tenantSettings(t, s) })
	t.Run("module", func(t *testing.T) { moduleGate(t, s) })
}

func onePermission(t *testing.T, s *system) {
	const user = "auditor@acme.test"
	c := s.client(t, auth.Principal{Tenant: "acme", Subject: user})
	missing := refusal{403, "PERMISSION_DENIED", "PERMISSION_MISSING", "workflow.view"}
	s.refuses(t, c, http.MethodGet, "/v1/workflows", nil, missing)
	role := s.createRole(t, "workflow.view")
	s.give(t, user, role.ID)
	// At once in the catalog, and nothing but what the role grants.
	if err := c.Call(t.Context(), http.MethodGet, "/v1/workflows", nil, nil); err != nil {
		t.Error(err)
	}
	s.refuses(t, c, http.MethodPost, "/v1/workflows", object{"title": "x"}, refusal{403, "PERMISSION_DENIED", "PERMISSION_MISSING", "workflow.create"})
	s.refuses(t, c, http.MethodGet, "/v1/executions", nil, refusal{403, "PERMISSION_DENIED", "PERMISSION_MISSING", "execution.view"})
	s.refuses(t, c, http.MethodGet, "/v1/access/roles", nil, refusal{403, "PERMISSION_DENIED", "PERMISSION_MISSING", "access.manage"})
	var me struct{ Roles, Permissions, Modules []string }
	if err := c.Call(t.Context(), http.MethodGet, "/v1/access/me", nil, &me); err != nil || fmt.Sprint(me.Permissions) != "[workflow.view]" || len(me.Modules) != 1 {
		t.Errorf("me: got %+v, %v", me, err)
	}
	// Soon elsewhere.
	change := object{"permissions": []string{"workflow.view", "execution.view"}}
	if err := s.owner.Call(t.Context(), http.MethodPatch, "/v1/access/roles/"+role.ID, change, &role); err != nil || role.UserCount != 1 {
		t.Fatalf("got %+v, %v", role, err)
	}
	stack.Eventually(t, applies, func(ctx context.Context) error { return c.Call(ctx, http.MethodGet, "/v1/executions", nil, nil) })
	if err := s.owner.Call(t.Context(), http.MethodDelete, "/v1/access/roles/"+role.ID, nil, nil); err != nil {
		t.Fatal(err)
	}
	s.refuses(t, c, http.MethodGet, "/v1/workflows", nil, missing)
	stack.Eventually(t, applies, func(ctx context.Context) error {
		return isRefused(ctx, c, "/v1/executions", http.StatusForbidden)
	})
}

func isRefused(ctx context.Context, c *stack.Client, path string, status int) error {
	res, err := c.Do(ctx, http.MethodGet, path, nil)
	if err == nil && res.Status != status {
		err = fmt.Errorf("%s answers %d, want %d", path, res.Status, status)
	}
	return err
}

func grantsLimits(t *testing.T, s *system) {
	const user = "clerk@acme.test"
	clerk := s.client(t, auth.Principal{Tenant: "acme", Subject: user})
	clerks, strong := s.createRole(t, "access.manage", "workflow.view"), s.createRole(t, "workflow.delete")
	s.give(t, user, clerks.ID)
	lacks := refusal{403, "PERMISSION_DENIED", "PERMISSION_NOT_HELD", "workflow.delete"}
	s.refuses(t, clerk, http.MethodPost, "/v1/access/roles", object{"title": unique("Role"), "permissions": []string{"workflow.delete"}}, lacks)
	s.refuses(t, clerk, http.MethodPatch, "/v1/access/roles/"+clerks.ID, object{"permissions": []string{"access.manage", "workflow.delete"}}, lacks)
	s.refuses(t, clerk, http.MethodPatch, "/v1/access/users/"+user, object{"roleIds": []string{clerks.ID, strong.ID}}, lacks)
	s.refuses(t, clerk, http.MethodPatch, "/v1/tenant/settings", object{"roleMap": object{"x": strong.Title}}, lacks)
	s.refuses(t, s.owner, http.MethodPost, "/v1/access/roles", object{"title": clerks.Title}, refusal{409, "ALREADY_EXISTS", "ROLE_EXISTS", ""})
	s.refuses(t, s.owner, http.MethodPost, "/v1/access/roles", object{"title": "x", "grantsEverything": true}, refusal{400, "INVALID_ARGUMENT", "", "grantsEverything"})
	s.refuses(t, s.User(t, foreign), http.MethodGet, "/v1/access/roles/"+clerks.ID, nil, refusal{404, "NOT_FOUND", "ROLE_NOT_FOUND", ""})
	for _, role := range []roleView{clerks, strong} {
		if err := s.owner.Call(t.Context(), http.MethodDelete, "/v1/access/roles/"+role.ID, nil, nil); err != nil {
			t.Error(err)
		}
	}
}

func lastOwner(t *testing.T, s *system) {
	last := refusal{400, "FAILED_PRECONDITION", "LAST_OWNER", "System Owner"}
	s.refuses(t, s.owner, http.MethodPatch, "/v1/access/users/"+owner, object{"roleIds": []string{}}, last)
	var list struct {
		Roles []roleView
		Users []struct {
			User    string
			RoleIDs []string
		}
	}
	if err := s.owner.Call(t.Context(), http.MethodGet, "/v1/access/roles", nil, &list); err != nil {
		t.Fatal(err)
	}
	if err := s.owner.Call(t.Context(), http.MethodGet, "/v1/access/users?prefix=owner", nil, &list); err != nil || len(list.Users) != 1 {
		t.Fatalf("got %+v, %v", list.Users, err)
	}
	for _, role := range list.Roles {
		if role.BuiltIn {
			s.refuses(t, s.owner, http.MethodDelete, "/v1/access/roles/"+role.ID, nil, refusal{400, "FAILED_PRECONDITION", "ROLE_BUILT_IN", ""})
		}
	}
	const second = "second@acme.test"
	s.give(t, second, list.Users[0].RoleIDs...)
	s.give(t, second)
	s.refuses(t, s.owner, http.MethodPatch, "/v1/access/users/"+owner, object{"roleIds": []string{}}, last)
}

func tenantSettings(t *testing.T, s *system) {
	type settingsView struct {
		TimeZone, ExecutionRetention, Etag string
		StatusMap, RoleMap                 map[string]string
		Quotas                             struct{ RequestsPerSecond int }
	}
	var before, after settingsView
	if err := s.owner.Call(t.Context(), http.MethodGet, "/v1/tenant/settings", nil, &before); err != nil || before.Quotas.RequestsPerSecond == 0 {
		t.Fatalf("got %+v, %v", before, err)
	}
	role := s.createRole(t, "workflow.view")
	change := object{
		"timeZone": "Asia/Tokyo", "statusMap": object{"On Break": "Away"}, "roleMap": object{"wf-staff": strings.ToUpper(role.Title)},
		"executionRetention": "864000s",
	}
	if err := s.owner.Call(t.Context(), http.MethodPatch, "/v1/tenant/settings", change, &after); err != nil {
		t.Fatal(err)
	}
	if after.TimeZone != "Asia/Tokyo" || after.StatusMap["On Break"] != "Away" || after.ExecutionRetention != "864000s" || after.Etag == before.Etag {
		t.Errorf("got %+v", after)
	}
	staff := s.client(t, auth.Principal{Tenant: "acme", Subject: "temp@acme.test", Roles: []string{"wf-staff"}})
	if err := staff.Call(t.Context(), http.MethodGet, "/v1/workflows", nil, nil); err != nil {
		t.Errorf("a role of the token: %v", err)
	}
	invalid := func(text string) refusal { return refusal{400, "INVALID_ARGUMENT", "INVALID_FIELDS", text} }
	s.refuses(t, s.owner, http.MethodPatch, "/v1/tenant/settings", object{"timeZone": "Mars/X"}, invalid("timeZone"))
	s.refuses(t, s.owner, http.MethodPatch, "/v1/tenant/settings", object{"quotas": object{"requestsPerSecond": 99999}}, invalid("quotas"))
	s.refuses(t, s.owner, http.MethodPatch, "/v1/tenant/settings", object{"timeZone": "UTC", "etag": before.Etag}, refusal{409, "ABORTED", "ETAG_MISMATCH", ""})
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPatch, s.RESTURL+"/v1/tenant/settings", strings.NewReader(`{"timeZone":"UTC"}`))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("If-Match", `"`+before.Etag+`"`)
	if res, err := s.owner.Send(req); err != nil || res.Status != http.StatusPreconditionFailed {
		t.Errorf("If-Match of what was: got %v, %v, want 412", res, err)
	}
	undo := object{"timeZone": before.TimeZone, "statusMap": object{}, "roleMap": object{}, "executionRetention": before.ExecutionRetention}
	if err := s.owner.Call(t.Context(), http.MethodPatch, "/v1/tenant/settings", undo, &after); err != nil || after.Etag != before.Etag {
		t.Errorf("undone: got %+v, %v, want %+v", after, err, before)
	}
}

// moduleGate switches the module off and on while events come: every call is refused meanwhile, and what is published meanwhile starts
// nothing, then or later.
func moduleGate(t *testing.T, s *system) {
	p, call := path(), unique("call")
	w := s.create(t, onCall(call, s.post("tell", p, object{"n": "${event.data.n}"})))
	publish := func(n int) { s.publish(t, "call.segment_ended", object{"call_id": call, "n": n}) }
	module := func(on bool) {
		t.Helper()
		if err := s.owner.Call(t.Context(), http.MethodPatch, "/v1/access/modules/workflow", object{"enabled": on}, nil); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() { // the other scenarios need it
		_ = s.owner.Call(context.WithoutCancel(t.Context()), http.MethodPatch, "/v1/access/modules/workflow", object{"enabled": true}, nil)
	})
	s.refuses(t, s.owner, http.MethodPatch, "/v1/access/modules/workflow", object{}, refusal{400, "INVALID_ARGUMENT", "INVALID_FIELDS", "enabled"})
	publish(1)
	s.awaitCall(t, p, 1)

	module(false)
	off := refusal{403, "PERMISSION_DENIED", "MODULE_DISABLED", "workflow"}
	s.refuses(t, s.owner, http.MethodGet, "/v1/workflows", nil, off)
	for _, elsewhere := range []string{"/v1/executions", "/v1/deadLetters"} {
		// Each replica learns of it by itself, and calls take turns among them.
		stack.Eventually(t, applies, func(ctx context.Context) error {
			for range replicas {
				if err := isRefused(ctx, s.owner, elsewhere, http.StatusForbidden); err != nil {
					return err
				}
			}
			return nil
		})
		s.refuses(t, s.owner, http.MethodGet, elsewhere, nil, off)
	}
	s.refuses(t, s.owner, http.MethodPost, "/v1/workflows/"+w.ID+":run", object{}, off)
	s.refuses(t, s.owner, http.MethodPost, "/v1/events", object{"type": "call.ended", "data": object{}}, off)
	if err := s.owner.Call(t.Context(), http.MethodGet, "/v1/access/me", nil, nil); err != nil {
		t.Errorf("who one is: %v", err)
	}
	if err := s.User(t, foreign).Call(t.Context(), http.MethodGet, "/v1/workflows", nil, nil); err != nil {
		t.Errorf("the other tenant: %v", err)
	}
	publish(2)
	publish(2)

	module(true)
	publish(3)
	s.awaitCall(t, p, 2)
	publish(4)
	calls := s.awaitCall(t, p, 3)
	got := ""
	for _, c := range calls {
		got += string(c.Body)
	}
	if len(s.awaitEnd(t, w.ID, 3)) != 3 || got != `{"n":1}{"n":3}{"n":4}` {
		t.Errorf("started by %s, want 1, 3 and 4", got)
	}
	for _, elsewhere := range []string{"/v1/executions", "/v1/deadLetters"} {
		stack.Eventually(t, applies, func(ctx context.Context) error { return isRefused(ctx, s.owner, elsewhere, http.StatusOK) })
	}
}
