package access_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"

	"workflow.uniconnect/pkg/access"
	"workflow.uniconnect/pkg/auth"
	"workflow.uniconnect/pkg/fault"
	accessv1 "workflow.uniconnect/proto/gen/go/uniconnect/access/v1"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// files returns a proto file whose one service has a method for each rule; nil stands for no option.
func files(t *testing.T, rules map[string]*accessv1.AccessRule) *protoregistry.Files {
	t.Helper()
	service := &descriptorpb.ServiceDescriptorProto{Name: proto.String("ThingService")}
	for name, rule := range rules {
		m := &descriptorpb.MethodDescriptorProto{Name: proto.String(name), InputType: proto.String(".test.v1.Thing"), OutputType: proto.String(".test.v1.Thing")}
		if rule != nil {
			m.Options = &descriptorpb.MethodOptions{}
			proto.SetExtension(m.Options, accessv1.E_Access, rule)
		}
		service.Method = append(service.Method, m)
	}
	file, err := protodesc.NewFile(&descriptorpb.FileDescriptorProto{
		Name: proto.String("test/v1/thing.proto"), Package: proto.String("test.v1"), Syntax: proto.String("proto3"),
		MessageType: []*descriptorpb.DescriptorProto{{Name: proto.String("Thing")}},
		Service:     []*descriptorpb.ServiceDescriptorProto{service},
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	var out protoregistry.Files
	if err := out.RegisterFile(file); err != nil {
		t.Fatal(err)
	}
	return &out
}

func permission(v accessv1.Permission_Value, exempt bool) *accessv1.AccessRule {
	return &accessv1.AccessRule{Audience: &accessv1.AccessRule_Permission{Permission: v}, ModuleExempt: exempt}
}

func rules() map[string]*accessv1.AccessRule {
	return map[string]*accessv1.AccessRule{
		"Delete":      permission(accessv1.Permission_WORKFLOW_DELETE, false),
		"Administer":  permission(accessv1.Permission_ACCESS_MANAGE, true),
		"List":        {Audience: &accessv1.AccessRule_Authenticated{Authenticated: true}},
		"Me":          {Audience: &accessv1.AccessRule_Authenticated{Authenticated: true}, ModuleExempt: true},
		"Suspend":     {Audience: &accessv1.AccessRule_Platform{Platform: true}},
		"Start":       {Audience: &accessv1.AccessRule_Internal{Internal: true}},
		"NoOption":    nil,
		"EmptyOption": {},
		"Unspecified": permission(accessv1.Permission_PERMISSION_UNSPECIFIED, false),
		"False":       {Audience: &accessv1.AccessRule_Authenticated{Authenticated: false}},
	}
}

func granting(module bool, permissions ...string) access.GrantsFunc {
	return func(context.Context, auth.Principal) (access.Grants, error) {
		g := access.Grants{ModuleEnabled: module, Permissions: map[string]struct{}{}}
		for _, p := range permissions {
			g.Permissions[p] = struct{}{}
		}
		return g, nil
	}
}

func TestEnforcer_Authorize(t *testing.T) {
	user := auth.Principal{Tenant: "acme", Subject: "u"}
	tenantService := auth.Principal{Tenant: "acme", Subject: "crm", Kind: auth.Service}
	service := auth.Principal{Subject: "executor", Kind: auth.Service}
	platform := auth.Principal{Subject: "platform", Kind: auth.Service}
	const nothing = fault.Reason("")
	closed := func(context.Context, auth.Principal) (access.Grants, error) {
		return access.Grants{TenantClosed: true, ModuleEnabled: true, Permissions: map[string]struct{}{"workflow.delete": {}, "access.manage": {}}}, nil
	}
	cases := map[string]struct {
		method string
		who    auth.Principal
		grants access.GrantsFunc
		want   fault.Reason
		names  string
	}{
		"granted":                    {"Delete", user, granting(true, "workflow.delete"), nothing, ""},
		"permission_missing":         {"Delete", user, granting(true, "workflow.view"), fault.ReasonPermissionMissing, "workflow.delete"},
		"module_off":                 {"Delete", user, granting(false, "workflow.delete"), fault.ReasonModuleDisabled, "module workflow is not enabled"},
		"unknown_user":               {"Delete", user, granting(true), fault.ReasonPermissionMissing, "workflow.delete"},
		"exempt_with_module_off":     {"Administer", user, granting(false, "access.manage"), nothing, ""},
		"exempt_needs_permission":    {"Administer", user, granting(true), fault.ReasonPermissionMissing, "access.manage"},
		"any_user":                   {"List", user, granting(true), nothing, ""},
		"any_user_module_off":        {"List", user, granting(false), fault.ReasonModuleDisabled, "workflow"},
		"any_user_exempt":            {"Me", user, granting(false), nothing, ""},
		"internal_by_service":        {"Start", service, granting(false), nothing, ""},
		"internal_by_tenant_service": {"Start", tenantService, granting(false), nothing, ""},
		"internal_by_user":           {"Start", user, granting(true, "workflow.run"), fault.ReasonInternalMethod, ""},
		"public_by_service":          {"Delete", service, granting(true, "workflow.delete"), fault.ReasonPermissionMissing, "without a tenant"},
		"public_by_tenant_service":   {"Delete", tenantService, granting(true), nothing, ""},
		"tenant_service_module_off":  {"Delete", tenantService, granting(false), fault.ReasonModuleDisabled, ""},
		"no_option":                  {"NoOption", user, granting(true, "workflow.delete"), fault.ReasonPermissionMissing, "admits nobody"},
		"empty_option":               {"EmptyOption", user, granting(true), fault.ReasonPermissionMissing, "admits nobody"},
		"unspecified_permission":     {"Unspecified", user, granting(true, "permission.unspecified"), fault.ReasonPermissionMissing, "admits nobody"},
		"authenticated_false":        {"False", user, granting(true), fault.ReasonPermissionMissing, "admits nobody"},
		"no_option_by_service":       {"NoOption", service, granting(true), fault.ReasonPermissionMissing, "admits nobody"},
		"client_with_role":           {"Delete", auth.Principal{Tenant: "acme", Subject: "crm", Kind: auth.Client}, granting(true, "workflow.delete"), nothing, ""},
		"client_without_role":        {"Delete", auth.Principal{Tenant: "acme", Subject: "crm", Kind: auth.Client}, granting(true), fault.ReasonPermissionMissing, ""},
		"client_by_settings":         {"Delete", auth.Principal{Tenant: "acme", Subject: "crm", Kind: auth.Client, Permissions: []string{"workflow.delete"}}, granting(true), nothing, ""},
		"client_not_by_settings":     {"Delete", auth.Principal{Tenant: "acme", Subject: "crm", Kind: auth.Client, Permissions: []string{"workflow.view"}}, granting(true, "workflow.delete"), fault.ReasonPermissionMissing, ""},
		"client_calls_internal":      {"Start", auth.Principal{Subject: "crm", Kind: auth.Client}, granting(true), fault.ReasonInternalMethod, ""},
		"platform_client":            {"Suspend", auth.Principal{Subject: "platform", Kind: auth.Client}, granting(true), nothing, ""},
		"closed_tenant":              {"Delete", user, closed, fault.ReasonTenantState, "not in use"},
		"closed_tenant_exempt":       {"Administer", user, closed, fault.ReasonTenantState, ""},
		"closed_tenant_any_user":     {"Me", user, closed, fault.ReasonTenantState, ""},
		"closed_tenant_service":      {"Delete", tenantService, closed, fault.ReasonTenantState, ""},
		"platform":                   {"Suspend", platform, closed, nothing, ""},
		"platform_by_another":        {"Suspend", service, granting(true), fault.ReasonPlatformMethod, "administrators"},
		"platform_by_user":           {"Suspend", auth.Principal{Tenant: "acme", Subject: "platform"}, granting(true, "access.manage"), fault.ReasonPlatformMethod, ""},
		"platform_by_tenant_service": {"Suspend", auth.Principal{Tenant: "acme", Subject: "platform", Kind: auth.Service}, granting(true), fault.ReasonPlatformMethod, ""},
		"public_by_platform":         {"Delete", platform, granting(true, "workflow.delete"), fault.ReasonPermissionMissing, "without a tenant"},
		"unknown_method":             {"Other", service, granting(true), fault.ReasonPermissionMissing, "admits nobody"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			e := access.NewEnforcer(access.Options{Module: "workflow", Platform: []string{"platform"}, Grants: c.grants, Files: files(t, rules())})
			err := e.Authorize(t.Context(), "/test.v1.ThingService/"+c.method, c.who)
			if c.want == nothing {
				if err != nil {
					t.Errorf("got %v, want passage", err)
				}
				return
			}
			f, ok := fault.As(err)
			if !ok || f.Kind != fault.KindPermissionDenied || f.Reason != c.want || !strings.Contains(f.Message, c.names) {
				t.Errorf("got %v, want PERMISSION_DENIED %s naming %q", err, c.want, c.names)
			}
		})
	}
}

func TestEnforcer_RuleFor(t *testing.T) {
	e := access.NewEnforcer(access.Options{Files: files(t, rules())})
	got, ok := e.RuleFor("/test.v1.ThingService/Administer")
	want := access.Rule{Audience: access.Granted, Permission: "access.manage", ModuleExempt: true}
	if diff := cmp.Diff(want, got); !ok || diff != "" {
		t.Errorf("found %v (-want +got):\n%s", ok, diff)
	}
	for _, method := range []string{"NoOption", "EmptyOption", "Unspecified", "False", "Other"} {
		if e.Covers("/test.v1.ThingService/" + method) {
			t.Errorf("%s is covered although it names nobody", method)
		}
	}
}

func TestEnforcer_reads_the_linked_contract(t *testing.T) {
	e := access.NewEnforcer(access.Options{})
	services := accessv1.File_uniconnect_access_v1_access_service_proto.Services()
	for i := range services.Len() {
		for j := range services.Get(i).Methods().Len() {
			m := services.Get(i).Methods().Get(j)
			if name := "/" + string(services.Get(i).FullName()) + "/" + string(m.Name()); !e.Covers(name) {
				t.Errorf("%s has no rule", name)
			}
		}
	}
	if services.Len() == 0 {
		t.Error("the contract has no access service")
	}
}

func TestEnforcer_grants_are_kept_for_a_second(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var calls atomic.Int32
		var enabled atomic.Bool
		enabled.Store(true)
		e := access.NewEnforcer(access.Options{Module: "workflow", Files: files(t, rules()), Grants: func(ctx context.Context, _ auth.Principal) (access.Grants, error) {
			calls.Add(1)
			select {
			case <-time.After(100 * time.Millisecond):
			case <-ctx.Done():
				return access.Grants{}, ctx.Err()
			}
			return access.Grants{ModuleEnabled: enabled.Load(), Permissions: map[string]struct{}{"workflow.delete": {}}}, nil
		}})
		call := func(ctx context.Context, subject string) error {
			return e.Authorize(ctx, "/test.v1.ThingService/Delete", auth.Principal{Tenant: "acme", Subject: subject})
		}

		// The caller that began the flight gives up; the others get their answer.
		impatient, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
		defer cancel()
		var wg sync.WaitGroup
		wg.Go(func() {
			if err := call(impatient, "u"); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("impatient caller: got %v", err)
			}
		})
		synctest.Wait()
		for range 50 {
			wg.Go(func() {
				if err := call(t.Context(), "u"); err != nil {
					t.Errorf("got %v, want passage", err)
				}
			})
		}
		wg.Wait()
		if got := calls.Load(); got != 1 {
			t.Errorf("51 calls at once asked %d times, want once", got)
		}

		enabled.Store(false)
		if err := call(t.Context(), "u"); err != nil {
			t.Errorf("within the second: got %v, want passage", err)
		}
		<-time.After(time.Second)
		if err := call(t.Context(), "u"); fault.KindOf(err) != fault.KindPermissionDenied {
			t.Errorf("after a second: got %v, want a refusal", err)
		}
		enabled.Store(true)
		e.Forget()
		if err := call(t.Context(), "u"); err != nil {
			t.Errorf("after Forget: got %v, want passage", err)
		}
	})
}

