package grpcapi

import (
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"workflow.uniconnect/pkg/fault"
	workflowv1 "workflow.uniconnect/proto/gen/go/uniconnect/workflow/v1"
)

// fieldRole is what an update does with a field of Workflow.
type fieldRole uint8

const (
	outputOnly   fieldRole = iota // ignored, as everywhere on input
	configurable                  // copied
	byMethod                      // changed by methods of its own
)

func roleOf(name protoreflect.Name) fieldRole {
	switch name {
	case "title", "description", "trigger", "date_range", "steps", "settings":
		return configurable
	case "state":
		return byMethod
	}
	return outputOnly
}

// merge returns current with the masked fields of patch. Paths may be written in snake_case or camelCase and may go into messages, not
// into lists; without any, all fields that patch has are taken, and `*` takes all there are.
func merge(current, patch *workflowv1.Workflow, paths []string) (*workflowv1.Workflow, []fault.Violation) {
	merged := proto.CloneOf(current)
	var found []fault.Violation
	if state := patch.GetState(); state != workflowv1.Workflow_STATE_UNSPECIFIED && state != current.GetState() {
		found = append(found, fault.Violation{Field: "state", Description: "is changed by activate and deactivate"})
	}
	return merged, append(found, take(merged, patch, paths, masked{noun: "workflow", role: roleOf})...)
}

// masked is what an update may name.
type masked struct {
	noun string
	role func(protoreflect.Name) fieldRole
}

// take gives merged the masked fields of patch, a message of the same type.
func take(merged, patch proto.Message, paths []string, m masked) []fault.Violation {
	dst, src := merged.ProtoReflect(), patch.ProtoReflect()
	fields := src.Descriptor().Fields()
	everything := len(paths) == 1 && paths[0] == "*"
	if len(paths) == 0 || everything {
		for i := range fields.Len() {
			if f := fields.Get(i); m.role(f.Name()) == configurable && (everything || src.Has(f)) {
				assign(dst, src, f)
			}
		}
		return nil
	}
	var found []fault.Violation
	for _, path := range paths {
		route, ok := resolve(fields, path)
		switch {
		case !ok:
			found = append(found, fault.Violation{
				Field: "updateMask", Description: "path " + strings.ToValidUTF8(path, "\uFFFD") + " is not a field of a " + m.noun,
			})
		case m.role(route[0].Name()) == configurable:
			follow(dst, src, route)
		}
	}
	return found
}

// resolve finds the fields along a path.
func resolve(fields protoreflect.FieldDescriptors, path string) ([]protoreflect.FieldDescriptor, bool) {
	var route []protoreflect.FieldDescriptor
	for name := range strings.SplitSeq(path, ".") {
		if fields == nil {
			return nil, false
		}
		f := fields.ByName(protoreflect.Name(name))
		if f == nil {
			f = fields.ByJSONName(name)
		}
		if f == nil {
			return nil, false
		}
		route = append(route, f)
		fields = nil
		if f.Kind() == protoreflect.MessageKind && f.Cardinality() != protoreflect.Repeated {
			fields = f.Message().Fields()
		}
	}
	return route, true
}

// follow copies the field at the end of a route.
func follow(dst, src protoreflect.Message, route []protoreflect.FieldDescriptor) {
	for _, f := range route[:len(route)-1] {
		if !src.Has(f) && !dst.Has(f) {
			return
		}
		src, dst = src.Get(f).Message(), dst.Mutable(f).Message()
	}
	assign(dst, src, route[len(route)-1])
}

func assign(dst, src protoreflect.Message, f protoreflect.FieldDescriptor) {
	if src.Has(f) {
		dst.Set(f, src.Get(f))
		return
	}
	dst.Clear(f)
}
