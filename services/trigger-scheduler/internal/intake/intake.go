// Package intake owns what happens to a batch of messages: they are decoded and matched, what they start is sent in one call, what cannot be
// used is set aside, and each message gets a verdict. It does not know how messages arrive nor how starts travel.
//
// A message is Settled when nothing that it could still cause depends on the stream: every start has a final answer, or the dead letter
// is stored. Only then may it be acked. A crash in between repeats it, and the start keys turn the repeat into the same answers.
package intake

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"workflow.uniconnect/pkg/fault"
	"workflow.uniconnect/services/trigger-scheduler/internal/deadletter"
	"workflow.uniconnect/services/trigger-scheduler/internal/event"
	"workflow.uniconnect/services/trigger-scheduler/internal/index"
	"workflow.uniconnect/services/trigger-scheduler/internal/start"
)

// Verdict is what becomes of a message.
type Verdict uint8

// The verdicts. The zero value keeps the message.
const (
	Later   Verdict = iota // to be delivered again
	Settled                // to be acked
)

// ErrAway says that starts cannot be answered now; pulling more messages would only turn them round.
var ErrAway = errors.New("the executor is away")

// errFails says that the executor answers, but not about this start.
var errFails = errors.New("the executor fails on a start")

// Starter settles starts.
type Starter interface {
	// Start returns the answers in order. With an error it returns those it has got, for the first of starts.
	Start(ctx context.Context, starts []start.Start) ([]start.Result, error)
}

// Letters keeps dead letters.
type Letters interface {
	// Add stores letters; one that is stored already stays as it is. Those of tenants that were deleted are dropped and counted.
	Add(ctx context.Context, letters []deadletter.Letter) (dropped int, err error)
}

// Observer is told what happens, once per batch.
type Observer interface {
	Observe(ctx context.Context, t *Tally)
	// Trace begins a span for an event whose trace is sampled, and returns the trace context to go on with.
	Trace(ctx context.Context, ev *event.Event) (traceparent string, span Span)
}

// Span is open for as long as an event is handled.
type Span interface {
	// Called reports that the executor was asked for what the event starts.
	Called(ctx context.Context, c Call)
	End()
}

// Call is how the executor was asked for the starts of a batch.
type Call struct {
	Begin, End time.Time
	// Starts is how many there were, of all events.
	Starts int
	// Err tells that not every start was answered.
	Err error
}

// Tally counts what happened to a batch.
type Tally struct {
	Received, Matched, FilterErrors, KeyErrors int
	// Batch is how many starts were sent.
	Batch int
	// Dropped counts events that started nothing, by reason.
	NoMatch, UnknownType, TenantDeleted int
	Letters                             map[fault.Reason]int
	Outcomes                            map[start.Outcome]int
}

// Options holds what an Intake works with. All are required.
type Options struct {
	Decoder  *event.Decoder
	Registry *event.Registry
	Index    *index.Index
	Starter  Starter
	Letters  Letters
	Observer Observer
}

// Intake settles batches. It is safe for concurrent use.
type Intake struct {
	Options
}

// New returns an intake.
func New(opts Options) *Intake { return &Intake{Options: opts} }

// batch is the state of one Settle.
type batch struct {
	*Intake
	msgs    []event.Message
	open    []int // per message, how much of what it causes is not settled yet
	events  []event.Event
	starts  []start.Start
	owner   []int // index of the message of each start
	letters []deadletter.Letter
	authors []int  // index of the message of each letter
	spans   []Span // of the sampled events that start something
	tally   Tally
}

func (in *Intake) newBatch(msgs []event.Message) *batch {
	return &batch{
		Intake: in, msgs: msgs, open: make([]int, len(msgs)), events: make([]event.Event, len(msgs)), tally: Tally{Received: len(msgs)},
	}
}

// Settle handles msgs and returns a verdict for each. The error is the executor's or that of the letters' store; the verdicts hold in any
// case.
func (in *Intake) Settle(ctx context.Context, msgs []event.Message) ([]Verdict, error) {
	b := in.newBatch(msgs)
	for i := range msgs {
		b.match(ctx, i)
	}
	err := b.settle(ctx)
	in.Observer.Observe(ctx, &b.tally)
	verdicts := make([]Verdict, len(msgs))
	for i, open := range b.open {
		if open == 0 {
			verdicts[i] = Settled
		}
	}
	return verdicts, err
}

