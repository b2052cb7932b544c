package protodoc_test

import (
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/structpb"

	"workflow.uniconnect/pkg/protodoc"
)

// No document of the size that is allowed keeps a reader busy for long.
func TestUnmarshal_is_quick(t *testing.T) {
	fill := func(head, piece, tail string) string {
		return head + strings.Repeat(piece, (1<<20-len(head)-len(tail))/len(piece)) + tail
	}
	cases := map[string]string{
		"json_list":     fill(`{"a":[`, `1,`, `1]}`),
		"json_objects":  fill(`{"a":[`, `{"b":"c"},`, `1]}`),
		"json_twice":    fill(`{`, `"a":1,`, `"b":2}`),
		"flow":          fill("a: [", "x,", "x]"),
		"flow_maps":     fill("a: [", "{b: c},", "x]"),
		"flow_pairs":    fill("a: [", "b: c, ", "x]"),
		"lines":         fill("", "a:\n", ""),
		"list":          fill("a:\n", "- x\n", ""),
		"dashes":        fill("", "- ", ""),
		"questions":     fill("", "? ", ""),
		"braces":        fill("a: ", "{", ""),
		"quotes":        fill("a: ", `"`, ""),
		"double_quotes": fill("a: ", `"" `, ""),
		"single_quotes": fill("a: ", `'x'`, ""),
		"plain":         fill("a: ", "x ", ""),
		"colons":        fill("a", ":", ""),
		"keys":          fill("", "a: ", ""),
		"comments":      fill("a: b\n", "# c\n", ""),
		"inner_comment": fill("a:\n", "  # c\n", "  b: c\n"),
		"blank_lines":   fill("a: |\n", "\n", "  x\n"),
		"folded":        fill("a: >\n", "  x\n\n", ""),
		"anchors":       fill("a: [", "&b c,", "x]"),
		"aliases":       fill("a: [&b c,", "*b,", "x]"),
		"tags":          fill("a: [", "!t c,", "x]"),
		"directives":    fill("", "%FOO bar\n", "---\na: b\n"),
		"documents":     fill("a: b\n", "---\n", ""),
		"ends":          fill("a: b\n", "...\n", ""),
		"spaces":        fill("a: b", " ", ""),
		"escapes":       fill(`a: "`, `\x41`, `"`),
		"carriage":      fill("a: b", "\r", ""),
		"nested_keys":   strings.Repeat("a:\n ", 3) + fill("", "a: &x\n", ""),
	}
	for name, text := range cases {
		t.Run(name, func(t *testing.T) {
			begin := time.Now()
			_ = protodoc.Unmarshal([]byte(text), &structpb.Struct{}, limits) // most are refused; how long it takes is what counts
			if took := time.Since(begin); took > 20*time.Second {
				t.Errorf("took %v", took)
			}
		})
	}
}
