package expr

import (
	"encoding/json"
	"os"
	"regexp"
	"strings"
	"testing"
)

// docsEnv declares what steps see, as the page says, with data that the examples speak of.
func docsEnv(t *testing.T) *Env {
	t.Helper()
	text, instant := SchemaOf(String), SchemaOf(Timestamp)
	data := schemaOfText(t, `{"type": "object", "properties": {
		"talk_ms": {"type": "integer"}, "result": {"type": "string"}, "queue": {"type": "string"}, "from_e164": {"type": "string"},
		"lead_id": {"type": "string"}, "call_id": {"type": "string"}, "ended_at": {"type": "string", "format": "date-time"}}}`)
	lead := ObjectOf(map[string]*Schema{
		"state": text, "error": ObjectOf(map[string]*Schema{"reason": text, "message": text}),
		"output": schemaOfText(t, `{"type": "object", "properties": {"version": {"type": "integer"}, "fields": {"type": "object"}}}`),
	})
	env, err := NewEnv(
		Variable{Name: "event", Type: Map, Schema: ObjectOf(map[string]*Schema{
			"id": text, "type": text, "source": text, "time": text, "subject": text, "data": data,
		})},
		Variable{Name: "steps", Type: Map, Schema: ObjectOf(map[string]*Schema{"lead": lead})},
		Variable{Name: "vars", Type: Map},
		Variable{Name: "workflow", Type: Map, Schema: ObjectOf(map[string]*Schema{"id": text, "title": text, "revision": SchemaOf(Int)})},
		Variable{Name: "execution", Type: Map, Schema: ObjectOf(map[string]*Schema{"id": text, "create_time": instant})},
		Variable{Name: "schedule", Type: Map, Schema: ObjectOf(map[string]*Schema{"nominal_time": instant})},
		Variable{Name: "now", Type: Timestamp},
	)
	if err != nil {
		t.Fatal(err)
	}
	return env
}

// TestDocs holds docs/expressions.md to what the package does.
func TestDocs(t *testing.T) {
	page, err := os.ReadFile("../../docs/expressions.md")
	if err != nil {
		t.Fatal(err)
	}
	env := docsEnv(t)
	examples, refused, templates := 0, 0, 0
	for _, block := range regexp.MustCompile("(?s)```(cel|json)\n(.*?)```").FindAllStringSubmatch(string(page), -1) {
		if block[1] == "json" {
			templates++
			var v any
			if err := json.Unmarshal([]byte(block[2]), &v); err != nil {
				t.Fatal(err)
			}
			if _, errs := env.CompileTemplate(v); len(errs) > 0 {
				t.Errorf("template: %v", errs)
			}
			continue
		}
		for _, source := range strings.Split(strings.TrimSpace(block[2]), "\n") {
			examples++
			if _, err := env.Compile(source, Any); err != nil {
				t.Errorf("%s: %v", source, err)
			}
		}
	}
	for _, row := range regexp.MustCompile("(?m)^\\| `([^`]+)`[^|]*\\| `(\\d+:\\d+: [^`]+)` \\|$").FindAllStringSubmatch(string(page), -1) {
		refused++
		if _, err := env.Compile(row[1], Bool); err == nil || err.Error() != row[2] {
			t.Errorf("%s:\ngot  %v\nwant %s", row[1], err, row[2])
		}
	}
	if examples < 10 || refused != 6 || templates != 1 {
		t.Errorf("read %d examples, %d refusals, %d templates: the page changed its form", examples, refused, templates)
	}
}
