package exchange_test

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"workflow.uniconnect/pkg/fault"
	"workflow.uniconnect/pkg/protodoc"
	workflowv1 "workflow.uniconnect/proto/gen/go/uniconnect/workflow/v1"
	"workflow.uniconnect/services/workflow-catalog/internal/exchange"
)

// example is a workflow as the server answers it, with something of everything.
const example = `{
  "id": "019ac0de-0000-7000-8000-000000000001", "title": "Missed call", "description": "Calls back.\n\nOwner: sales", "state": "ACTIVE",
  "trigger": {"event": {"eventType": "call.ended", "filter": {"rules": {"op": "ALL", "rules": [
    {"field": "event.data.result", "operator": "EQUALS", "value": "missed"},
    {"group": {"op": "ANY", "rules": [{"field": "event.data.on", "operator": "IN", "value": ["yes", "010", 7]}]}}]}},
    "dedupeKey": "event.data.call_id", "dedupeWindow": "3600s"}},
  "dateRange": {"startTime": "2026-11-01T00:00:00Z", "endTime": "2027-01-01T00:00:00.5Z"},
  "steps": [
    {"id": "decide", "title": "Hot?", "onlyIf": {"expression": "event.data.score > 10 ? true : false"},
     "condition": {"branches": [{"title": "Yes", "when": {"expression": "true"}, "steps": [
       {"id": "note", "action": {"type": "crm.add_note", "connection": "crm", "params": {"module": "leads", "id": "${event.data.lead_id}",
        "fields": {"text": "Called at 12:30.\nPlease call back: +49 30 1234", "phone": "+49301234", "count": 3, "none": null}}},
        "retry": {"maxAttempts": 5, "initialInterval": "1s", "multiplier": 1.5, "jitter": 0}, "timeout": "10s",
        "onError": {"action": "HANDLE", "steps": [{"id": "give_up", "stop": {"outcome": "FAILED", "message": "no"}}]}}]}],
      "otherwise": [{"id": "rest", "delay": {"duration": "86400s"}}]}},
    {"id": "vars", "set": {"variables": {"b": "1 + 2", "a": "'x'"}}},
    {"id": "both", "parallel": {"branches": [{"steps": []}, {"title": "second"}], "join": "ANY"}}
  ],
  "settings": {"retry": {"maxAttempts": 1}, "stepTimeout": "30s"},
  "revision": 7, "etag": "12", "createTime": "2026-10-01T00:00:00Z", "createUser": "owner@acme.test"
}`

func exampleWorkflow(t *testing.T) *workflowv1.Workflow {
	t.Helper()
	w := &workflowv1.Workflow{}
	if err := protojson.Unmarshal([]byte(example), w); err != nil {
		t.Fatal(err)
	}
	return w
}

