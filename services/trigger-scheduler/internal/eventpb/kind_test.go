package eventpb

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"go/format"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/types/known/structpb"

	"workflow.uniconnect/services/trigger-scheduler/internal/event"
)

var update = flag.Bool("update", false, "write descriptions.go anew from the comments of the .proto files")

func TestKinds(t *testing.T) {
	var types []event.Type
	for _, k := range Kinds() {
		types = append(types, k.Type)
		if k.Title == "" || k.Description == "" || !strings.HasPrefix(string(k.Type), k.Module+".") {
			t.Errorf("incomplete: %+v", k)
		}
	}
	want := slices.Sorted(slices.Values(event.KnownTypes()))
	if diff := cmp.Diff(want, slices.Sorted(slices.Values(types))); diff != "" {
		t.Errorf("types (-known +described):\n%s", diff)
	}
}

func TestKinds_schema(t *testing.T) {
	r := event.NewRegistry(Kinds()...)
	if got := r.Schema("custom.shop.paid"); got != nil {
		t.Errorf("a custom event has the schema %v", got)
	}
	got := r.Schema("user.status_changed")
	status := []any{"Active", "Idle", "On Break", "Offline"}
	want := object{
		"$schema": dialect, "title": "User Status Changed", "type": "object", "additionalProperties": true,
		"properties": object{
			"user_id":   object{"type": "string", "description": "Identifies the user."},
			"extension": object{"type": "string", "description": "Extension of the user."},
			"from":      object{"type": "string", "description": "Status before: Active, Idle, On Break or Offline.", "enum": status},
			"to":        object{"type": "string", "description": "Status now.", "enum": status},
			"origin":    object{"type": "string", "description": "Who set it."},
		},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	ended := r.Schema("call.ended")["properties"].(object)
	for name, want := range map[string]object{
		"talk_ms":   {"type": "integer", "description": "Time spoken, milliseconds."},
		"ended_at":  {"type": "string", "format": "date-time", "description": "When it ended."},
		"from_e164": {"type": "string", "description": "Calling number in E.164."},
	} {
		if diff := cmp.Diff(want, ended[name]); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

// TestKinds_example holds that each example is a payload of its type: nothing unknown in it, every value of the schema's type, as JSON
// has it, and that it can be sent.
func TestKinds_example(t *testing.T) {
	p := New()
	for _, k := range Kinds() {
		t.Run(string(k.Type), func(t *testing.T) {
			for _, part := range []object{k.Schema, k.Example} {
				if _, err := structpb.NewStruct(part); err != nil {
					t.Fatal(err)
				}
			}
			raw, err := json.Marshal(k.Example)
			if err != nil {
				t.Fatal(err)
			}
			if err := protojson.Unmarshal(raw, p.types[k.Type].New().Interface()); err != nil {
				t.Error(err)
			}
			var value any
			if err := json.Unmarshal(raw, &value); err != nil {
				t.Fatal(err)
			}
			conforms(t, "data", k.Schema, value)
		})
	}
}

// conforms checks what our schemas say, and that they say no more than that.
func conforms(t *testing.T, path string, schema object, value any) {
	t.Helper()
	if allowed, ok := schema["enum"].([]any); ok && !slices.Contains(allowed, value) {
		t.Errorf("%s is %v, not one of %v", path, value, allowed)
	}
	ok := true
	switch schema["type"] {
	case "string":
		_, ok = value.(string)
	case "integer":
		var f float64
		f, ok = value.(float64)
		ok = ok && f == float64(int32(f))
	case "boolean":
		_, ok = value.(bool)
	case "array":
		var list []any
		list, ok = value.([]any)
		for i, v := range list {
			conforms(t, fmt.Sprintf("%s[%d]", path, i), schema["items"].(object), v)
		}
	case "object":
		var fields object
		fields, ok = value.(object)
		properties, _ := schema["properties"].(object)
		for name, v := range fields {
			if p, known := properties[name].(object); known {
				conforms(t, path+"."+name, p, v)
			} else if properties != nil {
				t.Errorf("%s.%s is not in the schema", path, name)
			}
		}
	default:
		t.Errorf("%s has the type %v", path, schema["type"])
	}
	if !ok {
		t.Errorf("%s is %T, the schema says %v", path, value, schema["type"])
	}
}

// TestDescriptions holds that what people read of a field is its comment in the .proto file.
func TestDescriptions(t *testing.T) {
	want := make(map[string]map[string]string)
	files, err := filepath.Glob("../../../../proto/uniconnect/event/v1/*.proto")
	if err != nil || len(files) == 0 {
		t.Fatalf("no .proto files: %v", err)
	}
	for _, name := range files {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		comments(string(text), want)
	}
	if *update {
		writeDescriptions(t, want)
	}
	if diff := cmp.Diff(want, descriptions()); diff != "" {
		t.Errorf("run this test with -update (-comments +descriptions):\n%s", diff)
	}
}

var (
	messageLine = regexp.MustCompile(`^message (\w+) \{`)
	fieldLine   = regexp.MustCompile(`^(?:repeated )?[\w.]+ (\w+) = \d+`)
)

// comments reads the comments of a file's fields.
func comments(text string, out map[string]map[string]string) {
	var message string
	var comment []string
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if said, ok := strings.CutPrefix(line, "// "); ok {
			comment = append(comment, said)
			continue
		}
		if m := messageLine.FindStringSubmatch(line); m != nil {
			message = m[1]
			out[message] = make(map[string]string)
		} else if m := fieldLine.FindStringSubmatch(line); m != nil && message != "" {
			out[message][m[1]] = strings.Join(comment, " ")
		}
		comment = nil
	}
}

func writeDescriptions(t *testing.T, all map[string]map[string]string) {
	t.Helper()
	var b bytes.Buffer
	b.WriteString("package eventpb\n\n// descriptions returns the comments of the fields, by message and field. It is written by TestDescriptions -update.\n")
	b.WriteString("func descriptions() map[string]map[string]string {\nreturn map[string]map[string]string{\n")
	for _, message := range slices.Sorted(maps.Keys(all)) {
		fmt.Fprintf(&b, "%q: {\n", message)
		for _, field := range slices.Sorted(maps.Keys(all[message])) {
			fmt.Fprintf(&b, "%q: %q,\n", field, all[message][field])
		}
		b.WriteString("},\n")
	}
	b.WriteString("}\n}\n")
	source, err := format.Source(b.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile("descriptions.go", source, 0o600); err != nil {
		t.Fatal(err)
	}
}
