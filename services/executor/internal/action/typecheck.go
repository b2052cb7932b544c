package action

import (
	"errors"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/santhosh-tekuri/jsonschema/v6/kind"

	"workflow.uniconnect/pkg/expr"
	"workflow.uniconnect/pkg/fault"
)

// CheckTypes returns where the expressions in an action's parameters yield another type than the parameter has. types are those that are
// known, by the path of the string within the parameters: `.url`, `.headers.X-A`, `.query.q[1]`.
func (r *Registry) CheckTypes(actionType string, params map[string]any, types map[string]expr.Type) []fault.Violation {
	t, ok := r.types[actionType]
	if !ok || len(types) == 0 {
		return nil
	}
	samples, _ := sampled("", params, types).(map[string]any)
	var broken *jsonschema.ValidationError
	if err := t.schema.compiled.Validate(samples); !errors.As(err, &broken) {
		return nil
	}
	c := typeCheck{params: params, types: types}
	c.walk(broken)
	return c.violations
}

// Output returns the schema of an action's output, nil for an unknown action.
func (r *Registry) Output(actionType string) *expr.Schema { return r.types[actionType].output }

// typeCheck picks the problems of types at the places of expressions; all others are found elsewhere.
type typeCheck struct {
	params     map[string]any
	types      map[string]expr.Type
	violations []fault.Violation
}

func (c *typeCheck) walk(e *jsonschema.ValidationError) {
	switch k := e.ErrorKind.(type) {
	case *kind.AnyOf, *kind.OneOf, *kind.Not:
		return // another branch may fit
	case *kind.Type:
		field, _ := locate(c.params, e.InstanceLocation)
		if t := c.types[strings.TrimPrefix(field, "params")]; t != expr.Any {
			c.violations = append(c.violations, fault.Violation{
				Field: field, Description: "the expression yields " + t.String() + ", expected " + expected(k.Want), Reason: fault.ReasonFieldRule,
			})
		}
	}
	for _, cause := range e.Causes {
		c.walk(cause)
	}
}

// expected words the types of a JSON Schema.
func expected(want []string) string {
	words := make([]string, 0, len(want))
	for _, name := range slices.Sorted(slices.Values(want)) {
		switch name {
		case "string":
			words = append(words, expr.String.String())
		case "integer":
			words = append(words, expr.Int.String())
		case "number":
			words = append(words, "a number")
		case "boolean":
			words = append(words, expr.Bool.String())
		case "array":
			words = append(words, expr.List.String())
		case "object":
			words = append(words, expr.Map.String())
		}
	}
	return strings.Join(words, " or ")
}

// sampled returns a copy of the parameters in which a value of its type stands for each expression.
func sampled(path string, v any, types map[string]expr.Type) any {
	switch x := v.(type) {
	case string:
		switch types[path] {
		case expr.Bool:
			return true
		case expr.Int:
			return int64(1)
		case expr.Double:
			return 1.5
		case expr.List:
			return []any{}
		case expr.Map:
			return map[string]any{}
		}
		return x
	case map[string]any:
		out := maps.Clone(x)
		for k := range out {
			out[k] = sampled(path+"."+k, out[k], types)
		}
		return out
	case []any:
		out := slices.Clone(x)
		for i := range out {
			out[i] = sampled(path+"["+strconv.Itoa(i)+"]", out[i], types)
		}
		return out
	default:
		return v
	}
}
