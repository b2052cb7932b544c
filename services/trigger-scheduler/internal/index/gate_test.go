package index

import (
	"testing"
	"time"

	"workflow.uniconnect/services/trigger-scheduler/internal/event"
)

// What a gate lets through depends on when an event was published, and not on when it is handled.
func TestIndex_Gates(t *testing.T) {
	x := newIndex(t)
	begin := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	apply(t, x, Definition{
		Tenant: "acme", Workflow: "w", Revision: 1, Active: true, HasSteps: true, Effective: begin, ActiveSince: begin,
		Trigger: &Trigger{Type: "call.ended"},
	})
	at := func(seconds int) time.Time { return begin.Add(time.Duration(seconds) * time.Second) }
	gate := func(open bool, seconds int) Gate {
		return Gate{Tenant: "acme", Open: open, Effective: at(seconds)}
	}
	starts := func(seconds int) bool {
		ev := &event.Event{Tenant: "acme", Type: "call.ended", ID: "e", Time: at(seconds), Published: at(seconds)}
		return len(x.Match(t.Context(), ev, nil).Starts) == 1
	}
	check := func(what string, want map[int]bool) {
		t.Helper()
		for seconds, open := range want {
			if got := starts(seconds); got != open {
				t.Errorf("%s: an event of second %d starts: %v, want %v", what, seconds, got, open)
			}
		}
	}
	check("always open", map[int]bool{0: true, 100: true})
	if opened := x.Gates([]Gate{gate(false, 10)}); len(opened) != 0 {
		t.Errorf("closing opened %v", opened)
	}
	check("closed", map[int]bool{9: true, 10: false, 100: false})
	x.Gates([]Gate{gate(false, 12)}) // told twice
	if opened := x.Gates([]Gate{gate(true, 20)}); len(opened) != 1 || opened[0].Workflow != "w" {
		t.Errorf("opening: got %v, want the tenant's workflow", opened)
	}
	check("open again", map[int]bool{9: true, 10: false, 19: false, 20: true, 100: true})
	if opened := x.Gates([]Gate{gate(false, 30), gate(true, 40), gate(false, 50)}); len(opened) != 1 {
		t.Errorf("opened for a while: got %v", opened)
	}
	check("closed thrice", map[int]bool{9: true, 15: false, 25: true, 35: false, 45: true, 50: false, 99: false})
	if got := x.ChangedSince(at(41)); len(got) != 0 {
		t.Errorf("changed since the last opening: got %v", got)
	}
	if got := x.ChangedSince(at(40)); len(got) != 1 {
		t.Errorf("changed since before it: got %v", got)
	}
	week := int(9 * 24 * time.Hour / time.Second)
	x.Gates([]Gate{gate(true, week)})
	check("what is older than events is forgotten", map[int]bool{15: true, 60: false, week: true})
	x.ReplaceGates([]Gate{gate(false, 70)})
	check("a snapshot", map[int]bool{60: true, 70: false})
	x.Gates([]Gate{{Tenant: "acme", Effective: at(80), Deleted: true}})
	if x.Len() != 0 {
		t.Error("the workflows of a deleted tenant are still there")
	}
}
