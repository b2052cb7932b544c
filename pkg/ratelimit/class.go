package ratelimit

import (
	"fmt"

	"google.golang.org/genproto/googleapis/api/annotations"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	accessv1 "workflow.uniconnect/proto/gen/go/uniconnect/access/v1"
)

// Class is what kind of work a method makes. Each has a bucket of its own beside the tenant's, so that one kind does not use up all.
type Class uint8

// The classes. Calls between services, and those of the platform's administrators, are Unlimited.
const (
	Unlimited Class = iota
	Read
	Write
	Run
	Publish
	classes
)

// limit is the name that a tenant sees.
func (c Class) limit() string {
	return [...]string{"", "reads_per_second", "writes_per_second", "runs_per_second", "publishes_per_second"}[c]
}

// share is what a class may take of a tenant's calls a second. Writes and runs cost most and leave half to the others.
func (c Class) share(perSecond int) float64 {
	if c == Write || c == Run {
		return float64(perSecond) / 2
	}
	return float64(perSecond)
}

// Classes returns the class of every method by its full gRPC name. What the gateway shows is limited: a GET reads, and of the others the
// permission tells starting and publishing from changing.
func Classes(files *protoregistry.Files) map[string]Class {
	all := make(map[string]Class)
	files.RangeFiles(func(file protoreflect.FileDescriptor) bool {
		for i := range file.Services().Len() {
			methods := file.Services().Get(i).Methods()
			for j := range methods.Len() {
				m := methods.Get(j)
				if class := classOf(m); class != Unlimited {
					all[fmt.Sprintf("/%s/%s", m.Parent().FullName(), m.Name())] = class
				}
			}
		}
		return true
	})
	return all
}

func classOf(m protoreflect.MethodDescriptor) Class {
	rule, _ := proto.GetExtension(m.Options(), annotations.E_Http).(*annotations.HttpRule)
	if rule == nil {
		return Unlimited
	}
	if rule.GetGet() != "" {
		return Read
	}
	option, _ := proto.GetExtension(m.Options(), accessv1.E_Access).(*accessv1.AccessRule)
	switch option.GetPermission() {
	case accessv1.Permission_WORKFLOW_RUN:
		return Run
	case accessv1.Permission_EVENT_PUBLISH:
		return Publish
	default:
		return Write
	}
}
