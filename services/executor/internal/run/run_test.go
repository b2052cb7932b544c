package run

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"workflow.uniconnect/pkg/expr"
	"workflow.uniconnect/pkg/fault"
)

// anyAction accepts every action but the type `nope`.
type anyAction struct{}

func (anyAction) Check(actionType string, params map[string]any) []fault.Violation {
	if actionType == "nope" {
		return []fault.Violation{{Field: "type", Reason: "UNKNOWN_ACTION_TYPE", Description: "unknown action type"}}
	}
	return nil
}

func compile(t testing.TB, def Definition) *Program {
	t.Helper()
	c, err := NewCompiler(anyAction{})
	if err != nil {
		t.Fatal(err)
	}
	p, violations := c.Compile(def)
	if len(violations) > 0 {
		t.Fatalf("compile: %+v", violations)
	}
	return p
}

func act(id string, params map[string]any) Step {
	return Step{ID: id, Action: &Action{Type: "test", Params: params}}
}

func when(expression string) Predicate {
	return Predicate{Expression: expression, Field: ".expression"}
}

// harness drives a run as the engine does: it records pending results before each call and may crash at any point in between.
type harness struct {
	t       testing.TB
	program *Program
	in      Input
	now     time.Time
	journal []Result
	// answer is what the outside does.
	answer func(c Call) Outcome
	// crash decides, before each durable write and each call, whether the process dies there.
	crash func() bool
	calls []string
}

func newHarness(t testing.TB, def Definition, event string) *harness {
	return &harness{
		t: t, program: compile(t, def), now: time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC),
		in:     Input{Tenant: "acme", ExecutionID: "e1", WorkflowID: "w1", Title: "T", Revision: 3, Event: json.RawMessage(event)},
		answer: func(Call) Outcome { return Outcome{Output: json.RawMessage(`{"ok": true}`)} },
		crash:  func() bool { return false },
	}
}

// record writes results as the store does: one row per path and attempt.
func (h *harness) record(results []Result) {
	for _, r := range results {
		replaced := false
		for i := range h.journal {
			if h.journal[i].Path == r.Path && h.journal[i].Attempt == r.Attempt {
				if h.journal[i].State != StepWaiting {
					h.t.Fatalf("recorded result %s#%d was recorded again", r.Path, r.Attempt)
				}
				h.journal[i], replaced = r, true
			}
		}
		if !replaced {
			h.journal = append(h.journal, r)
		}
	}
}

// finish drives the run to its end, restarting it from the journal after each crash.
func (h *harness) finish() Command {
	h.t.Helper()
	for range 10_000 {
		if end, done := h.life(); done {
			return end
		}
	}
	h.t.Fatal("the run does not end")
	return Command{}
}

// life is one process: it ends with the run, with a wait, or with a crash.
func (h *harness) life() (Command, bool) {
	r := New(h.program, h.in, h.journal)
	for {
		cmd := r.Next(context.Background(), h.now)
		switch cmd.Kind {
		case CommandCall:
			if h.crash() {
				return Command{}, false
			}
			h.record(r.TakePending())
			if h.crash() {
				return Command{}, false
			}
			h.calls = append(h.calls, fmt.Sprintf("%s#%d", cmd.Call.Path, cmd.Call.Attempt))
			outcome := h.answer(cmd.Call)
			outcome.StartTime, outcome.EndTime = h.now, h.now.Add(time.Millisecond)
			h.now = outcome.EndTime
			if h.crash() {
				return Command{}, false
			}
			r.Done(cmd.Call, outcome)
		case CommandWait:
			if h.crash() {
				return Command{}, false
			}
			h.record(r.TakePending())
			h.now = cmd.Until
			return Command{}, false
		case CommandEnd:
			if h.crash() {
				return Command{}, false
			}
			h.record(r.TakePending())
			return cmd, true
		}
	}
}

func (h *harness) states() map[string]StepState {
	states := map[string]StepState{}
	for _, r := range h.journal {
		states[r.Path] = r.State
	}
	return states
}

