package e2e

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"workflow.uniconnect/test/stack"
)

// An administrator saves a workflow, a call ends, the CRM changes, and the execution shows step by step what happened.
func tour(t *testing.T, s *system) {
	p, call := path(), unique("call")
	w := s.create(t, onCall(call,
		s.post("tell", p, object{"call": "${event.data.call_id}", "talk": "${event.data.talk_ms}"}),
		object{"id": "update", "action": object{"type": "crm.update_record", "params": object{
			"module": "leads", "id": "${event.data.lead_id}", "fields": object{"note": "talked ${event.data.talk_ms} ms"},
		}}},
	))
	if w.State != "ACTIVE" {
		t.Errorf("a new workflow is %s, want ACTIVE", w.State)
	}
	id := s.publish(t, "call.segment_ended", object{"call_id": call, "lead_id": "lead-1007", "talk_ms": 61000})

	e := s.awaitEnd(t, w.ID, 1)[0]
	if e.State != "SUCCEEDED" || e.Cause.Event.ID != id || e.Cause.Event.Source != "/e2e" || e.Cause.Event.Type != "call.segment_ended" {
		t.Errorf("the execution is %+v, want SUCCEEDED and caused by event %s", e, id)
	}
	var steps []string
	for _, step := range e.Steps {
		steps = append(steps, fmt.Sprint(step.StepID, " ", step.State, " ", step.Attempts))
	}
	if diff := cmp.Diff([]string{"tell SUCCEEDED 1", "update SUCCEEDED 1"}, steps); diff != "" {
		t.Errorf("steps (-want +got):\n%s", diff)
	}
	got := s.awaitCall(t, p, 1)[0]
	if want := `{"call":"` + call + `","talk":61000}`; string(got.Body) != want {
		t.Errorf("the target got %s, want %s", got.Body, want)
	}
	if got.Key() == "" || got.Header.Get("X-Execution") != e.ID {
		t.Errorf("the target got the key %q and the execution %q, want a key and %s", got.Key(), got.Header.Get("X-Execution"), e.ID)
	}
	lead, err := s.lead(t.Context(), "lead-1007")
	if err != nil {
		t.Fatal(err)
	}
	if lead["note"] != "talked 61000 ms" {
		t.Errorf("the lead's note is %v", lead["note"])
	}
}

// The seeded workflow does what the contract says, for events from both ways in.
func seededWorkflow(t *testing.T, s *system) {
	s.publish(t, "call.ended", object{
		"call_id": unique("call"), "lead_id": "lead-1001", "result": "answered", "ended_at": "2026-01-02T03:04:05Z",
	})
	s.awaitLead(t, "lead-1001", object{"status": "contacted", "last_call_time": "2026-01-02T03:04:05Z"})

	event := object{"type": "call.ended", "source": "/e2e", "data": object{
		"call_id": unique("call"), "lead_id": "lead-1002", "result": "missed", "ended_at": "2026-01-02T03:05:00Z",
	}}
	var published struct{ ID, EventID string }
	if err := s.owner.Call(t.Context(), http.MethodPost, "/v1/events", event, &published); err != nil {
		t.Fatal(err)
	}
	if published.ID == "" || published.EventID == "" {
		t.Errorf("the answer has no ids: %+v", published)
	}
	s.awaitLead(t, "lead-1002", object{"status": "callback", "last_call_time": "2026-01-02T03:05:00Z"})
}

func (s *system) awaitLead(t *testing.T, id string, want object) {
	t.Helper()
	stack.Eventually(t, soon, func(ctx context.Context) error {
		got, err := s.lead(ctx, id)
		if err != nil {
			return err
		}
		for field, value := range want {
			if got[field] != value {
				return fmt.Errorf("%s: field %s is %v, want %v", id, field, got[field], value)
			}
		}
		return nil
	})
}