// settle sends the starts and keeps the letters, those of refused starts among them.
func (b *batch) settle(ctx context.Context) error {
	awayErr := b.start(ctx)
	err := errors.Join(awayErr, b.keepLetters(ctx))
	for _, span := range b.spans {
		span.End()
	}
	return err
}

// match decodes message i and finds its starts.
func (b *batch) match(ctx context.Context, i int) {
	m, ev := &b.msgs[i], &b.events[i]
	if problem := b.Decoder.Decode(m, ev); problem != nil {
		b.setAside(i, problem)
		return
	}
	if !b.Registry.Known(ev.Type) {
		b.tally.UnknownType++
		return
	}
	var span Span
	if sampled(ev.Traceparent) {
		ev.Traceparent, span = b.Observer.Trace(ctx, ev)
	}
	before := len(b.starts)
	matched := b.Index.Match(ctx, ev, b.starts)
	b.starts = matched.Starts
	b.tally.FilterErrors += matched.FilterErrors
	b.tally.KeyErrors += matched.KeyErrors
	if len(b.starts) == before {
		b.tally.NoMatch++
		if span != nil {
			span.End()
		}
		return
	}
	b.tally.Matched++
	b.own(i)
	if span != nil {
		b.spans = append(b.spans, span)
	}
}

// own notes that the starts added last are those of message i.
func (b *batch) own(i int) {
	for len(b.owner) < len(b.starts) {
		b.owner = append(b.owner, i)
		b.open[i]++
	}
}

// setAside makes a dead letter of message i; one is enough.
func (b *batch) setAside(i int, problem *event.Problem) {
	if n := len(b.authors); n > 0 && b.authors[n-1] == i {
		return
	}
	b.open[i]++
	b.letters = append(b.letters, deadletter.New(&b.msgs[i], &b.events[i], problem))
	b.authors = append(b.authors, i)
	if b.tally.Letters == nil {
		b.tally.Letters = make(map[fault.Reason]int)
	}
	b.tally.Letters[problem.Reason]++
}

func (b *batch) keepLetters(ctx context.Context) error {
	if len(b.letters) == 0 {
		return nil
	}
	dropped, err := b.Letters.Add(ctx, b.letters)
	if err != nil {
		return fmt.Errorf("store dead letters: %w", err)
	}
	b.tally.TenantDeleted += dropped
	for _, i := range b.authors {
		b.open[i]--
	}
	return nil
}

// start sends the starts. Those without a final answer keep their messages; a final refusal makes a dead letter, since the event would
// otherwise be gone without a trace, unless the workflow is gone itself.
func (b *batch) start(ctx context.Context) error {
	if len(b.starts) == 0 {
		return nil
	}
	b.tally.Batch = len(b.starts)
	b.tally.Outcomes = make(map[start.Outcome]int)
	begin := time.Now()
	answers, err := b.send(ctx, b.starts)
	if len(b.spans) > 0 {
		call := Call{Begin: begin, End: time.Now(), Starts: len(b.starts), Err: err}
		for _, span := range b.spans {
			span.Called(ctx, call)
		}
	}
	for k := range answers {
		a, i := &answers[k], b.owner[k]
		b.tally.Outcomes[a.Outcome]++
		if a.final() {
			b.open[i]--
		}
		if problem := a.setsAside(); problem != nil {
			b.setAside(i, problem)
		}
	}
	return err
}

// answer is a result, or the problem for which the event behind the start is set aside.
type answer struct {
	start.Result
	problem *event.Problem
}

// final reports whether sending the start again could change nothing.
func (a *answer) final() bool { return a.Outcome != "" && (a.Outcome != start.Refused || !a.Retryable) }

// setsAside returns the problem for which the event must become a dead letter, or nil. A letter outlives the workflow, so it does not
// name it: nothing may keep the id of a workflow that was deleted.
func (a *answer) setsAside() *event.Problem {
	if a.problem != nil || a.Outcome != start.Refused || a.Retryable || a.Reason == start.ReasonWorkflowDeleted {
		return a.problem
	}
	return &event.Problem{Reason: a.Reason, Message: "the executor refused to start a workflow with this event"}
}

