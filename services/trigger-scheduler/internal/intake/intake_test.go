package intake

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"workflow.uniconnect/pkg/fault"
	"workflow.uniconnect/services/trigger-scheduler/internal/deadletter"
	"workflow.uniconnect/services/trigger-scheduler/internal/event"
	"workflow.uniconnect/services/trigger-scheduler/internal/index"
	"workflow.uniconnect/services/trigger-scheduler/internal/predicate"
	"workflow.uniconnect/services/trigger-scheduler/internal/start"
)

// outside is what an intake talks to; each part can be told to fail.
type outside struct {
	answer  func([]start.Start) ([]start.Result, error)
	sizes   []int
	letters []deadletter.Letter
	down    error
	tally   Tally
	traced  []string
	calls   []Call
	ended   int
}

func (o *outside) Start(_ context.Context, starts []start.Start) ([]start.Result, error) {
	o.sizes = append(o.sizes, len(starts))
	return o.answer(starts)
}

func (o *outside) Add(_ context.Context, letters []deadletter.Letter) (int, error) {
	if o.down == nil {
		o.letters = append(o.letters, letters...)
	}
	return 0, o.down
}

func (o *outside) Observe(_ context.Context, t *Tally) { o.tally = *t }

func (o *outside) Trace(_ context.Context, ev *event.Event) (string, Span) {
	o.traced = append(o.traced, ev.Traceparent)
	return "span of " + ev.ID, o
}

func (o *outside) Called(_ context.Context, c Call) { o.calls = append(o.calls, c) }

func (o *outside) End() { o.ended++ }

func (o *outside) JSON(event.Type, []byte) ([]byte, error) { panic("a defect") }

func each(result func(start.Start) start.Result) func([]start.Start) ([]start.Result, error) {
	return func(starts []start.Start) ([]start.Result, error) {
		results := make([]start.Result, len(starts))
		for i, s := range starts {
			results[i] = result(s)
		}
		return results, nil
	}
}

func started(start.Start) start.Result { return start.Result{Outcome: start.Started} }

// newIntake returns an intake with the workflow `w` on call.ended, and `odd` for events with data.odd.
func newIntake(t *testing.T, o *outside) *Intake {
	t.Helper()
	env, err := predicate.NewEnv()
	if err != nil {
		t.Fatal(err)
	}
	x := index.New(env)
	def := func(id, filter string) index.Definition {
		return index.Definition{
			Tenant: "acme", Workflow: start.WorkflowID(id), Active: true, HasSteps: true,
			Trigger: &index.Trigger{Type: "call.ended", Filter: predicate.Source{Expression: filter}},
		}
	}
	if err := x.Apply([]index.Definition{def("w", ""), def("odd", "event.data.odd == true")}); err != nil {
		t.Fatal(err)
	}
	return New(Options{Decoder: event.NewDecoder(o), Registry: event.NewRegistry(), Index: x, Starter: o, Letters: o, Observer: o})
}

func message(id, subject, body string, header ...string) event.Message {
	m := event.Message{
		Subject: "uniconnect.events.acme." + subject, Header: map[string][]string{"ce-id": {id}}, Body: []byte(body),
		Sequence: uint64(len(id)), Time: time.Date(2026, 11, 23, 10, 0, 0, 0, time.UTC),
	}
	for i := 0; i < len(header); i += 2 {
		m.Header[header[i]] = []string{header[i+1]}
	}
	return m
}

func mixed() []event.Message {
	return []event.Message{
		message("plain", "call.ended", `{}`),
		message("both", "call.ended", `{"odd":true}`),
		message("quiet", "call.started", `{}`),
		message("unknown", "call.exploded", `{}`),
		message("broken", "call.ended", `{`),
		message("panics", "call.ended", `x`, "content-type", "application/protobuf"),
	}
}

func TestIntake_Settle(t *testing.T) {
	o := &outside{answer: each(started)}
	verdicts, err := newIntake(t, o).Settle(t.Context(), mixed())
	if err != nil {
		t.Fatal(err)
	}
	if slices.Contains(verdicts, Later) {
		t.Errorf("verdicts: got %v", verdicts)
	}
	if !slices.Equal(o.sizes, []int{3}) {
		t.Errorf("calls: got %v, want one of 3 starts", o.sizes)
	}
	if len(o.letters) != 2 || o.letters[0].EventID != "broken" || o.letters[0].Tenant != "acme" {
		t.Errorf("letters: got %+v", o.letters)
	}
	if o.tally.Received != 6 || o.tally.Matched != 2 || o.tally.NoMatch != 1 || o.tally.UnknownType != 1 || o.tally.Outcomes[start.Started] != 3 {
		t.Errorf("tally: got %+v", o.tally)
	}
}

