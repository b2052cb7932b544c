package listing

import (
	"slices"
	"strings"
)

// Order is how a list is sorted.
type Order struct {
	Field string
	Desc  bool
}

// String returns the order in its one canonical form.
func (o Order) String() string {
	if o.Desc {
		return o.Field + " desc"
	}
	return o.Field
}

// Order reads an order: one field of the schema, with ` desc` to turn it round. An empty text is byDefault.
func (s *Schema) Order(text string, byDefault Order) (Order, error) {
	words := strings.Fields(text)
	if len(words) == 0 {
		return byDefault, nil
	}
	order := Order{Field: snake(words[0])}
	known := slices.Contains(s.Orders, order.Field)
	switch {
	case known && len(words) == 1, known && len(words) == 2 && words[1] == "asc":
	case known && len(words) == 2 && words[1] == "desc":
		order.Desc = true
	default:
		return Order{}, refuse("orderBy", ReasonOrderBy,
			quote(text)+" is not an order of this list; orders are "+strings.Join(s.Orders, ", ")+", each with ` desc` to turn it round")
	}
	return order, nil
}
