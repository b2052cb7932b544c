// Package deadletter owns the messages that are no events: what is kept of them and why. It does not know where they are kept.
package deadletter

import (
	"time"

	"workflow.uniconnect/pkg/fault"
	"workflow.uniconnect/services/trigger-scheduler/internal/event"
)

// Letter is a message that could not be used.
type Letter struct {
	// ID is given by the storage.
	ID string
	// Tenant is the subject's, empty when the subject names none: such a letter is shown to no tenant.
	Tenant  event.Tenant
	Reason  fault.Reason
	Message string
	// EventID is the event's own id as far as it could be read.
	EventID string
	Subject string
	Header  map[string][]string
	Body    []byte
	// Sequence and Published identify the message: a redelivery is the same letter.
	Sequence  uint64
	Published time.Time
	// Created is when it was set aside.
	Created time.Time
}

// New returns the letter of a message.
func New(m *event.Message, ev *event.Event, problem *event.Problem) Letter {
	return Letter{
		Tenant: event.TenantOf(m.Subject), Reason: problem.Reason, Message: problem.Message, EventID: ev.ID,
		Subject: m.Subject, Header: m.Header, Body: m.Body[:min(len(m.Body), event.MaxSize)], Sequence: m.Sequence, Published: m.Time,
	}
}
