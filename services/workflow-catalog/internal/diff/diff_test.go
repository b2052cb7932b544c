package diff_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"workflow.uniconnect/services/workflow-catalog/internal/diff"
)

// write writes changes as a person would note them down.
func write(changes []diff.Change) []string {
	var out []string
	for _, c := range changes {
		var line string
		switch c.Kind {
		case diff.StepAdded:
			line = fmt.Sprintf("+ %s at %s: %s", c.StepID, c.ToPath, c.After)
		case diff.StepRemoved:
			line = fmt.Sprintf("- %s at %s: %s", c.StepID, c.FromPath, c.Before)
		case diff.StepMoved:
			line = fmt.Sprintf("> %s %s to %s", c.StepID, c.FromPath, c.ToPath)
		case diff.FieldChanged:
			line = strings.TrimSpace(fmt.Sprintf("%s %s: %s to %s", c.StepID, c.Field, orNone(c.Before), orNone(c.After)))
		}
		out = append(out, line)
	}
	return out
}

func orNone(value json.RawMessage) string {
	if value == nil {
		return "nothing"
	}
	return string(value)
}

// doc returns a document with steps, which are written as ids or as whole steps.
func doc(steps ...string) string {
	for i, s := range steps {
		if !strings.HasPrefix(s, "{") {
			steps[i] = stop(s)
		}
	}
	return `{"steps":[` + strings.Join(steps, ",") + `]}`
}

func stop(id string) string { return `{"id":"` + id + `","stop":{}}` }

func stops(ids ...string) string {
	for i, id := range ids {
		ids[i] = stop(id)
	}
	return "[" + strings.Join(ids, ",") + "]"
}

