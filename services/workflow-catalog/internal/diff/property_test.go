package diff_test

import (
	"encoding/json"
	"fmt"
	"reflect"
	"regexp"
	"strconv"
	"testing"

	"pgregory.net/rapid"

	"workflow.uniconnect/services/workflow-catalog/internal/diff"
)

// TestCompare_is_true draws pairs of documents and holds every change to both of them.
func TestCompare_is_true(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		from := drawDocument(t, "from")
		to := drawDocument(t, "to")
		before, after := encode(t, from), encode(t, to)
		changes, err := diff.Compare(before, after)
		if err != nil {
			t.Fatal(err)
		}
		if equal := reflect.DeepEqual(from, to); equal != (len(changes) == 0) {
			t.Fatalf("equal: %v, and yet changes: %v\n%s\n%s", equal, write(changes), before, after)
		}
		holdToBothSides(t, decode(t, before), decode(t, after), changes)
	})
}

// TestCompare_to_itself draws documents, some with what only a draft may have.
func TestCompare_to_itself(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		document := encode(t, drawDocument(t, "document"))
		if changes, err := diff.Compare(document, document); err != nil || len(changes) > 0 {
			t.Fatalf("got %v, %v; want nothing", write(changes), err)
		}
	})
}

// TestCompare_moves_few takes one step of a list elsewhere in it: that is one change.
func TestCompare_moves_few(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(2, 20).Draw(t, "steps")
		i, j := rapid.IntRange(0, n-1).Draw(t, "from"), rapid.IntRange(0, n-1).Draw(t, "to")
		var ids []string
		for k := range n {
			ids = append(ids, fmt.Sprint("s", k))
		}
		before := doc(append([]string(nil), ids...)...)
		id := ids[i]
		ids = append(ids[:i], ids[i+1:]...)
		ids = append(ids[:j], append([]string{id}, ids[j:]...)...)
		changes, err := diff.Compare([]byte(before), []byte(doc(ids...)))
		if err != nil {
			t.Fatal(err)
		}
		if want := min(1, max(i-j, j-i)); len(changes) != want || want == 1 && changes[0].Kind != diff.StepMoved {
			t.Fatalf("from %d to %d: got %v, want %d move", i, j, write(changes), want)
		}
	})
}

// drawDocument makes a small workflow of few ids, so that two of them have much in common.
func drawDocument(t *rapid.T, label string) map[string]any {
	ids := rapid.Permutation([]string{"a", "b", "c", "d", "e", "f", "g", "h"}).Draw(t, label+" ids")
	if rapid.IntRange(0, 9).Draw(t, label+" ids twice") == 0 {
		ids[0], ids[1] = ids[2], ""
	}
	w := map[string]any{"title": rapid.SampledFrom([]string{"x", "y"}).Draw(t, label+" title")}
	if rapid.Bool().Draw(t, label+" has settings") {
		w["settings"] = drawValue(t, label+" settings", 2)
	}
	if steps := drawSteps(t, label, &ids, 3); len(steps) > 0 {
		w["steps"] = steps
	}
	return w
}

func drawSteps(t *rapid.T, label string, ids *[]string, depth int) []any {
	var steps []any
	for n := rapid.IntRange(0, 3).Draw(t, label+" steps"); n > 0 && len(*ids) > 0; n-- {
		step := map[string]any{}
		if id := (*ids)[0]; id != "" {
			step["id"] = id
		}
		*ids = (*ids)[1:]
		if rapid.Bool().Draw(t, label+" has a title") {
			step["title"] = rapid.SampledFrom([]string{"x", "y"}).Draw(t, label+" title")
		}
		kind := rapid.IntRange(0, 5).Draw(t, label+" kind")
		if depth == 0 {
			kind = 0
		}
		inside := func(at map[string]any, name string) map[string]any {
			if steps := drawSteps(t, label, ids, depth-1); len(steps) > 0 {
				at[name] = steps
			}
			return at
		}
		branches := func() []any {
			var out []any
			for n := rapid.IntRange(0, 3).Draw(t, label+" branches"); n > 0; n-- {
				out = append(out, inside(map[string]any{"when": drawValue(t, label+" when", 0)}, "steps"))
			}
			return out
		}
		switch kind {
		case 0:
			step["action"] = map[string]any{"params": drawValue(t, label+" params", 2)}
		case 1:
			condition := inside(map[string]any{}, "otherwise")
			if b := branches(); b != nil {
				condition["branches"] = b
			}
			step["condition"] = condition
		case 2:
			bulk := inside(map[string]any{}, "steps")
			bulk["onItemError"] = inside(map[string]any{}, "steps")
			step["bulk"] = bulk
		case 3:
			if b := branches(); b != nil {
				step["parallel"] = map[string]any{"branches": b}
			}
		case 4:
			step["waitForEvent"] = inside(map[string]any{"eventType": "x"}, "onTimeout")
		case 5:
			step["stop"] = map[string]any{}
			step["onError"] = inside(map[string]any{"action": "HANDLE"}, "steps")
		}
		steps = append(steps, step)
	}
	return steps
}

