package expr

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"cel.dev/cel-go/cel"
)

const (
	// MaxLength is the longest expression accepted, in bytes.
	MaxLength = 4096
	// maxDepth bounds the recursion of the parser.
	maxDepth = 32
	// costLimit is what one evaluation may cost; see the package comment.
	costLimit = 1_000_000
	// bytesPerCost is how much joined text costs one.
	bytesPerCost = 10
	// MaxFilled is how large the values of a template may be together, in bytes.
	MaxFilled = 2 << 20
	// interruptEvery is how many iterations of a comprehension pass between two looks at the context.
	interruptEvery = 100
)

// ErrTooLarge says that values are larger than there is room for.
var ErrTooLarge = errors.New("the values are too large")

// Type is what an expression yields or a variable holds, as far as it is known before the run.
type Type int

// The types. Any fits every use; it is what JSON data has.
const (
	Any Type = iota
	Bool
	Int
	Double
	String
	Timestamp
	List
	Map
)

func (t Type) cel() *cel.Type {
	switch t {
	case Bool:
		return cel.BoolType
	case Int:
		return cel.IntType
	case Double:
		return cel.DoubleType
	case String:
		return cel.StringType
	case Timestamp:
		return cel.TimestampType
	case List:
		return cel.ListType(cel.DynType)
	case Map:
		return cel.MapType(cel.StringType, cel.DynType)
	default:
		return cel.DynType
	}
}

// Variable is a name that expressions may use.
type Variable struct {
	Name string
	Type Type
	// Schema, when set, is what is known of the value. It decides what compiles and changes nothing about the evaluation.
	Schema *Schema
}

// Env is a set of variables. It is safe for concurrent use.
type Env struct {
	cel   *cel.Env
	typed *typed
	// names are the variables, for people who misspelt one.
	names string
}

// NewEnv declares the variables that expressions see. Where a variable has a schema, an expression that cannot work with values of that
// schema does not compile; fields that the schema does not name may hold anything.
func NewEnv(variables ...Variable) (*Env, error) {
	options := []cel.EnvOption{
		cel.EagerlyValidateDeclarations(true),
		cel.DefaultUTCTimeZone(true),
		cel.CrossTypeNumericComparisons(true),
		cel.ParserRecursionLimit(maxDepth),
		cel.ParserExpressionSizeLimit(MaxLength),
		cel.ASTValidators(cel.ValidateDurationLiterals(), cel.ValidateTimestampLiterals(), cel.ValidateRegexLiterals()),
	}
	names := make([]string, 0, len(variables))
	for _, v := range variables {
		options = append(options, cel.Variable(v.Name, v.Type.cel()))
		names = append(names, v.Name)
	}
	env, err := cel.NewEnv(options...)
	if err != nil {
		return nil, fmt.Errorf("declare variables: %w", err)
	}
	typed, err := newTyped(variables)
	if err != nil {
		return nil, fmt.Errorf("declare the types of variables: %w", err)
	}
	slices.Sort(names)
	return &Env{cel: env, typed: typed, names: strings.Join(names, ", ")}, nil
}
