// Command openapi-assemble completes the joined OpenAPI document on standard input and writes it to standard output. It mends what the generator
// cannot know: the REST form of errors, the request headers of the gateway, and path templates that differ by a variable's name only,
// which OpenAPI takes for the same path.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"slices"
	"strings"
)

func main() {
	if err := run(os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "openapi-assemble:", err)
		os.Exit(1)
	}
}

func run(in io.Reader, out io.Writer) error {
	var doc map[string]any
	if err := json.NewDecoder(in).Decode(&doc); err != nil {
		return fmt.Errorf("decode the joined document: %w", err)
	}
	paths, ok := doc["paths"].(map[string]any)
	if !ok || len(paths) == 0 {
		return errors.New("the joined document has no paths")
	}
	mended, err := mendPaths(paths)
	if err != nil {
		return err
	}
	mended["/v1/openapi.json"] = documentPath()
	doc["paths"] = mended
	if err := dropStatusSchema(doc); err != nil {
		return err
	}
	encoder := json.NewEncoder(out)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	return encoder.Encode(doc)
}

// variable is a path variable as the generator writes it: the proto field's path.
var variable = regexp.MustCompile(`\{([a-z_.]+)\}`)

// variableName returns the name that clients see: the last part in lowerCamelCase.
func variableName(field string) string {
	if i := strings.LastIndexByte(field, '.'); i >= 0 {
		field = field[i+1:]
	}
	parts := strings.Split(field, "_")
	for i := 1; i < len(parts); i++ {
		if parts[i] != "" {
			parts[i] = strings.ToUpper(parts[i][:1]) + parts[i][1:]
		}
	}
	return strings.Join(parts, "")
}

func mendPaths(paths map[string]any) (map[string]any, error) {
	mended := make(map[string]any, len(paths))
	for path, item := range paths {
		operations, ok := item.(map[string]any)
		if !ok {
			return nil, fmt.Errorf("%s is not an object", path)
		}
		name := variable.ReplaceAllStringFunc(path, func(v string) string { return "{" + variableName(v[1:len(v)-1]) + "}" })
		target, ok := mended[name].(map[string]any)
		if !ok {
			target = make(map[string]any)
			mended[name] = target
		}
		for method, operation := range operations {
			if _, taken := target[method]; taken {
				return nil, fmt.Errorf("%s %s is described twice", method, name)
			}
			o, ok := operation.(map[string]any)
			if !ok {
				return nil, fmt.Errorf("%s %s is not an object", method, path)
			}
			mendOperation(method, o)
			if name == "/v1/events" && method == "post" {
				offerCloudEvents(o)
			}
			target[method] = o
		}
	}
	return mended, nil
}

// mendOperation gives an operation our errors and headers.
func mendOperation(method string, operation map[string]any) {
	if responses, ok := operation["responses"].(map[string]any); ok {
		responses["default"] = ref("responses/Error")
		mendStream(responses)
		mendDocument(responses)
	}
	parameters, _ := operation["parameters"].([]any)
	kept := make([]any, 0, len(parameters)+2)
	guarded := method == "patch"
	idempotent := method != "get" && takesRequestID(operation)
	for _, p := range parameters {
		parameter, _ := p.(map[string]any)
		name, _ := parameter["name"].(string)
		switch {
		case name == "requestId":
			idempotent = true
			continue // REST has the header for it
		case parameter["in"] == "path":
			parameter["name"] = variableName(name)
		case name == "etag":
			guarded = true
		}
		kept = append(kept, parameter)
	}
	if idempotent {
		kept = append(kept, ref("parameters/IdempotencyKey"))
	}
	if guarded {
		kept = append(kept, ref("parameters/IfMatch"))
	}
	if len(kept) > 0 {
		operation["parameters"] = kept
	}
}

// mendStream gives the lines of a stream their media type and our errors.
func mendStream(responses map[string]any) {
	ok, _ := responses["200"].(map[string]any)
	content, _ := ok["content"].(map[string]any)
	for _, media := range content {
		m, _ := media.(map[string]any)
		schema, _ := m["schema"].(map[string]any)
		lines, _ := schema["properties"].(map[string]any)
		if _, stream := lines["result"]; stream && lines["error"] != nil {
			lines["error"] = ref("schemas/Error/properties/error")
			ok["content"] = map[string]any{"application/x-ndjson": media}
		}
	}
}

// mendDocument describes an answer that is a text of its own and not the message that carries it.
func mendDocument(responses map[string]any) {
	ok, _ := responses["200"].(map[string]any)
	content, _ := ok["content"].(map[string]any)
	for _, media := range content {
		m, _ := media.(map[string]any)
		schema, _ := m["schema"].(map[string]any)
		if schema["$ref"] == "#/components/schemas/google.api.HttpBody" {
			ok["content"] = map[string]any{
				"application/yaml": map[string]any{"schema": map[string]any{"type": "string"}},
				"application/json": map[string]any{"schema": map[string]any{"type": "object"}},
			}
		}
	}
}

// takesRequestID tells whether the body of an operation has the field requestId, and takes it out: REST has the header for it.
func takesRequestID(operation map[string]any) bool {
	body, _ := operation["requestBody"].(map[string]any)
	content, _ := body["content"].(map[string]any)
	found := false
	for _, media := range content {
		m, _ := media.(map[string]any)
		schema, _ := m["schema"].(map[string]any)
		properties, _ := schema["properties"].(map[string]any)
		if _, ok := properties["requestId"]; ok {
			delete(properties, "requestId")
			body["required"] = false // nothing that is left must be given
			found = true
		}
	}
	return found
}

// offerCloudEvents adds the media type that CloudEvents have of their own.
func offerCloudEvents(operation map[string]any) {
	body, _ := operation["requestBody"].(map[string]any)
	content, _ := body["content"].(map[string]any)
	if media, ok := content["application/json"]; ok {
		content["application/cloudevents+json"] = media
	}
}

// dropStatusSchema removes the schema of gRPC's own error, which REST never shows, and fails when something still refers to it.
func dropStatusSchema(doc map[string]any) error {
	components, _ := doc["components"].(map[string]any)
	schemas, _ := components["schemas"].(map[string]any)
	delete(schemas, "google.rpc.Status")
	delete(schemas, "google.api.HttpBody")
	encoded, err := json.Marshal(doc)
	if err != nil {
		return fmt.Errorf("encode: %w", err)
	}
	if strings.Contains(string(encoded), "schemas/google.rpc.Status") {
		return errors.New("an operation still answers with google.rpc.Status")
	}
	for name := range schemas {
		if slices.Contains(strings.Split(name, "."), "peer") {
			return fmt.Errorf("%s belongs to an internal service", name)
		}
	}
	return nil
}

func documentPath() map[string]any {
	return map[string]any{"get": map[string]any{
		"operationId": "Gateway_GetOpenAPI",
		"summary":     "This document.",
		"security":    []any{},
		"responses": map[string]any{"200": map[string]any{
			"description": "The OpenAPI document.",
			"content":     map[string]any{"application/json": map[string]any{"schema": map[string]any{"type": "object"}}},
		}},
	}}
}

func ref(path string) map[string]any { return map[string]any{"$ref": "#/components/" + path} }
