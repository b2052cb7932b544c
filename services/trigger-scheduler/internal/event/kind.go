package event

import (
	"cmp"
	"slices"
)

// Kind is what people and checkers are told of an event type. Its maps must not be changed.
type Kind struct {
	Type Type
	// Module is the type's first part, by which people find it.
	Module string
	// Title is what Uniconnect calls it.
	Title string
	// Description says when it happens.
	Description string
	// Schema is the JSON Schema of `event.data`, Example one of its values.
	Schema, Example map[string]any
}

// Compare orders kinds by module and type.
func (k *Kind) Compare(other *Kind) int {
	return cmp.Or(cmp.Compare(k.Module, other.Module), cmp.Compare(k.Type, other.Type))
}

// Kinds returns what is known of types by module and type. Those of custom modules are not among them. The result must not be changed.
func (r *Registry) Kinds() []Kind { return r.kinds }

// Schema returns the JSON Schema of `event.data` of a type, nil when nothing is known of it. It must not be changed.
func (r *Registry) Schema(t Type) map[string]any {
	i := slices.IndexFunc(r.kinds, func(k Kind) bool { return k.Type == t })
	if i < 0 {
		return nil
	}
	return r.kinds[i].Schema
}