func runByHand(t *testing.T, s *system) {
	p := path()
	w := s.create(t, object{
		"title": unique("By hand"), "trigger": object{"manual": object{}}, "steps": []object{s.post("tell", p, object{"n": "${event.data.n + 1}"})},
	})
	req := func() *stack.Response {
		t.Helper()
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.RESTURL+"/v1/workflows/"+w.ID+":run",
			strings.NewReader(`{"input":{"n":41}}`))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Content-Type", "application/json")
		r.Header.Set("Idempotency-Key", w.ID)
		res, err := s.owner.Send(r)
		if err != nil || res.Status != http.StatusOK {
			t.Fatalf("run: %v, %+v", err, res)
		}
		return res
	}
	var first, second executionView
	for _, into := range []*executionView{&first, &second} {
		if err := req().Decode(into); err != nil {
			t.Fatal(err)
		}
	}
	if first.ID == "" || first.ID != second.ID {
		t.Errorf("two requests with one Idempotency-Key started %q and %q", first.ID, second.ID)
	}
	if e := s.awaitEnd(t, w.ID, 1)[0]; e.State != "SUCCEEDED" || e.Cause.Manual.User != owner {
		t.Errorf("the execution is %+v, want SUCCEEDED and started by %s", e, owner)
	}
	if got := string(s.awaitCall(t, p, 1)[0].Body); got != `{"n":42}` {
		t.Errorf("the target got %s", got)
	}
}

// Every kind of step in one workflow.
func allSteps(t *testing.T, s *system) {
	p, call := path(), unique("call")
	w := s.create(t, onCall(call,
		object{"id": "lead", "action": object{"type": "crm.get_record", "params": object{"module": "leads", "id": "lead-1003"}}},
		object{"id": "double", "set": object{"variables": object{"n": "event.data.n * 2"}}},
		object{"id": "pause", "delay": object{"duration": "0.3s"}},
		object{"id": "never", "onlyIf": object{"expression": "vars.n > 1000"}, "action": object{
			"type": "http.request", "params": object{"method": "POST", "url": s.target.URL + "/never"},
		}},
		object{"id": "choose", "condition": object{
			"branches": []object{
				{"title": "Small", "when": object{"expression": "vars.n < 10"}, "steps": []object{s.post("small", p+"small", object{})}},
				{"title": "Large", "when": object{"rules": object{"op": "ALL", "rules": []object{
					{"field": "vars.n", "operator": "GREATER_OR_EQUAL", "value": 10},
				}}}, "steps": []object{s.post("large", p, object{"n": "${vars.n}", "lead": "${steps.lead.output.fields.name}"})}},
			},
		}},
		object{"id": "end", "stop": object{"outcome": "SUCCEEDED", "message": "enough"}},
		s.post("after", p+"after", object{}),
	))
	began := time.Now()
	s.publish(t, "call.segment_ended", object{"call_id": call, "n": 21})
	e := s.awaitEnd(t, w.ID, 1)[0]
	var steps []string
	for _, step := range e.Steps {
		steps = append(steps, step.StepID+" "+step.State)
	}
	want := []string{"lead SUCCEEDED", "double SUCCEEDED", "pause SUCCEEDED", "never SKIPPED", "choose SUCCEEDED", "large SUCCEEDED", "end SUCCEEDED"}
	slices.Sort(steps)
	slices.Sort(want)
	if diff := cmp.Diff(want, steps); diff != "" || e.State != "SUCCEEDED" {
		t.Errorf("the execution is %s, steps (-want +got):\n%s", e.State, diff)
	}
	if took := time.Since(began); took < 300*time.Millisecond {
		t.Errorf("the execution took %v though it had to wait for 300 ms", took)
	}
	if got := string(s.awaitCall(t, p, 1)[0].Body); !strings.Contains(got, `"n":42`) || strings.Contains(got, `"lead":""`) {
		t.Errorf("the target got %s", got)
	}
	for _, other := range []string{"/never", p + "small", p + "after"} {
		if n := s.counted(other); n != 0 {
			t.Errorf("%s was called %d times", other, n)
		}
	}
}