// drawValue makes a JSON value as people may give it to a parameter.
func drawValue(t *rapid.T, label string, depth int) any {
	kind := rapid.IntRange(0, 5).Draw(t, label)
	if depth == 0 {
		kind %= 4
	}
	switch kind {
	case 0:
		return nil
	case 1:
		return float64(rapid.IntRange(0, 1).Draw(t, label+" number"))
	case 2:
		return rapid.SampledFrom([]string{"", "text", `a."b"]`}).Draw(t, label+" text")
	case 3:
		return rapid.Bool().Draw(t, label+" truth")
	case 4:
		list := []any{}
		for range rapid.IntRange(0, 2).Draw(t, label+" length") {
			list = append(list, drawValue(t, label+" member", depth-1))
		}
		return list
	}
	object := map[string]any{}
	for _, name := range rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"p", "steps", "id", "x.y", `"`, "[0]", "", "ä b"}), 0, 3, rapid.ID[string]).Draw(t, label+" names") {
		object[name] = drawValue(t, label+" "+name, depth-1)
	}
	return object
}

func encode(t *rapid.T, value any) []byte {
	text, err := json.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func decode(t *rapid.T, text []byte) any {
	var value any
	if err := json.Unmarshal(text, &value); err != nil {
		t.Fatal(err)
	}
	return value
}

// holdToBothSides looks every path up and compares what is there.
func holdToBothSides(t *rapid.T, from, to any, changes []diff.Change) {
	step := func(side any, path, id string) any {
		found, ok := lookUp(t, side, path)
		if !ok {
			t.Fatalf("there is nothing at %s", path)
		}
		if got, _ := found.(map[string]any)["id"].(string); got != id {
			t.Fatalf("at %s is %q, not %q", path, got, id)
		}
		return found
	}
	value := func(owner any, path string, told json.RawMessage) {
		got, ok := lookUp(t, owner, path)
		if ok != (told != nil) || ok && !reflect.DeepEqual(got, decode(t, told)) {
			t.Fatalf("%s is %v (there: %v), not %s", path, got, ok, told)
		}
	}
	for _, c := range changes {
		switch c.Kind {
		case diff.StepAdded:
			value(to, c.ToPath, c.After)
			step(to, c.ToPath, c.StepID)
		case diff.StepRemoved:
			value(from, c.FromPath, c.Before)
			step(from, c.FromPath, c.StepID)
		case diff.StepMoved:
			step(from, c.FromPath, c.StepID)
			step(to, c.ToPath, c.StepID)
		case diff.FieldChanged:
			if string(c.Before) == string(c.After) && (c.Before == nil) == (c.After == nil) {
				t.Fatalf("%s: from %s to the same", c.Field, c.Before)
			}
			before, after := from, to
			if c.FromPath != "" {
				before, after = step(from, c.FromPath, c.StepID), step(to, c.ToPath, c.StepID)
			}
			if whole := regexp.MustCompile(`^(condition|parallel)\.branches$|^(condition|parallel|bulk|bulk\.onItemError|waitForEvent|onError)$`); whole.MatchString(c.Field) {
				continue // told without the steps inside
			}
			value(before, c.Field, c.Before)
			value(after, c.Field, c.After)
		}
	}
}

var element = regexp.MustCompile(`^(?:\.?([A-Za-z_][A-Za-z0-9_-]*)|\[(\d+)\]|\[("(?:[^"\\]|\\.)*")\])`)

// lookUp follows a path as the API writes them.
func lookUp(t *rapid.T, value any, path string) (any, bool) {
	for path != "" {
		part := element.FindStringSubmatch(path)
		if part == nil {
			t.Fatalf("this is no path: %s", path)
		}
		path = path[len(part[0]):]
		name := part[1]
		if part[2] != "" {
			list, _ := value.([]any)
			i, err := strconv.Atoi(part[2])
			if err != nil || i >= len(list) {
				return nil, false
			}
			value = list[i]
			continue
		}
		if part[3] != "" {
			var err error
			if name, err = strconv.Unquote(part[3]); err != nil {
				t.Fatal(err)
			}
		}
		object, _ := value.(map[string]any)
		member, ok := object[name]
		if !ok {
			return nil, false
		}
		value = member
	}
	return value, true
}