func TestIntake_Settle_faults(t *testing.T) {
	away := fault.Unavailable("SERVICE_UNAVAILABLE", "away")
	refuse := func(retryable bool) func(start.Start) start.Result {
		return func(s start.Start) start.Result {
			if s.Workflow == "odd" {
				return start.Result{Outcome: start.Refused, Reason: "X", Retryable: retryable}
			}
			return start.Result{Outcome: start.Duplicate}
		}
	}
	cases := map[string]struct {
		answer  func([]start.Start) ([]start.Result, error)
		down    error
		later   []int // indexes of mixed
		letters int
		away    bool
	}{
		"executor_away":     {func([]start.Start) ([]start.Result, error) { return nil, away }, nil, []int{0, 1}, 2, true},
		"letters_away":      {each(started), errors.New("down"), []int{4, 5}, 0, false},
		"retryable_refusal": {each(refuse(true)), nil, []int{1}, 2, false},
		"final_refusal":     {each(refuse(false)), nil, nil, 3, false},
		"workflow_deleted": {each(func(start.Start) start.Result {
			return start.Result{Outcome: start.Refused, Reason: start.ReasonWorkflowDeleted}
		}), nil, nil, 2, false},
		// The first start of the event cannot be taken; what becomes of the second one is still open.
		"letter_beside_an_open_start": {each(func(s start.Start) start.Result {
			return start.Result{Outcome: start.Refused, Reason: "X", Retryable: s.Workflow == "w" && s.Event.ID == "both"}
		}), nil, []int{1}, 4, false},
		"blamed_beside_an_open_start": {func(starts []start.Start) ([]start.Result, error) {
			for _, s := range starts {
				if s.Workflow == "odd" {
					return nil, fault.InvalidArgument("INVALID_FIELDS", "bad")
				}
			}
			return each(func(s start.Start) start.Result {
				return start.Result{Outcome: start.Refused, Reason: "X", Retryable: s.Event.ID == "both"}
			})(starts)
		}, nil, []int{1}, 4, false},
		"unknown_outcome": {each(func(start.Start) start.Result { return start.Result{} }), nil, []int{0, 1}, 2, false},
		"part_of_the_answers": {func(starts []start.Start) ([]start.Result, error) {
			return []start.Result{{Outcome: start.Started}}, away
		}, nil, []int{1}, 2, true},
		"too_few_answers": {func(starts []start.Start) ([]start.Result, error) {
			return []start.Result{{Outcome: start.Started}}, nil
		}, nil, []int{1}, 2, true},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			o := &outside{answer: c.answer, down: c.down}
			verdicts, err := newIntake(t, o).Settle(t.Context(), mixed())
			if got := errors.Is(err, ErrAway); got != c.away {
				t.Errorf("error: got %v", err)
			}
			var later []int
			for i, v := range verdicts {
				if v == Later {
					later = append(later, i)
				}
			}
			if !slices.Equal(later, c.later) || len(o.letters) != c.letters {
				t.Errorf("got %v kept and %d letters, want %v and %d", later, len(o.letters), c.later, c.letters)
			}
			for _, l := range o.letters {
				if strings.Contains(l.Message, "odd") { // it would outlive the workflow
					t.Errorf("a letter names the workflow: %q", l.Message)
				}
			}
		})
	}
}

// TestIntake_Settle_isolates_poison: one event that the executor cannot take must not hold up the others.
func TestIntake_Settle_isolates_poison(t *testing.T) {
	o := &outside{}
	o.answer = func(starts []start.Start) ([]start.Result, error) {
		for _, s := range starts {
			if s.Event.ID == "e13" {
				return nil, fmt.Errorf("start: %w", fault.InvalidArgument("INVALID_FIELDS", "starts[0]: bad"))
			}
		}
		return each(started)(starts)
	}
	var msgs []event.Message
	for i := range 64 {
		msgs = append(msgs, message(fmt.Sprintf("e%d", i), "call.ended", `{}`))
	}
	verdicts, err := newIntake(t, o).Settle(t.Context(), msgs)
	if err != nil || slices.Contains(verdicts, Later) {
		t.Fatalf("got %v, %v", verdicts, err)
	}
	if len(o.letters) != 1 || o.letters[0].EventID != "e13" || o.tally.Outcomes[start.Started] != 63 {
		t.Errorf("got letters %+v and tally %+v", o.letters, o.tally)
	}
	if len(o.sizes) > 16 {
		t.Errorf("%d calls to find one in 64", len(o.sizes))
	}
}

