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
