package action

import (
	"embed"
	"encoding/json"
	"fmt"
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
	// Params and Output are JSON Schemas, draft 2020-12, with a title and help for every field.
	Params, Output json.RawMessage

	schema  *schema
	handler Handler
}

// Define returns the built-in action type of that name, done by h.
func Define(name string, h Handler) (Type, error) {
	params, err := schemas.ReadFile("schemas/" + name + ".params.json")
	if err != nil {
		return Type{}, fmt.Errorf("no schema of %s: %w", name, err)
	}
	output, err := schemas.ReadFile("schemas/" + name + ".output.json")
	if err != nil {
		return Type{}, fmt.Errorf("no schema of %s: %w", name, err)
	}
	return newType(name, params, output, h)
}

func newType(name string, params, output json.RawMessage, h Handler) (Type, error) {
	var about struct{ Title, Description string }
	if err := json.Unmarshal(params, &about); err != nil {
		return Type{}, fmt.Errorf("schema of %s: %w", name, err)
	}
	s, err := compile(params)
	if err != nil {
		return Type{}, fmt.Errorf("schema of the parameters of %s: %w", name, err)
	}
	if _, err := compile(output); err != nil {
		return Type{}, fmt.Errorf("schema of the output of %s: %w", name, err)
	}
	return Type{
		Name: name, Title: about.Title, Description: about.Description,
		Params: params, Output: output, schema: s, handler: h,
	}, nil
}