// TestEncode_golden compares with the golden files; write them anew with UPDATE_GOLDEN=1.
func TestEncode_golden(t *testing.T) {
	for name, format := range map[string]protodoc.Format{"example.yaml": protodoc.YAML, "example.json": protodoc.JSON} {
		t.Run(name, func(t *testing.T) {
			got, err := exchange.Encode(exampleWorkflow(t), format)
			if err != nil {
				t.Fatal(err)
			}
			golden := filepath.Join("testdata", name)
			if os.Getenv("UPDATE_GOLDEN") != "" {
				if err := os.WriteFile(golden, got, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), string(got)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestEncode_leaves_out_a_state_that_cannot_be_asked_for(t *testing.T) {
	w := exampleWorkflow(t)
	w.State = workflowv1.Workflow_DELETING
	got, err := exchange.Encode(w, protodoc.YAML)
	if err != nil || strings.Contains(string(got), "state:") {
		t.Errorf("%v\n%s", err, got)
	}
}

func TestDecode_refuses(t *testing.T) {
	cases := map[string]struct{ text, field, want string }{
		"server_field":   {"title: a\netag: x", "etag", "2:1: is made by the server"},
		"server_message": {"title: a\nlastBackup: {}", "lastBackup", "2:1: is made by the server"},
		"unknown_field":  {"title: a\nsteps:\n- id: a\n  acton: {}", "steps[0].acton", "4:3: unknown field"},
		"two_kinds":      {"steps:\n- id: a\n  set: {variables: {}}\n  stop: {}", "steps[0].stop", "4:3: excludes set"},
		"enum":           {"state: active", "state", "1:8: must be one of INACTIVE, ACTIVE"},
		"duration":       {"steps:\n- id: a\n  timeout: 5 minutes", "steps[0].timeout", "3:12: must be a duration"},
		"time":           {"dateRange: {startTime: 2026-11-01}", "dateRange.startTime", "1:24: must be a time"},
		"params":         {"steps:\n- action:\n    params:\n      active: on", "steps[0].action.params.active", "4:15: on is a truth value"},
		"not_yaml":       {"title: 'a", "", "is not YAML"},
		"long":           {"title: " + strings.Repeat("a", exchange.MaxBytes), "", "at most 1048576"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			_, err := exchange.Decode([]byte(c.text))
			f, ok := fault.As(err)
			if !ok || f.Kind != fault.KindInvalidArgument || f.Reason != exchange.ReasonDocument || len(f.Violations) != 1 {
				t.Fatalf("got %#v", err)
			}
			if v := f.Violations[0]; v.Field != c.field || v.Reason != exchange.ReasonDocument || !strings.Contains(v.Description, c.want) {
				t.Errorf("got %+v, want %q at %q", v, c.want, c.field)
			}
		})
	}
}

// Whatever a workflow holds: what is written is read back as it was, and written again it is the same text.
func TestRoundTrip(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	g := &generator{rand.New(rand.NewPCG(seed, 1))}
	for range 400 {
		w := &workflowv1.Workflow{}
		g.fill(w.ProtoReflect(), 9)
		if w.State == workflowv1.Workflow_DELETING {
			w.State = workflowv1.Workflow_ACTIVE
		}
		want := &workflowv1.Workflow{
			Title: w.GetTitle(), Description: w.GetDescription(), State: w.GetState(), Trigger: w.GetTrigger(), DateRange: w.GetDateRange(),
			Steps: w.GetSteps(), Settings: w.GetSettings(),
		}
		for _, format := range []protodoc.Format{protodoc.YAML, protodoc.JSON} {
			first, err := exchange.Encode(w, format)
			if err != nil {
				t.Fatal(err)
			}
			back, err := exchange.Decode(first)
			if err != nil {
				t.Fatalf("%v\n%s", err, first)
			}
			if !proto.Equal(want, back) {
				t.Fatalf("(-want +got):\n%s\n%s", cmp.Diff(want, back, protocmp.Transform()), first)
			}
			second, err := exchange.Encode(back, format)
			if err != nil {
				t.Fatal(err)
			}
			if string(first) != string(second) {
				t.Fatalf("written again it differs:\n%s\n%s", first, second)
			}
		}
	}
}

// generator fills messages with anything that the contract's types can hold.
type generator struct{ *rand.Rand }

func (g *generator) fill(m protoreflect.Message, depth int) {
	switch v := m.Interface().(type) {
	case *timestamppb.Timestamp:
		v.Seconds, v.Nanos = g.Int64N(4e9)-2e9, g.Int32N(1e9)
		return
	case *durationpb.Duration:
		v.Seconds, v.Nanos = g.Int64N(1e6), g.Int32N(1e9)
		return
	case *structpb.Struct:
		v.Fields = map[string]*structpb.Value{}
		for range g.IntN(4) {
			v.Fields[g.text()] = g.value(2)
		}
		return
	case *structpb.Value:
		v.Kind = g.value(2).GetKind()
		return
	}
	fields := m.Descriptor().Fields()
	for i := range fields.Len() {
		f := fields.Get(i)
		taken := f.ContainingOneof() != nil && m.WhichOneof(f.ContainingOneof()) != nil
		if g.IntN(3) == 0 || taken || f.Message() != nil && depth == 0 {
			continue
		}
		switch {
		case f.IsMap():
			for range g.IntN(3) {
				m.Mutable(f).Map().Set(protoreflect.ValueOfString(g.text()).MapKey(), protoreflect.ValueOfString(g.text()))
			}
		case f.IsList():
			for range g.IntN(3) {
				l := m.Mutable(f).List()
				if f.Message() == nil {
					l.Append(g.scalar(f))
					continue
				}
				e := l.NewElement()
				g.fill(e.Message(), depth-1)
				l.Append(e)
			}
		case f.Message() != nil:
			g.fill(m.Mutable(f).Message(), depth-1)
		default:
			m.Set(f, g.scalar(f))
		}
	}
}

func (g *generator) scalar(f protoreflect.FieldDescriptor) protoreflect.Value {
	switch f.Kind() {
	case protoreflect.BoolKind:
		return protoreflect.ValueOfBool(g.IntN(2) == 0)
	case protoreflect.EnumKind:
		return protoreflect.ValueOfEnum(f.Enum().Values().Get(g.IntN(f.Enum().Values().Len())).Number())
	case protoreflect.DoubleKind:
		return protoreflect.ValueOfFloat64(g.NormFloat64())
	case protoreflect.Int32Kind:
		return protoreflect.ValueOfInt32(g.Int32N(1000) - 500)
	}
	return protoreflect.ValueOfString(g.text())
}

func (g *generator) value(depth int) *structpb.Value {
	switch k := g.IntN(8); {
	case k == 0:
		return structpb.NewNullValue()
	case k == 1:
		return structpb.NewBoolValue(true)
	case k == 2:
		return structpb.NewNumberValue(float64(g.IntN(100)) / 4)
	case k == 3 && depth > 0:
		return structpb.NewListValue(&structpb.ListValue{Values: []*structpb.Value{g.value(depth - 1), g.value(depth - 1)}})
	case k == 4 && depth > 0:
		return structpb.NewStructValue(&structpb.Struct{Fields: map[string]*structpb.Value{g.text(): g.value(depth - 1)}})
	}
	return structpb.NewStringValue(g.text())
}

func (g *generator) text() string {
	traps := []string{
		"on", "no", "null", "~", "", "1e3", "0x10", "010", "12:30", "2026-11-01T00:00:00Z", "true", "0 0 * * *", "${event.data.x}", "a: b", "a #b",
		"- a", "line\nline", "line\n", " x\n y", "日本\u3000語", "\u2028", "\u202e", "😀", "'\"\\", "<<", "%", "@", "{", "event.data.a == 'b' ? 1 : 2",
	}
	if g.IntN(100) == 0 {
		return strings.Repeat("very long ", 300)
	}
	return traps[g.IntN(len(traps))]
}
