// Package eventpb reads payloads in protobuf. It knows which message of uniconnect.event.v1 belongs to which event type.
package eventpb

import (
	"encoding/json"
	"fmt"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	eventv1 "workflow.uniconnect/proto/gen/go/uniconnect/event/v1"
	"workflow.uniconnect/services/trigger-scheduler/internal/event"
)

// Payloads reads the payloads of the known events. It is safe for concurrent use.
type Payloads struct {
	types map[event.Type]protoreflect.MessageType
}

// New returns the payloads of this release.
func New() *Payloads {
	of := func(m proto.Message) protoreflect.MessageType { return m.ProtoReflect().Type() }
	record, user, group := of(&eventv1.RecordChanged{}), of(&eventv1.UserChanged{}), of(&eventv1.GroupChanged{})
	segment, membership, ended := of(&eventv1.CallSegment{}), of(&eventv1.GroupMembership{}), of(&eventv1.WorkflowEnded{})
	return &Payloads{types: map[event.Type]protoreflect.MessageType{
		"call.started":               of(&eventv1.CallStarted{}),
		"call.connection_ended":      of(&eventv1.CallConnectionEnded{}),
		"call.ended":                 of(&eventv1.CallEnded{}),
		"call.segment_started":       segment,
		"call.segment_ended":         segment,
		"call.disposition_submitted": of(&eventv1.CallDispositionSubmitted{}),
		"lead.created":               record, "lead.updated": record,
		"contact.created": record, "contact.updated": record,
		"organization.created": record, "organization.updated": record,
		"ticket.created": record, "ticket.updated": record,
		"user.created": user, "user.updated": user, "user.deleted": user,
		"user.status_changed": of(&eventv1.UserStatusChanged{}),
		"group.created":       group, "group.updated": group, "group.deleted": group,
		"group.user_added": membership, "group.user_removed": membership,
		"telephony.status_changed": of(&eventv1.TelephonyStatusChanged{}),
		"workflow.completed":       ended, "workflow.failed": ended,
	}}
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