func TestRun_passes_data_from_step_to_step(t *testing.T) {
	h := newHarness(t, Definition{Steps: []Step{
		{ID: "prepare", Set: &Set{Variables: map[string]string{"who": `event.data.lead_id`, "n": `1 + 2`}}},
		act("get", map[string]any{"id": "${vars.who}", "n": "${vars.n}"}),
		{ID: "check", Condition: &Condition{
			Branches: []Branch{
				{Title: "no", When: when(`steps.get.output.score > 90`), Steps: []Step{act("never", nil)}},
				{Title: "yes", When: when(`steps.get.output.score == 80 && workflow.revision == 3`), Steps: []Step{act("notify", map[string]any{"text": "hot: ${steps.get.output.name}"})}},
			},
			Otherwise: []Step{act("other", nil)},
		}},
		{ID: "skipped", OnlyIf: &Predicate{Expression: `event.data.missing == 1`}, Action: &Action{Type: "test"}},
		{ID: "bye", Stop: &Stop{Message: "done for ${vars.who}"}},
		act("after", nil),
	}}, `{"data": {"lead_id": "lead-7"}}`)
	seen := map[string]map[string]any{}
	h.answer = func(c Call) Outcome {
		seen[c.Path] = c.Params
		return Outcome{Output: json.RawMessage(`{"score": 80, "name": "Lead 7"}`)}
	}
	end := h.finish()
	if end.State != Succeeded || end.Err != nil {
		t.Fatalf("got end %+v, want success", end)
	}
	wantParams := map[string]map[string]any{
		"get":          {"id": "lead-7", "n": int64(3)},
		"check.notify": {"text": "hot: Lead 7"},
	}
	if diff := cmp.Diff(wantParams, seen); diff != "" {
		t.Errorf("params (-want +got):\n%s", diff)
	}
	wantStates := map[string]StepState{
		"prepare": StepSucceeded, "get": StepSucceeded, "check": StepSucceeded, "check.notify": StepSucceeded,
		"skipped": StepSkipped, "bye": StepSucceeded,
	}
	if diff := cmp.Diff(wantStates, h.states()); diff != "" {
		t.Errorf("states (-want +got):\n%s", diff)
	}
}

func TestRun_retries_as_the_policy_says(t *testing.T) {
	none := 0.0
	for name, c := range map[string]struct {
		err       Error
		after     time.Duration
		failures  int
		wantCalls []string
		wantState ExecState
		wantWait  time.Duration
	}{
		"then succeeds":      {Error{Reason: "TARGET_STATUS", Retryable: true}, 0, 2, []string{"send#1", "send#2", "send#3"}, Succeeded, 3 * time.Second},
		"gives up":           {Error{Reason: "TARGET_STATUS", Retryable: true}, 0, 9, []string{"send#1", "send#2", "send#3"}, Failed, 3 * time.Second},
		"not retryable":      {Error{Reason: "TARGET_STATUS"}, 0, 9, []string{"send#1"}, Failed, 0},
		"target asks longer": {Error{Reason: "TARGET_STATUS", Retryable: true}, 7 * time.Second, 1, []string{"send#1", "send#2"}, Succeeded, 7 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			step := act("send", nil)
			step.Retry = &RetryPolicy{MaxAttempts: 3, InitialInterval: time.Second, Jitter: &none}
			h := newHarness(t, Definition{Steps: []Step{step}}, `{}`)
			began, keys := h.now, map[string]bool{}
			h.answer = func(call Call) Outcome {
				keys[call.IdempotencyKey] = true
				if call.Attempt <= c.failures {
					failure := c.err
					return Outcome{Err: &failure, RetryAfter: c.after}
				}
				return Outcome{}
			}
			end := h.finish()
			if end.State != c.wantState {
				t.Errorf("got state %v, want %v", end.State, c.wantState)
			}
			if diff := cmp.Diff(c.wantCalls, h.calls); diff != "" {
				t.Errorf("calls (-want +got):\n%s", diff)
			}
			if len(keys) != 1 {
				t.Errorf("got %d idempotency keys, want 1", len(keys))
			}
			waited := h.now.Sub(began) - time.Duration(len(h.calls))*time.Millisecond
			if waited != c.wantWait {
				t.Errorf("waited %v, want %v", waited, c.wantWait)
			}
		})
	}
}

func TestPolicy_wait_stays_within_its_bounds(t *testing.T) {
	p := policyOf(nil, RetryPolicy{InitialInterval: time.Second, MaxInterval: 10 * time.Second})
	for attempt := 1; attempt < 200; attempt++ {
		full := min(time.Second<<min(attempt-1, 10), 10*time.Second)
		got := p.wait(fmt.Sprint("key", attempt), attempt, 0)
		if got > full || got < full*8/10 {
			t.Errorf("attempt %d: got %v, want within 20%% below %v", attempt, got, full)
		}
		if again := p.wait(fmt.Sprint("key", attempt), attempt, 0); again != got {
			t.Errorf("attempt %d: computed again %v, before %v", attempt, again, got)
		}
	}
}

