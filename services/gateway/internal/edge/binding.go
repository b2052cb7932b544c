package edge

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"
	"google.golang.org/genproto/googleapis/api/annotations"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	accessv1 "workflow.uniconnect/proto/gen/go/uniconnect/access/v1"
	workflowv1 "workflow.uniconnect/proto/gen/go/uniconnect/workflow/v1"
	"workflow.uniconnect/services/gateway/internal/strictjson"
)

// binding is one line of the contract's REST table: a method and path, and the RPC they mean.
type binding struct {
	method   string
	template string
	rpc      string
	input    protoreflect.MessageDescriptor
	// body is what the request's body stands for, nil when the route has none; bodyField is the field of input it fills, empty when
	// it is the input itself.
	body      protoreflect.MessageDescriptor
	bodyField string
	// inPath names the fields that the path fills.
	inPath []string
	// stream says that the answer is a stream.
	stream bool
}

// publicServices are the services that the gateway shows. Internal ones are not linked into this list and so have no route.
func publicServices() []protoreflect.ServiceDescriptor {
	workflow := func(file protoreflect.FileDescriptor, name protoreflect.Name) protoreflect.ServiceDescriptor {
		return file.Services().ByName(name)
	}
	return []protoreflect.ServiceDescriptor{
		workflow(workflowv1.File_uniconnect_workflow_v1_catalog_service_proto, "WorkflowCatalogService"),
		workflow(accessv1.File_uniconnect_access_v1_access_service_proto, "AccessService"),
		workflow(workflowv1.File_uniconnect_workflow_v1_scheduler_service_proto, "TriggerSchedulerService"),
		workflow(workflowv1.File_uniconnect_workflow_v1_executor_service_proto, "ExecutorService"),
	}
}

// publicBindings reads the routes of the public services from their HTTP annotations, by method and pattern as the mux prints it.
func publicBindings() (map[string]*binding, error) {
	bindings := make(map[string]*binding)
	for _, service := range publicServices() {
		for i := range service.Methods().Len() {
			m := service.Methods().Get(i)
			rule, ok := proto.GetExtension(m.Options(), annotations.E_Http).(*annotations.HttpRule)
			if !ok || rule == nil {
				return nil, fmt.Errorf("%s has no route", m.FullName())
			}
			for _, r := range append([]*annotations.HttpRule{rule}, rule.GetAdditionalBindings()...) {
				b, err := newBinding(m, r)
				if err != nil {
					return nil, fmt.Errorf("%s: %w", m.FullName(), err)
				}
				bindings[bindingKey(b.method, normal(b.template))] = b
			}
		}
	}
	return bindings, nil
}

func newBinding(m protoreflect.MethodDescriptor, rule *annotations.HttpRule) (*binding, error) {
	b := &binding{rpc: fmt.Sprintf("/%s/%s", m.Parent().FullName(), m.Name()), input: m.Input(), stream: m.IsStreamingServer()}
	switch p := rule.GetPattern().(type) {
	case *annotations.HttpRule_Get:
		b.method, b.template = http.MethodGet, p.Get
	case *annotations.HttpRule_Post:
		b.method, b.template = http.MethodPost, p.Post
	case *annotations.HttpRule_Put:
		b.method, b.template = http.MethodPut, p.Put
	case *annotations.HttpRule_Patch:
		b.method, b.template = http.MethodPatch, p.Patch
	case *annotations.HttpRule_Delete:
		b.method, b.template = http.MethodDelete, p.Delete
	default:
		return nil, fmt.Errorf("route %v is of no known kind", rule)
	}
	for part := range strings.SplitSeq(b.template, "{") {
		if name, _, ok := strings.Cut(part, "}"); ok {
			name, _, _ = strings.Cut(name, "=")
			b.inPath = append(b.inPath, name)
		}
	}
	switch body := rule.GetBody(); body {
	case "":
	case "*":
		b.body = m.Input()
	default:
		fd := m.Input().Fields().ByName(protoreflect.Name(body))
		if fd == nil || fd.Message() == nil || fd.IsList() || fd.IsMap() {
			return nil, fmt.Errorf("body %q is no message of the request", body)
		}
		b.body, b.bodyField = fd.Message(), body
	}
	return b, nil
}

