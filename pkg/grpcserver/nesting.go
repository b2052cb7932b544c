package grpcserver

import (
	"strconv"
	"sync"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"workflow.uniconnect/pkg/fault"
)

// maxNesting is how deep objects and lists below a request may nest, written as JSON. The gateway lets no more in either.
const maxNesting = 64

// nesting finds requests that nest too deep. Types that cannot are not looked at.
type nesting struct{ recursive sync.Map } // of protoreflect.FullName to bool

func (n *nesting) check(msg proto.Message) error {
	m := msg.ProtoReflect()
	if !n.canNest(m.Descriptor()) {
		return nil
	}
	var violations []fault.Violation
	m.Range(func(fd protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		if fd.Message() != nil && fieldTooDeep(fd, v, 1) {
			violations = append(violations, fault.Violation{
				Field: fd.JSONName(), Description: "nests deeper than " + strconv.Itoa(maxNesting), Reason: fault.ReasonFieldRule,
			})
		}
		return true
	})
	return fault.Check(violations...)
}

// canNest tells whether a message can hold itself, however far down.
func (n *nesting) canNest(md protoreflect.MessageDescriptor) bool {
	if known, ok := n.recursive.Load(md.FullName()); ok {
		return known == true
	}
	found := reachesItself(md, make(map[protoreflect.FullName]bool))
	n.recursive.Store(md.FullName(), found)
	return found
}

// reachesItself follows the fields; open holds the messages on the way to this one, and those that were found harmless as false.
func reachesItself(md protoreflect.MessageDescriptor, open map[protoreflect.FullName]bool) bool {
	if on, seen := open[md.FullName()]; seen {
		return on
	}
	open[md.FullName()] = true
	for i := range md.Fields().Len() {
		if child := md.Fields().Get(i).Message(); child != nil && reachesItself(child, open) {
			return true
		}
	}
	open[md.FullName()] = false
	return false
}

// fieldTooDeep looks at a value of a field with messages; depth is how deep that value stands.
func fieldTooDeep(fd protoreflect.FieldDescriptor, v protoreflect.Value, depth int) bool {
	switch {
	case fd.IsMap():
		if fd.MapValue().Message() == nil {
			return depth > maxNesting
		}
		// The map of a Struct is the object that the Struct is.
		below := depth + 1
		if fd.ContainingMessage().FullName() == "google.protobuf.Struct" {
			below = depth
		}
		for _, value := range v.Map().Range {
			if messageTooDeep(value.Message(), below) {
				return true
			}
		}
		return false
	case fd.IsList():
		// The list of a ListValue is the list that the ListValue is.
		below := depth + 1
		if fd.ContainingMessage().FullName() == "google.protobuf.ListValue" {
			below = depth
		}
		for i := range v.List().Len() {
			if messageTooDeep(v.List().Get(i).Message(), below) {
				return true
			}
		}
		return false
	}
	return messageTooDeep(v.Message(), depth)
}

func messageTooDeep(m protoreflect.Message, depth int) bool {
	if m.Descriptor().FullName() == "google.protobuf.Value" {
		depth-- // it is what it holds
	} else if depth > maxNesting {
		return true
	}
	for fd, v := range m.Range {
		if fd.Message() != nil && fieldTooDeep(fd, v, depth+1) {
			return true
		}
	}
	return false
}