func TestEnforcer_Forget_during_a_lookup(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var enabled atomic.Bool
		enabled.Store(true)
		e := access.NewEnforcer(access.Options{Module: "workflow", Files: files(t, rules()), Grants: func(context.Context, auth.Principal) (access.Grants, error) {
			read := enabled.Load()
			<-time.After(100 * time.Millisecond)
			return access.Grants{ModuleEnabled: read}, nil
		}})
		call := func() error {
			return e.Authorize(t.Context(), "/test.v1.ThingService/List", auth.Principal{Tenant: "acme", Subject: "u"})
		}
		var wg sync.WaitGroup
		wg.Go(func() {
			if err := call(); err != nil {
				t.Errorf("the call before the change: got %v", err)
			}
		})
		synctest.Wait() // the lookup has read the state before the change
		enabled.Store(false)
		e.Forget()
		for _, when := range []string{"during", "after"} {
			if err := call(); fault.KindOf(err) != fault.KindPermissionDenied {
				t.Errorf("%s the old lookup: got %v, want a refusal", when, err)
			}
			wg.Wait()
		}
	})
}

func TestEnforcer_tells_the_roles_of_tokens_apart(t *testing.T) {
	e := access.NewEnforcer(access.Options{Module: "workflow", Files: files(t, rules()), Grants: func(_ context.Context, who auth.Principal) (access.Grants, error) {
		g := access.Grants{ModuleEnabled: true, Permissions: map[string]struct{}{}, Quotas: access.Quotas{Streams: 7}}
		for _, role := range who.Roles {
			g.Permissions[role] = struct{}{}
		}
		return g, nil
	}})
	call := func(roles ...string) error {
		return e.Authorize(t.Context(), "/test.v1.ThingService/Delete", auth.Principal{Tenant: "acme", Subject: "u", Roles: roles})
	}
	if err := call("workflow.delete"); err != nil {
		t.Errorf("with the role: %v", err)
	}
	if err := call(); fault.KindOf(err) != fault.KindPermissionDenied {
		t.Errorf("the same user with another token: got %v, want a refusal", err)
	}
	got, err := e.Quotas(t.Context(), auth.Principal{Tenant: "acme", Subject: "u"})
	want := access.Quotas{RequestsPerSecond: access.DefaultRequestsPerSecond, Workflows: access.DefaultWorkflows, Streams: 7}
	if err != nil || got != want {
		t.Errorf("quotas: got %v, %v, want %v", got, err, want)
	}
}

