// Package access decides what a caller may do. The rules are options of the methods in the proto files; this package reads them from the
// linked descriptors, so that code and contract cannot differ. Whatever has no rule is refused.
package access

import (
	"fmt"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	accessv1 "workflow.uniconnect/proto/gen/go/uniconnect/access/v1"
)

// Audience says which callers a method is for.
type Audience uint8

// The audiences. The zero value admits nobody.
const (
	Nobody        Audience = iota
	Granted                // whose role grants Rule.Permission
	Authenticated          // any signed-in caller of the tenant
	Internal               // our own service identities
	Platform               // service identities that administer the platform
)

// Rule is what a method's option says.
type Rule struct {
	Audience   Audience
	Permission string
	// ModuleExempt methods administer the module gate and so do not pass through it.
	ModuleExempt bool
}

// PermissionName returns a permission as people see it: WORKFLOW_VIEW is workflow.view.
func PermissionName(v accessv1.Permission_Value) string {
	return strings.Replace(strings.ToLower(v.String()), "_", ".", 1)
}

// ParsePermission returns the permission that PermissionName gives this name.
func ParsePermission(name string) (accessv1.Permission_Value, bool) {
	for number := range accessv1.Permission_Value_name {
		v := accessv1.Permission_Value(number)
		if v != accessv1.Permission_PERMISSION_UNSPECIFIED && PermissionName(v) == name {
			return v, true
		}
	}
	return accessv1.Permission_PERMISSION_UNSPECIFIED, false
}

// rulesOf reads the rules of every method in files, by its full gRPC name.
func rulesOf(files *protoregistry.Files) map[string]Rule {
	rules := make(map[string]Rule)
	files.RangeFiles(func(file protoreflect.FileDescriptor) bool {
		services := file.Services()
		for i := range services.Len() {
			methods := services.Get(i).Methods()
			for j := range methods.Len() {
				m := methods.Get(j)
				if rule := ruleOf(m); rule.Audience != Nobody {
					rules[fmt.Sprintf("/%s/%s", m.Parent().FullName(), m.Name())] = rule
				}
			}
		}
		return true
	})
	return rules
}

func ruleOf(m protoreflect.MethodDescriptor) Rule {
	option, ok := proto.GetExtension(m.Options(), accessv1.E_Access).(*accessv1.AccessRule)
	if !ok || option == nil {
		return Rule{}
	}
	rule := Rule{ModuleExempt: option.GetModuleExempt()}
	switch {
	case option.GetPermission() != accessv1.Permission_PERMISSION_UNSPECIFIED:
		rule.Audience, rule.Permission = Granted, PermissionName(option.GetPermission())
	case option.GetAuthenticated():
		rule.Audience = Authenticated
	case option.GetInternal():
		rule.Audience = Internal
	case option.GetPlatform():
		rule.Audience = Platform
	}
	return rule
}
