// Package crash kills executors and trigger-schedulers of a running system, stops one in its tracks for longer than its lease, and then
// compares three accounts of what happened: the ledger of what was published, the database, and what the target of the workflows saw.
//
// The comparison is here; what breaks the system is in the tests.
package crash

import (
	"fmt"
	"time"
)

// Event is a line of the ledger: the bus has acknowledged it.
type Event struct {
	ID string
	// Published counts how often it was sent. More than once is still one event.
	Published int
}

// Execution is a row of the database.
type Execution struct {
	ID, EventID string
	State       int
}

// succeeded is Execution.State and StepResult.State of what ended well, in the contract's numbers.
const (
	executionSucceeded = 4
	stepSucceeded      = 3
)

// Result is a recorded step result.
type Result struct {
	Execution, Step, Path string
	Attempt, Order, State int
	End                   time.Time
	// Answer is the number of the call whose answer was recorded, 0 for steps that call nothing.
	Answer int
}

// Call is a request that the target got.
type Call struct {
	Number                      int
	Event, Execution, Step, Key string
	Came                        time.Time
}

// Fault is something done to an executor: a kill when Until is zero, else a stop until then.
type Fault struct{ At, Until time.Time }

// Accounts are the three accounts and what was done meanwhile.
type Accounts struct {
	// Steps are the ids of every step of the workflow that leaves a result, Actions of those the ones that call the target; both in the order
	// in which they run.
	Steps, Actions []string
	Events         []Event
	Executions     []Execution
	Results        []Result
	Calls          []Call
	Faults         []Fault
}

// Verdict is what the comparison found.
type Verdict struct {
	// Violations of a promise, each in words.
	Violations []string
	// Repeated counts calls that came again for a step whose attempt was under way when its executor was killed or stopped.
	Repeated int
	// Late counts calls that a stopped executor made with its first breath after it went on: each was under way when it was stopped.
	Late int
}

const (
	// skew is how much later than an answer was sent the call of a killed process may be noted.
	skew = 50 * time.Millisecond
	// firstBreath is how long after it goes on a stopped process may still complete the call that was under way.
	firstBreath = time.Second
)

type stepOf struct{ execution, step string }

// Check compares the accounts.
func Check(a Accounts) Verdict {
	c := &checker{Accounts: a, results: make(map[string][]Result), recorded: make(map[stepOf]Result), calls: make(map[stepOf][]Call)}
	for _, r := range a.Results {
		c.results[r.Execution] = append(c.results[r.Execution], r)
		if r.State == stepSucceeded {
			c.recorded[stepOf{r.Execution, r.Step}] = r
		}
	}
	for _, call := range a.Calls {
		at := stepOf{call.Execution, call.Step}
		c.calls[at] = append(c.calls[at], call)
	}
	c.checkStarts()
	c.checkHistory()
	c.checkCalls()
	return c.verdict
}

type checker struct {
	Accounts
	results  map[string][]Result // by execution, in order
	recorded map[stepOf]Result
	calls    map[stepOf][]Call
	verdict  Verdict
}

func (c *checker) violation(format string, args ...any) {
	c.verdict.Violations = append(c.verdict.Violations, fmt.Sprintf(format, args...))
}

// checkStarts holds that each event of the ledger has one execution, that it succeeded, and that there are no others.
func (c *checker) checkStarts() {
	byEvent := make(map[string][]Execution)
	for _, e := range c.Executions {
		byEvent[e.EventID] = append(byEvent[e.EventID], e)
	}
	for _, event := range c.Events {
		switch found := byEvent[event.ID]; {
		case len(found) == 0:
			c.violation("lost: event %s has no execution", event.ID)
		case len(found) > 1:
			c.violation("started twice: event %s, published %d times, has %d executions", event.ID, event.Published, len(found))
		case found[0].State != executionSucceeded:
			c.violation("lost: execution %s of event %s is in state %d", found[0].ID, event.ID, found[0].State)
		}
		delete(byEvent, event.ID)
	}
	for id, found := range byEvent {
		c.violation("made up: %d executions of event %s, which is not in the ledger", len(found), id)
	}
}

// checkHistory holds that each execution recorded every step once, in order and without a gap.
func (c *checker) checkHistory() {
	for _, e := range c.Executions {
		if e.State != executionSucceeded {
			continue
		}
		results := c.results[e.ID]
		var done []string
		attempts := make(map[string]int)
		for i, r := range results {
			if r.Order != i {
				c.violation("gap: result %d of execution %s has the number %d", i, e.ID, r.Order)
			}
			if attempts[r.Path]++; attempts[r.Path] != r.Attempt {
				c.violation("gap: attempt %d of %s in execution %s is numbered %d", attempts[r.Path], r.Path, e.ID, r.Attempt)
			}
			if r.State == stepSucceeded {
				done = append(done, r.Step)
			}
		}
		if fmt.Sprint(done) != fmt.Sprint(c.Steps) {
			c.violation("history: execution %s recorded %v, want %v", e.ID, done, c.Steps)
		}
	}
}