func TestEnforcer_lookup_that_fails_refuses(t *testing.T) {
	e := access.NewEnforcer(access.Options{Files: files(t, rules()), Grants: func(context.Context, auth.Principal) (access.Grants, error) {
		return access.Grants{ModuleEnabled: true}, errors.New("dial tcp 10.0.0.7")
	}})
	err := e.Authorize(t.Context(), "/test.v1.ThingService/List", auth.Principal{Tenant: "acme", Subject: "u"})
	f, _ := fault.As(err)
	if f == nil || f.Kind != fault.KindUnavailable || strings.Contains(f.Message, "10.0.0.7") {
		t.Errorf("got %v, want UNAVAILABLE without the address", err)
	}
}

func TestParsePermission_is_the_inverse_of_PermissionName(t *testing.T) {
	for number := range accessv1.Permission_Value_name {
		v := accessv1.Permission_Value(number)
		if v == accessv1.Permission_PERMISSION_UNSPECIFIED {
			continue
		}
		if got, ok := access.ParsePermission(access.PermissionName(v)); !ok || got != v {
			t.Errorf("%v → %q → %v", v, access.PermissionName(v), got)
		}
	}
	if got, want := access.PermissionName(accessv1.Permission_WORKFLOW_VIEW), "workflow.view"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if _, ok := access.ParsePermission("permission.unspecified"); ok {
		t.Error("the unspecified permission parses")
	}
}
