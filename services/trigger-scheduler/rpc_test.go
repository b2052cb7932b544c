package scheduler

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"workflow.uniconnect/pkg/auth"
	"workflow.uniconnect/pkg/fault"
	peerv1 "workflow.uniconnect/proto/gen/go/uniconnect/workflow/peer/v1"
	workflowv1 "workflow.uniconnect/proto/gen/go/uniconnect/workflow/v1"
)

func owner(tenant string) auth.Principal {
	return auth.Principal{Tenant: tenant, Subject: "owner@" + tenant + ".test"}
}

func data(t *testing.T, v any) *structpb.Value {
	t.Helper()
	value, err := structpb.NewValue(v)
	if err != nil {
		t.Fatal(err)
	}
	return value
}

func TestService_sets_malformed_events_aside(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.catalog.put(workflow("w"))
	r := b.start()
	const n = 200
	for i := range n {
		switch {
		case i%20 == 0:
			b.publish(fmt.Sprintf("e%d", i), `{"broken":`, "x-bad", "a\x00b")
		case i%10 == 0:
			b.publish(fmt.Sprintf("e%d", i), `{"tenant_id":"globex"}`)
		default:
			b.publish(fmt.Sprintf("e%d", i), `{}`)
		}
	}
	b.drained()
	b.executor.once(t)
	if got, want := len(b.executor.runs), n-n/10; got != want {
		t.Errorf("got %d runs, want %d", got, want)
	}

	client := workflowv1.NewTriggerSchedulerServiceClient(b.dial(r, owner("acme")))
	reasons, ids, token := map[string]int{}, map[string]bool{}, ""
	for page := 0; page == 0 || token != ""; page++ {
		resp, err := client.ListDeadLetters(t.Context(), &workflowv1.ListDeadLettersRequest{PageSize: 7, PageToken: token})
		if err != nil {
			t.Fatal(err)
		}
		if len(resp.GetDeadLetters()) > 7 {
			t.Errorf("a page has %d letters", len(resp.GetDeadLetters()))
		}
		for _, l := range resp.GetDeadLetters() {
			reasons[l.GetReason()]++
			ids[l.GetEventId()] = true
			if len(l.GetBody()) == 0 || l.GetPublishTime() == nil || l.GetMessage() == "" || l.GetHeaders()["ce-id"] != l.GetEventId() {
				t.Errorf("incomplete: %v", l)
			}
		}
		token = resp.GetNextPageToken()
	}
	if diff := cmp.Diff(map[string]int{"EVENT_MALFORMED": 10, "EVENT_TENANT_MISMATCH": 10}, reasons); diff != "" {
		t.Errorf("reasons (-want +got):\n%s", diff)
	}
	if len(ids) != 20 {
		t.Errorf("got %d different letters, want 20", len(ids))
	}
	foreign := workflowv1.NewTriggerSchedulerServiceClient(b.dial(r, owner("globex")))
	resp, err := foreign.ListDeadLetters(t.Context(), &workflowv1.ListDeadLettersRequest{})
	if err != nil || len(resp.GetDeadLetters()) != 0 {
		t.Errorf("another tenant sees %v, %v", resp, err)
	}
	first, err := client.ListDeadLetters(t.Context(), &workflowv1.ListDeadLettersRequest{PageSize: 1})
	if err != nil {
		t.Fatal(err)
	}
	_, err = foreign.ListDeadLetters(t.Context(), &workflowv1.ListDeadLettersRequest{PageToken: first.GetNextPageToken()})
	if got := fault.KindOf(err); got != fault.KindInvalidArgument {
		t.Errorf("another tenant's page token: got %v", err)
	}
}

