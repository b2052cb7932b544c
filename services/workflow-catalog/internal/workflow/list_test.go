package workflow_test

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"workflow.uniconnect/services/workflow-catalog/internal/workflow"
)

func TestWords(t *testing.T) {
	for text, want := range map[string][]string{
		"":                                  nil,
		" -- !? '\" ":                       nil,
		"On Call Ended":                     {"call", "ended", "on"},
		"call CALL Call":                    {"call"},
		"3CX-Status: sync/back (v2)":        {"3cx", "back", "status", "sync", "v2"},
		"Ärger mit Straße":                  {"mit", "strasse", "ärger"},
		"A\u0308rger":                       {"ärger"}, // the letter and its dots written apart
		"ΣΊΣΥΦΟΣ σίσυφος":                   {"σίσυφοσ"},
		"通話終了 Ｃａｌｌ":                         {"call", "通話終了"},
		"'; DROP TABLE workflows; --":       {"drop", "table", "workflows"},
		`x':* & !'y' | 'z\\' <-> "q":A`:     {"a", "q", "x", "y", "z"},
		"½ ﷺ":                               {"1", "2", "الله", "صلى", "عليه", "وسلم"},
		strings.Repeat("é", 70) + " x":      {"x", strings.Repeat("é", 64)},
		"a_b\x00c\u200bd\u202ee\U0001F600f": {"a", "b", "c", "d", "e", "f"},
	} {
		if diff := cmp.Diff(want, workflow.Words(text), cmp.Transformer("nil", func(s []string) string { return strings.Join(s, " ") })); diff != "" {
			t.Errorf("%q (-want +got):\n%s", text, diff)
		}
	}
}

func TestSortKey(t *testing.T) {
	if a, b := workflow.SortKey("apple"), workflow.SortKey("Banana"); a >= b {
		t.Errorf("got %q before %q", b, a)
	}
	long := workflow.SortKey(strings.Repeat("ﷺ", 128))
	if len(long) > 240 || !utf8.ValidString(long) {
		t.Errorf("got %d bytes, want no more than 240 of whole letters", len(long))
	}
}