// send gets answers. A batch that fails as a whole for what it may hold is halved until the culprit stands alone, so that the others are
// not held up by it: a start whose content is to blame makes a dead letter, one on which the executor fails stays open.
func (in *Intake) send(ctx context.Context, starts []start.Start) ([]answer, error) {
	results, err := in.Starter.Start(ctx, starts)
	answers := make([]answer, 0, len(starts))
	for _, r := range results {
		answers = append(answers, answer{Result: r})
	}
	rest := starts[len(results):]
	if err == nil {
		if len(rest) > 0 {
			return answers, fmt.Errorf("%w: %d of %d starts were not answered", ErrAway, len(rest), len(starts))
		}
		return answers, nil
	}
	blamed := blamesContent(err)
	switch {
	case !blamed && fault.KindOf(err) != fault.KindInternal || len(rest) == 0:
		return answers, fmt.Errorf("%w: %w", ErrAway, err)
	case len(rest) == 1 && blamed:
		problem := &event.Problem{Reason: event.ReasonAttribute, Message: "the executor cannot take the event: " + publicText(err)}
		return append(answers, answer{Result: start.Result{Outcome: start.Refused, Reason: event.ReasonAttribute}, problem: problem}), nil
	case len(rest) == 1:
		return append(answers, answer{}), fmt.Errorf("%w: %w", errFails, err)
	}
	var failure error
	for _, half := range [][]start.Start{rest[:len(rest)/2], rest[len(rest)/2:]} {
		more, err := in.send(ctx, half)
		answers = append(answers, more...)
		if errors.Is(err, ErrAway) {
			return answers, err
		}
		failure = cmp.Or(failure, err)
	}
	return answers, failure
}

func blamesContent(err error) bool {
	f, ok := fault.As(err)
	return ok && (f.Kind == fault.KindInvalidArgument || f.Kind == fault.KindResourceExhausted && f.Reason == fault.ReasonTooLarge)
}

func publicText(err error) string {
	if f, ok := fault.As(err); ok {
		return f.Message
	}
	return "unknown"
}

// Restart starts what msgs start of the workflows in only, for a re-read of the stream. What is no event is not set aside here, since that
// is done where the message is consumed. It fails unless everything is settled.
func (in *Intake) Restart(ctx context.Context, msgs []event.Message, only map[index.ID]struct{}) error {
	b := in.newBatch(msgs)
	var found []start.Start
	for i := range msgs {
		if problem := in.Decoder.Decode(&msgs[i], &b.events[i]); problem != nil || !in.Registry.Known(b.events[i].Type) {
			continue
		}
		before := len(b.starts)
		found = in.Index.Match(ctx, &b.events[i], found[:0]).Starts
		for _, s := range found {
			if _, ok := only[index.ID{Tenant: s.Tenant, Workflow: s.Workflow}]; ok {
				b.starts = append(b.starts, s)
			}
		}
		b.own(i)
		if added := b.starts[before:]; len(added) > 0 && sampled(b.events[i].Traceparent) {
			b.traceAgain(ctx, &b.events[i], added)
		}
	}
	if err := b.settle(ctx); err != nil {
		return err
	}
	if slices.Max(append(b.open, 0)) > 0 {
		return fmt.Errorf("%w: a start was refused for now", ErrAway)
	}
	return nil
}

// traceAgain begins a span for an event of a re-read, of which few start anything; it begins therefore once there are starts.
func (b *batch) traceAgain(ctx context.Context, ev *event.Event, starts []start.Start) {
	traceparent, span := b.Observer.Trace(ctx, ev)
	for k := range starts {
		starts[k].Traceparent = traceparent
	}
	b.spans = append(b.spans, span)
}

// sampled reads the flag at the end of a W3C traceparent, which the decoder has checked. The last bit of a hexadecimal digit is that of its
// character for 0 to 9, and the other one for a to f.
func sampled(traceparent string) bool {
	if traceparent == "" {
		return false
	}
	c := traceparent[len(traceparent)-1]
	return (c >= 'a') != (c&1 == 1)
}