func TestEvents_PublishEvent(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.catalog.put(filtered("w", `event.data.n == 5 && event.source == "urn:\u00fc %41" && event.subject == "a\nb" == false`))
	r := b.start()
	client := workflowv1.NewTriggerSchedulerServiceClient(b.dial(r, owner("acme")))
	event := &workflowv1.CloudEvent{
		Id: "e 1", Source: "urn:ü %41", Type: "com.uniconnect.call.ended", Data: data(t, map[string]any{"n": 5, "tenant": "acme"}),
		Time: timestamppb.New(time.Date(2026, 11, 23, 10, 0, 0, 1, time.UTC)),
	}
	first, err := client.PublishEvent(t.Context(), &workflowv1.PublishEventRequest{Event: event})
	if err != nil {
		t.Fatal(err)
	}
	if first.GetEventId() != "e 1" || first.GetId() == "" || first.GetDuplicate() {
		t.Errorf("got %v", first)
	}
	b.executor.await(t, "the run", func(runs map[string]int) bool { return runs["w/e 1"] == 1 })
	again, err := client.PublishEvent(t.Context(), &workflowv1.PublishEventRequest{Event: event})
	if err != nil || !again.GetDuplicate() || again.GetId() != first.GetId() {
		t.Errorf("a repeat: got %v, %v", again, err)
	}
	event.Data = data(t, map[string]any{"n": 6})
	_, err = client.PublishEvent(t.Context(), &workflowv1.PublishEventRequest{Event: event})
	if f, ok := fault.As(err); !ok || f.Reason != "EVENT_CONFLICT" {
		t.Errorf("the same id with another body: got %v", err)
	}
	made, err := client.PublishEvent(t.Context(), &workflowv1.PublishEventRequest{Event: &workflowv1.CloudEvent{Type: "custom.shop.paid"}})
	if err != nil || len(made.GetEventId()) != 36 {
		t.Errorf("without an id: got %v, %v", made, err)
	}
	keyed := &workflowv1.PublishEventRequest{Event: &workflowv1.CloudEvent{Type: "custom.shop.paid"}, RequestId: "order-7"}
	for _, want := range []bool{false, true} {
		got, err := client.PublishEvent(t.Context(), keyed)
		if err != nil || got.GetEventId() != "order-7" || got.GetDuplicate() != want {
			t.Errorf("with a request id: got %v, %v; want duplicate %v", got, err, want)
		}
	}
}

func TestEvents_PublishEvent_refuses(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	r := b.start()
	client := workflowv1.NewTriggerSchedulerServiceClient(b.dial(r, owner("acme")))
	deep := any(1.0)
	for range 65 {
		deep = []any{deep}
	}
	cases := map[string]struct {
		event  *workflowv1.CloudEvent
		reason fault.Reason
	}{
		"unknown_type":   {&workflowv1.CloudEvent{Type: "call.exploded"}, "UNKNOWN_EVENT_TYPE"},
		"foreign_tenant": {&workflowv1.CloudEvent{Type: "call.ended", Data: data(t, map[string]any{"tenant": "globex"})}, "EVENT_TENANT_MISMATCH"},
		"line_in_source": {&workflowv1.CloudEvent{Type: "call.ended", Source: "a\r\nce-id: x"}, "EVENT_ATTRIBUTE"},
		"nul_in_id":      {&workflowv1.CloudEvent{Type: "call.ended", Id: "a\x00"}, "EVENT_ATTRIBUTE"},
		"nul_in_data":    {&workflowv1.CloudEvent{Type: "call.ended", Data: data(t, "a\x00")}, "EVENT_ATTRIBUTE"},
		"deep":           {&workflowv1.CloudEvent{Type: "call.ended", Data: data(t, deep)}, fault.ReasonFieldRule},
		"large":          {&workflowv1.CloudEvent{Type: "call.ended", Data: data(t, strings.Repeat("a", 1<<20))}, "EVENT_ATTRIBUTE"},
		"year":           {&workflowv1.CloudEvent{Type: "call.ended", Time: timestamppb.New(time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC))}, "EVENT_ATTRIBUTE"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			_, err := client.PublishEvent(t.Context(), &workflowv1.PublishEventRequest{Event: c.event})
			f, ok := fault.As(err)
			if !ok || f.Kind != fault.KindInvalidArgument || len(f.Violations) != 1 || f.Violations[0].Reason != c.reason {
				t.Errorf("got %v, want a violation with %s", err, c.reason)
			}
		})
	}
	b.nats.Stop()
	begin := time.Now()
	_, err := client.PublishEvent(t.Context(), &workflowv1.PublishEventRequest{Event: &workflowv1.CloudEvent{Type: "call.ended"}})
	f, ok := fault.As(err)
	if !ok || f.Kind != fault.KindUnavailable || f.Reason != "BUS_UNAVAILABLE" || f.RetryAfter == 0 {
		t.Errorf("without a bus: got %v", err)
	}
	if took := time.Since(begin); took > 3*time.Second {
		t.Errorf("without a bus: answered after %v", took)
	}
	b.nats.Restart()
}

