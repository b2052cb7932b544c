package event

import (
	"slices"
	"strings"
)

// typePrefix may stand before a type on the wire.
const typePrefix = "com.uniconnect."

// subjectPrefix begins every subject of the stream.
const subjectPrefix = "uniconnect.events."

// KnownTypes returns the event types of this release, without those of custom modules.
func KnownTypes() []Type {
	return []Type{
		"call.started", "call.connection_ended", "call.ended", "call.segment_started", "call.segment_ended",
		"call.disposition_submitted",
		"lead.created", "lead.updated", "contact.created", "contact.updated", "organization.created", "organization.updated",
		"ticket.created", "ticket.updated",
		"user.created", "user.updated", "user.deleted", "user.status_changed",
		"group.created", "group.updated", "group.deleted", "group.user_added", "group.user_removed",
		"telephony.status_changed",
		"workflow.completed", "workflow.failed",
	}
}

// Registry knows the event types.
type Registry struct {
	known map[Type]struct{}
	kinds []Kind
}

// NewRegistry returns the registry of KnownTypes, with what is known of them.
func NewRegistry(kinds ...Kind) *Registry {
	r := &Registry{known: make(map[Type]struct{}), kinds: slices.Clone(kinds)}
	slices.SortFunc(r.kinds, func(a, b Kind) int { return a.Compare(&b) })
	for _, t := range KnownTypes() {
		r.known[t] = struct{}{}
	}
	return r
}

// Known reports whether a workflow may be started by events of type t: one of KnownTypes, or `custom.{module}.{event}`.
func (r *Registry) Known(t Type) bool {
	if _, ok := r.known[t]; ok {
		return true
	}
	rest, ok := strings.CutPrefix(string(t), "custom.")
	return ok && strings.Contains(rest, ".") && validType(string(t))
}

// TypeOf returns the type that text on the wire names.
func TypeOf(text string) Type { return Type(strings.TrimPrefix(text, typePrefix)) }

// SubjectOf returns the subject on which events of a tenant and type travel.
func SubjectOf(tenant Tenant, t Type) string { return subjectPrefix + string(tenant) + "." + string(t) }

// TenantOf returns the tenant that a subject names, empty when it names none.
func TenantOf(subject string) Tenant {
	rest, _ := strings.CutPrefix(subject, subjectPrefix)
	name, _, _ := strings.Cut(rest, ".")
	if !validTenant(name) {
		return ""
	}
	return Tenant(name)
}

func validTenant(s string) bool {
	if s == "" || len(s) > 32 {
		return false
	}
	for i := range len(s) {
		if c := s[i]; (c < 'a' || c > 'z') && (c < '0' || c > '9') {
			return false
		}
	}
	return true
}

// validType holds a type to `^[a-z][a-z0-9_]*(\.[a-z0-9][a-z0-9_]*)+$` and MaxType, as the contract of EventTrigger does.
func validType(s string) bool {
	if s == "" || len(s) > MaxType {
		return false
	}
	begin, dots := true, 0
	for i := range len(s) {
		c := s[i]
		switch {
		case c >= 'a' && c <= 'z':
		case c >= '0' && c <= '9':
			if i == 0 {
				return false
			}
		case c == '_' && !begin:
		case c == '.' && !begin:
			begin = true
			dots++
			continue
		default:
			return false
		}
		begin = false
	}
	return dots > 0 && !begin
}
