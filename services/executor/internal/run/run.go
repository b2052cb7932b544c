package run

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"workflow.uniconnect/pkg/expr"
	"workflow.uniconnect/pkg/fault"
)

// Input is what a run starts with.
type Input struct {
	Tenant      string
	ExecutionID string
	WorkflowID  string
	Title       string
	Revision    int32
	// Event is a JSON object, what expressions see as `event`.
	Event json.RawMessage
	// NominalTime is set for runs of a schedule.
	NominalTime time.Time
	CreateTime  time.Time
}

// Run is one execution under way. It is not safe for concurrent use.
type Run struct {
	in    Input
	scope *scope
	// stack holds the lists of steps under way, the innermost last.
	stack []frame
	// journal holds the last result of each path.
	journal map[string]Result
	pending []Result
	outputs int // bytes of all outputs
	ended   *Command
}

// frame is a list of steps and how far it got.
type frame struct {
	steps []*node
	next  int
}

// New returns a run that goes on behind the recorded results. Results of one path must come in the order of their attempts.
func New(p *Program, in Input, journal []Result) *Run {
	r := &Run{in: in, scope: newScope(in), stack: []frame{{steps: p.root}}}
	if len(journal) > 0 {
		r.journal = make(map[string]Result, len(journal))
	}
	for _, result := range journal {
		r.journal[result.Path] = result
		r.outputs += len(result.Output)
	}
	return r
}

// TakePending returns the results that are not recorded yet and forgets them. They must be recorded before the next Call is executed,
// and together with a Wait or an End.
func (r *Run) TakePending() []Result {
	pending := r.pending
	r.pending = nil
	return pending
}

// Next does what can be done in memory and returns what comes next. It may be called again and answers the same until Done is called
// or time passes.
func (r *Run) Next(ctx context.Context, now time.Time) Command {
	r.scope.now = now
	for r.ended == nil {
		if len(r.stack) == 0 {
			r.end(Succeeded, nil)
			break
		}
		top := &r.stack[len(r.stack)-1]
		if top.next == len(top.steps) {
			r.stack = r.stack[:len(r.stack)-1]
			continue
		}
		n := top.steps[top.next]
		result, known := r.journal[n.path]
		if !known {
			if cmd, ok := r.begin(ctx, n, now); ok {
				return cmd
			}
			continue
		}
		if !result.WakeTime.IsZero() && (result.State == StepWaiting || result.State == StepFailed) {
			if now.Before(result.WakeTime) {
				return Command{Kind: CommandWait, Until: result.WakeTime}
			}
			if cmd, ok := r.wake(ctx, n, result, now); ok {
				return cmd
			}
			continue
		}
		top.next++
		r.pass(n, result)
	}
	return *r.ended
}

// Done takes the outcome of a call.
func (r *Run) Done(c Call, o Outcome) {
	result := Result{
		Path: c.Path, StepID: c.StepID, Attempt: c.Attempt, State: StepSucceeded,
		StartTime: o.StartTime, EndTime: o.EndTime, Output: o.Output,
	}
	if o.Err != nil {
		failure := *o.Err
		failure.StepID = c.StepID
		result.State, result.Err = StepFailed, &failure
		if failure.Retryable && c.Attempt < c.node.retry.maxAttempts {
			result.WakeTime = o.EndTime.Add(c.node.retry.wait(c.IdempotencyKey, c.Attempt, o.RetryAfter))
		}
	}
	r.record(result)
}

