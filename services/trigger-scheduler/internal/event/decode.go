package event

import (
	"bytes"
	"cmp"
	"fmt"
	"mime"
	"net/url"
	"strings"
	"unicode/utf8"
)

// Payloads turns payloads in protobuf into JSON.
type Payloads interface {
	// JSON returns the payload of an event of type t as JSON with the fields' proto names.
	JSON(t Type, body []byte) ([]byte, error)
}

// Decoder makes events of messages. It is safe for concurrent use when its Payloads is.
type Decoder struct {
	payloads Payloads
}

// NewDecoder returns a decoder.
func NewDecoder(payloads Payloads) *Decoder { return &Decoder{payloads: payloads} }

// Decode fills ev from m, which it shares memory with. A message that is no event gives a *Problem; ev then holds what could be read.
// A defect of the decoder is a problem of this one message too: it must not stop the others.
func (d *Decoder) Decode(m *Message, ev *Event) (problem *Problem) {
	defer func() {
		if v := recover(); v != nil {
			problem = malformed(fmt.Sprintf("the decoder failed: %v", v))
		}
	}()
	*ev = Event{Sequence: m.Sequence, Published: m.Time}
	in := attributes{}
	if p := in.fromHeader(m.Header); p != nil {
		return p
	}
	if validTrace(in.traceparent) {
		ev.Traceparent = in.traceparent
	}
	ev.ID = in.id
	if len(m.Body) > MaxSize {
		return attribute("the body is larger than 1 MiB")
	}
	if p := ev.fromSubject(m.Subject); p != nil {
		return p
	}
	body := content{bytes: m.Body, mediaType: cmp.Or(in.contentType, in.dataType)}
	if in.structured {
		var p *Problem
		if body, p = in.fromEnvelope(m.Body); p != nil {
			return p
		}
	}
	if p := ev.fromAttributes(&in); p != nil {
		return p
	}
	return d.data(ev, body)
}

// fromSubject reads `uniconnect.events.{tenant}.{type}`.
func (e *Event) fromSubject(subject string) *Problem {
	rest, ok := strings.CutPrefix(subject, subjectPrefix)
	if !ok {
		return attribute("the subject does not begin with " + subjectPrefix)
	}
	tenant, t, _ := strings.Cut(rest, ".")
	if !validTenant(tenant) {
		return attribute("the tenant in the subject is not made of 1 to 32 lower-case letters and digits")
	}
	e.Tenant = Tenant(tenant)
	if !validType(t) {
		return attribute("the subject does not end with an event type such as call.ended")
	}
	e.Type = Type(t)
	return nil
}

// attributes are what headers or envelope say. An attribute that is not given is empty.
type attributes struct {
	id, source, typ, time, subject string
	version, tenant                string
	contentType, dataType          string
	messageID                      string
	traceparent                    string
	structured                     bool
	idGiven                        bool
}

// fromHeader reads the headers. Their names are compared without regard to case, since bindings differ in it.
func (a *attributes) fromHeader(header map[string][]string) *Problem {
	for name, values := range header {
		field := a.field(name)
		if field == nil || len(values) == 0 {
			continue
		}
		value := values[0]
		for _, other := range values[1:] {
			if other != value {
				return attribute("the header " + clip(name) + " is given twice with different values")
			}
		}
		if p := checkText(name, value); p != nil {
			return p
		}
		if len(name) > 3 && name[2] == '-' && strings.IndexByte(value, '%') >= 0 {
			value = percentDecoded(value)
			if p := checkText(name, value); p != nil {
				return p
			}
		}
		if field == &a.id {
			if a.idGiven = true; value == "" {
				return attribute("the id is empty")
			}
		}
		if *field != "" && *field != value {
			return attribute("the header " + clip(name) + " is given twice with different values")
		}
		*field = value
	}
	if strings.HasPrefix(a.contentType, "application/cloudevents") {
		mediaType, _, err := mime.ParseMediaType(a.contentType)
		if err != nil || mediaType != "application/cloudevents+json" && mediaType != "application/cloudevents" {
			return malformed("the content type " + clip(a.contentType) + " is not supported")
		}
		a.structured = true
	}
	return nil
}

