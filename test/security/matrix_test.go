package security

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/api/annotations"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	"workflow.uniconnect/pkg/auth"

	accessv1 "workflow.uniconnect/proto/gen/go/uniconnect/access/v1"
)

// rule is what the option of a method says, read here anew: the code that reads it in the services is what is tested.
type rule struct {
	method     protoreflect.MethodDescriptor
	option     *accessv1.AccessRule
	permission string
}

// served are the packages whose services the system serves itself; the CRM is another's.
func served() []protoreflect.FullName {
	return []protoreflect.FullName{"uniconnect.access.v1", "uniconnect.workflow.v1", "uniconnect.workflow.peer.v1"}
}

func rules(t *testing.T) []rule {
	t.Helper()
	var all []rule
	for _, name := range served() {
		protoregistry.GlobalFiles.RangeFilesByPackage(name, func(f protoreflect.FileDescriptor) bool {
			for _, m := range methodsIn(f) {
				option, ok := proto.GetExtension(m.Options(), accessv1.E_Access).(*accessv1.AccessRule)
				if !ok || option.GetAudience() == nil {
					t.Errorf("%s has no access rule", m.FullName())
					continue
				}
				all = append(all, rule{m, option, permissionName(option.GetPermission())})
			}
			return true
		})
	}
	slices.SortFunc(all, func(a, b rule) int { return strings.Compare(string(a.method.FullName()), string(b.method.FullName())) })
	if len(all) < 50 {
		t.Fatalf("only %d methods found", len(all))
	}
	return all
}

// permissionName is the contract's spelling: WORKFLOW_VIEW is workflow.view.
func permissionName(p accessv1.Permission_Value) string {
	if p == accessv1.Permission_PERMISSION_UNSPECIFIED {
		return ""
	}
	return strings.Replace(strings.ToLower(p.String()), "_", ".", 1)
}

// caller is a line of the matrix: who calls, and what that one holds.
type caller struct {
	name  string
	token string
	// unauthenticated is the reason of those who prove nothing.
	unauthenticated string
	principal       auth.Principal
	permissions     []string
	all             bool
	// elsewhere says that the tenant is not the one whose module is switched.
	elsewhere bool
}

// may is what the contract says of a caller, a method and a module: empty, or the reason of the refusal.
func (c caller) may(r rule, module bool) (codes.Code, string) {
	p := c.principal
	switch {
	case c.unauthenticated != "":
		return codes.Unauthenticated, c.unauthenticated
	case r.option.GetInternal():
		if p.Kind == auth.Service {
			return codes.OK, ""
		}
		return codes.PermissionDenied, "INTERNAL_METHOD"
	case r.option.GetPlatform():
		if p.Subject == "platform" && p.Tenant == "" && p.Kind != auth.User {
			return codes.OK, ""
		}
		return codes.PermissionDenied, "PLATFORM_METHOD"
	case p.Tenant == "":
		return codes.PermissionDenied, "PERMISSION_MISSING"
	case !module && !c.elsewhere && !r.option.GetModuleExempt():
		return codes.PermissionDenied, "MODULE_DISABLED"
	case p.Kind == auth.Service:
		return codes.OK, "" // one of ours, in the tenant of its token
	case r.permission != "" && !c.all && !slices.Contains(c.permissions, r.permission):
		return codes.PermissionDenied, "PERMISSION_MISSING"
	}
	return codes.OK, ""
}

// matrix calls every RPC as everybody, with the module on and off, over both protocols. What must be answered is worked out from the
// methods' options alone, so a new RPC is held to its option without a line here.
func (s *system) matrix(t *testing.T) {
	all := rules(t)
	callers := s.callers(t, all)
	for _, module := range []bool{true, false} {
		if !module {
			s.setModule(t, false)
			defer s.setModule(t, true)
		}
		for _, r := range all {
			t.Run(fmt.Sprintf("%s/module_%t", r.method.FullName(), module), func(t *testing.T) { s.matrixRow(t, r, callers, module) })
		}
	}
}

func (s *system) matrixRow(t *testing.T, r rule, callers []caller, module bool) {
	for _, c := range callers {
		if strings.Contains(c.name, " ") && !strings.HasSuffix(c.name, " "+r.permission) {
			continue // made for the methods of another permission
		}
		want, reason := c.may(r, module)
		for _, f := range s.faces() {
			if f.name() == "rest" && !hasRoute(r.method) {
				continue
			}
			got := f.call(t, c.token, s.emptyRequest(t, r.method))
			for got.reason == "RATE_LIMIT" {
				got.awaitRetry(t)
				got = f.call(t, c.token, s.emptyRequest(t, r.method))
			}
			denied := got.code == codes.Unauthenticated || got.code == codes.PermissionDenied
			switch {
			case want == codes.OK && (denied || got.code == codes.Unimplemented || got.code == codes.Internal || got.code == codes.Unavailable):
				t.Errorf("%s over %s: got %s %s %s, want passage", c.name, f.name(), got.code, got.reason, got.text)
			case want != codes.OK && (got.code != want || got.reason != reason):
				t.Errorf("%s over %s: got %s %s %s, want %s %s", c.name, f.name(), got.code, got.reason, got.text, want, reason)
			case f.name() == "rest" && want == codes.Unauthenticated && got.status != 401, f.name() == "rest" && want == codes.PermissionDenied && got.status != 403:
				t.Errorf("%s over REST: got status %d for %s", c.name, got.status, want)
			}
			if leak := leakIn(got); leak != "" {
				t.Errorf("%s over %s: the answer holds %q: %s", c.name, f.name(), leak, got.text)
			}
		}
	}
}