// TestIntake_Settle_isolates_failure: an event on which the executor fails, for whatever reason, comes again; the others do not.
func TestIntake_Settle_isolates_failure(t *testing.T) {
	o := &outside{}
	o.answer = func(starts []start.Start) ([]start.Result, error) {
		for _, s := range starts {
			if s.Event.ID == "e3" || s.Event.ID == "e13" {
				return nil, fault.Internal(fault.ReasonInternal, "internal error")
			}
		}
		return each(started)(starts)
	}
	var msgs []event.Message
	for i := range 64 {
		msgs = append(msgs, message(fmt.Sprintf("e%d", i), "call.ended", `{}`))
	}
	verdicts, err := newIntake(t, o).Settle(t.Context(), msgs)
	if err == nil || errors.Is(err, ErrAway) {
		t.Errorf("error: got %v", err)
	}
	for i, v := range verdicts {
		if want := i != 3 && i != 13; (v == Settled) != want {
			t.Errorf("e%d: settled %v, want %v", i, v == Settled, want)
		}
	}
	if len(o.letters) != 0 {
		t.Errorf("got letters %+v", o.letters)
	}
}

func TestIntake_Settle_traces_sampled_events(t *testing.T) {
	const id = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-"
	var carried []string
	o := &outside{answer: each(func(s start.Start) start.Result {
		carried = append(carried, s.Traceparent)
		return started(s)
	})}
	_, err := newIntake(t, o).Settle(t.Context(), []event.Message{
		message("a", "call.ended", `{}`, "traceparent", id+"01"),
		message("b", "call.ended", `{}`, "traceparent", id+"00"),
		message("c", "call.ended", `{}`, "traceparent", "junk"),
		message("d", "call.started", `{}`, "traceparent", id+"01"),
	})
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(carried, []string{"span of a", id + "00", ""}) || len(o.traced) != 2 || o.ended != 2 {
		t.Errorf("carried %v, traced %v, ended %d", carried, o.traced, o.ended)
	}
	// The event that starts nothing has no part in the call.
	if len(o.calls) != 1 || o.calls[0].Starts != 3 || o.calls[0].Err != nil || o.calls[0].End.Before(o.calls[0].Begin) {
		t.Errorf("calls: got %+v", o.calls)
	}
}

// TestIntake_Restart_traces_sampled_events: it often comes before the consumer does, so that the execution is in its trace.
func TestIntake_Restart_traces_sampled_events(t *testing.T) {
	const id = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-"
	var carried []string
	o := &outside{answer: each(func(s start.Start) start.Result {
		carried = append(carried, s.Traceparent)
		return started(s)
	})}
	err := newIntake(t, o).Restart(t.Context(), []event.Message{
		message("a", "call.ended", `{"odd":true}`, "traceparent", id+"01"),
		message("b", "call.ended", `{"odd":true}`, "traceparent", id+"00"),
		message("other", "call.ended", `{}`, "traceparent", id+"01"),
	}, map[index.ID]struct{}{{Tenant: "acme", Workflow: "odd"}: {}})
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(carried, []string{"span of a", id + "00"}) || len(o.traced) != 1 || o.ended != 1 {
		t.Errorf("carried %v, traced %v, ended %d", carried, o.traced, o.ended)
	}
	if len(o.calls) != 1 || o.calls[0].Starts != 2 {
		t.Errorf("calls: got %+v", o.calls)
	}
}

func TestIntake_Restart(t *testing.T) {
	var got []string
	result := start.Result{Outcome: start.Started}
	o := &outside{answer: each(func(s start.Start) start.Result {
		got = append(got, string(s.Workflow)+"/"+s.Event.ID)
		return result
	})}
	in := newIntake(t, o)
	only := map[index.ID]struct{}{{Tenant: "acme", Workflow: "odd"}: {}}
	if err := in.Restart(t.Context(), mixed(), only); err != nil || !slices.Equal(got, []string{"odd/both"}) || len(o.letters) != 0 {
		t.Errorf("got %v, %d letters, %v", got, len(o.letters), err)
	}
	result = start.Result{Outcome: start.Refused, Reason: "X"}
	if err := in.Restart(t.Context(), mixed(), only); err != nil || len(o.letters) != 1 || o.letters[0].EventID != "both" {
		t.Errorf("a final refusal: got letters %+v, %v", o.letters, err)
	}
	result = start.Result{Outcome: start.Refused, Retryable: true}
	if err := in.Restart(t.Context(), mixed(), only); !errors.Is(err, ErrAway) {
		t.Errorf("a retryable refusal: got %v", err)
	}
}
