// Package listing reads what every list of the platform takes: a filter (AIP-160), an order (AIP-132) and a page token. It knows no list
// and no storage: a Schema names the fields that a list has, and what comes out is data from which the list makes its query.
//
// Filters are conjunctions: `state = "ACTIVE" AND title : "call"`. Fields may be written in snake_case, as the contract does, or in
// camelCase, as JSON does; words of a value need no quotes. What a list does not understand is refused with what it does understand: a
// filter that were ignored would show more than was asked for.
package listing

import (
	"strings"

	"workflow.uniconnect/pkg/fault"
)

// The reasons of this package's faults.
const (
	ReasonFilter    fault.Reason = "FILTER"
	ReasonOrderBy   fault.Reason = "ORDER_BY"
	ReasonPageToken fault.Reason = "PAGE_TOKEN"
)

// refuse returns the fault about one parameter of a list.
func refuse(parameter string, reason fault.Reason, text string) *fault.Error {
	f := fault.Invalid(fault.Violation{Field: parameter, Description: text, Reason: reason})
	f.Reason = reason
	return f
}

// snake returns a field's name as the contract writes it.
func snake(name string) string {
	var b strings.Builder
	for _, r := range name {
		if r >= 'A' && r <= 'Z' {
			b.WriteByte('_')
			r += 'a' - 'A'
		}
		b.WriteRune(r)
	}
	return b.String()
}

// quote shows text of a request in a message, shortened.
func quote(text string) string {
	const most = 40
	runes := []rune(text)
	if len(runes) > most {
		runes = append(runes[:most:most], '…')
	}
	return "`" + string(runes) + "`"
}
