// Package openapi holds the OpenAPI 3.1 document of the REST API: what the generator makes of each proto file, joined and completed by
// the command openapi-assemble. It is data; nothing here is edited by hand but base.openapi.json.
package openapi

import _ "embed"

//go:embed workflow.openapi.json
var document string

// Document returns the document as JSON.
func Document() string { return document }