// begin starts a step. It reports true with a command when there is something to do outside; otherwise the journal now knows the step.
func (r *Run) begin(ctx context.Context, n *node, now time.Time) (Command, bool) {
	result := Result{Path: n.path, StepID: n.step.ID, Attempt: 1, State: StepSucceeded, StartTime: now, EndTime: now}
	if n.onlyIf != nil {
		holds, problem := r.ask(ctx, n.onlyIf)
		if !holds {
			result.State = StepSkipped
			if problem != nil {
				result.Err = &Error{Reason: reasonExpression, Message: problem.Error(), StepID: n.step.ID}
			}
			r.record(result)
			return Command{}, false
		}
	}
	var err error
	switch {
	case n.step.Action != nil:
		return r.call(ctx, n, 1, now)
	case n.step.Condition != nil:
		result.Output, err = json.Marshal(r.choose(ctx, n))
	case n.step.Set != nil:
		result.Output, err = r.evaluate(ctx, n.variables)
	case n.step.Delay != nil:
		var until time.Time
		if until, err = r.until(ctx, n, now); err == nil && until.After(now) {
			result.State, result.EndTime, result.WakeTime = StepWaiting, time.Time{}, until
		}
	case n.step.Stop != nil:
		result.Output, err = r.stop(ctx, n)
	}
	if err != nil {
		result.State = StepFailed
		result.Err = problem(n, err.Error(), err)
	}
	r.record(result)
	return Command{}, false
}

// problem is the error of a step whose expression err says something about.
func problem(n *node, message string, err error) *Error {
	if errors.Is(err, expr.ErrTooLarge) {
		return &Error{Reason: fault.ReasonLimitReached, Message: message, StepID: n.step.ID}
	}
	return &Error{Reason: reasonExpression, Message: message, StepID: n.step.ID}
}

// wake goes on with a step whose time has come.
func (r *Run) wake(ctx context.Context, n *node, result Result, now time.Time) (Command, bool) {
	if result.State == StepFailed {
		return r.call(ctx, n, result.Attempt+1, now)
	}
	result.State, result.EndTime, result.WakeTime = StepSucceeded, now, time.Time{}
	r.record(result)
	return Command{}, false
}

// call prepares an attempt of an action. Parameters that cannot be filled in fail the step without a call.
func (r *Run) call(ctx context.Context, n *node, attempt int, now time.Time) (Command, bool) {
	filled, err := n.params.Eval(ctx, r.scope)
	if err != nil {
		r.record(Result{
			Path: n.path, StepID: n.step.ID, Attempt: attempt, State: StepFailed, StartTime: now, EndTime: now,
			Err: problem(n, "params"+err.Error(), err),
		})
		return Command{}, false
	}
	params, _ := filled.(map[string]any) // a template keeps the shape of the map it was compiled from
	return Command{Kind: CommandCall, Call: Call{
		Path: n.path, StepID: n.step.ID, Action: n.step.Action.Type, Connection: n.step.Action.Connection,
		Params: params, Attempt: attempt, IdempotencyKey: r.in.ExecutionID + ":" + n.path, Timeout: n.timeout, node: n,
	}}, true
}

// pass goes past a step whose result is final, into the steps that follow from it.
func (r *Run) pass(n *node, result Result) {
	r.scope.keep(result)
	switch result.State {
	case StepFailed:
		switch n.step.OnError.Action {
		case Continue:
		case Handle:
			r.stack = append(r.stack, frame{steps: n.handler})
		default:
			r.end(Failed, result.Err)
		}
	case StepCancelled:
		r.end(Cancelled, nil)
	case StepSucceeded:
		r.follow(n, result)
	}
}

func (r *Run) follow(n *node, result Result) {
	switch {
	case n.step.Condition != nil:
		var chosen choice
		if err := json.Unmarshal(result.Output, &chosen); err != nil || chosen.Branch >= len(n.branches) {
			r.end(Failed, &Error{Reason: reasonExpression, Message: "the recorded choice does not fit the revision", StepID: n.step.ID})
			return
		}
		steps := n.otherwise
		if chosen.Branch >= 0 {
			steps = n.branches[chosen.Branch].steps
		}
		r.stack = append(r.stack, frame{steps: steps})
	case n.step.Set != nil:
		if err := r.scope.set(result.Output); err != nil {
			r.end(Failed, &Error{Reason: reasonExpression, Message: err.Error(), StepID: n.step.ID})
		}
	case n.step.Stop != nil:
		if !n.step.Stop.Failed {
			r.end(Succeeded, nil)
			return
		}
		var said stopped
		_ = json.Unmarshal(result.Output, &said) // without the message the run ends all the same
		r.end(Failed, &Error{Reason: reasonStopped, Message: said.Message, StepID: n.step.ID})
	}
}

