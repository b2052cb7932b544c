package eventpb

import "google.golang.org/protobuf/reflect/protoreflect"

// dialect is the JSON Schema that schemas are written in.
const dialect = "https://json-schema.org/draft/2020-12/schema"

// schemaOf returns the JSON Schema of a payload as JSON shows it, with the fields' proto names. No field is required, and others may be
// there: producers send what they have.
func schemaOf(message protoreflect.MessageDescriptor, title string) object {
	schema := messageSchema(message)
	schema["$schema"], schema["title"] = dialect, title
	return schema
}

func messageSchema(message protoreflect.MessageDescriptor) object {
	texts, values := descriptions()[string(message.Name())], enums()[string(message.Name())]
	properties := make(object)
	fields := message.Fields()
	for i := range fields.Len() {
		f := fields.Get(i)
		schema := fieldSchema(f)
		if text := texts[f.TextName()]; text != "" {
			schema["description"] = text
		}
		if allowed := values[f.TextName()]; allowed != nil {
			schema["enum"] = allowed
		}
		properties[f.TextName()] = schema
	}
	return object{"type": "object", "properties": properties, "additionalProperties": true}
}

func fieldSchema(f protoreflect.FieldDescriptor) object {
	if f.IsList() {
		return object{"type": "array", "items": valueSchema(f)}
	}
	return valueSchema(f)
}

func valueSchema(f protoreflect.FieldDescriptor) object {
	switch f.Kind() {
	case protoreflect.BoolKind:
		return object{"type": "boolean"}
	case protoreflect.Int32Kind, protoreflect.Sint32Kind, protoreflect.Uint32Kind:
		return object{"type": "integer"}
	case protoreflect.FloatKind, protoreflect.DoubleKind:
		return object{"type": "number"}
	case protoreflect.StringKind:
		return object{"type": "string"}
	case protoreflect.MessageKind:
		switch f.Message().FullName() {
		case "google.protobuf.Timestamp":
			return object{"type": "string", "format": "date-time"}
		case "google.protobuf.Struct":
			return object{"type": "object", "additionalProperties": true}
		}
		return messageSchema(f.Message())
	}
	return object{} // anything; a test holds that no payload has such a field
}

// enums returns the values of the fields that have a list of them, by message and field.
func enums() map[string]map[string][]any {
	direction := []any{"inbound", "outbound", "internal"}
	status := []any{"Active", "Idle", "On Break", "Offline"}
	return map[string]map[string][]any{
		"CallStarted": {"direction": direction},
		"CallEnded": {
			"direction": direction,
			"result":    {"answered", "missed", "abandoned", "busy", "failed", "voicemail"},
		},
		"UserStatusChanged": {"from": status, "to": status},
		"TelephonyStatusChanged": {
			"origin":       {"pbx", "uniconnect", "schedule"},
			"queue_status": {"LoggedIn", "LoggedOut"},
		},
	}
}
