package expr

import (
	"context"
	"fmt"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common"
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/cost"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
)

// Error is a problem of an expression, with its place.
type Error struct {
	// Line counts from 1.
	Line int
	// Column counts characters from 1.
	Column int
	// Message says what is wrong.
	Message string
}

// Error puts the place first, as compilers do.
func (e *Error) Error() string { return fmt.Sprintf("%d:%d: %s", e.Line, e.Column, e.Message) }

// Scope gives the variables their values at evaluation. A value is JSON data as Decode makes it, a time.Time, or a type of CEL.
type Scope interface {
	// Resolve returns the value of a variable, or false when it has none.
	Resolve(name string) (any, bool)
}

// Vars is a Scope of fixed values.
type Vars map[string]any

// Resolve looks the name up.
func (v Vars) Resolve(name string) (any, bool) {
	value, ok := v[name]
	return value, ok
}

// Program is a compiled expression. It is safe for concurrent use.
type Program struct {
	ast     *ast.AST
	program cel.Program
	metered bool
	yields  *types.Type
}

// Compile checks an expression and prepares it. The error is an *Error: where the expression is wrong, or that it yields another type
// than wanted.
func (e *Env) Compile(source string, want Type) (*Program, error) {
	if len(source) > MaxLength {
		return nil, &Error{Line: 1, Column: 1, Message: fmt.Sprintf("the expression has %d bytes, the limit is %d", len(source), MaxLength)}
	}
	checked, issues := e.cel.Compile(source)
	if issues.Err() != nil {
		return nil, e.why(source, issues)
	}
	yields := checked.OutputType()
	if len(e.typed.schemas) > 0 {
		known, problem := e.typed.check(checked.NativeRep(), source)
		if problem != nil {
			return nil, problem
		}
		if yields = known; needsMeter(checked.NativeRep()) {
			if problem := e.tooCostly(checked); problem != nil {
				return nil, problem
			}
		}
	}
	if !fits(yields, want) {
		return nil, &Error{Line: 1, Column: 1, Message: fmt.Sprintf("the expression yields %s, expected %s", words(yields), wanted(want))}
	}
	p := &Program{ast: checked.NativeRep(), metered: needsMeter(checked.NativeRep()), yields: yields}
	options := []cel.ProgramOption{cel.EvalOptions(cel.OptOptimize)}
	if p.metered {
		options = append(options, cel.CostLimit(costLimit), cel.CostTracking(joining{}), cel.InterruptCheckFrequency(interruptEvery))
	}
	var err error
	if p.program, err = e.cel.Program(checked, options...); err != nil {
		return nil, &Error{Line: 1, Column: 1, Message: err.Error()}
	}
	return p, nil
}

// Type is what Eval returns, as far as it is known: a time or a length of time is a string by then.
func (p *Program) Type() Type {
	switch p.yields.Kind() {
	case types.BoolKind:
		return Bool
	case types.IntKind, types.UintKind:
		return Int
	case types.DoubleKind:
		return Double
	case types.StringKind, types.BytesKind, types.TimestampKind, types.DurationKind:
		return String
	case types.ListKind:
		return List
	case types.MapKind, types.StructKind:
		return Map
	default:
		return Any
	}
}

// Eval evaluates the expression and returns JSON data: nil, bool, int64, float64, string, []any or map[string]any. Times and durations
// come as their JSON strings.
func (p *Program) Eval(ctx context.Context, scope Scope) (any, error) {
	value, err := p.eval(ctx, scope)
	if err != nil {
		return nil, err
	}
	return toJSON(value)
}

// EvalBool evaluates an expression that must yield a bool.
func (p *Program) EvalBool(ctx context.Context, scope Scope) (bool, error) {
	value, err := p.eval(ctx, scope)
	if err != nil {
		return false, err
	}
	b, ok := value.(types.Bool)
	if !ok {
		return false, fmt.Errorf("the expression yields %s, expected bool", value.Type().TypeName())
	}
	return bool(b), nil
}

func (p *Program) eval(ctx context.Context, scope Scope) (ref.Val, error) {
	var (
		value ref.Val
		err   error
	)
	if p.metered {
		value, _, err = p.program.ContextEval(ctx, activation{scope})
	} else {
		value, _, err = p.program.Eval(activation{scope})
	}
	if err != nil {
		return nil, fmt.Errorf("evaluate: %w", err)
	}
	return value, nil
}

// activation shows a Scope to CEL.
type activation struct{ scope Scope }

// ResolveName implements cel.Activation.
func (a activation) ResolveName(name string) (any, bool) { return a.scope.Resolve(name) }

// Parent implements cel.Activation.
func (a activation) Parent() cel.Activation { return nil }

// tooCostly refuses an expression that no data could keep below the limit.
func (e *Env) tooCostly(checked *cel.Ast) *Error {
	estimate, err := e.cel.EstimateCost(checked, unknownSizes{})
	if err == nil && estimate.Min > costLimit {
		return &Error{Line: 1, Column: 1, Message: fmt.Sprintf("the expression costs at least %d, the limit is %d", estimate.Min, costLimit)}
	}
	return nil
}

// unknownSizes knows nothing about the sizes of data.
type unknownSizes struct{}

// EstimateSize implements cost.CostEstimator.
func (unknownSizes) EstimateSize(cost.AstNode) *cost.SizeEstimate { return nil }

// EstimateCallCost implements cost.CostEstimator.
func (unknownSizes) EstimateCallCost(string, string, *cost.AstNode, []cost.AstNode) *cost.CallEstimate {
	return nil
}

func columnOf(at common.Location) int { return max(at.Column(), 0) + 1 }

func fits(got *cel.Type, want Type) bool {
	if want == Any || got.Kind() == types.DynKind {
		return true
	}
	return got.Kind() == want.cel().Kind()
}

func needsMeter(tree *ast.AST) bool {
	found := false
	ast.PreOrderVisit(tree.Expr(), ast.NewExprVisitor(func(e ast.Expr) {
		switch e.Kind() {
		case ast.ComprehensionKind:
			found = true
		case ast.CallKind:
			name := e.AsCall().FunctionName()
			found = found || name == "matches" || name == operators.Add
		}
	}))
	return found
}

// joining is the cost of text that a `+` makes: it grows without a comprehension. CEL itself counts it only where the checker knows the
// types, which it does not of data out of JSON. A list is joined without being copied.
type joining struct{}

// CallCost implements interpreter.ActualCostEstimator.
func (joining) CallCost(function, _ string, _ []ref.Val, result ref.Val) *uint64 {
	if function != operators.Add {
		return nil
	}
	cost := uint64(1)
	switch v := result.(type) {
	case types.String:
		cost += uint64(len(v) / bytesPerCost)
	case types.Bytes:
		cost += uint64(len(v) / bytesPerCost)
	}
	return &cost
}
