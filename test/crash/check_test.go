package crash

import (
	"strings"
	"testing"
	"time"
)

var start = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

func at(seconds float64) time.Time { return start.Add(time.Duration(seconds * float64(time.Second))) }

// good are the accounts of two executions, one of which lost its executor in its second step.
func good() Accounts {
	return Accounts{
		Steps: []string{"one", "two"}, Actions: []string{"one", "two"},
		Events:     []Event{{"e1", 1}, {"e2", 2}},
		Executions: []Execution{{"x1", "e1", executionSucceeded}, {"x2", "e2", executionSucceeded}},
		Results: []Result{
			{"x1", "one", "one", 1, 0, stepSucceeded, at(1), 1}, {"x1", "two", "two", 1, 1, stepSucceeded, at(2), 2},
			{"x2", "one", "one", 1, 0, stepSucceeded, at(3), 3}, {"x2", "two", "two", 1, 1, stepSucceeded, at(20), 5},
		},
		Calls: []Call{
			{1, "e1", "x1", "one", "x1:one", at(0.9)}, {2, "e1", "x1", "two", "x1:two", at(1.9)},
			{3, "e2", "x2", "one", "x2:one", at(2.9)}, {4, "e2", "x2", "two", "x2:two", at(3.9)}, {5, "e2", "x2", "two", "x2:two", at(19.9)},
		},
		Faults: []Fault{{At: at(4)}},
	}
}

func TestCheck_accepts(t *testing.T) {
	got := Check(good())
	if len(got.Violations) > 0 || got.Repeated != 1 || got.Late != 0 {
		t.Errorf("got %+v, want no violation and one repeated call", got)
	}
}

func TestCheck_finds(t *testing.T) {
	cases := map[string]struct {
		spoil func(*Accounts)
		want  string
	}{
		"lost_event":          {func(a *Accounts) { a.Events = append(a.Events, Event{"e3", 1}) }, "lost: event e3"},
		"unfinished":          {func(a *Accounts) { a.Executions[0].State = 2 }, "lost: execution x1"},
		"started_twice":       {func(a *Accounts) { a.Executions[1].EventID = "e1" }, "started twice: event e1"},
		"unknown_event":       {func(a *Accounts) { a.Events = a.Events[:1] }, "not in the ledger"},
		"missing_result":      {func(a *Accounts) { a.Results = a.Results[1:] }, "history: execution x1"},
		"gap":                 {func(a *Accounts) { a.Results[1].Order = 2 }, "gap: result 1"},
		"attempt_missing":     {func(a *Accounts) { a.Results[1].Attempt = 2 }, "gap: attempt 1 of two"},
		"step_recorded_twice": {func(a *Accounts) { a.Results[1].Step = "one" }, "recorded [one one]"},
		"never_called":        {func(a *Accounts) { a.Calls = a.Calls[1:] }, "step one of execution x1 was never called"},
		"key_changes":         {func(a *Accounts) { a.Calls[4].Key = "other" }, `keys "x2:two" and "other"`},
		"key_shared":          {func(a *Accounts) { a.Calls[0].Key = "x1:two" }, "was used for"},
		"foreign_answer":      {func(a *Accounts) { a.Results[0].Answer = 3 }, "of call 3, which was another's"},
		"repeated_for_nothing": {func(a *Accounts) { a.Faults[0].At = at(0) },
			"called twice though no executor was killed"},
		"executed_again": {func(a *Accounts) {
			a.Calls = append(a.Calls, Call{6, "e1", "x1", "one", "x1:one", at(5)})
		}, "executed again: step one of execution x1"},
		"executed_again_by_zombie": {func(a *Accounts) {
			a.Faults = append(a.Faults, Fault{At: at(0.95), Until: at(30)})
			a.Calls = append(a.Calls, Call{6, "e1", "x1", "two", "x1:two", at(30.1)})
		}, "executed again: step two of execution x1"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			a := good()
			tc.spoil(&a)
			got := strings.Join(Check(a).Violations, "\n")
			if !strings.Contains(got, tc.want) {
				t.Errorf("violations:\n%s\nwant one with %q", got, tc.want)
			}
		})
	}
}

// The same while its successor is at that very step.
func TestCheck_allowsCallBesideSuccessor(t *testing.T) {
	a := good()
	a.Faults = append(a.Faults, Fault{At: at(1.5), Until: at(1.95)})
	a.Calls = append(a.Calls, Call{6, "e1", "x1", "two", "x1:two", at(1.96)})
	got := Check(a)
	if len(got.Violations) > 0 || got.Late != 1 {
		t.Errorf("got %+v, want no violation and one late call", got)
	}
}

// A call that was on its way to the wire when its executor was stopped comes when it goes on. That much cannot be held back.
func TestCheck_allowsCallUnderWayAtStop(t *testing.T) {
	a := good()
	a.Faults = append(a.Faults, Fault{At: at(1.5), Until: at(30)})
	a.Calls = append(a.Calls, Call{6, "e1", "x1", "two", "x1:two", at(30.1)})
	got := Check(a)
	if len(got.Violations) > 0 || got.Late != 1 {
		t.Errorf("got %+v, want no violation and one late call", got)
	}
}
