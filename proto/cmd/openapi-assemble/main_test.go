package main

import (
	"encoding/json"
	"strings"
	"testing"
)

func TestRun(t *testing.T) {
	const operation = `{"responses":{"default":{"$ref":"#/components/schemas/google.rpc.Status"}},"parameters":[{"name":"workflow.id","in":"path"},{"name":"requestId","in":"query"}]}`
	in := `{"paths":{"/v1/workflows/{id}":{"get":{}},"/v1/workflows/{workflow.id}":{"patch":` + operation + `}},
		"components":{"schemas":{"google.rpc.Status":{}}}}`
	var out strings.Builder
	if err := run(strings.NewReader(in), &out); err != nil {
		t.Fatal(err)
	}
	var doc struct {
		Paths map[string]map[string]struct {
			Parameters []struct {
				Name string `json:"name"`
				Ref  string `json:"$ref"`
			} `json:"parameters"`
		} `json:"paths"`
	}
	if err := json.Unmarshal([]byte(out.String()), &doc); err != nil {
		t.Fatal(err)
	}
	item := doc.Paths["/v1/workflows/{id}"]
	if _, ok := item["get"]; !ok || len(doc.Paths) != 2 {
		t.Fatalf("paths: got %v, want both operations under /v1/workflows/{id}", doc.Paths)
	}
	var got []string
	for _, p := range item["patch"].Parameters {
		got = append(got, p.Name+p.Ref)
	}
	want := "id #/components/parameters/IdempotencyKey #/components/parameters/IfMatch"
	if strings.Join(got, " ") != want {
		t.Errorf("parameters: got %v, want %s", got, want)
	}
}

func TestRun_media(t *testing.T) {
	const answer = `{"get":{"responses":{"200":{"content":{"application/json":{"schema":`
	in := `{"paths":{"/v1/a:watch":` + answer + `{"properties":{"result":{},"error":{}}}}}}}}},"/v1/a:export":` + answer +
		`{"$ref":"#/components/schemas/google.api.HttpBody"}}}}}}}}}`
	var out strings.Builder
	if err := run(strings.NewReader(in), &out); err != nil {
		t.Fatal(err)
	}
	var doc struct {
		Paths map[string]map[string]struct {
			Responses map[string]struct{ Content map[string]any }
		}
	}
	if err := json.Unmarshal([]byte(out.String()), &doc); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{"/v1/a:watch": "application/x-ndjson", "/v1/a:export": "application/yaml"} {
		if _, ok := doc.Paths[path]["get"].Responses["200"].Content[want]; !ok {
			t.Errorf("%s: got %v, want %s", path, doc.Paths[path]["get"].Responses["200"], want)
		}
	}
	if strings.Contains(out.String(), "HttpBody") {
		t.Error("the message that carries a document is shown")
	}
}

func TestRun_refuses(t *testing.T) {
	tests := map[string]struct{ in, want string }{
		"no_paths":         {`{}`, "no paths"},
		"same_path_twice":  {`{"paths":{"/v1/a/{id}":{"get":{}},"/v1/a/{a.id}":{"get":{}}}}`, "described twice"},
		"internal_service": {`{"paths":{"/v1/a":{"get":{}}},"components":{"schemas":{"uniconnect.workflow.peer.v1.Start":{}}}}`, "internal service"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			err := run(strings.NewReader(tt.in), &strings.Builder{})
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
}