func TestRun_goes_on_as_on_error_says(t *testing.T) {
	failing := func(on OnError) Definition {
		step := act("send", nil)
		step.OnError = on
		return Definition{Steps: []Step{step, act("next", map[string]any{"why": "${steps.send.error.reason}"})}}
	}
	for name, c := range map[string]struct {
		on        OnError
		wantCalls []string
		wantState ExecState
	}{
		"unset":    {OnError{}, []string{"send#1"}, Failed},
		"fail":     {OnError{Action: Fail}, []string{"send#1"}, Failed},
		"continue": {OnError{Action: Continue}, []string{"send#1", "next#1"}, Succeeded},
		"handle":   {OnError{Action: Handle, Steps: []Step{act("tell", nil)}}, []string{"send#1", "send.tell#1", "next#1"}, Succeeded},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHarness(t, failing(c.on), `{}`)
			h.answer = func(call Call) Outcome {
				if call.StepID == "send" {
					return Outcome{Err: &Error{Reason: "TARGET_STATUS", Message: "404"}}
				}
				if call.StepID == "next" && call.Params["why"] != "TARGET_STATUS" {
					t.Errorf("next saw %v", call.Params)
				}
				return Outcome{}
			}
			end := h.finish()
			if end.State != c.wantState {
				t.Errorf("got state %v, want %v", end.State, c.wantState)
			}
			if c.wantState == Failed && (end.Err == nil || end.Err.StepID != "send") {
				t.Errorf("got error %+v, want one of the step send", end.Err)
			}
			if diff := cmp.Diff(c.wantCalls, h.calls); diff != "" {
				t.Errorf("calls (-want +got):\n%s", diff)
			}
		})
	}
}

func TestRun_waits(t *testing.T) {
	noon := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	for name, c := range map[string]struct {
		delay Delay
		event string
		want  time.Duration
	}{
		"for a duration":          {Delay{Duration: 24 * time.Hour}, `{}`, 24 * time.Hour},
		"for nothing":             {Delay{}, `{}`, 0},
		"until a field":           {Delay{Until: `event.data.at`}, `{"data": {"at": "2026-11-23T15:30:00+01:00"}}`, 150 * time.Minute},
		"until an expression":     {Delay{Until: `now + duration("5m")`}, `{}`, 5 * time.Minute},
		"until an instant passed": {Delay{Until: `timestamp("2020-01-01T00:00:00Z")`}, `{}`, 0},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHarness(t, Definition{Steps: []Step{{ID: "wait", Delay: &c.delay}}}, c.event)
			if end := h.finish(); end.State != Succeeded {
				t.Fatalf("got %+v, want success", end)
			}
			if got := h.now.Sub(noon); got != c.want {
				t.Errorf("waited %v, want %v", got, c.want)
			}
			if len(h.journal) != 1 || h.journal[0].State != StepSucceeded || !h.journal[0].StartTime.Equal(noon) {
				t.Errorf("got journal %+v, want one success begun at noon", h.journal)
			}
		})
	}
}

func TestRun_fails_where_an_expression_fails(t *testing.T) {
	for name, step := range map[string]Step{
		"params": act("s", map[string]any{"x": map[string]any{"y": "${event.data.missing}"}}),
		"set":    {ID: "s", Set: &Set{Variables: map[string]string{"v": "event.data.missing"}}},
		"delay":  {ID: "s", Delay: &Delay{Until: "event.data.missing"}},
		"stop":   {ID: "s", Stop: &Stop{Message: "${event.data.missing}"}},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHarness(t, Definition{Steps: []Step{step}}, `{"data": {}}`)
			end := h.finish()
			if end.State != Failed || end.Err.Reason != "EXPRESSION" || end.Err.StepID != "s" || !strings.Contains(end.Err.Message, "missing") {
				t.Errorf("got %+v, want a failed expression that names the field", end.Err)
			}
			if len(h.calls) != 0 {
				t.Errorf("got calls %v, want none", h.calls)
			}
		})
	}
}

