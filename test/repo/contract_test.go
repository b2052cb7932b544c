package repo

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"google.golang.org/genproto/googleapis/api/annotations"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	accessv1 "workflow.uniconnect/proto/gen/go/uniconnect/access/v1"
	crmv1 "workflow.uniconnect/proto/gen/go/uniconnect/crm/v1"
	peerv1 "workflow.uniconnect/proto/gen/go/uniconnect/workflow/peer/v1"
	workflowv1 "workflow.uniconnect/proto/gen/go/uniconnect/workflow/v1"
)

// publicPackages are those whose services people and other programs call, through the gateway too. All others are between our services.
func publicPackages() []protoreflect.FullName {
	return []protoreflect.FullName{"uniconnect.workflow.v1", "uniconnect.access.v1"}
}

// services lists the services of the contract. Naming one file of each package makes sure that they are linked in.
func services(t *testing.T) []protoreflect.ServiceDescriptor {
	t.Helper()
	linked := []protoreflect.FileDescriptor{
		workflowv1.File_uniconnect_workflow_v1_workflow_proto, accessv1.File_uniconnect_access_v1_options_proto,
		crmv1.File_uniconnect_crm_v1_crm_service_proto, peerv1.File_uniconnect_workflow_peer_v1_start_service_proto,
	}
	var all []protoreflect.ServiceDescriptor
	protoregistry.GlobalFiles.RangeFiles(func(file protoreflect.FileDescriptor) bool {
		if strings.HasPrefix(string(file.Package()), "uniconnect.") {
			for i := range file.Services().Len() {
				all = append(all, file.Services().Get(i))
			}
		}
		return true
	})
	if len(all) < len(linked) {
		t.Fatalf("only %d services found in the contract", len(all))
	}
	return all
}

var servicePattern = regexp.MustCompile(`(?m)^service (\w+)`)

// TestContract_isLinkedInWhole holds that the tests of this file see every service that any .proto file describes.
func TestContract_isLinkedInWhole(t *testing.T) {
	linked := make(map[string]bool)
	for _, service := range services(t) {
		linked[service.ParentFile().Path()+" "+string(service.Name())] = true
	}
	described := 0
	walk(t, func(root, name string) {
		rel, err := filepath.Rel(filepath.Join(root, "proto"), name)
		if err != nil || !strings.HasSuffix(rel, ".proto") || strings.HasPrefix(rel, "..") {
			return
		}
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, match := range servicePattern.FindAllStringSubmatch(string(text), -1) {
			described++
			if !linked[filepath.ToSlash(rel)+" "+match[1]] {
				t.Errorf("%s: service %s is not linked into this test: name a file of its package in services()", rel, match[1])
			}
		}
	})
	if described < 5 {
		t.Errorf("only %d services are described: the walk is broken", described)
	}
}

// TestContract_routesAreUnique holds that a route leads to one method.
func TestContract_routesAreUnique(t *testing.T) {
	seen := make(map[string]protoreflect.FullName)
	for _, service := range services(t) {
		for i := range service.Methods().Len() {
			method := service.Methods().Get(i)
			rule, _ := proto.GetExtension(method.Options(), annotations.E_Http).(*annotations.HttpRule)
			if rule == nil {
				continue
			}
			for _, r := range append([]*annotations.HttpRule{rule}, rule.GetAdditionalBindings()...) {
				route := fmt.Sprintf("%T %s", r.GetPattern(), variablePattern.ReplaceAllString(fmt.Sprint(r.GetPattern()), "{}"))
				if other, ok := seen[route]; ok {
					t.Errorf("%s and %s have the same route %s: who may call it would depend on the order of registration", method.FullName(), other, route)
				}
				seen[route] = method.FullName()
			}
		}
	}
}

var variablePattern = regexp.MustCompile(`\{[a-z_.=*]+\}`)

func TestContract_saysWhoMayCallWhat(t *testing.T) {
	for _, service := range services(t) {
		public := false
		for _, name := range publicPackages() {
			public = public || service.ParentFile().Package() == name
		}
		for i := range service.Methods().Len() {
			method := service.Methods().Get(i)
			rule, _ := proto.GetExtension(method.Options(), accessv1.E_Access).(*accessv1.AccessRule)
			http := proto.HasExtension(method.Options(), annotations.E_Http)
			switch {
			case rule.GetAudience() == nil:
				t.Errorf("%s has no access rule: nobody could say who may call it", method.FullName())
			case public && rule.GetInternal():
				t.Errorf("%s is internal in a public service: move it to a peer service, which the gateway does not know", method.FullName())
			case rule.GetPlatform() && http:
				t.Errorf("%s has an HTTP rule: methods of the platform's administrators never appear on the gateway", method.FullName())
			case public && !http && !rule.GetPlatform():
				t.Errorf("%s has no HTTP rule: it cannot be reached over REST", method.FullName())
			case !public && !rule.GetInternal():
				t.Errorf("%s is for others than our own services: a service between services takes service identities only", method.FullName())
			case !public && http:
				t.Errorf("%s has an HTTP rule: methods between services never appear on the gateway", method.FullName())
			}
		}
	}
}
