package scheduler

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/types/known/structpb"

	"workflow.uniconnect/pkg/auth"
	peerv1 "workflow.uniconnect/proto/gen/go/uniconnect/workflow/peer/v1"
	workflowv1 "workflow.uniconnect/proto/gen/go/uniconnect/workflow/v1"
)

// TestTriggers_ValidateTrigger_types holds that filters and keys are checked against what events of the type carry: what cannot work is
// refused with its place, what may is taken.
func TestTriggers_ValidateTrigger_types(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	r := b.start()
	client := peerv1.NewTriggerServiceClient(b.dial(r, auth.Principal{Subject: "workflow-catalog", Kind: auth.Service}))
	expression := func(text string) *workflowv1.Predicate {
		return &workflowv1.Predicate{Kind: &workflowv1.Predicate_Expression{Expression: text}}
	}
	rule := func(field string, op workflowv1.Rule_Operator, v any) *workflowv1.Rule {
		value, err := structpb.NewValue(v)
		if err != nil {
			t.Fatal(err)
		}
		return &workflowv1.Rule{Field: field, Operator: op, Value: value}
	}
	rules := func(list ...*workflowv1.Rule) *workflowv1.RuleGroup {
		return &workflowv1.RuleGroup{Op: workflowv1.RuleGroup_ALL, Rules: list}
	}
	filtered := func(group *workflowv1.RuleGroup) *workflowv1.Predicate {
		return &workflowv1.Predicate{Kind: &workflowv1.Predicate_Rules{Rules: group}}
	}
	cases := map[string]struct {
		trigger *workflowv1.EventTrigger
		want    []string // "field reason: " and a part of the description
		schema  bool
	}{
		"good": {&workflowv1.EventTrigger{EventType: "call.ended", DedupeKey: "event.data.call_id", Filter: expression(
			`event.data.talk_ms > 1000 && event.data.result == "answered" && timestamp(event.data.ended_at) < now && event.data.answered_at != null`,
		)}, nil, true},
		"unknown_field": {&workflowv1.EventTrigger{EventType: "call.ended", DedupeKey: "event.data.ours", Filter: expression(
			`event.data.our_score > 5 && event.data.our.name == "x"`,
		)}, nil, true},
		"comparison": {&workflowv1.EventTrigger{EventType: "call.ended", Filter: expression("event.data.hold_ms >= 0 &&\n  event.data.talk_ms == '5'")},
			[]string{"trigger.event.filter.expression EXPRESSION: 2:22: == needs both sides of one kind: event.data.talk_ms is a whole number"}, true},
		"not_a_bool": {&workflowv1.EventTrigger{EventType: "call.ended", Filter: expression(`event.data.talk_ms`)},
			[]string{"trigger.event.filter.expression EXPRESSION: 1:1: the expression yields a whole number, expected true or false (bool)"}, true},
		"unknown_attribute": {&workflowv1.EventTrigger{EventType: "call.ended", Filter: expression(`event.tenant == "acme"`)},
			[]string{"trigger.event.filter.expression EXPRESSION: 1:6: event has no field tenant; it has data, id, source, subject, time, type"}, true},
		"key": {&workflowv1.EventTrigger{EventType: "call.ended", DedupeKey: `event.data.call_id + event.data.talk_ms`},
			[]string{"trigger.event.dedupeKey EXPRESSION: 1:20: + needs both sides of one kind: event.data.call_id is text, event.data.talk_ms is a whole number"}, true},
		"rules": {&workflowv1.EventTrigger{EventType: "call.ended", Filter: filtered(rules(
			rule("event.data.result", workflowv1.Rule_EQUALS, "answered"),
			rule("event.data.talk_ms", workflowv1.Rule_GREATER_THAN, "1000"),
			rule("event.data.our_score", workflowv1.Rule_GREATER_THAN, "1000"),
			&workflowv1.Rule{Group: rules(
				rule("event.data.talk_ms", workflowv1.Rule_IN, []any{1, 2.5}), rule("event.data.queue", workflowv1.Rule_NOT_IN, []any{"sales", true}),
				rule("event.data.talk_ms.seconds", workflowv1.Rule_EQUALS, 1), rule("event.data.recording_url", workflowv1.Rule_EXISTS, nil),
			)},
		))}, []string{
			`trigger.event.filter.rules.rules[1].value FIELD_RULE: event.data.talk_ms is a whole number, "1000" is text`,
			`trigger.event.filter.rules.rules[3].group.rules[1].value FIELD_RULE: event.data.queue is text, true is true or false`,
			`trigger.event.filter.rules.rules[3].group.rules[2].field FIELD_RULE: event.data.talk_ms is a whole number and has no field seconds`,
		}, true},
		"open_record": {&workflowv1.EventTrigger{EventType: "lead.updated", Filter: filtered(rules(
			rule("event.data.record.status", workflowv1.Rule_EQUALS, "won"), rule("event.data.record.status", workflowv1.Rule_CHANGED, nil),
			rule("event.data.before.score", workflowv1.Rule_LESS_THAN, 5),
		))}, nil, true},
		"custom": {&workflowv1.EventTrigger{EventType: "custom.shop.paid", DedupeKey: "event.data.id", Filter: expression(`event.data.talk_ms == "5"`)}, nil, false},
		"custom_attribute": {&workflowv1.EventTrigger{EventType: "custom.shop.paid", Filter: expression(`event.time > 5`)},
			[]string{"trigger.event.filter.expression EXPRESSION: 1:12: > needs both sides of one kind: event.time is text"}, false},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			resp, err := client.ValidateTrigger(t.Context(), &peerv1.ValidateTriggerRequest{
				Tenant: "acme", Workflow: &workflowv1.Workflow{Trigger: &workflowv1.Trigger{Kind: &workflowv1.Trigger_Event{Event: c.trigger}}},
			})
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, v := range resp.GetViolations() {
				got = append(got, v.GetField()+" "+v.GetReason()+": "+v.GetDescription())
			}
			for i := range got {
				if i < len(c.want) && strings.HasPrefix(got[i], c.want[i]) {
					got[i] = c.want[i]
				}
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if got := resp.GetDataSchema() != nil; got != c.schema {
				t.Errorf("answered a schema: %v, want %v", got, c.schema)
			}
		})
	}
	resp, err := client.ValidateTrigger(t.Context(), &peerv1.ValidateTriggerRequest{Tenant: "acme", Workflow: &workflowv1.Workflow{
		Trigger: &workflowv1.Trigger{Kind: &workflowv1.Trigger_Manual{Manual: &workflowv1.ManualTrigger{}}},
	}})
	if err != nil || resp.GetDataSchema() != nil || len(resp.GetViolations()) != 0 {
		t.Errorf("manual: got %v, %v", resp, err)
	}
}
