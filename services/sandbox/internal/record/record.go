// Package record owns the rules of the sandbox's CRM: what a record is, how a change applies to it, and the records it begins with.
package record

import (
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"workflow.uniconnect/pkg/fault"
)

// The reasons that the CRM gives.
const (
	ReasonNotFound        fault.Reason = "RECORD_NOT_FOUND"
	ReasonVersion         fault.Reason = "RECORD_VERSION"
	ReasonRequestIDReused fault.Reason = "REQUEST_ID_REUSED"
)

// DefaultTenant is whose records are shown when nobody says.
const DefaultTenant = "acme"

var tenantPattern = regexp.MustCompile(`^[a-z0-9]{1,32}$`)

// IsTenant reports whether name can be a tenant's.
func IsTenant(name string) bool { return tenantPattern.MatchString(name) }

// Key says which record is meant.
type Key struct{ Tenant, Module, ID string }

// Record is an entry of a module.
type Record struct {
	Key
	Fields map[string]any
	// Version counts changes from 1.
	Version                int32
	CreateTime, UpdateTime time.Time
}

// Change sets fields of a record.
type Change struct {
	Key
	// Fields are the new values; nil removes a field.
	Fields map[string]any
	// RequestID makes repetition harmless.
	RequestID string
	// ExpectedVersion, unless 0, is the only version that the change may apply to.
	ExpectedVersion int32
}

// Apply returns the record after the change.
func (r Record) Apply(c Change) (Record, error) {
	if c.ExpectedVersion != 0 && c.ExpectedVersion != r.Version {
		return Record{}, fault.Aborted(ReasonVersion, "the record changed since the expected version").
			With("current_version", strconv.Itoa(int(r.Version)))
	}
	fields := maps.Clone(r.Fields)
	if fields == nil {
		fields = make(map[string]any, len(c.Fields))
	}
	for name, value := range c.Fields {
		if value == nil {
			delete(fields, name)
			continue
		}
		fields[name] = value
	}
	r.Fields = fields
	r.Version++
	return r, nil
}

// Creation adds a record.
type Creation struct {
	Tenant, Module string
	// Fields are the values; nil stands for no such field.
	Fields map[string]any
	// RequestID makes repetition harmless.
	RequestID string
}

// Record returns the new record with that number.
func (c Creation) Record(number int64) Record {
	fields := maps.Clone(c.Fields)
	maps.DeleteFunc(fields, func(_ string, value any) bool { return value == nil })
	if fields == nil {
		fields = map[string]any{}
	}
	id := strings.TrimSuffix(c.Module, "s") + "-" + strconv.FormatInt(number, 10)
	return Record{Key: Key{Tenant: c.Tenant, Module: c.Module, ID: id}, Fields: fields, Version: 1}
}

// NoModule is the answer for a module that the CRM does not have.
func NoModule(module string) error {
	return fault.NotFound(ReasonNotFound, "the CRM has no such module").With("module", module)
}

// NotFound is the answer for a record that does not exist for this tenant.
func NotFound(k Key) error {
	return fault.NotFound(ReasonNotFound, "the record does not exist").With("module", k.Module).With("id", k.ID)
}

// IsModule reports whether the CRM has the module.
func IsModule(name string) bool { return slices.Contains(Modules(), name) }

// Modules lists the modules.
func Modules() []string {
	return []string{"leads", "contacts", "organizations", "tickets", "tasks", "notes", Users, Groups}
}