func TestTriggers_ValidateTrigger(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	r := b.start()
	client := peerv1.NewTriggerServiceClient(b.dial(r, auth.Principal{Subject: "workflow-catalog", Kind: auth.Service}))
	event := func(e *workflowv1.EventTrigger) *workflowv1.Trigger {
		return &workflowv1.Trigger{Kind: &workflowv1.Trigger_Event{Event: e}}
	}
	expression := func(text string) *workflowv1.Predicate {
		return &workflowv1.Predicate{Kind: &workflowv1.Predicate_Expression{Expression: text}}
	}
	at := timestamppb.Now()
	cases := map[string]struct {
		workflow *workflowv1.Workflow
		want     []string // field reason
	}{
		"good": {&workflowv1.Workflow{Trigger: event(&workflowv1.EventTrigger{
			EventType: "call.ended", Filter: expression(`event.data.result == "answered"`), DedupeKey: "event.data.call_id",
		})}, nil},
		"manual":   {&workflowv1.Workflow{Trigger: &workflowv1.Trigger{Kind: &workflowv1.Trigger_Manual{Manual: &workflowv1.ManualTrigger{}}}}, nil},
		"missing":  {&workflowv1.Workflow{}, []string{"trigger FIELD_RULE"}},
		"schedule": {&workflowv1.Workflow{Trigger: &workflowv1.Trigger{Kind: &workflowv1.Trigger_Schedule{Schedule: &workflowv1.ScheduleTrigger{}}}}, []string{"trigger.schedule NOT_AVAILABLE"}},
		"all_at_once": {&workflowv1.Workflow{
			Trigger: event(&workflowv1.EventTrigger{
				EventType: "call.exploded", Filter: expression("event.data.\n  ("), DedupeKey: "nothing", DedupeWindow: durationpb.New(time.Hour),
			}),
			DateRange: &workflowv1.DateRange{StartTime: at, EndTime: at},
		}, []string{
			"trigger.event.eventType UNKNOWN_EVENT_TYPE", "trigger.event.filter.expression EXPRESSION", "trigger.event.dedupeKey EXPRESSION",
			"dateRange.endTime FIELD_RULE",
		}},
		"not_a_bool":   {&workflowv1.Workflow{Trigger: event(&workflowv1.EventTrigger{EventType: "call.ended", Filter: expression("1 + 1")})}, []string{"trigger.event.filter.expression EXPRESSION"}},
		"empty_filter": {&workflowv1.Workflow{Trigger: event(&workflowv1.EventTrigger{EventType: "call.ended", Filter: &workflowv1.Predicate{}})}, []string{"trigger.event.filter FIELD_RULE"}},
		"window_alone": {&workflowv1.Workflow{Trigger: event(&workflowv1.EventTrigger{EventType: "call.ended", DedupeWindow: durationpb.New(time.Hour)})}, []string{"trigger.event.dedupeWindow FIELD_RULE"}},
		"rules": {&workflowv1.Workflow{Trigger: event(&workflowv1.EventTrigger{EventType: "call.ended", Filter: &workflowv1.Predicate{
			Kind: &workflowv1.Predicate_Rules{Rules: &workflowv1.RuleGroup{Op: workflowv1.RuleGroup_ALL, Rules: []*workflowv1.Rule{
				{Field: "event.data.a", Operator: workflowv1.Rule_EQUALS, Value: structpb.NewNumberValue(1)},
				{Field: "steps.a", Operator: workflowv1.Rule_EQUALS, Value: structpb.NewNumberValue(1)},
				{Field: "event.data.a", Operator: workflowv1.Rule_IN, Value: structpb.NewNumberValue(1)},
				{Field: "event.data.a"},
			}}},
		}})}, []string{
			"trigger.event.filter.rules.rules[1].field FIELD_RULE", "trigger.event.filter.rules.rules[2].value FIELD_RULE",
			"trigger.event.filter.rules.rules[3].operator FIELD_RULE",
		}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			resp, err := client.ValidateTrigger(t.Context(), &peerv1.ValidateTriggerRequest{Tenant: "acme", Workflow: c.workflow})
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, v := range resp.GetViolations() {
				got = append(got, v.GetField()+" "+v.GetReason())
				if v.GetReason() == "EXPRESSION" && !strings.Contains(v.GetDescription(), ":") {
					t.Errorf("no place in %q", v.GetDescription())
				}
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
	user := peerv1.NewTriggerServiceClient(b.dial(r, owner("acme")))
	if _, err := user.ValidateTrigger(t.Context(), &peerv1.ValidateTriggerRequest{}); fault.KindOf(err) != fault.KindPermissionDenied {
		t.Errorf("a user: got %v", err)
	}
	b.catalog.put(workflow("0192f0c1-7a5e-7c3c-9a7e-3d8b0f7f1a11"))
	b.eventually("the workflow is known", func() bool { return r.index.Len() == 1 })
	done, err := client.FinalizeTriggers(t.Context(), &peerv1.FinalizeTriggersRequest{Tenant: "acme", WorkflowId: "0192f0c1-7a5e-7c3c-9a7e-3d8b0f7f1a11"})
	if err != nil || !done.GetDone() || r.index.Len() != 0 {
		t.Errorf("finalize: got %v, %v, %d workflows left", done, err, r.index.Len())
	}
}
