package eventpb

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	eventv1 "workflow.uniconnect/proto/gen/go/uniconnect/event/v1"
	"workflow.uniconnect/services/trigger-scheduler/internal/event"
)

func TestPayloads_JSON(t *testing.T) {
	body, err := proto.Marshal(&eventv1.CallEnded{
		CallId: "c1", FromE164: "+49301", TalkMs: 1000, EndedAt: timestamppb.New(time.Date(2026, 11, 23, 10, 0, 0, 0, time.UTC)),
	})
	if err != nil {
		t.Fatal(err)
	}
	raw, err := New().JSON("call.ended", body)
	if err != nil {
		t.Fatal(err)
	}
	var got map[string]any
	if err := json.Unmarshal(raw, &got); err != nil {
		t.Fatal(err)
	}
	want := map[string]any{
		"call_id": "c1", "from_e164": "+49301", "talk_ms": 1000.0, "ended_at": "2026-11-23T10:00:00Z",
		"segment_count": 0.0, "ring_ms": 0.0, "hold_ms": 0.0,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestPayloads_JSON_refuses(t *testing.T) {
	if _, err := New().JSON("call.ended", []byte{0xff}); err == nil {
		t.Error("broken bytes were accepted")
	}
	if _, err := New().JSON("custom.shop.paid", nil); err == nil {
		t.Error("a type without a message was accepted")
	}
}

func TestPayloads_cover_the_known_types(t *testing.T) {
	p := New()
	for _, typ := range event.KnownTypes() {
		if _, ok := p.types[typ]; !ok {
			t.Errorf("%s has no payload", typ)
		}
	}
	if got, want := len(p.types), len(event.KnownTypes()); got != want {
		t.Errorf("got %d payloads for %d types", got, want)
	}
}
