// Package event owns what an event is: how a message of the stream becomes one, which types are known, which limits hold, and the JSON
// form that expressions see. It does not know what an event starts, nor how messages travel.
package event

import (
	"strconv"
	"time"

	"workflow.uniconnect/pkg/fault"
)

// The limits of an event. What passes them is a dead letter.
const (
	// MaxSize is the largest body, in bytes.
	MaxSize = 1 << 20
	// MaxID is the longest id, in bytes.
	MaxID = 256
	// MaxAttribute is the longest source and subject, in bytes.
	MaxAttribute = 1024
	// MaxType is the longest event type, in bytes.
	MaxType = 128
	// MaxJSON is the most that JSON can be: a payload of MaxSize and attributes of which every byte is escaped. The executor takes as much.
	MaxJSON = MaxSize + 8<<10
	// MaxDepth is how deep JSON data may nest.
	MaxDepth = 64
)

// The reasons for which an event is a dead letter.
const (
	ReasonMalformed      fault.Reason = "EVENT_MALFORMED"
	ReasonTenantMismatch fault.Reason = "EVENT_TENANT_MISMATCH"
	ReasonAttribute      fault.Reason = "EVENT_ATTRIBUTE"
	ReasonTypeMismatch   fault.Reason = "EVENT_TYPE_MISMATCH"
)

// DefaultSource is the source of an event that names none.
const DefaultSource = "urn:uniconnect:bus"

// Tenant is the name of a tenant, `^[a-z0-9]{1,32}$`.
type Tenant string

// Type is an event type such as `call.ended`, without the prefix `com.uniconnect.`.
type Type string

// Message is what the stream holds.
type Message struct {
	// Subject is what it was published on.
	Subject string
	// Header holds the headers with the names as they were sent.
	Header map[string][]string
	// Body is the payload. It is not changed, and events decoded from it share its memory.
	Body []byte
	// Sequence is the position in the stream.
	Sequence uint64
	// Time is when the stream took it.
	Time time.Time
}

// Event is a decoded message.
type Event struct {
	Tenant Tenant
	Type   Type
	// Source and ID identify the event together, unless the stream gave it its id.
	Source string
	ID     string
	// FromStream says that the event came without an id of its own: ID is its position in the stream.
	FromStream bool
	// Subject is what the event is about; it may be empty.
	Subject string
	// Time is when it happened, as the producer says.
	Time time.Time
	// Data is the payload as valid JSON of at most MaxDepth levels.
	Data []byte

	// Sequence and Published are position and time in the stream.
	Sequence  uint64
	Published time.Time
	// Traceparent is the W3C trace context that came with the message; it may be empty.
	Traceparent string

	timeText string // of Time, as it was sent
	json     []byte
}

// Stored says where the stream keeps a published message.
type Stored struct {
	Sequence uint64
	// Duplicate says that the stream had a message with this id already.
	Duplicate bool
}

// Problem says why a message is no event.
type Problem struct {
	Reason  fault.Reason
	Message string
}

// Error returns reason and message.
func (p *Problem) Error() string { return string(p.Reason) + ": " + p.Message }

func malformed(message string) *Problem { return &Problem{Reason: ReasonMalformed, Message: message} }

func attribute(message string) *Problem { return &Problem{Reason: ReasonAttribute, Message: message} }

// JSON returns the object that expressions know as `event`. It is made on first use, with the payload spliced in as it came: most
// events start nothing and never need it. The result must not be changed. It is not safe for concurrent use.
func (e *Event) JSON() []byte {
	if e.json != nil {
		return e.json
	}
	const frame = `{"id":"","type":"","source":"","time":"","subject":"","data":}`
	size := len(frame) + len(e.ID) + len(e.Type) + len(e.Source) + len(e.Subject) + len(e.Data) + len(time.RFC3339Nano) + 16
	b := make([]byte, 0, size)
	b = append(b, `{"id":`...)
	b = appendString(b, e.ID)
	b = append(b, `,"type":`...)
	b = appendString(b, string(e.Type))
	b = append(b, `,"source":`...)
	b = appendString(b, e.Source)
	b = append(b, `,"time":"`...)
	b = e.appendTime(b)
	b = append(b, `","subject":`...)
	b = appendString(b, e.Subject)
	b = append(b, `,"data":`...)
	if len(e.Data) == 0 {
		b = append(b, `null`...)
	} else {
		b = append(b, e.Data...)
	}
	e.json = append(b, '}')
	return e.json
}

// TimeText returns Time as expressions see it: as it was sent, else in UTC.
func (e *Event) TimeText() string { return string(e.appendTime(nil)) }

func (e *Event) appendTime(b []byte) []byte {
	if e.timeText != "" {
		return append(b, e.timeText...)
	}
	return e.Time.UTC().AppendFormat(b, time.RFC3339Nano)
}

// appendString writes s as a JSON string. Decode has refused control characters and invalid UTF-8.
func appendString(b []byte, s string) []byte {
	b = append(b, '"')
	for i := range len(s) {
		if s[i] == '"' || s[i] == '\\' {
			b = append(b, '\\')
		}
		b = append(b, s[i])
	}
	return append(b, '"')
}

// sequenceID is the id of an event without one.
func sequenceID(sequence uint64) string { return strconv.FormatUint(sequence, 10) }