func TestCompare(t *testing.T) {
	t.Parallel()
	const email = `{"id":"mail","title":"Mail","action":{"type":"email.send","params":{"to":"a","subject":"s","x.y":1}}}`
	condition := func(branches ...string) string {
		return `{"id":"if","condition":{"branches":[` + strings.Join(branches, ",") + `]}}`
	}
	branch := func(when, steps string) string { return `{"when":{"expression":"` + when + `"},"steps":` + steps + `}` }
	cases := map[string]struct {
		from, to string
		want     []string
	}{
		"nothing_at_all": {``, ``, nil},
		"equal":          {doc("a", email), doc("a", email), nil},
		"written_in_another_way": {
			`{"title":"x","settings":{"retry":{"multiplier":2}}}`, `{ "settings": {"retry":{"multiplier":2.0}}, "title":"x"}`, nil,
		},
		"fields_of_the_workflow_in_their_order": {
			`{"settings":{"stepTimeout":"5s"},"title":"a","trigger":{"event":{"eventType":"call.ended"}},"steps":[` + stop("s") + `]}`,
			`{"settings":{"stepTimeout":"6s"},"title":"b","description":"d","trigger":{"event":{"eventType":"call.started"}},"dateRange":{"startTime":"x"}}`,
			[]string{
				`title: "a" to "b"`, `description: nothing to "d"`, `trigger.event.eventType: "call.ended" to "call.started"`,
				`dateRange: nothing to {"startTime":"x"}`, `- s at steps[0]: {"id":"s","stop":{}}`, `settings.stepTimeout: "5s" to "6s"`,
			},
		},
		"another_kind_of_trigger": {
			`{"trigger":{"event":{"eventType":"call.ended"}}}`, `{"trigger":{"manual":{}}}`,
			[]string{`trigger.event: {"eventType":"call.ended"} to nothing`, `trigger.manual: nothing to {}`},
		},
		"added":   {doc("a", "c"), doc("a", "b", "c"), []string{`+ b at steps[1]: {"id":"b","stop":{}}`}},
		"removed": {doc("a", "b", "c"), doc("a", "c"), []string{`- b at steps[1]: {"id":"b","stop":{}}`}},
		"removed_stands_where_it_was": {
			doc("x", "a", "y", "z", "b"), doc("a", "n", "b"),
			[]string{
				`- x at steps[0]: {"id":"x","stop":{}}`, `- y at steps[2]: {"id":"y","stop":{}}`, `- z at steps[3]: {"id":"z","stop":{}}`,
				`+ n at steps[1]: {"id":"n","stop":{}}`,
			},
		},
		"moved_down_is_one_change": {doc("a", "b", "c", "d"), doc("b", "c", "d", "a"), []string{"> a steps[0] to steps[3]"}},
		"moved_up_is_one_change":   {doc("a", "b", "c", "d"), doc("d", "a", "b", "c"), []string{"> d steps[3] to steps[0]"}},
		"shifted_is_not_moved":     {doc("a", "b"), doc("n", "a", "b"), []string{`+ n at steps[0]: {"id":"n","stop":{}}`}},
		"field_of_a_step": {
			doc(email), doc(strings.NewReplacer(`"to":"a"`, `"to":["a","b"]`, `,"x.y":1`, ``, `"Mail"`, `"Post"`).Replace(email)),
			[]string{`mail title: "Mail" to "Post"`, `mail action.params.to: "a" to ["a","b"]`, `mail action.params["x.y"]: 1 to nothing`},
		},
		"null_is_a_value": {
			doc(`{"id":"a","action":{"params":{"n":null}}}`), doc(`{"id":"a","action":{"params":{"m":null}}}`),
			[]string{`a action.params.m: nothing to null`, `a action.params.n: null to nothing`},
		},
		"another_kind_of_step": {
			doc("a"), doc(`{"id":"a","delay":{"duration":"2s"}}`), []string{`a delay: nothing to {"duration":"2s"}`, `a stop: {} to nothing`},
		},
		"rule_in_a_group": {
			doc(`{"id":"a","onlyIf":{"group":{"rules":[{"field":"x","value":1},{"field":"y","value":2}]}},"stop":{}}`),
			doc(`{"id":"a","onlyIf":{"group":{"rules":[{"field":"x","value":1},{"field":"y","value":3}]}},"stop":{}}`),
			[]string{`a onlyIf.group.rules[1].value: 2 to 3`},
		},
		"rule_more_in_a_group": {
			doc(`{"id":"a","onlyIf":{"group":{"rules":[{"field":"x"}]}}}`), doc(`{"id":"a","onlyIf":{"group":{"rules":[{"field":"x"},{"field":"y"}]}}}`),
			[]string{`a onlyIf.group.rules: [{"field":"x"}] to [{"field":"x"},{"field":"y"}]`},
		},
		"into_a_branch": {
			doc("a", condition(branch("x", "[]"))), doc(condition(branch("x", stops("a")))),
			[]string{"> a steps[0] to steps[0].condition.branches[0].steps[0]"},
		},
		"parent_moved_and_children_with_it": {
			doc(condition(branch("x", stops("a", "b"))), "c", "d"), doc("c", "d", condition(branch("x", stops("a", "b")))),
			[]string{"> if steps[0] to steps[2]"},
		},
		"added_with_what_is_inside": {
			doc("a"), doc(condition(branch("x", stops("n", "a")))),
			[]string{
				`+ if at steps[0]: {"condition":{"branches":[{"steps":[{"id":"n","stop":{}},{"id":"a","stop":{}}],"when":{"expression":"x"}}]},"id":"if"}`,
				"> a steps[0] to steps[0].condition.branches[0].steps[1]",
			},
		},
		"removed_with_what_is_inside": {
			doc(condition(branch("x", stops("n", "a")))), doc("a"),
			[]string{
				`- if at steps[0]: {"condition":{"branches":[{"steps":[{"id":"n","stop":{}},{"id":"a","stop":{}}],"when":{"expression":"x"}}]},"id":"if"}`,
				"> a steps[0].condition.branches[0].steps[1] to steps[0]",
			},
		},
		"branch_before_others_moves_nothing": {
			doc(condition(branch("x", stops("a")), branch("y", stops("b")))),
			doc(condition(branch("new", stops("n")), branch("x", stops("a")), branch("y", stops("b", "c")))),
			[]string{
				`if condition.branches: [{"when":{"expression":"x"}},{"when":{"expression":"y"}}] to [{"when":{"expression":"new"}},{"when":{"expression":"x"}},{"when":{"expression":"y"}}]`,
				`+ n at steps[0].condition.branches[0].steps[0]: {"id":"n","stop":{}}`,
				`+ c at steps[0].condition.branches[2].steps[1]: {"id":"c","stop":{}}`,
			},
		},
		"branch_gone": {
			doc(condition(branch("x", stops("a")), branch("y", stops("b")))), doc(condition(branch("y", stops("b", "a")))),
			[]string{
				`if condition.branches: [{"when":{"expression":"x"}},{"when":{"expression":"y"}}] to [{"when":{"expression":"y"}}]`,
				"> a steps[0].condition.branches[0].steps[0] to steps[0].condition.branches[0].steps[1]",
			},
		},
		"condition_of_a_branch": {
			doc(condition(branch("x", stops("a")))), doc(condition(branch("y", stops("a")))),
			[]string{`if condition.branches[0].when.expression: "x" to "y"`},
		},
		"every_place_for_steps": {
			doc(`{"id":"p","parallel":{"branches":[{"steps":`+stops("a")+`}]},"onError":{"action":"HANDLE","steps":`+stops("b")+`}}`,
				`{"id":"q","bulk":{"steps":`+stops("c")+`,"onItemError":{"steps":`+stops("d")+`}}}`,
				`{"id":"w","waitForEvent":{"onTimeout":`+stops("e")+`}}`, `{"id":"i","condition":{"otherwise":`+stops("f")+`}}`),
			doc(`{"id":"p","parallel":{"branches":[{"steps":`+stops("f")+`}]},"onError":{"action":"HANDLE","steps":`+stops("a")+`}}`,
				`{"id":"q","bulk":{"steps":`+stops("b")+`,"onItemError":{"steps":`+stops("c")+`}}}`,
				`{"id":"w","waitForEvent":{"onTimeout":`+stops("d")+`}}`, `{"id":"i","condition":{"otherwise":`+stops("e")+`}}`),
			[]string{
				"> f steps[3].condition.otherwise[0] to steps[0].parallel.branches[0].steps[0]",
				"> a steps[0].parallel.branches[0].steps[0] to steps[0].onError.steps[0]",
				"> b steps[0].onError.steps[0] to steps[1].bulk.steps[0]",
				"> c steps[1].bulk.steps[0] to steps[1].bulk.onItemError.steps[0]",
				"> d steps[1].bulk.onItemError.steps[0] to steps[2].waitForEvent.onTimeout[0]",
				"> e steps[2].waitForEvent.onTimeout[0] to steps[3].condition.otherwise[0]",
			},
		},
		"ids_twice_and_none": {
			doc("a", "a", ""), doc("a", `{"id":"a","title":"t","stop":{}}`, "", `{"stop":{}}`),
			[]string{`a title: nothing to "t"`, `+  at steps[3]: {"stop":{}}`},
		},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			changes, err := diff.Compare([]byte(c.from), []byte(c.to))
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(c.want, write(changes)); d != "" {
				t.Errorf("(-want +got):\n%s", d)
			}
		})
	}
}

func TestCompare_titles(t *testing.T) {
	t.Parallel()
	changes, err := diff.Compare([]byte(doc(`{"id":"a","title":"Old"}`, `{"id":"b","title":"Gone"}`)), []byte(doc(`{"id":"a","title":"New"}`)))
	if err != nil || len(changes) != 2 || changes[0].StepTitle != "New" || changes[1].StepTitle != "Gone" {
		t.Errorf("got %+v, %v; want the title of now, and the last one of what is gone", changes, err)
	}
	if changes[0].FromPath != "steps[0]" || changes[0].ToPath != "steps[0]" {
		t.Errorf("paths: got %q and %q, want both", changes[0].FromPath, changes[0].ToPath)
	}
}

func TestCompare_no_document(t *testing.T) {
	t.Parallel()
	for _, bad := range []string{`[]`, `{`, `"x"`} {
		if _, err := diff.Compare([]byte(bad), []byte(`{}`)); err == nil {
			t.Errorf("%s as the old side: accepted", bad)
		}
		if _, err := diff.Compare([]byte(`{}`), []byte(bad)); err == nil {
			t.Errorf("%s as the new side: accepted", bad)
		}
	}
}
