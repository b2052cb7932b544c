package eventpb

import (
	"strings"

	"google.golang.org/protobuf/proto"

	"workflow.uniconnect/services/trigger-scheduler/internal/event"
)

// Kinds returns what is told of the known types.
func Kinds() []event.Kind {
	var kinds []event.Kind
	for _, k := range known() {
		module, _, _ := strings.Cut(string(k.typ), ".")
		kinds = append(kinds, event.Kind{
			Type: k.typ, Module: module, Title: k.title, Description: k.description,
			Schema: schemaOf(k.payload.ProtoReflect().Descriptor(), k.title), Example: k.example,
		})
	}
	return kinds
}

// kind is a known type as it is written down.
type kind struct {
	typ                event.Type
	payload            proto.Message
	title, description string
	example            object
}

type object = map[string]any