// What steps leave behind is bounded, each and together, however the run is cut into pieces; a step over the limit can be handled.
func TestRun_limits_outputs(t *testing.T) {
	big := strings.Repeat("x", 200<<10)
	set := func(id, expression string) Step {
		return Step{ID: id, Set: &Set{Variables: map[string]string{"v": expression}}}
	}
	t.Run("of_one_step", func(t *testing.T) {
		for name, step := range map[string]Step{
			"set":    set("s", "[event.s, event.s]"),
			"bomb":   set("s", "["+strings.Repeat("event, ", 500)+"event]"),
			"action": act("s", nil),
			"params": act("s", map[string]any{"body": "${[" + strings.Repeat("event, ", 500) + "event]}"}),
		} {
			h := newHarness(t, Definition{Steps: []Step{step}}, `{"s":"`+big+`"}`)
			h.answer = func(Call) Outcome { return Outcome{Output: json.RawMessage(`"` + big + big + `"`)} }
			if end := h.finish(); end.State != Failed || end.Err.Reason != fault.ReasonLimitReached || end.Err.StepID != "s" {
				t.Errorf("%s: got %+v with %+v, want LIMIT_REACHED of s", name, end, end.Err)
			}
		}
	})
	t.Run("of_all_steps", func(t *testing.T) {
		var steps []Step
		for i := range 60 {
			steps = append(steps, set(fmt.Sprintf("s%d", i), "event.s"))
			if i%10 == 9 { // what came before is recorded before a call
				steps = append(steps, act(fmt.Sprintf("a%d", i), nil))
			}
		}
		for _, crashes := range []bool{false, true} {
			h := newHarness(t, Definition{Steps: steps}, `{"s":"`+big+`"}`)
			n := 0
			h.crash = func() bool { n++; return crashes && n%5 == 0 && n < 30 }
			if end := h.finish(); end.State != Failed || end.Err.Reason != fault.ReasonLimitReached || end.Err.StepID != "s40" {
				t.Errorf("crashes %v: got %+v with %+v, want LIMIT_REACHED of s40", crashes, end, end.Err)
			}
		}
	})
	t.Run("handled", func(t *testing.T) {
		step := set("s", "[event.s, event.s]")
		step.OnError.Action = Continue
		h := newHarness(t, Definition{Steps: []Step{step}}, `{"s":"`+big+`"}`)
		if end := h.finish(); end.State != Succeeded {
			t.Errorf("got %+v with %+v, want succeeded", end, end.Err)
		}
	})
}

func TestCompiler_Compile_finds_every_problem(t *testing.T) {
	c, err := NewCompiler(anyAction{})
	if err != nil {
		t.Fatal(err)
	}
	_, violations := c.Compile(Definition{Steps: []Step{
		{ID: "a", Action: &Action{Type: "nope", Connection: "x", Params: map[string]any{"url": "${1 +}"}}},
		{ID: "b", OnlyIf: &Predicate{Expression: "1", Field: ".expression"}, Bulk: &Bulk{Items: "5", Steps: []Step{act("g", map[string]any{"x": "${item.x}", "y": "${itm}"})}}},
		{ID: "c", Condition: &Condition{
			Branches:  []Branch{{When: Predicate{Field: ".rules", Problems: []*expr.RuleError{{Path: ".rules[0].value", Message: "expected a list"}}}}},
			Otherwise: []Step{{ID: "d", Set: &Set{Variables: map[string]string{"v": "evnt.x"}}}},
		}},
		{ID: "e", Delay: &Delay{Until: "true"}, OnError: OnError{Action: Continue, Steps: []Step{act("f", nil)}}},
	}})
	got := map[string]fault.Reason{}
	for _, v := range violations {
		got[v.Field] = v.Reason
	}
	want := map[string]fault.Reason{
		"steps[0].action.type":                                     "UNKNOWN_ACTION_TYPE",
		"steps[0].action.connection":                               "UNKNOWN_CONNECTION",
		"steps[0].action.params.url":                               "EXPRESSION",
		"steps[1].onlyIf.expression":                               "EXPRESSION",
		"steps[1].bulk":                                            "NOT_AVAILABLE",
		"steps[1].bulk.items":                                      "EXPRESSION",
		"steps[1].bulk.steps[0].action.params.y":                   "EXPRESSION",
		"steps[2].condition.branches[0].when.rules.rules[0].value": "FIELD_RULE",
		"steps[2].condition.otherwise[0].set.variables.v":          "EXPRESSION",
		"steps[3].delay.until":                                     "EXPRESSION",
		"steps[3].onError.steps":                                   "FIELD_RULE",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("violations (-want +got):\n%s", diff)
	}
}