// field returns where the value of a header belongs, nil when it does not concern us.
func (a *attributes) field(name string) *string {
	switch len(name) {
	case 5:
		if strings.EqualFold(name, "ce-id") {
			return &a.id
		}
	case 7:
		if strings.EqualFold(name, "ce-type") {
			return &a.typ
		}
		if strings.EqualFold(name, "ce-time") {
			return &a.time
		}
	case 9:
		if strings.EqualFold(name, "ce-source") {
			return &a.source
		}
		if strings.EqualFold(name, "ce-tenant") {
			return &a.tenant
		}
	case 10:
		if strings.EqualFold(name, "ce-subject") {
			return &a.subject
		}
	case 11:
		if strings.EqualFold(name, "nats-msg-id") {
			return &a.messageID
		}
		if strings.EqualFold(name, "traceparent") {
			return &a.traceparent
		}
	case 12:
		if strings.EqualFold(name, "content-type") {
			return &a.contentType
		}
	case 14:
		if strings.EqualFold(name, "ce-specversion") {
			return &a.version
		}
	case 18:
		if strings.EqualFold(name, "ce-datacontenttype") {
			return &a.dataType
		}
	}
	return nil
}

// fromAttributes checks the attributes against our limits and the subject, and fills what they do not say.
func (e *Event) fromAttributes(a *attributes) *Problem {
	switch {
	case a.version != "" && a.version != "1.0":
		return attribute("CloudEvents version " + clip(a.version) + " is not supported, 1.0 is")
	case a.tenant != "" && a.tenant != string(e.Tenant):
		return tenantMismatch(a.tenant)
	case a.typ != "" && strings.TrimPrefix(a.typ, typePrefix) != string(e.Type):
		return &Problem{Reason: ReasonTypeMismatch, Message: "the event says type " + clip(a.typ) + ", its subject " + string(e.Type)}
	case len(a.source) > MaxAttribute:
		return attribute("the source is longer than 1024 bytes")
	case len(a.subject) > MaxAttribute:
		return attribute("the attribute subject is longer than 1024 bytes")
	}
	if p := e.setID(a); p != nil {
		return p
	}
	e.Subject = a.subject
	if e.Source = a.source; e.Source == "" {
		e.Source = DefaultSource
	}
	return e.setTime(a.time)
}

func (e *Event) setID(a *attributes) *Problem {
	switch {
	case a.idGiven:
		e.ID = a.id
	case a.messageID != "":
		e.ID = a.messageID
	default:
		e.ID, e.FromStream = sequenceID(e.Sequence), true
	}
	if len(e.ID) > MaxID {
		e.ID = ""
		return attribute("the id is longer than 256 bytes")
	}
	return nil
}

func (e *Event) setTime(text string) *Problem {
	if text == "" {
		e.Time = e.Published
		return nil
	}
	// The limit on length keeps fractions to what the text of a database's time can be compared with.
	if err := e.Time.UnmarshalText([]byte(text)); err != nil || len(text) > len("2006-01-02T15:04:05.999999999+00:00") {
		return attribute("the time is not an RFC 3339 time with offset and at most nine digits of fraction")
	}
	if year := e.Time.UTC().Year(); year < 1970 || year > 9998 {
		return attribute("the time is not in the years 1970 to 9998")
	}
	e.timeText = text
	return nil
}

// content is a payload that is not decoded yet.
type content struct {
	bytes     []byte
	mediaType string // as sent; empty means JSON
	checked   bool   // bytes are valid JSON
}

