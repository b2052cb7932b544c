package workflow

import (
	"fmt"
	"strconv"
	"time"

	"workflow.uniconnect/pkg/fault"
)

// The limits of a configuration.
const (
	MaxSteps    = 500
	MaxDepth    = 10
	MaxDocument = 512 << 10
)

const reasonDuplicateID fault.Reason = "DUPLICATE_ID"

// Outline is what the rules of this package need to know of a configuration.
type Outline struct {
	// Start and End are the date range; zero where it is open.
	Start, End time.Time
	Steps      []Step
	// Size is the length of the configuration's document.
	Size int
}

// Step is a step's place in the tree.
type Step struct {
	ID string
	// Calls is the workflow that the step starts, if any.
	Calls ID
	// Blocks are the lists of steps inside.
	Blocks []Block
}

// Block is a list of steps inside a step.
type Block struct {
	// Field is the list's path from the step in JSON form, for example `condition.branches[0].steps`.
	Field string
	Steps []Step
}

// Check finds every breach of the rules that concern the configuration as a whole.
func (o Outline) Check() []fault.Violation {
	var found []fault.Violation
	if !o.Start.IsZero() && !o.End.IsZero() && !o.End.After(o.Start) {
		found = append(found, fault.Violation{
			Field: "dateRange.endTime", Reason: fault.ReasonFieldRule,
			Description: fmt.Sprintf("%s is not after the start, %s", o.End.Format(time.RFC3339), o.Start.Format(time.RFC3339)),
		})
	}
	walk := stepWalk{first: make(map[string]string)}
	walk.list("steps", o.Steps, 1)
	found = append(found, walk.found...)
	if walk.count > MaxSteps {
		found = append(found, fault.Violation{
			Field: "steps", Reason: fault.ReasonLimitReached,
			Description: fmt.Sprintf("%d steps in all, at most %d are allowed", walk.count, MaxSteps),
		})
	}
	if o.Size > MaxDocument {
		found = append(found, fault.Violation{
			Reason:      fault.ReasonTooLarge,
			Description: fmt.Sprintf("the configuration has %d bytes as JSON, at most %d are allowed", o.Size, MaxDocument),
		})
	}
	return found
}

// stepWalk goes through the tree in the order in which people read it.
type stepWalk struct {
	first map[string]string // path of the first step with an id
	count int
	found []fault.Violation
}

func (w *stepWalk) list(field string, steps []Step, depth int) {
	w.count += len(steps)
	if depth > MaxDepth && len(steps) > 0 {
		w.found = append(w.found, fault.Violation{
			Field: field, Reason: fault.ReasonLimitReached,
			Description: fmt.Sprintf("steps nest deeper than %d levels", MaxDepth),
		})
		return
	}
	for i, s := range steps {
		path := field + "[" + strconv.Itoa(i) + "]"
		if before, taken := w.first[s.ID]; taken && s.ID != "" {
			w.found = append(w.found, fault.Violation{
				Field: path + ".id", Reason: reasonDuplicateID,
				Description: fmt.Sprintf("%q is the id of %s already", s.ID, before),
			})
		} else {
			w.first[s.ID] = path
		}
		for _, b := range s.Blocks {
			w.list(path+"."+b.Field, b.Steps, depth+1)
		}
	}
}
