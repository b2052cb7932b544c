package grpcserver

import (
	"strings"
	"testing"

	"buf.build/gen/go/bufbuild/protovalidate/protocolbuffers/go/buf/validate"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"

	workflowv1 "workflow.uniconnect/proto/gen/go/uniconnect/workflow/v1"
)

// TestValidate_words shows what people read when they break a rule of the contract.
func TestValidate_words(t *testing.T) {
	step := func(id string) *workflowv1.Step {
		return &workflowv1.Step{Id: id, Kind: &workflowv1.Step_Stop{Stop: &workflowv1.StopStep{}}}
	}
	cases := map[string]struct {
		title string
		edit  func(*workflowv1.Workflow)
		want  string
	}{
		"good":        {"Call é 日本 👩‍💻", nil, ""},
		"empty":       {"", nil, "title: must not be empty"},
		"blank":       {" \u00a0", nil, "title: must have something to read, and neither begin nor end with a space"},
		"invisible":   {"\u200b", nil, "title: must have something to read, and neither begin nor end with a space"},
		"space_after": {"Call ", nil, "title: must have something to read, and neither begin nor end with a space"},
		"two_lines":   {"a\nb", nil, "title: must be one line, without control characters and marks that turn the direction of text"},
		"turned":      {"a\u202eb", nil, "title: must be one line, without control characters and marks that turn the direction of text"},
		"description": {
			"a", func(w *workflowv1.Workflow) { w.Description = "a\tb\r\n\x01" },
			"description: must hold no control characters but tab and line break, and no marks that turn the direction of text",
		},
		"state":      {"a", func(w *workflowv1.Workflow) { w.State = workflowv1.Workflow_DELETING }, "state: must be one of INACTIVE, ACTIVE"},
		"state_odd":  {"a", func(w *workflowv1.Workflow) { w.State = 9 }, "state: must be one of INACTIVE, ACTIVE"},
		"no_trigger": {"a", func(w *workflowv1.Workflow) { w.Trigger = nil }, "trigger: value is required"},
		"no_kind": {
			"a", func(w *workflowv1.Workflow) { w.Trigger = &workflowv1.Trigger{} },
			"trigger.kind: exactly one must be given of event, schedule, manual",
		},
		"step_id": {
			"a", func(w *workflowv1.Workflow) { w.Steps = []*workflowv1.Step{step("a"), step("Step 2")} },
			"steps[1].id: must be a lower-case letter, then up to 62 lower-case letters, digits and _, for example notify_sales",
		},
		"step_kind": {
			"a", func(w *workflowv1.Workflow) { w.Steps = []*workflowv1.Step{{Id: "a"}} },
			"steps[0].kind: exactly one must be given of action, condition, delay, bulk, parallel, callWorkflow, waitForEvent, set, stop",
		},
		"event_type": {
			"a", func(w *workflowv1.Workflow) {
				w.Trigger = &workflowv1.Trigger{Kind: &workflowv1.Trigger_Event{Event: &workflowv1.EventTrigger{EventType: "Call Ended"}}}
			},
			"trigger.event.eventType: must be words of lower-case letters, digits and _ joined by dots, for example call.ended",
		},
		"variable": {
			"a", func(w *workflowv1.Workflow) {
				w.Steps = []*workflowv1.Step{{Id: "a", Kind: &workflowv1.Step_Set{Set: &workflowv1.SetStep{Variables: map[string]string{"A b": "1"}}}}}
			},
			`steps[0].set.variables["A b"]: a variable's name must be a lower-case letter, then up to 62 lower-case letters, digits and _`,
		},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			w := &workflowv1.Workflow{Title: c.title, Trigger: &workflowv1.Trigger{Kind: &workflowv1.Trigger_Manual{Manual: &workflowv1.ManualTrigger{}}}}
			if c.edit != nil {
				c.edit(w)
			}
			var got []string
			for _, v := range Validate(w) {
				got = append(got, v.Field+": "+v.Description)
			}
			if strings.Join(got, "; ") != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

func TestFieldPath(t *testing.T) {
	element := func(name string) *validate.FieldPathElement {
		return &validate.FieldPathElement{FieldName: proto.String(name)}
	}
	indexed, keyed := element("steps"), element("header_values")
	indexed.Subscript = &validate.FieldPathElement_Index{Index: 2}
	keyed.Subscript = &validate.FieldPathElement_StringKey{StringKey: "a b"}
	cases := map[string]struct {
		elements []*validate.FieldPathElement
		want     string
	}{
		"none":       {nil, ""},
		"simple":     {[]*validate.FieldPathElement{element("title")}, "title"},
		"nested":     {[]*validate.FieldPathElement{element("date_range"), element("end_time")}, "dateRange.endTime"},
		"index":      {[]*validate.FieldPathElement{indexed, element("retry"), element("max_attempts")}, "steps[2].retry.maxAttempts"},
		"map_key":    {[]*validate.FieldPathElement{keyed}, `headerValues["a b"]`},
		"with_digit": {[]*validate.FieldPathElement{element("last_24h")}, "last24h"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			if got := fieldPath(&validate.FieldPath{Elements: c.elements}); got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

func TestNesting_check(t *testing.T) {
	nested := func(depth int, wrap func(*structpb.Value) *structpb.Value) *structpb.Value {
		v := structpb.NewNullValue()
		for range depth {
			v = wrap(v)
		}
		return v
	}
	list := func(v *structpb.Value) *structpb.Value {
		return structpb.NewListValue(&structpb.ListValue{Values: []*structpb.Value{v}})
	}
	object := func(v *structpb.Value) *structpb.Value {
		return structpb.NewStructValue(&structpb.Struct{Fields: map[string]*structpb.Value{"a": v}})
	}
	step := func(depth int) *workflowv1.CreateWorkflowRequest {
		s := &workflowv1.Step{}
		for range depth {
			s = &workflowv1.Step{Kind: &workflowv1.Step_Bulk{Bulk: &workflowv1.BulkStep{Steps: []*workflowv1.Step{s}}}}
		}
		return &workflowv1.CreateWorkflowRequest{Workflow: &workflowv1.Workflow{Steps: []*workflowv1.Step{s}}}
	}
	event := func(v *structpb.Value) proto.Message { // the event is one level, its data the next
		return &workflowv1.PublishEventRequest{Event: &workflowv1.CloudEvent{Data: v}}
	}
	n := &nesting{}
	for name, c := range map[string]struct {
		msg  proto.Message
		want string
	}{
		"lists":            {event(nested(63, list)), ""},
		"lists_deeper":     {event(nested(64, list)), "event: nests deeper than 64"},
		"objects":          {event(nested(63, object)), ""},
		"objects_deeper":   {event(nested(64, object)), "event: nests deeper than 64"},
		"scalar_at_bottom": {event(structpb.NewNumberValue(1)), ""},
		"input":            {&workflowv1.RunWorkflowRequest{Input: nested(64, object).GetStructValue()}, ""},
		"input_deeper":     {&workflowv1.RunWorkflowRequest{Input: nested(65, object).GetStructValue()}, "input: nests deeper than 64"},
		"steps":            {step(20), ""},
		"steps_deeper":     {step(21), "workflow: nests deeper than 64"},
		"flat":             {&workflowv1.GetWorkflowRequest{Id: "x"}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			err := n.check(c.msg)
			if err == nil && c.want != "" || err != nil && !strings.Contains(err.Error(), c.want) || err != nil && c.want == "" {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
	if n.canNest((&workflowv1.GetWorkflowRequest{}).ProtoReflect().Descriptor()) || !n.canNest((&workflowv1.PublishEventRequest{}).ProtoReflect().Descriptor()) {
		t.Error("what can nest is not told from what cannot")
	}
}

func TestCodec_marks_what_is_no_message(t *testing.T) {
	c := newCodec()
	for name, tc := range map[string]struct {
		data []byte
		want string
	}{
		"good":      {[]byte{0x0a, 0x01, 'a'}, ""},
		"utf8":      {[]byte{0x0a, 0x01, 0xff}, "not UTF-8"},
		"truncated": {[]byte{0x0a, 0x05, 'a'}, "not a message"},
	} {
		t.Run(name, func(t *testing.T) {
			msg := &workflowv1.GetWorkflowRequest{}
			if err := c.Unmarshal(mem.BufferSlice{mem.SliceBuffer(tc.data)}, msg); err != nil {
				t.Fatal(err)
			}
			err := checkDecoded(msg)
			if (err == nil) != (tc.want == "") || err != nil && !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %v, want %q", err, tc.want)
			}
		})
	}
}
