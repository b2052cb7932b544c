package catalog_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/fieldmaskpb"

	"workflow.uniconnect/pkg/auth"
	"workflow.uniconnect/pkg/fault"
	accessv1 "workflow.uniconnect/proto/gen/go/uniconnect/access/v1"
	peerv1 "workflow.uniconnect/proto/gen/go/uniconnect/workflow/peer/v1"
	workflowv1 "workflow.uniconnect/proto/gen/go/uniconnect/workflow/v1"
)

func (r *replica) access() accessv1.AccessServiceClient {
	return accessv1.NewAccessServiceClient(r.conn)
}

func (r *replica) createRole(t *testing.T, ctx context.Context, title string, permissions ...string) *accessv1.Role {
	t.Helper()
	resp, err := r.access().CreateRole(ctx, &accessv1.CreateRoleRequest{Role: &accessv1.Role{Title: title, Permissions: permissions}})
	if err != nil {
		t.Fatal(err)
	}
	return resp.GetRole()
}

// roleNamed returns a role of the caller's tenant.
func (r *replica) roleNamed(t *testing.T, ctx context.Context, title string) *accessv1.Role {
	t.Helper()
	resp, err := r.access().ListRoles(ctx, &accessv1.ListRolesRequest{})
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(resp.GetRoles(), func(role *accessv1.Role) bool { return role.GetTitle() == title })
	if i < 0 {
		t.Fatalf("no role %q in %v", title, resp)
	}
	return resp.GetRoles()[i]
}

// give makes these the roles of a user.
func (r *replica) give(ctx context.Context, user string, roles ...*accessv1.Role) error {
	ids := make([]string, len(roles))
	for i, role := range roles {
		ids[i] = role.GetId()
	}
	_, err := r.access().UpdateUser(ctx, &accessv1.UpdateUserRequest{User: &accessv1.User{User: user, RoleIds: ids}})
	return err
}

func (r *replica) switchModule(ctx context.Context, on bool) error {
	_, err := r.access().UpdateModule(ctx, &accessv1.UpdateModuleRequest{Module: &accessv1.Module{Module: "workflow", Enabled: &on}})
	return err
}

func (s *system) user(t *testing.T, subject string, headers ...string) context.Context {
	t.Helper()
	return s.as(t, auth.Principal{Tenant: "acme", Subject: subject}, headers...)
}

