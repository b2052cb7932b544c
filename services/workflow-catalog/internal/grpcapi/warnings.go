package grpcapi

import (
	"fmt"
	"time"

	"workflow.uniconnect/pkg/fault"
	workflowv1 "workflow.uniconnect/proto/gen/go/uniconnect/workflow/v1"
)

const (
	reasonRangeOver fault.Reason = "RANGE_OVER"
	reasonNoSteps   fault.Reason = "NO_STEPS"
)

// warnings returns what is allowed in a configuration and probably not meant.
func warnings(w *workflowv1.Workflow, now time.Time) []*workflowv1.Problem {
	var found []*workflowv1.Problem
	add := func(field string, reason fault.Reason, description string) {
		found = append(found, &workflowv1.Problem{
			Field: field, Reason: string(reason), Description: description, Severity: workflowv1.Problem_WARNING,
		})
	}
	if end := instant(w.GetDateRange().GetEndTime()); !end.IsZero() && !end.After(now) {
		add("dateRange.endTime", reasonRangeOver,
			fmt.Sprintf("the date range is over since %s: nothing starts the workflow any more", end.Format(time.RFC3339)))
	}
	if len(w.GetSteps()) == 0 {
		add("steps", reasonNoSteps, "the workflow has no steps: it starts nothing")
	}
	return found
}
