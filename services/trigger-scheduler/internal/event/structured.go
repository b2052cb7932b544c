package event

import (
	"bytes"
	"encoding/base64"
)

// fromEnvelope reads an event in structured mode: one JSON object that holds attributes and data.
func (a *attributes) fromEnvelope(body []byte) (content, *Problem) {
	// The envelope is a level of its own around the data.
	if why := CheckJSON(body, MaxDepth+1); why != "" {
		return content{}, jsonProblem("the envelope cannot be used: ", why)
	}
	if trimmed := bytes.TrimSpace(body); trimmed[0] != '{' {
		return content{}, malformed("the envelope is not a JSON object")
	}
	env := envelope{attributes: a}
	for key, value := range Members(body) {
		if p := env.member(KeyText(key), value); p != nil {
			return content{}, p
		}
	}
	return env.content()
}

type envelope struct {
	*attributes
	seen         [11]bool
	data, base64 []byte
	mediaType    string
}

// member takes one attribute. A header that says the same thing may stand beside it, one that contradicts it may not.
func (e *envelope) member(name string, value []byte) *Problem {
	var field *string
	slot := 0
	switch name {
	case "id":
		field, slot = &e.id, 0
	case "source":
		field, slot = &e.source, 1
	case "type":
		field, slot = &e.typ, 2
	case "time":
		field, slot = &e.time, 3
	case "subject":
		field, slot = &e.subject, 4
	case "specversion":
		field, slot = &e.version, 5
	case "datacontenttype":
		field, slot = &e.mediaType, 6
	case "tenant", "tenantid":
		field, slot = &e.tenant, 7
	case "traceparent":
		field, slot = &e.traceparent, 8
	case "data":
		slot = 9
		e.data = value
	case "data_base64":
		slot = 10
		e.base64 = value
	default:
		return nil
	}
	if e.seen[slot] {
		return attribute("the envelope has the attribute " + name + " twice")
	}
	e.seen[slot] = true
	if field == nil || string(value) == "null" {
		return nil
	}
	text, ok := Text(value)
	if !ok {
		return attribute("the attribute " + name + " is not a string")
	}
	if p := checkText(name, text); p != nil {
		return p
	}
	if name == "traceparent" && *field != "" {
		return nil // the transport's is the nearer parent
	}
	if *field != "" && *field != text {
		return attribute("the attribute " + name + " differs between header and envelope")
	}
	if *field = text; name == "id" {
		if e.idGiven = true; text == "" {
			return attribute("the id is empty")
		}
	}
	return nil
}

func (e *envelope) content() (content, *Problem) {
	if e.base64 == nil {
		// The data is part of JSON text, so it is JSON whatever its own type says; a string of another type stays a string.
		if kindOf(e.mediaType) == kindProtobuf {
			return content{}, malformed("the protobuf data is not in data_base64")
		}
		return content{bytes: e.data, checked: true}, nil
	}
	if e.data != nil {
		return content{}, malformed("the envelope has both data and data_base64")
	}
	text, ok := Text(e.base64)
	if !ok {
		return content{}, malformed("data_base64 is not a string")
	}
	raw, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return content{}, malformed("data_base64 is not base64")
	}
	return content{bytes: raw, mediaType: e.mediaType}, nil
}
