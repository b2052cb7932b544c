// Package eventpb knows the payloads of the known events: which message of uniconnect.event.v1 belongs to which type, how it becomes the JSON
// that expressions see, and what people and checkers are told of it.
package eventpb

import (
	"encoding/json"
	"fmt"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"workflow.uniconnect/services/trigger-scheduler/internal/event"
)

// Payloads are the payloads of the known events. It does not change, and is safe for concurrent use.
type Payloads struct {
	types map[event.Type]protoreflect.MessageType
}

// New returns the payloads of this release.
func New() *Payloads {
	p := &Payloads{types: make(map[event.Type]protoreflect.MessageType)}
	for _, k := range known() {
		p.types[k.typ] = k.payload.ProtoReflect().Type()
	}
	return p
}

// JSON implements event.Payloads. Numbers and flags are written also when they are zero, since expressions compare them; texts and
// messages that are not set are left out, as a producer of JSON would.
func (p *Payloads) JSON(t event.Type, body []byte) ([]byte, error) {
	typ, ok := p.types[t]
	if !ok {
		return nil, fmt.Errorf("events of type %s have no protobuf payload", t)
	}
	msg := typ.New()
	if err := proto.Unmarshal(body, msg.Interface()); err != nil {
		return nil, fmt.Errorf("not a %s", typ.Descriptor().FullName())
	}
	raw, err := protojson.MarshalOptions{UseProtoNames: true}.Marshal(msg.Interface())
	if err != nil {
		return nil, fmt.Errorf("write %s as JSON", typ.Descriptor().FullName())
	}
	return withZeros(raw, msg)
}

// withZeros adds the numbers and flags that are zero.
func withZeros(raw []byte, msg protoreflect.Message) ([]byte, error) {
	var object map[string]json.RawMessage
	if err := json.Unmarshal(raw, &object); err != nil {
		return nil, fmt.Errorf("read JSON of %s: %w", msg.Descriptor().FullName(), err)
	}
	fields := msg.Descriptor().Fields()
	for i := range fields.Len() {
		f := fields.Get(i)
		if f.IsList() || f.IsMap() || msg.Has(f) {
			continue
		}
		switch f.Kind() {
		case protoreflect.BoolKind:
			object[f.TextName()] = json.RawMessage("false")
		case protoreflect.Int32Kind, protoreflect.Sint32Kind, protoreflect.Uint32Kind, protoreflect.DoubleKind, protoreflect.FloatKind:
			object[f.TextName()] = json.RawMessage("0")
		}
	}
	return json.Marshal(object)
}