// normal writes a template as runtime.Pattern does: {id} is {id=*}.
func normal(template string) string {
	var out strings.Builder
	for i, part := range strings.Split(template, "{") {
		if i > 0 {
			name, rest, _ := strings.Cut(part, "}")
			if !strings.Contains(name, "=") {
				name += "=*"
			}
			part = "{" + name + "}" + rest
		}
		out.WriteString(part)
	}
	return out.String()
}

func bindingKey(method, pattern string) string { return method + " " + pattern }

// bindingOf returns the binding whose pattern the mux matched.
func (e *Edge) bindingOf(r *http.Request) (*binding, bool) {
	pattern, ok := runtime.HTTPPattern(r.Context())
	if !ok {
		return nil, false
	}
	b, ok := e.bindings[bindingKey(r.Method, pattern.String())]
	return b, ok
}

// allowed returns the methods that the contract has for a path, for the Allow header.
func (e *Edge) allowed(path string) []string {
	var methods []string
	for _, b := range e.bindings {
		if b.matches(path) && !slices.Contains(methods, b.method) {
			methods = append(methods, b.method)
		}
	}
	slices.Sort(methods)
	return methods
}

// matches tells whether a path has the template's form. Templates of the contract have variables of one segment only.
func (b *binding) matches(path string) bool {
	template, verb, _ := strings.Cut(b.template, ":")
	if verb != "" {
		var ok bool
		if path, ok = strings.CutSuffix(path, ":"+verb); !ok {
			return false
		}
	}
	want, got := strings.Split(template, "/"), strings.Split(path, "/")
	// Ids have no colon: what follows one is a verb, and another verb is another route.
	if len(want) != len(got) || strings.Contains(got[len(got)-1], ":") {
		return false
	}
	for i := range want {
		if !strings.HasPrefix(want[i], "{") && want[i] != got[i] {
			return false
		}
	}
	return true
}

// takes tells whether a query parameter may fill a field of the request: one that neither path nor body fills.
func (b *binding) takes(parameter string) bool {
	if b.body != nil && b.bodyField == "" {
		return false
	}
	fields := b.fields(parameter)
	if len(fields) == 0 {
		return false
	}
	path := make([]string, len(fields))
	for i, fd := range fields {
		path[i] = string(fd.Name())
	}
	return path[0] != b.bodyField && !slices.Contains(b.inPath, strings.Join(path, "."))
}

// fields returns the fields on the way to what a parameter names; none when there is no such field.
func (b *binding) fields(parameter string) []protoreflect.FieldDescriptor {
	md := b.input
	var path []protoreflect.FieldDescriptor
	for part := range strings.SplitSeq(parameter, ".") {
		if md == nil {
			return nil
		}
		fd := md.Fields().ByJSONName(part)
		if fd == nil {
			fd = md.Fields().ByName(protoreflect.Name(part))
		}
		if fd == nil {
			return nil
		}
		path = append(path, fd)
		md = fd.Message()
	}
	return path
}

// misfit says what is wrong with a value for the field that a parameter of path or query names; nothing when it fits, or when that is for
// the translation to judge.
func (b *binding) misfit(parameter, value string) string {
	path := b.fields(parameter)
	if len(path) == 0 {
		return ""
	}
	switch fd := path[len(path)-1]; fd.Kind() {
	case protoreflect.BoolKind:
		if _, err := strconv.ParseBool(value); err != nil {
			return "must be true or false"
		}
	case protoreflect.Int32Kind:
		_, err := strconv.ParseInt(value, 10, 32)
		if errors.Is(err, strconv.ErrRange) {
			return "is a larger number than there can be"
		}
		if err != nil {
			return "must be a whole number"
		}
	case protoreflect.EnumKind:
		number, err := strconv.ParseInt(value, 10, 32)
		known := err == nil && fd.Enum().Values().ByNumber(protoreflect.EnumNumber(number)) != nil
		if !known && fd.Enum().Values().ByName(protoreflect.Name(value)) == nil {
			return "must be one of " + strictjson.EnumNames(fd.Enum())
		}
	default:
	}
	return ""
}