// TestRun_crash_changes_nothing holds the promise that a recorded result is never produced again: a run that crashes anywhere, any number
// of times, ends with the journal of a run that never crashed, and calls outside differ only in repeated attempts that were not
// recorded.
func TestRun_crash_changes_nothing(t *testing.T) {
	for seed := range uint64(300) {
		t.Run(fmt.Sprint("seed_", seed), func(t *testing.T) {
			def := randomDefinition(rand.New(rand.NewPCG(seed, 1)))
			calm, rough := newHarness(t, def, `{"data": {"n": 3}}`), newHarness(t, def, `{"data": {"n": 3}}`)
			calm.answer, rough.answer = fixedOutcome(seed), fixedOutcome(seed)
			dice := rand.New(rand.NewPCG(seed, 2))
			rough.crash = func() bool { return dice.IntN(4) == 0 }
			calmEnd, roughEnd := calm.finish(), rough.finish()

			ignoreTimes := cmp.FilterPath(func(p cmp.Path) bool {
				name := p.Last().String()
				return name == ".StartTime" || name == ".EndTime" || name == ".WakeTime" || name == ".Until"
			}, cmp.Ignore())
			if diff := cmp.Diff(calmEnd, roughEnd, ignoreTimes, cmpopts.IgnoreUnexported(Call{})); diff != "" {
				t.Errorf("end (-calm +rough):\n%s", diff)
			}
			if diff := cmp.Diff(calm.journal, rough.journal, ignoreTimes); diff != "" {
				t.Errorf("journal (-calm +rough):\n%s", diff)
			}
			distinct := []string{}
			for _, call := range rough.calls {
				if len(distinct) == 0 || distinct[len(distinct)-1] != call {
					distinct = append(distinct, call)
				}
			}
			if diff := cmp.Diff(calm.calls, distinct, cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("calls (-calm +rough without repeats):\n%s", diff)
			}
		})
	}
}

// fixedOutcome answers a call by its path and attempt alone, as a target would that knows idempotency keys.
func fixedOutcome(seed uint64) func(Call) Outcome {
	return func(c Call) Outcome {
		h := seed
		for _, b := range []byte(c.Path) {
			h = h*31 + uint64(b)
		}
		switch (h + uint64(c.Attempt)) % 5 {
		case 0:
			return Outcome{Err: &Error{Reason: "TARGET_STATUS", Message: "503", Retryable: true}}
		case 1:
			return Outcome{Err: &Error{Reason: "TARGET_STATUS", Message: "404"}}
		default:
			return Outcome{Output: json.RawMessage(fmt.Sprintf(`{"v": %d}`, h%7))}
		}
	}
}

func randomDefinition(dice *rand.Rand) Definition {
	next := 0
	var list func(depth int) []Step
	list = func(depth int) []Step {
		steps := make([]Step, dice.IntN(4)+1)
		for i := range steps {
			next++
			s := Step{ID: fmt.Sprint("s", next), OnError: OnError{Action: Continue}}
			kinds := 6
			if depth == 0 {
				kinds = 5
			}
			switch dice.IntN(kinds) {
			case 0, 1:
				s.Action = &Action{Type: "test", Params: map[string]any{"n": "${event.data.n}"}}
				if depth > 0 && dice.IntN(3) == 0 {
					s.OnError = OnError{Action: Handle, Steps: list(depth - 1)}
				} else if dice.IntN(6) == 0 {
					s.OnError = OnError{Action: Fail}
				}
			case 2:
				s.Set = &Set{Variables: map[string]string{"v": fmt.Sprint(dice.IntN(9))}}
			case 3:
				s.Delay = &Delay{Duration: time.Duration(dice.IntN(3)) * time.Second}
			case 4:
				s.OnlyIf = &Predicate{Expression: []string{"has(vars.v) && vars.v > 4", "event.data.n == 3", "vars.v == 1"}[dice.IntN(3)]}
				s.Action = &Action{Type: "test"}
			case 5:
				s.Condition = &Condition{
					Branches:  []Branch{{Title: "yes", When: when("vars.v > 3"), Steps: list(depth - 1)}},
					Otherwise: list(depth - 1),
				}
			}
			steps[i] = s
		}
		return steps
	}
	return Definition{Steps: list(3)}
}
