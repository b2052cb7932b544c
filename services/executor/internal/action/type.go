package action

import (
	"embed"
	"encoding/json"
	"fmt"

	"workflow.uniconnect/pkg/expr"
)

// The action types of this release.
const (
	HTTPRequest     = "http.request"
	CRMGetRecord    = "crm.get_record"
	CRMSearch       = "crm.search"
	CRMCreateRecord = "crm.create_record"
	CRMUpdateRecord = "crm.update_record"
	CRMAssign       = "crm.assign"
	CRMAddNote      = "crm.add_note"
	CRMAddTask      = "crm.add_task"
)

//go:embed schemas/*.json
var schemas embed.FS

// Type is an action type as the catalogue shows it, together with what does its work.
type Type struct {
	Name, Title, Description string
	// Help says what it does, a scenario, the steps and the outcome.
	Help string
	// Idempotency says whether repeating the call has one effect, and by what means.
	Idempotency string
	// Params and Output are JSON Schemas, draft 2020-12, with a title and help for every field.
	Params, Output json.RawMessage
	// Example are parameters that work as they stand, as far as an example can.
	Example json.RawMessage

	schema  *schema
	output  *expr.Schema
	handler Handler
}

// Define returns the built-in action type of that name, done by h. It is described by three files in schemas: the parameters and the
// output as JSON Schemas, and what else there is to say about it.
func Define(name string, h Handler) (Type, error) {
	t := Type{Name: name, handler: h}
	var about json.RawMessage
	for _, f := range []struct {
		kind string
		into *json.RawMessage
	}{{"params", &t.Params}, {"output", &t.Output}, {"about", &about}} {
		raw, err := schemas.ReadFile("schemas/" + name + "." + f.kind + ".json")
		if err != nil {
			return Type{}, fmt.Errorf("no description of %s: %w", name, err)
		}
		*f.into = raw
	}
	if err := t.describe(about); err != nil {
		return Type{}, fmt.Errorf("description of %s: %w", name, err)
	}
	return t, nil
}

// describe reads the type's files.
func (t *Type) describe(about json.RawMessage) error {
	var said struct {
		Help, Idempotency string
		Example           json.RawMessage `json:"example_params"`
	}
	if err := json.Unmarshal(about, &said); err != nil {
		return err
	}
	t.Help, t.Idempotency, t.Example = said.Help, said.Idempotency, said.Example
	var head struct{ Title, Description string }
	if err := json.Unmarshal(t.Params, &head); err != nil {
		return fmt.Errorf("parameters: %w", err)
	}
	t.Title, t.Description = head.Title, head.Description
	var err error
	if t.schema, err = compile(t.Params); err != nil {
		return fmt.Errorf("parameters: %w", err)
	}
	if _, err := compile(t.Output); err != nil {
		return fmt.Errorf("output: %w", err)
	}
	var output map[string]any
	if err := json.Unmarshal(t.Output, &output); err != nil {
		return fmt.Errorf("output: %w", err)
	}
	t.output, err = expr.SchemaFromJSON(output)
	return err
}
