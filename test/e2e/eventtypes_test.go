package e2e

import (
	"net/http"
	"testing"
)

// eventTypes holds that the known event types are listed with what their events carry, and that a workflow whose filter or dedupe key cannot
// work with that is refused with the place.
func eventTypes(t *testing.T, s *system) {
	var list struct {
		EventTypes []struct {
			Type, Module, Title string
			DataSchema          struct {
				Properties map[string]struct {
					Type, Format string
					Enum         []string
				}
			}
			Example object
		}
	}
	if err := s.owner.Call(t.Context(), http.MethodGet, "/v1/eventTypes", nil, &list); err != nil {
		t.Fatal(err)
	}
	found := false
	for _, e := range list.EventTypes {
		if e.Type != "call.ended" {
			continue
		}
		found = true
		p := e.DataSchema.Properties
		if e.Module != "call" || e.Title != "Call Ended" || p["talk_ms"].Type != "integer" || p["ended_at"].Format != "date-time" || len(p["result"].Enum) != 6 ||
			e.Example["result"] != "answered" {
			t.Errorf("call.ended: %+v", e)
		}
	}
	if !found {
		t.Errorf("call.ended is not among %d types", len(list.EventTypes))
	}
	rule := object{"field": "event.data.talk_ms", "operator": "GREATER_THAN", "value": "1000"}
	for name, c := range map[string]struct {
		trigger object
		text    string
	}{
		"expression": {object{"eventType": "call.ended", "filter": object{"expression": `event.data.talk_ms > "5"`}}, "trigger.event.filter.expression: 1:20:"},
		"rule":       {object{"eventType": "call.ended", "filter": object{"rules": object{"op": "ALL", "rules": []object{rule}}}}, "trigger.event.filter.rules.rules[0].value: "},
		"key":        {object{"eventType": "call.ended", "dedupeKey": `event.data.call_id + 1`}, "trigger.event.dedupeKey: 1:20:"},
	} {
		t.Run(name, func(t *testing.T) {
			res, err := s.owner.Do(t.Context(), http.MethodPost, "/v1/workflows", object{"title": unique("Typed"), "trigger": object{"event": c.trigger}})
			if err != nil {
				t.Fatal(err)
			}
			refusal{status: 400, code: "INVALID_ARGUMENT", text: c.text}.check(t, res)
		})
	}
	t.Run("no_permission", func(t *testing.T) {
		res, err := s.User(t, agent).Do(t.Context(), http.MethodGet, "/v1/eventTypes", nil)
		if err != nil {
			t.Fatal(err)
		}
		refusal{status: 403, code: "PERMISSION_DENIED"}.check(t, res)
	})
}
