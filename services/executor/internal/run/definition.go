package run

import (
	"time"

	"workflow.uniconnect/pkg/expr"
)

// Definition is what a revision says about its run.
type Definition struct {
	Steps []Step
	// Retry applies to steps that say nothing themselves.
	Retry RetryPolicy
	// StepTimeout applies likewise; 0 means 30 s.
	StepTimeout time.Duration
}

// Step is one element of a workflow. Exactly one of the kinds is set.
type Step struct {
	ID     string
	OnlyIf *Predicate

	Action    *Action
	Condition *Condition
	Delay     *Delay
	Set       *Set
	Stop      *Stop
	// These are checked and cannot run in this release.
	Bulk         *Bulk
	Parallel     *Parallel
	CallWorkflow *CallWorkflow
	WaitForEvent *WaitForEvent

	Retry   *RetryPolicy
	Timeout time.Duration
	OnError OnError
}

// Action calls something outside.
type Action struct {
	Type       string
	Connection string
	// Params is JSON data whose strings may hold `${…}`.
	Params map[string]any
}

// Condition takes the first branch that holds.
type Condition struct {
	Branches  []Branch
	Otherwise []Step
}

// Branch is one way through a condition.
type Branch struct {
	Title string
	When  Predicate
	Steps []Step
}

// Delay waits for Duration, or until the instant that the expression Until yields.
type Delay struct {
	Duration time.Duration
	Until    string
}

// Set gives variables the values of expressions.
type Set struct {
	Variables map[string]string
}

// Stop ends the run.
type Stop struct {
	Failed  bool
	Message string
}

// Bulk does the same steps for each item of the list Items, or of what the action Query finds.
type Bulk struct {
	Items       string
	Query       *Action
	Steps       []Step
	OnItemError OnError
}

// Parallel does all branches at the same time.
type Parallel struct {
	Branches [][]Step
}

// CallWorkflow starts another workflow.
type CallWorkflow struct {
	// Input is JSON data whose strings may hold `${…}`.
	Input map[string]any
}

// WaitForEvent waits for an event whose Key equals the Value that the run has.
type WaitForEvent struct {
	Key, Value string
	Match      *Predicate
	OnTimeout  []Step
}

// Predicate is a yes-or-no question, a CEL expression.
type Predicate struct {
	Expression string
	// Rules are what the expression was made of; nil when it was written as it is.
	Rules *expr.RuleGroup
	// Field is the place of what was written within the predicate: `.expression` or `.rules`.
	Field string
	// Problems, when there are any, are why there is no expression; their paths go on from Field.
	Problems []*expr.RuleError
}

// ErrorAction is what follows the last failed attempt.
type ErrorAction int8

// The actions; their numbers are those of the contract, whose 0 means Fail.
const (
	Fail ErrorAction = iota + 1
	Continue
	Handle
)

// OnError says what follows the last failed attempt of a step.
type OnError struct {
	Action ErrorAction
	Steps  []Step
}

// RetryPolicy says how often and when a failed attempt is repeated. Zero fields mean the defaults.
type RetryPolicy struct {
	MaxAttempts     int
	InitialInterval time.Duration
	Multiplier      float64
	MaxInterval     time.Duration
	// Jitter is the share of a wait that is random; nil means the default.
	Jitter *float64
}

// Defaults of RetryPolicy and Step, as the contract states them.
const (
	defaultMaxAttempts     = 3
	defaultInitialInterval = time.Second
	defaultMultiplier      = 2.0
	defaultMaxInterval     = time.Minute
	defaultJitter          = 0.2
	defaultStepTimeout     = 30 * time.Second
)
