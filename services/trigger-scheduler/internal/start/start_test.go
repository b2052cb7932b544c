package start

import (
	"testing"
	"time"

	"workflow.uniconnect/services/trigger-scheduler/internal/event"
)

func TestKeys_differ(t *testing.T) {
	at := time.Date(2026, 11, 23, 10, 0, 0, 0, time.UTC)
	ev := func(source, id string, fromStream bool, sequence uint64, published time.Time) *event.Event {
		return &event.Event{Source: source, ID: id, FromStream: fromStream, Sequence: sequence, Published: published}
	}
	keys := map[string]Key{
		"event":            EventKey("w", ev("s", "1", false, 9, at)),
		"other workflow":   EventKey("w2", ev("s", "1", false, 9, at)),
		"other source":     EventKey("w", ev("s2", "1", false, 9, at)),
		"other id":         EventKey("w", ev("s", "2", false, 9, at)),
		"shifted border":   EventKey("w", ev("s1", "", false, 9, at)),
		"shifted workflow": EventKey("ws", ev("", "1", false, 9, at)),
		"from the stream":  EventKey("w", ev("s", "1", true, 1, at)),
		"other sequence":   EventKey("w", ev("s", "1", true, 2, at)),
		"other stream":     EventKey("w", ev("s", "1", true, 1, at.Add(time.Hour))),
		"dedupe text":      DedupeKey("w", []byte(`"1"`)),
		"dedupe number":    DedupeKey("w", []byte(`1`)),
		"long":             EventKey("w", ev("s", string(make([]byte, 1000)), false, 9, at)),
	}
	seen := make(map[Key]string)
	for name, key := range keys {
		if other, ok := seen[key]; ok {
			t.Errorf("%s and %s have one key", name, other)
		}
		seen[key] = name
	}
	if again := EventKey("w", ev("s", "1", false, 77, at.Add(time.Minute))); again != keys["event"] {
		t.Error("a redelivery or a second publication of an event has another key")
	}
}