// A step that fails is tried again as often as it says; then the run fails and says why and where.
func failure(t *testing.T, s *system) {
	call := unique("call")
	w := s.create(t, onCall(call, object{
		"id": "update", "retry": object{"maxAttempts": 1},
		"action": object{"type": "crm.update_record", "params": object{"module": "leads", "id": "lead-of-nobody", "fields": object{"status": "x"}}},
	}))
	s.publish(t, "call.segment_ended", object{"call_id": call})
	e := s.awaitEnd(t, w.ID, 1)[0]
	if e.State != "FAILED" || e.Error.StepID != "update" || e.Error.Reason != "RECORD_NOT_FOUND" {
		t.Errorf("the execution is %s with error %+v, want FAILED at update with RECORD_NOT_FOUND", e.State, e.Error)
	}
}

// After the answer to activate every event starts the workflow; a second after the answer to deactivate none does.
func activation(t *testing.T, s *system) {
	p, call := path(), unique("call")
	definition := onCall(call, s.post("tell", p, object{"n": "${event.data.n}"}))
	definition["state"] = "INACTIVE"
	w := s.create(t, definition)
	if w.State != "INACTIVE" {
		t.Fatalf("the workflow is %s, want INACTIVE as it was created", w.State)
	}
	publish := func(n int) { s.publish(t, "call.segment_ended", object{"call_id": call, "n": n}) }
	publish(1)
	change := func(verb, want string) {
		t.Helper()
		var now workflowView
		if err := s.owner.Call(t.Context(), http.MethodPost, "/v1/workflows/"+w.ID+":"+verb, object{}, &now); err != nil {
			t.Fatal(err)
		}
		if now.State != want || now.Etag == w.Etag {
			t.Errorf("after %s the workflow is %s with etag %q (before %q), want %s and another etag", verb, now.State, now.Etag, w.Etag, want)
		}
		w = now
	}
	change("activate", "ACTIVE")
	publish(2) // at once: activation has no gap
	s.awaitCall(t, p, 1)
	change("deactivate", "INACTIVE")
	timer := time.NewTimer(1200 * time.Millisecond) // starts may occur for up to a second
	<-timer.C
	publish(3)
	change("activate", "ACTIVE")
	publish(4)
	calls := s.awaitCall(t, p, 2)
	var got []string
	for _, c := range calls {
		got = append(got, string(c.Body))
	}
	slices.Sort(got)
	if diff := cmp.Diff([]string{`{"n":2}`, `{"n":4}`}, got); diff != "" {
		t.Errorf("events that started the workflow (-want +got):\n%s", diff)
	}
	s.awaitEnd(t, w.ID, 2)
}

// The same event, however often it comes and however it comes, starts a workflow once.
func duplicates(t *testing.T, s *system) {
	p, call := path(), unique("call")
	w := s.create(t, onCall(call, s.post("tell", p, object{})))
	id := s.publish(t, "call.segment_ended", object{"call_id": call})
	for range 3 {
		s.publish(t, "call.segment_ended", object{"call_id": call}, "ce-id", id)
	}
	event := object{"id": id, "source": "/e2e", "type": "com.uniconnect.call.segment_ended", "data": object{"call_id": call}}
	if err := s.owner.Call(t.Context(), http.MethodPost, "/v1/events", event, nil); err != nil {
		t.Fatal(err)
	}
	other := s.publish(t, "call.segment_ended", object{"call_id": call})
	var causes []string
	for _, e := range s.awaitEnd(t, w.ID, 2) {
		causes = append(causes, e.Cause.Event.ID)
	}
	slices.Sort(causes)
	want := []string{id, other}
	slices.Sort(want)
	if diff := cmp.Diff(want, causes); diff != "" {
		t.Errorf("events with an execution (-want +got):\n%s", diff)
	}
}