func TestService_roles(t *testing.T) {
	t.Parallel()
	s, r := started(t)
	ctx, client := s.owner(t, "idempotency-key", "a"), r.access()
	req := &accessv1.CreateRoleRequest{Role: &accessv1.Role{
		Title: " Ärzte ", Description: "d", Permissions: []string{"workflow.view", "workflow.edit"}, GrantsAll: true, BuiltIn: true,
	}}
	made, err := client.CreateRole(ctx, req)
	if err != nil {
		t.Fatal(err)
	}
	role := made.GetRole()
	if role.GetTitle() != "Ärzte" || role.GetGrantsAll() || role.GetBuiltIn() || !slices.Equal(role.GetPermissions(), []string{"workflow.edit", "workflow.view"}) {
		t.Errorf("created: got %v", role)
	}
	again, err := client.CreateRole(ctx, req)
	if diff := cmp.Diff(role.GetId(), again.GetRole().GetId()); err != nil || diff != "" {
		t.Errorf("repeated: %v (-want +got):\n%s", err, diff)
	}
	ctx = s.owner(t)
	_, err = client.CreateRole(ctx, &accessv1.CreateRoleRequest{Role: &accessv1.Role{Title: "äRZTE"}})
	if f := faultOf(t, err, fault.KindAlreadyExists, "ROLE_EXISTS"); f.Metadata["role_id"] != role.GetId() {
		t.Errorf("title taken: got %v, want the other's id", f.Metadata)
	}
	_, err = client.CreateRole(ctx, &accessv1.CreateRoleRequest{Role: &accessv1.Role{Title: "system owner"}})
	wantFault(t, err, fault.KindAlreadyExists, "ROLE_EXISTS")
	_, err = client.CreateRole(ctx, &accessv1.CreateRoleRequest{Role: &accessv1.Role{Title: "x", Permissions: []string{"workflow.view", "workflow.fly"}}})
	if f := faultOf(t, err, fault.KindInvalidArgument, "INVALID_FIELDS"); f.Violations[0].Field != "permissions[1]" {
		t.Errorf("unknown permission: got %v", f.Violations)
	}
	_, err = client.CreateRole(ctx, &accessv1.CreateRoleRequest{Role: &accessv1.Role{Title: "\t"}})
	wantFault(t, err, fault.KindInvalidArgument, "INVALID_FIELDS")

	changed, err := client.UpdateRole(ctx, &accessv1.UpdateRoleRequest{
		Role:       &accessv1.Role{Id: role.GetId(), Permissions: []string{"workflow.view"}, Title: "ignored", Etag: role.GetEtag()},
		UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{"permissions", "etag"}},
	})
	if err != nil || changed.GetRole().GetTitle() != "Ärzte" || !slices.Equal(changed.GetRole().GetPermissions(), []string{"workflow.view"}) {
		t.Fatalf("updated: got %v, %v", changed, err)
	}
	_, err = client.UpdateRole(ctx, &accessv1.UpdateRoleRequest{Role: &accessv1.Role{Id: role.GetId(), Title: "late", Etag: role.GetEtag()}})
	wantFault(t, err, fault.KindAborted, "ETAG_MISMATCH")
	_, err = client.UpdateRole(ctx, &accessv1.UpdateRoleRequest{Role: &accessv1.Role{Id: role.GetId(), Title: "viewer"}})
	wantFault(t, err, fault.KindAlreadyExists, "ROLE_EXISTS")
	for _, title := range []string{"System Owner", "User"} {
		id := r.roleNamed(t, ctx, title).GetId()
		_, err = client.UpdateRole(ctx, &accessv1.UpdateRoleRequest{Role: &accessv1.Role{Id: id, Permissions: []string{"workflow.view"}}})
		wantFault(t, err, fault.KindFailedPrecondition, "ROLE_BUILT_IN")
		_, err = client.DeleteRole(ctx, &accessv1.DeleteRoleRequest{Id: id})
		wantFault(t, err, fault.KindFailedPrecondition, "ROLE_BUILT_IN")
	}

	// What another tenant has is as what nobody has.
	foreign := s.as(t, auth.Principal{Tenant: "globex", Subject: "owner"})
	_, err = client.GetRole(foreign, &accessv1.GetRoleRequest{Id: role.GetId()})
	wantFault(t, err, fault.KindNotFound, "ROLE_NOT_FOUND")
	_, err = client.UpdateRole(foreign, &accessv1.UpdateRoleRequest{Role: &accessv1.Role{Id: role.GetId(), Title: "mine"}})
	wantFault(t, err, fault.KindNotFound, "ROLE_NOT_FOUND")
	_, err = client.DeleteRole(foreign, &accessv1.DeleteRoleRequest{Id: role.GetId()})
	wantFault(t, err, fault.KindNotFound, "ROLE_NOT_FOUND")
	wantFault(t, r.give(foreign, "owner", role), fault.KindNotFound, "ROLE_NOT_FOUND")

	if err := r.give(ctx, "doctor", role); err != nil {
		t.Fatal(err)
	}
	if got, err := client.GetRole(ctx, &accessv1.GetRoleRequest{Id: role.GetId()}); err != nil || got.GetRole().GetUserCount() != 1 {
		t.Errorf("held by one: got %v, %v", got, err)
	}
	if _, err := r.workflows().ListWorkflows(s.user(t, "doctor"), &workflowv1.ListWorkflowsRequest{}); err != nil {
		t.Errorf("with the role: %v", err)
	}
	if _, err := client.DeleteRole(ctx, &accessv1.DeleteRoleRequest{Id: role.GetId(), Etag: changed.GetRole().GetEtag()}); err != nil {
		t.Fatal(err)
	}
	_, err = r.workflows().ListWorkflows(s.user(t, "doctor"), &workflowv1.ListWorkflowsRequest{})
	wantFault(t, err, fault.KindPermissionDenied, "PERMISSION_MISSING")
}

