package record

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"time"

	"workflow.uniconnect/pkg/fault"
)

// Operator compares a field with a value in a Condition.
type Operator uint8

// The operators. The zero value is Equals.
const (
	Equals Operator = iota
	NotEquals
	GreaterThan
	LessThan
	Contains
	In
)

// Condition is what a field of a record must be. A record does not have a field that is null, so a null value stands for no such field.
type Condition struct {
	// Field is the name of a field, or `id`.
	Field    string
	Operator Operator
	Value    any
}

// Query asks for the records of a module that meet all conditions, by id.
type Query struct {
	Tenant, Module string
	Conditions     []Condition
	// After is the id behind which the page begins; empty for the first page.
	After string
	Limit int
}

// Check names each condition whose value its operator cannot use.
func (q Query) Check() error {
	var found []fault.Violation
	for i, c := range q.Conditions {
		if rule := c.broken(); rule != "" {
			found = append(found, fault.Violation{
				Field: fmt.Sprintf("conditions[%d].value", i), Description: rule, Reason: fault.ReasonFieldRule,
			})
		}
	}
	return fault.Check(found...)
}

func (c Condition) broken() string {
	switch c.Operator {
	case Contains:
		if _, ok := c.Value.(string); !ok {
			return "must be text for CONTAINS"
		}
	case In:
		if _, ok := c.Value.([]any); !ok {
			return "must be a list for IN"
		}
	case GreaterThan, LessThan:
		switch c.Value.(type) {
		case string, float64:
		default:
			return "must be a number or text for GREATER_THAN and LESS_THAN"
		}
	case Equals, NotEquals:
	}
	return ""
}

// Matches reports whether the record meets all conditions.
func (q Query) Matches(r Record) bool {
	for _, c := range q.Conditions {
		if !c.holds(r) {
			return false
		}
	}
	return true
}

func (c Condition) holds(r Record) bool {
	got := r.Fields[c.Field]
	if c.Field == "id" {
		got = r.ID
	}
	switch c.Operator {
	case NotEquals:
		return !reflect.DeepEqual(got, c.Value)
	case GreaterThan:
		return compare(got, c.Value) > 0
	case LessThan:
		return compare(got, c.Value) < 0
	case Contains:
		text, isText := got.(string)
		part, _ := c.Value.(string)
		return isText && strings.Contains(strings.ToLower(text), strings.ToLower(part))
	case In:
		list, _ := c.Value.([]any)
		for _, one := range list {
			if reflect.DeepEqual(got, one) {
				return true
			}
		}
		return false
	default:
		return reflect.DeepEqual(got, c.Value)
	}
}

// compare orders numbers by size, times by time and other text as text. It answers 0 for values that have no order among each other.
func compare(got, want any) int {
	switch want := want.(type) {
	case float64:
		if got, ok := got.(float64); ok {
			switch {
			case got > want:
				return 1
			case got < want:
				return -1
			}
		}
	case string:
		got, ok := got.(string)
		if !ok {
			return 0
		}
		gotTime, err1 := time.Parse(time.RFC3339Nano, got)
		wantTime, err2 := time.Parse(time.RFC3339Nano, want)
		if err1 == nil && err2 == nil {
			return gotTime.Compare(wantTime)
		}
		return strings.Compare(got, want)
	}
	return 0
}

// Fingerprint tells queries apart that a page token must not be moved between.
func (q Query) Fingerprint() ([]byte, error) {
	return json.Marshal([]any{q.Tenant, q.Module, q.Conditions})
}