// callers are the lines of the matrix. Those whose name ends in a permission are made for the methods that need it.
func (s *system) callers(t *testing.T, all []rule) []caller {
	t.Helper()
	var listed []string
	for _, r := range all {
		if r.permission != "" && !slices.Contains(listed, r.permission) {
			listed = append(listed, r.permission)
		}
	}
	roles := make(map[string]*accessv1.Role)
	for _, role := range must[*accessv1.ListRolesResponse](t, s, owner, &accessv1.ListRolesRequest{PageSize: 200}).GetRoles() {
		roles[role.GetTitle()] = role
	}
	user := func(name, subject string) caller {
		return caller{name: name, token: s.userToken(t, subject), principal: auth.Principal{Tenant: tenant, Subject: subject}}
	}
	seeded := func(subject, title string) caller {
		c := user(title, subject)
		c.name = strings.ReplaceAll(title, " ", "_")
		if roles[title] == nil {
			t.Fatalf("no role %s; there are %v", title, roles)
		}
		c.permissions, c.all = roles[title].GetPermissions(), roles[title].GetGrantsAll()
		return c
	}
	stranger := caller{name: "other_tenant", token: s.userToken(t, foreign), principal: auth.Principal{Tenant: "globex", Subject: foreign}, all: true, elsewhere: true}
	list := []caller{
		{name: "no_token", unauthenticated: "TOKEN_MISSING"},
		{name: "expired", token: s.expired(t), unauthenticated: "TOKEN_INVALID"},
		seeded(owner, "System Owner"), seeded("builder@acme.test", "Workflow Builder"), seeded(viewer, "Workflow Viewer"), seeded(agent, "User"),
		user("no_role", "nobody@acme.test"), stranger,
		s.service(t, "service_without_tenant", auth.Principal{Subject: "executor", Kind: auth.Service}),
		s.service(t, "service_of_tenant", auth.Principal{Tenant: tenant, Subject: "executor", Kind: auth.Service}),
		s.service(t, "platform", auth.Principal{Subject: "platform", Kind: auth.Service}),
		s.service(t, "client_without_grant", auth.Principal{Tenant: tenant, Subject: "call-service", Kind: auth.Client}),
	}
	for _, permission := range listed {
		exact, others := user("exactly "+permission, "exact."+permission+"@acme.test"), user("all_but "+permission, "but."+permission+"@acme.test")
		exact.permissions = []string{permission}
		others.permissions = slices.DeleteFunc(s.everything(t), func(p string) bool { return p == permission })
		for _, c := range []caller{exact, others} {
			s.grant(t, c.principal.Subject, c.permissions...)
			list = append(list, c)
		}
	}
	return list
}

func (s *system) service(t *testing.T, name string, p auth.Principal) caller {
	t.Helper()
	return caller{name: name, token: s.token(t, p), principal: p}
}

// everything are the permissions that roles can grant.
func (s *system) everything(t *testing.T) []string {
	t.Helper()
	return must[*accessv1.ListPermissionsResponse](t, s, owner, &accessv1.ListPermissionsRequest{}).GetPermissions()
}

func (s *system) expired(t *testing.T) string {
	t.Helper()
	token, err := s.issuer.Issue(auth.Principal{Tenant: tenant, Subject: owner}, -time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	return token
}

// nobodysID is the id of nothing.
const nobodysID = "01890000-0000-7000-8000-000000000000"

// emptyRequest is a request that names nothing that exists and changes nothing: what its path needs, and no more.
func (s *system) emptyRequest(t *testing.T, m protoreflect.MethodDescriptor) message {
	t.Helper()
	request := newMessage(t, m.Input())
	route, _ := proto.GetExtension(m.Options(), annotations.E_Http).(*annotations.HttpRule)
	if route == nil {
		return request
	}
	at := request.ProtoReflect()
	for _, variable := range pathVariables(fmt.Sprint(route.GetPattern())) {
		set(at, strings.Split(variable, "."))
	}
	return request
}

// pathVariables are the names between braces.
func pathVariables(pattern string) []string {
	var all []string
	for part := range strings.SplitSeq(pattern, "{") {
		if name, _, ok := strings.Cut(part, "}"); ok && !strings.HasPrefix(name, "/") {
			all = append(all, name)
		}
	}
	return all
}

func set(m protoreflect.Message, path []string) {
	fd := m.Descriptor().Fields().ByName(protoreflect.Name(path[0]))
	switch {
	case len(path) > 1:
		set(m.Mutable(fd).Message(), path[1:])
	case fd.Kind() == protoreflect.Int32Kind:
		m.Set(fd, protoreflect.ValueOfInt32(1))
	default:
		m.Set(fd, protoreflect.ValueOfString(nobodysID))
	}
}
