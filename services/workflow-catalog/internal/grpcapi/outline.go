package grpcapi

import (
	"fmt"
	"time"

	"github.com/google/uuid"
	"google.golang.org/protobuf/types/known/timestamppb"

	workflowv1 "workflow.uniconnect/proto/gen/go/uniconnect/workflow/v1"
	"workflow.uniconnect/services/workflow-catalog/internal/workflow"
)

// outlineOf returns what the domain's rules need to know of a configuration.
func outlineOf(w *workflowv1.Workflow, size int) workflow.Outline {
	return workflow.Outline{
		Start: instant(w.GetDateRange().GetStartTime()),
		End:   instant(w.GetDateRange().GetEndTime()),
		Steps: outlineSteps(w.GetSteps()),
		Size:  size,
	}
}

func instant(t *timestamppb.Timestamp) time.Time {
	if t == nil || !t.IsValid() {
		return time.Time{}
	}
	return t.AsTime()
}

func outlineSteps(steps []*workflowv1.Step) []workflow.Step {
	out := make([]workflow.Step, len(steps))
	for i, s := range steps {
		out[i] = workflow.Step{ID: s.GetId(), Calls: callee(s), Blocks: outlineBlocks(s)}
	}
	return out
}

// callee returns the workflow that a step starts, if any. An id that is none is a breach of the contract's rules, found elsewhere.
func callee(s *workflowv1.Step) workflow.ID {
	id, err := uuid.Parse(s.GetCallWorkflow().GetWorkflowId())
	if err != nil {
		return ""
	}
	return workflow.ID(id.String())
}

// outlineBlocks names every place in a step that holds steps.
func outlineBlocks(s *workflowv1.Step) []workflow.Block {
	var blocks []workflow.Block
	add := func(field string, steps []*workflowv1.Step) {
		if len(steps) > 0 {
			blocks = append(blocks, workflow.Block{Field: field, Steps: outlineSteps(steps)})
		}
	}
	for i, b := range s.GetCondition().GetBranches() {
		add(fmt.Sprintf("condition.branches[%d].steps", i), b.GetSteps())
	}
	add("condition.otherwise", s.GetCondition().GetOtherwise())
	add("bulk.steps", s.GetBulk().GetSteps())
	add("bulk.onItemError.steps", s.GetBulk().GetOnItemError().GetSteps())
	for i, b := range s.GetParallel().GetBranches() {
		add(fmt.Sprintf("parallel.branches[%d].steps", i), b.GetSteps())
	}
	add("waitForEvent.onTimeout", s.GetWaitForEvent().GetOnTimeout())
	add("onError.steps", s.GetOnError().GetSteps())
	return blocks
}