func TestService_roles_in_pages(t *testing.T) {
	t.Parallel()
	s, r := started(t)
	ctx := s.owner(t)
	want := []string{"System Owner", "User", "Viewer"}
	for i := range 5 {
		title := fmt.Sprintf("role %d", i)
		want = append(want, title)
		role := r.createRole(t, ctx, title)
		if err := r.give(ctx, fmt.Sprintf("u%d", i), role); err != nil {
			t.Fatal(err)
		}
	}
	var roles, users []string
	for token := ""; ; {
		page, err := r.access().ListRoles(ctx, &accessv1.ListRolesRequest{PageSize: 3, PageToken: token})
		if err != nil {
			t.Fatal(err)
		}
		for _, role := range page.GetRoles() {
			roles = append(roles, role.GetTitle())
		}
		if token = page.GetNextPageToken(); token == "" {
			break
		}
		_, err = r.access().ListRoles(s.as(t, auth.Principal{Tenant: "globex", Subject: "owner"}), &accessv1.ListRolesRequest{PageToken: token})
		wantFault(t, err, fault.KindInvalidArgument, "PAGE_TOKEN")
	}
	for token := ""; ; {
		page, err := r.access().ListUsers(ctx, &accessv1.ListUsersRequest{PageSize: 2, PageToken: token, Prefix: "u"})
		if err != nil {
			t.Fatal(err)
		}
		for _, user := range page.GetUsers() {
			users = append(users, user.GetUser()+" "+strings.Join(user.GetRoles(), ","))
		}
		if token = page.GetNextPageToken(); token == "" {
			break
		}
	}
	if diff := cmp.Diff(want, roles); diff != "" {
		t.Errorf("roles (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"u0 role 0", "u1 role 1", "u2 role 2", "u3 role 3", "u4 role 4"}, users); diff != "" {
		t.Errorf("users (-want +got):\n%s", diff)
	}
}

// Nobody grants what they lack, whichever way.
func TestService_grants_no_more_than_one_has(t *testing.T) {
	t.Parallel()
	s, r := started(t)
	owner := s.owner(t)
	clerks := r.createRole(t, owner, "Clerks", "access.manage", "workflow.view")
	strong := r.createRole(t, owner, "Strong", "workflow.delete")
	if err := r.give(owner, "clerk", clerks); err != nil {
		t.Fatal(err)
	}
	clerk, client := s.user(t, "clerk"), r.access()
	lacks := func(what, permission string, err error) {
		t.Helper()
		f, _ := fault.As(err)
		if f == nil || f.Kind != fault.KindPermissionDenied || f.Reason != "PERMISSION_NOT_HELD" || f.Metadata["permission"] != permission {
			t.Errorf("%s: got %v, want PERMISSION_NOT_HELD %s", what, err, permission)
		}
	}
	_, err := client.CreateRole(clerk, &accessv1.CreateRoleRequest{Role: &accessv1.Role{Title: "Mine", Permissions: []string{"workflow.view", "workflow.run"}}})
	lacks("create a role", "workflow.run", err)
	_, err = client.UpdateRole(clerk, &accessv1.UpdateRoleRequest{Role: &accessv1.Role{Id: clerks.GetId(), Permissions: []string{"access.manage", "workflow.delete"}}})
	lacks("lift the own role", "workflow.delete", err)
	lacks("take a role", "workflow.delete", r.give(clerk, "clerk", clerks, strong))
	lacks("give a role", "workflow.delete", r.give(clerk, "friend", strong))
	lacks("make an owner", "*", r.give(clerk, "friend", r.roleNamed(t, owner, "System Owner")))
	_, err = client.UpdateTenantSettings(clerk, &accessv1.UpdateTenantSettingsRequest{Settings: &accessv1.TenantSettings{RoleMap: map[string]string{"staff": "Strong"}}})
	lacks("map a role", "workflow.delete", err)

	// What they have they may grant, and what they lack they may leave as it is, and take away.
	made := r.createRole(t, clerk, "Mine", "workflow.view")
	if err := r.give(clerk, "friend", made); err != nil {
		t.Errorf("give what one has: %v", err)
	}
	if _, err = client.UpdateRole(clerk, &accessv1.UpdateRoleRequest{Role: &accessv1.Role{Id: strong.GetId(), Description: "stronger"}}); err != nil {
		t.Errorf("describe a strong role: %v", err)
	}
	if err := r.give(owner, "friend", made, strong); err != nil {
		t.Fatal(err)
	}
	if err := r.give(clerk, "friend", strong); err != nil {
		t.Errorf("leave a role and take another: %v", err)
	}
	if err := r.give(clerk, "friend"); err != nil {
		t.Errorf("take all: %v", err)
	}

	// A role that gets the title of another takes nothing over with it.
	_, err = client.UpdateTenantSettings(owner, &accessv1.UpdateTenantSettingsRequest{Settings: &accessv1.TenantSettings{RoleMap: map[string]string{"staff": "Mine"}}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err = client.DeleteRole(clerk, &accessv1.DeleteRoleRequest{Id: made.GetId()}); err != nil {
		t.Fatal(err)
	}
	if _, err = client.UpdateRole(clerk, &accessv1.UpdateRoleRequest{Role: &accessv1.Role{Id: strong.GetId(), Title: "Mine"}}); err != nil {
		t.Fatal(err)
	}
	staff := s.as(t, auth.Principal{Tenant: "acme", Subject: "somebody", Roles: []string{"staff"}})
	me, err := client.GetMe(staff, &accessv1.GetMeRequest{})
	if err != nil || len(me.GetMe().GetPermissions()) != 0 {
		t.Errorf("staff: got %v, %v, want nothing", me, err)
	}
}

func TestService_last_owner(t *testing.T) {
	t.Parallel()
	s, r := started(t)
	owner := r.roleNamed(t, s.owner(t), "System Owner")
	wantFault(t, r.give(s.owner(t), "owner"), fault.KindFailedPrecondition, "LAST_OWNER")
	for i := range 10 {
		second := fmt.Sprintf("second%d", i)
		if err := r.give(s.owner(t), second, owner); err != nil {
			t.Fatal(err)
		}
		// Each takes the role from the other at the same time: who comes second is refused, whether as the last owner or as one no more.
		errs := make([]error, 2)
		var wg sync.WaitGroup
		wg.Go(func() { errs[0] = r.give(s.owner(t), second) })
		wg.Go(func() { errs[1] = r.give(s.user(t, second), "owner") })
		wg.Wait()
		if (errs[0] == nil) == (errs[1] == nil) {
			t.Fatalf("round %d: got %v, want exactly one to be refused", i, errs)
		}
		if errs[1] == nil { // put it right for the next round
			if err := r.give(s.user(t, second), "owner", owner); err != nil {
				t.Fatal(err)
			}
			if err := r.give(s.owner(t), second); err != nil {
				t.Fatal(err)
			}
		}
		// Each gives it up.
		if err := r.give(s.owner(t), second, owner); err != nil {
			t.Fatal(err)
		}
		wg.Go(func() { errs[0] = r.give(s.owner(t), "owner") })
		wg.Go(func() { errs[1] = r.give(s.user(t, second), second) })
		wg.Wait()
		left := errs[0]
		if errs[0] == nil {
			left = errs[1]
		}
		wantFault(t, left, fault.KindFailedPrecondition, "LAST_OWNER")
		if errs[0] == nil {
			if err := r.give(s.user(t, second), "owner", owner); err != nil {
				t.Fatal(err)
			}
			if err := r.give(s.owner(t), second); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func TestService_modules(t *testing.T) {
	t.Parallel()
	s, r := started(t)
	owner, client := s.owner(t), r.access()
	w := r.create(t, owner, "First")
	if err := r.switchModule(owner, false); err != nil {
		t.Fatal(err)
	}
	// It applies at once, to everything but what administers the gate and the audit.
	_, err := r.workflows().GetWorkflow(owner, &workflowv1.GetWorkflowRequest{Id: w.GetId()})
	wantFault(t, err, fault.KindPermissionDenied, "MODULE_DISABLED")
	_, err = r.workflows().CreateWorkflow(owner, &workflowv1.CreateWorkflowRequest{Workflow: simple(t, "Second")})
	wantFault(t, err, fault.KindPermissionDenied, "MODULE_DISABLED")
	list, err := client.ListModules(owner, &accessv1.ListModulesRequest{})
	if err != nil || len(list.GetModules()) != 1 {
		t.Fatalf("got %v, %v", list, err)
	}
	if m := list.GetModules()[0]; m.GetModule() != "workflow" || m.GetEnabled() || m.GetUpdateUser() != "owner" || m.GetUpdateTime() == nil || m.GetTitle() != "Workflow" {
		t.Errorf("got %v", m)
	}
	if me, err := client.GetMe(owner, &accessv1.GetMeRequest{}); err != nil || len(me.GetMe().GetModules()) != 0 {
		t.Errorf("me: got %v, %v, want no modules", me, err)
	}
	if _, err := r.workflows().ListAuditEntries(owner, &workflowv1.ListAuditEntriesRequest{}); err != nil {
		t.Errorf("audit: %v", err)
	}
	if _, err := r.workflows().GetWorkflow(s.as(t, auth.Principal{Tenant: "globex", Subject: "owner"}), &workflowv1.GetWorkflowRequest{Id: w.GetId()}); fault.KindOf(err) != fault.KindNotFound {
		t.Errorf("the other tenant: got %v", err)
	}
	if err := r.switchModule(owner, true); err != nil {
		t.Fatal(err)
	}
	if _, err := r.workflows().GetWorkflow(owner, &workflowv1.GetWorkflowRequest{Id: w.GetId()}); err != nil {
		t.Errorf("on again: %v", err)
	}
	_, err = client.UpdateModule(owner, &accessv1.UpdateModuleRequest{Module: &accessv1.Module{Module: "crm", Enabled: proto.Bool(true)}})
	wantFault(t, err, fault.KindNotFound, "MODULE_NOT_FOUND")
	_, err = client.UpdateModule(owner, &accessv1.UpdateModuleRequest{Module: &accessv1.Module{Module: "workflow"}})
	if f := faultOf(t, err, fault.KindInvalidArgument, "INVALID_FIELDS"); f.Violations[0].Field != "enabled" {
		t.Errorf("an update that does not say: got %v", f.Violations)
	}
	err = r.switchModule(s.user(t, "viewer"), false)
	wantFault(t, err, fault.KindPermissionDenied, "PERMISSION_MISSING")
}

// The gate goes to who starts workflows: in order, and with what it was when events were published.
func TestService_gates(t *testing.T) {
	t.Parallel()
	s, r := started(t)
	owner := s.owner(t)
	watch := s.watch(t, r, "")
	begin := watch.next()
	if len(begin.GetTenantGates()) != 0 || !begin.GetSnapshotComplete() {
		t.Fatalf("snapshot: got %v, want no gates", begin)
	}
	onlooker, err := r.workflows().WatchWorkflows(owner, &workflowv1.WatchWorkflowsRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := onlooker.Recv(); err != nil {
		t.Fatal(err)
	}
	for _, on := range []bool{false, false, true, false} {
		if err := r.switchModule(owner, on); err != nil {
			t.Fatal(err)
		}
	}
	var got []*peerv1.TenantGate
	for len(got) < 3 {
		got = append(got, watch.next().GetTenantGates()...)
	}
	states := func(gates []*peerv1.TenantGate) (states []bool) {
		last := time.Time{}
		for _, g := range gates {
			if g.GetTenant() != "acme" || g.GetDeleted() || !g.GetEffectiveTime().AsTime().After(last) {
				t.Errorf("got %v after %v", g, last)
			}
			last = g.GetEffectiveTime().AsTime()
			states = append(states, g.GetOpen())
		}
		return states
	}
	if want := []bool{false, true, false}; !slices.Equal(states(got), want) {
		t.Errorf("watched: got %v, want %v", got, want)
	}
	// Who comes later, or back, hears the same.
	for what, token := range map[string]string{"snapshot": "", "resumed": begin.GetResumeToken()} {
		if gates := s.watch(t, r, token).next().GetTenantGates(); !slices.EqualFunc(gates, got, func(a, b *peerv1.TenantGate) bool { return proto.Equal(a, b) }) {
			t.Errorf("%s: got %v, want %v", what, gates, got)
		}
	}
	// Who looks at workflows hears of none: the stream is refused when it says something.
	for {
		msg, err := onlooker.Recv()
		if err != nil {
			wantFault(t, err, fault.KindPermissionDenied, "MODULE_DISABLED")
			break
		}
		if msg.GetChange() != nil {
			t.Errorf("an onlooker was told %v", msg)
		}
	}
}

func TestService_tenant_settings(t *testing.T) {
	t.Parallel()
	s, r := started(t)
	owner, client := s.owner(t), r.access()
	w := r.create(t, owner, "Failure")
	first, err := client.GetTenantSettings(owner, &accessv1.GetTenantSettingsRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if got := first.GetSettings(); got.GetTimeZone() != "Europe/Berlin" || got.GetQuotas().GetRequestsPerSecond() != 200 || got.GetExecutionRetention().AsDuration() != 90*24*time.Hour {
		t.Errorf("as it begins: got %v", got)
	}
	patch := func(settings *accessv1.TenantSettings, paths ...string) (*accessv1.TenantSettings, error) {
		req := &accessv1.UpdateTenantSettingsRequest{Settings: settings}
		if len(paths) > 0 {
			req.UpdateMask = &fieldmaskpb.FieldMask{Paths: paths}
		}
		resp, err := client.UpdateTenantSettings(owner, req)
		return resp.GetSettings(), err
	}
	all := proto.CloneOf(first.GetSettings())
	all.TimeZone, all.FailureWorkflowId = "America/Sao_Paulo", strings.ToUpper(w.GetId())
	all.StatusMap, all.RoleMap = map[string]string{"On Break": "Away"}, map[string]string{"wf-admins": "system OWNER", "wf-viewers": "Viewer"}
	all.ExecutionRetention = durationpb.New(30 * 24 * time.Hour)
	got, err := patch(all)
	if err != nil {
		t.Fatal(err)
	}
	want := proto.CloneOf(all)
	want.FailureWorkflowId, want.RoleMap["wf-admins"], want.Etag = w.GetId(), "System Owner", got.GetEtag()
	if !proto.Equal(got, want) || got.GetEtag() == first.GetSettings().GetEtag() {
		t.Errorf("got %v, want %v", got, want)
	}
	_, err = patch(&accessv1.TenantSettings{TimeZone: "UTC", Etag: first.GetSettings().GetEtag()})
	wantFault(t, err, fault.KindAborted, "ETAG_MISMATCH")

	for name, c := range map[string]struct {
		settings *accessv1.TenantSettings
		field    string
		reason   fault.Reason
	}{
		"zone":             {&accessv1.TenantSettings{TimeZone: "Mars/X"}, "timeZone", "TIME_ZONE"},
		"zone_path":        {&accessv1.TenantSettings{TimeZone: "../etc/passwd"}, "timeZone", "TIME_ZONE"},
		"zone_local":       {&accessv1.TenantSettings{TimeZone: "Local"}, "timeZone", "TIME_ZONE"},
		"retention":        {&accessv1.TenantSettings{ExecutionRetention: durationpb.New(time.Hour)}, "executionRetention", "FIELD_RULE"},
		"failure_workflow": {&accessv1.TenantSettings{FailureWorkflowId: "01890000-0000-7000-8000-000000000000"}, "failureWorkflowId", "UNKNOWN_WORKFLOW"},
		"role_map":         {&accessv1.TenantSettings{RoleMap: map[string]string{"x": "Nobody"}}, `roleMap["x"]`, "ROLE_NOT_FOUND"},
		"status_map":       {&accessv1.TenantSettings{StatusMap: map[string]string{"x": ""}}, `statusMap["x"]`, "FIELD_RULE"},
		"quotas":           {&accessv1.TenantSettings{Quotas: &accessv1.Quotas{Streams: 10000}}, "quotas", "FIELD_RULE"},
	} {
		_, err := patch(c.settings)
		f, _ := fault.As(err)
		if f == nil || f.Kind != fault.KindInvalidArgument || len(f.Violations) != 1 || f.Violations[0].Field != c.field || f.Violations[0].Reason != c.reason {
			t.Errorf("%s: got %v, want %s %s", name, err, c.field, c.reason)
		}
	}
	foreign := r.create(t, s.as(t, auth.Principal{Tenant: "globex", Subject: "owner"}), "Foreign")
	if _, err := patch(&accessv1.TenantSettings{FailureWorkflowId: foreign.GetId()}); fault.KindOf(err) != fault.KindInvalidArgument {
		t.Errorf("the workflow of another tenant: got %v", err)
	}
	if now, err := client.GetTenantSettings(owner, &accessv1.GetTenantSettingsRequest{}); err != nil || !proto.Equal(now.GetSettings(), got) {
		t.Errorf("refusals changed something: got %v, %v", now, err)
	}

	// The token's roles hold, beside those given, and the tokens of one user are told apart.
	admin := s.as(t, auth.Principal{Tenant: "acme", Subject: "agent", Roles: []string{"other", "wf-admins"}})
	if _, err := r.workflows().GetWorkflow(admin, &workflowv1.GetWorkflowRequest{Id: w.GetId()}); err != nil {
		t.Errorf("mapped: %v", err)
	}
	me, err := client.GetMe(admin, &accessv1.GetMeRequest{})
	if err != nil || !slices.Equal(me.GetMe().GetRoles(), []string{"System Owner", "User"}) || len(me.GetMe().GetPermissions()) != 16 {
		t.Errorf("me: got %v, %v", me, err)
	}
	_, err = r.workflows().GetWorkflow(s.user(t, "agent"), &workflowv1.GetWorkflowRequest{Id: w.GetId()})
	wantFault(t, err, fault.KindPermissionDenied, "PERMISSION_MISSING")
	grants, err := peerv1.NewGrantsServiceClient(r.conn).GetGrants(s.peer(t), &peerv1.GetGrantsRequest{Tenant: "acme", Subject: "agent", TokenRoles: []string{"wf-viewers"}})
	if err != nil || !slices.Equal(grants.GetPermissions(), []accessv1.Permission_Value{accessv1.Permission_WORKFLOW_VIEW}) || grants.GetTenantClosed() || grants.GetQuotas().GetStreams() != 100 {
		t.Errorf("grants: got %v, %v", grants, err)
	}
	grants, err = peerv1.NewGrantsServiceClient(r.conn).GetGrants(s.peer(t), &peerv1.GetGrantsRequest{Tenant: "nowhere", Subject: "agent"})
	if err != nil || !grants.GetTenantClosed() {
		t.Errorf("grants of nobody: got %v, %v", grants, err)
	}

	// A mask clears; a workflow that goes takes the setting with it.
	if got, err = patch(&accessv1.TenantSettings{}, "roleMap", "execution_retention"); err != nil || len(got.GetRoleMap()) != 0 || got.GetExecutionRetention().AsDuration() != 90*24*time.Hour {
		t.Errorf("cleared: got %v, %v", got, err)
	}
	if _, err := r.workflows().DeleteWorkflow(owner, &workflowv1.DeleteWorkflowRequest{Id: w.GetId()}); err != nil {
		t.Fatal(err)
	}
	until(t, "the setting goes with its workflow", func() bool {
		now, err := client.GetTenantSettings(owner, &accessv1.GetTenantSettingsRequest{})
		return err == nil && now.GetSettings().GetFailureWorkflowId() == ""
	})
}

func TestService_access_is_audited(t *testing.T) {
	t.Parallel()
	s, r := started(t)
	owner := s.owner(t)
	role := r.createRole(t, owner, "Ops", "workflow.view")
	if err := r.give(owner, "op", role); err != nil {
		t.Fatal(err)
	}
	if err := r.switchModule(owner, false); err != nil {
		t.Fatal(err)
	}
	if err := r.switchModule(owner, false); err != nil { // changes nothing, and leaves nothing
		t.Fatal(err)
	}
	if _, err := r.access().UpdateTenantSettings(owner, &accessv1.UpdateTenantSettingsRequest{Settings: &accessv1.TenantSettings{TimeZone: "UTC"}}); err != nil {
		t.Fatal(err)
	}
	_ = r.give(owner, "owner")
	_ = r.give(s.user(t, "op"), "op")
	if _, err := r.access().DeleteRole(owner, &accessv1.DeleteRoleRequest{Id: role.GetId()}); err != nil {
		t.Fatal(err)
	}
	resp, err := r.workflows().ListAuditEntries(owner, &workflowv1.ListAuditEntriesRequest{})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range slices.Backward(resp.GetAuditEntries()) {
		got = append(got, strings.Join([]string{e.GetActor(), e.GetAction(), strings.ReplaceAll(e.GetResource(), role.GetId(), "ID"), e.GetOutcome(), e.GetReason()}, " "))
		if e.GetWorkflowId() != "" || e.GetOutcome() == "OK" && e.GetBeforeHash()+e.GetAfterHash() == "" {
			t.Errorf("got %v", e)
		}
	}
	want := []string{
		"owner CreateRole roles/ID OK ", "owner UpdateUser users/op OK ", "owner UpdateModule modules/workflow OK ",
		"owner UpdateTenantSettings settings OK ", "owner UpdateUser users/owner FAILED_PRECONDITION LAST_OWNER",
		"op UpdateUser users/op PERMISSION_DENIED PERMISSION_MISSING", "owner DeleteRole roles/ID OK ",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	found, err := r.workflows().ListAuditEntries(owner, &workflowv1.ListAuditEntriesRequest{Filter: `resource = "users/op"`})
	if err != nil || len(found.GetAuditEntries()) != 2 {
		t.Errorf("by resource: got %v, %v", found, err)
	}
}