// checkCalls holds that a step whose result was recorded is not executed again, that a call is repeated only because an executor was
// killed or stopped while it was under way, and that all calls of a step carry one key.
func (c *checker) checkCalls() {
	keys := make(map[string]stepOf)
	for at, calls := range c.calls {
		result, known := c.recorded[at]
		if !known {
			c.violation("unrecorded: step %s of execution %s was called %d times and has no result", at.step, at.execution, len(calls))
			continue
		}
		if !contains(calls, result.Answer) {
			c.violation("made up: the result of step %s of execution %s is of call %d, which was another's", at.step, at.execution, result.Answer)
		}
		for i, call := range calls {
			if call.Key == "" || call.Key != calls[0].Key {
				c.violation("key: step %s of execution %s was called with the keys %q and %q", at.step, at.execution, calls[0].Key, call.Key)
			}
			c.checkCall(at, i, result)
		}
		if other, taken := keys[calls[0].Key]; taken {
			c.violation("key: %q was used for %v and %v", calls[0].Key, other, at)
		}
		keys[calls[0].Key] = at
	}
	for _, e := range c.Executions {
		for _, step := range c.Actions {
			if len(c.calls[stepOf{e.ID, step}]) == 0 && e.State == executionSucceeded {
				c.violation("made up: step %s of execution %s was never called", step, e.ID)
			}
		}
	}
}

func contains(calls []Call, number int) bool {
	for _, call := range calls {
		if call.Number == number {
			return true
		}
	}
	return false
}

func (c *checker) checkCall(at stepOf, i int, result Result) {
	call := c.calls[at][i]
	if call.Came.After(result.End.Add(skew)) {
		if !c.underWayAtStop(at, call) {
			c.violation("executed again: step %s of execution %s was recorded at %s and called again %v later (call %d)",
				at.step, at.execution, result.End.Format(time.TimeOnly), call.Came.Sub(result.End), call.Number)
			return
		}
		c.verdict.Late++
		return
	}
	if i == 0 {
		return
	}
	before := c.calls[at][i-1]
	if !c.faultBetween(before.Came, call.Came) && (c.underWayAtStop(at, call) || c.underWayAtStop(at, before)) {
		// The one that was stopped and its successor, side by side.
		c.verdict.Late++
		return
	}
	c.verdict.Repeated++
	if !c.faultBetween(before.Came, call.Came) {
		c.violation("repeated: step %s of execution %s was called twice though no executor was killed or stopped in between (calls %d and %d, %v apart, the second %s)",
			at.step, at.execution, before.Number, call.Number, call.Came.Sub(before.Came), c.nearest(call.Came))
	}
}

// faultBetween reports whether an executor was killed, or was stopped, between two calls.
func (c *checker) faultBetween(from, to time.Time) bool {
	for _, f := range c.Faults {
		if f.At.After(from.Add(-skew)) && f.At.Before(to) {
			return true
		}
	}
	return false
}

// nearest says in words what was done last to an executor before a moment.
func (c *checker) nearest(at time.Time) string {
	text := "before any fault"
	for _, f := range c.Faults {
		if f.At.Before(at) {
			text = fmt.Sprintf("%v after a kill", at.Sub(f.At))
		}
		if !f.Until.IsZero() && f.Until.Before(at) {
			text = fmt.Sprintf("%v after a stopped executor went on", at.Sub(f.Until))
		}
	}
	return text
}

// underWayAtStop reports whether a call is the one that a stopped executor was about to make: the step before it was recorded by then, the step
// itself had not been called, and the call came as soon as the executor went on. No fence can hold a request that is already on its way
// to the wire; what it must hold is everything after it.
func (c *checker) underWayAtStop(at stepOf, call Call) bool {
	for _, f := range c.Faults {
		if f.Until.IsZero() || call.Came.Before(f.Until) || call.Came.After(f.Until.Add(firstBreath)) {
			continue
		}
		if c.calls[at][0].Came.Before(f.At.Add(skew)) {
			continue // it had been called before the stop: the executor was behind that call
		}
		before := c.actionBefore(at.step)
		if before == "" {
			return true
		}
		if r, ok := c.recorded[stepOf{at.execution, before}]; ok && r.End.Before(f.At) {
			return true
		}
	}
	return false
}

func (c *checker) actionBefore(step string) string {
	before := ""
	for _, action := range c.Actions {
		if action == step {
			return before
		}
		before = action
	}
	return before
}