// choice is the output of a condition: the number of the branch, -1 for otherwise. Problems say which branches could not be asked; such
// a branch does not hold, as a filter that fails does not match.
type choice struct {
	Branch   int      `json:"branch"`
	Title    string   `json:"title"`
	Problems []string `json:"problems,omitempty"`
}

func (r *Run) choose(ctx context.Context, n *node) choice {
	c := choice{Branch: -1, Title: "otherwise"}
	for i, b := range n.branches {
		holds, problem := r.ask(ctx, b.when)
		if problem != nil {
			c.Problems = append(c.Problems, fmt.Sprintf("branches[%d]: %v", i, problem))
		}
		if holds {
			c.Branch, c.Title = i, b.title
			break
		}
	}
	return c
}

// ask evaluates a predicate. One that fails, as over a missing field, does not hold.
func (r *Run) ask(ctx context.Context, p *expr.Program) (bool, error) {
	holds, err := p.EvalBool(ctx, r.scope)
	return holds && err == nil, err
}

func (r *Run) evaluate(ctx context.Context, variables []variable) (json.RawMessage, error) {
	values := make(map[string]any, len(variables))
	// A value may hold the same part many times, so it is measured before it is written. The measure is rough; the output has its own limit.
	room := 4 * maxOutput
	for _, v := range variables {
		value, err := v.value.Eval(ctx, r.scope)
		if err == nil {
			if room -= expr.Size(value, room); room < 0 {
				err = expr.ErrTooLarge
			}
		}
		if err != nil {
			return nil, fmt.Errorf("variable %s: %w", v.name, err)
		}
		values[v.name] = value
	}
	return json.Marshal(values)
}

func (r *Run) until(ctx context.Context, n *node, now time.Time) (time.Time, error) {
	if n.until == nil {
		return now.Add(n.step.Delay.Duration), nil
	}
	value, err := n.until.Eval(ctx, r.scope)
	if err != nil {
		return time.Time{}, err
	}
	text, ok := value.(string)
	if !ok {
		return time.Time{}, fmt.Errorf("the expression yields %T, expected a timestamp", value)
	}
	// A timestamp out of JSON data is text as well.
	until, err := time.Parse(time.RFC3339Nano, text)
	if err != nil {
		return time.Time{}, fmt.Errorf("the expression yields %q, expected a timestamp: %w", text, err)
	}
	return until, nil
}

// stopped is the output of a Stop step.
type stopped struct {
	Message string `json:"message"`
}

func (r *Run) stop(ctx context.Context, n *node) (json.RawMessage, error) {
	message, err := n.message.Eval(ctx, r.scope)
	if err != nil {
		return nil, err
	}
	text, ok := message.(string)
	if !ok {
		raw, err := json.Marshal(message)
		if err != nil {
			return nil, fmt.Errorf("write message: %w", err)
		}
		text = string(raw)
	}
	return json.Marshal(stopped{text})
}

// record makes a result known. One whose output is too large fails the step and leaves nothing behind.
func (r *Run) record(result Result) {
	why := ""
	switch size := len(result.Output); {
	case size > maxOutput:
		why = fmt.Sprintf("the output has %d bytes, the limit is %d", size, maxOutput)
	case r.outputs+size > maxOutputs:
		why = fmt.Sprintf("the outputs of all steps have %d bytes together, the limit is %d", r.outputs+size, maxOutputs)
	}
	if why != "" {
		result.State, result.Output = StepFailed, nil
		result.Err = &Error{Reason: fault.ReasonLimitReached, StepID: result.StepID, Message: why}
	}
	r.outputs += len(result.Output)
	if r.journal == nil {
		r.journal = map[string]Result{}
	}
	r.journal[result.Path] = result
	for i := range r.pending {
		if r.pending[i].Path == result.Path && r.pending[i].Attempt == result.Attempt {
			r.pending[i] = result
			return
		}
	}
	r.pending = append(r.pending, result)
}

func (r *Run) end(state ExecState, err *Error) {
	r.ended = &Command{Kind: CommandEnd, State: state, Err: err}
}