func (d *Decoder) data(ev *Event, body content) *Problem {
	raw := body.bytes
	switch kindOf(body.mediaType) {
	case kindJSON:
		raw = bytes.TrimSpace(raw)
	case kindProtobuf:
		var err error
		if raw, err = d.payloads.JSON(ev.Type, raw); err != nil {
			return malformed("the protobuf payload cannot be read: " + clip(err.Error()))
		}
		if len(raw) > MaxSize {
			return attribute("the protobuf payload is larger than 1 MiB as JSON")
		}
		body.checked = false
	default:
		return malformed("the content type " + clip(body.mediaType) + " is not supported, application/json and application/protobuf are")
	}
	if len(raw) == 0 {
		ev.Data = nil
		return nil
	}
	if !body.checked {
		if why := CheckJSON(raw, MaxDepth); why != "" {
			return jsonProblem("the payload cannot be used: ", why)
		}
	}
	ev.Data = raw
	return checkTenant(ev.Tenant, raw)
}

// jsonProblem tells what is no JSON from JSON beyond our limits.
func jsonProblem(prefix, why string) *Problem {
	if why == problemDepth || why == problemNUL || why == problemHalf || why == problemNumber {
		return attribute(prefix + why)
	}
	return malformed(prefix + why)
}

// checkTenant refuses a payload that names another tenant in `tenant` or `tenant_id`.
func checkTenant(tenant Tenant, raw []byte) *Problem {
	// A look at the bytes spares nearly every event the walk.
	if !bytes.Contains(raw, []byte(`"tenant`)) && !bytes.Contains(raw, []byte(`\u`)) {
		return nil
	}
	for key, value := range Members(raw) {
		if name := KeyText(key); name != "tenant" && name != "tenant_id" {
			continue
		}
		named, ok := Text(value)
		if !ok && value[0] != '-' && (value[0] < '0' || value[0] > '9') {
			continue // null, or a structure that means something else
		}
		if !ok {
			named = string(value)
		}
		if named != string(tenant) {
			return tenantMismatch(named)
		}
	}
	return nil
}

func tenantMismatch(named string) *Problem {
	return &Problem{Reason: ReasonTenantMismatch, Message: "the event names the tenant " + clip(named) + ", its subject another"}
}

type mediaKind int

const (
	kindOther mediaKind = iota
	kindJSON
	kindProtobuf
)

func kindOf(mediaType string) mediaKind {
	switch mediaType {
	case "", "application/json":
		return kindJSON
	case "application/protobuf":
		return kindProtobuf
	}
	parsed, params, err := mime.ParseMediaType(mediaType)
	if err != nil {
		return kindOther
	}
	if charset := params["charset"]; charset != "" && !strings.EqualFold(charset, "utf-8") {
		return kindOther
	}
	switch {
	case parsed == "application/json" || strings.HasSuffix(parsed, "+json"):
		return kindJSON
	case parsed == "application/protobuf" || parsed == "application/x-protobuf":
		return kindProtobuf
	}
	return kindOther
}

// checkText refuses what would break the event's JSON or its storage.
func checkText(name, value string) *Problem {
	for i := range len(value) {
		if value[i] < ' ' || value[i] == 0x7f {
			return attribute("the attribute " + clip(name) + " holds a control character")
		}
	}
	if !utf8.ValidString(value) {
		return attribute("the attribute " + clip(name) + " is not valid UTF-8")
	}
	return nil
}

// percentDecoded undoes the encoding that CloudEvents' bindings prescribe for header values. A value that is not encoded stays.
func percentDecoded(value string) string {
	decoded, err := url.PathUnescape(value)
	if err != nil {
		return value
	}
	return decoded
}

// validTrace holds a traceparent to the form of version 00 of W3C's Trace Context. One that is not is not worth a dead letter: it is left out.
func validTrace(s string) bool {
	if len(s) != len("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01") || s[2] != '-' || s[35] != '-' || s[52] != '-' {
		return false
	}
	for i := range len(s) {
		c := s[i]
		if i != 2 && i != 35 && i != 52 && (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}

// clip bounds what a message repeats of an event.
func clip(s string) string {
	const limit = 64
	if len(s) > limit {
		s = s[:limit] + "…"
	}
	return strings.ToValidUTF8(strings.ReplaceAll(s, "\x00", ""), "\uFFFD")
}
