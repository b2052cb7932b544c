package grpcapi

import (
	"context"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/structpb"

	"workflow.uniconnect/pkg/fault"
	workflowv1 "workflow.uniconnect/proto/gen/go/uniconnect/workflow/v1"
	"workflow.uniconnect/services/workflow-catalog/internal/peer"
	"workflow.uniconnect/services/workflow-catalog/internal/workflow"
)

// opinionated is an owner that answers always the same and keeps what it was told.
type opinionated struct {
	peer.Opinion
	err   error
	asked int
	told  *structpb.Struct
}

func (o *opinionated) Validate(_ context.Context, _ workflow.Tenant, _ *workflowv1.Workflow, data *structpb.Struct) (peer.Opinion, error) {
	o.asked++
	o.told = data
	return o.Opinion, o.err
}

type noCalls struct{}

func (noCalls) CheckCalls(context.Context, workflow.Tenant, workflow.ID, workflow.Config) ([]fault.Violation, error) {
	return nil, nil
}

func TestChecker_asks_one_owner_after_the_other(t *testing.T) {
	data := &structpb.Struct{Fields: map[string]*structpb.Value{"type": structpb.NewStringValue("object")}}
	away := errors.New("away")
	problem := fault.Violation{Field: "steps[0].action.type", Description: "is not known", Reason: "UNKNOWN_ACTION_TYPE"}
	good := &workflowv1.Workflow{Title: "A", Trigger: &workflowv1.Trigger{Kind: &workflowv1.Trigger_Manual{Manual: &workflowv1.ManualTrigger{}}}}
	for name, c := range map[string]struct {
		triggers, steps opinionated
		told            *structpb.Struct
		want            error
	}{
		"both_are_content":           {triggers: opinionated{Opinion: peer.Opinion{DataSchema: data}}, told: data},
		"nothing_known_of_the_event": {},
		"steps_are_wrong": {
			triggers: opinionated{Opinion: peer.Opinion{DataSchema: data}}, steps: opinionated{Opinion: peer.Opinion{Violations: []fault.Violation{problem}}},
			told: data, want: fault.Invalid(problem),
		},
		"only_warnings":               {steps: opinionated{Opinion: peer.Opinion{Warnings: []fault.Violation{problem}}}},
		"owner_of_the_trigger_away":   {triggers: opinionated{err: away}, want: away},
		"owner_of_the_steps_away":     {triggers: opinionated{Opinion: peer.Opinion{DataSchema: data}}, steps: opinionated{err: away}, told: data, want: away},
		"wrong_whoever_else_may_know": {triggers: opinionated{err: away}, steps: opinionated{Opinion: peer.Opinion{Violations: []fault.Violation{problem}}}, want: fault.Invalid(problem)},
	} {
		t.Run(name, func(t *testing.T) {
			checks := checker{owners: []Owner{&c.triggers, &c.steps}, calls: noCalls{}}
			_, err := checks.config(t.Context(), "acme", good, nil)
			if !errors.Is(err, c.want) {
				t.Errorf("got %v, want %v", err, c.want)
			}
			if c.triggers.asked != 1 || c.steps.asked != 1 {
				t.Errorf("asked %d and %d times, want each once", c.triggers.asked, c.steps.asked)
			}
			if diff := cmp.Diff(c.told, c.steps.told, protocmp.Transform()); diff != "" {
				t.Errorf("what the owner of the steps is told (-want +got):\n%s", diff)
			}
		})
	}
}

func TestCompareFields(t *testing.T) {
	order := []string{"", "dateRange.endTime", "steps", "steps[2].action", "steps[2].action.type", "steps[10].action", "title", "trigger"}
	for i, a := range order {
		for j, b := range order {
			if got := compareFields(a, b); (got < 0) != (i < j) || (got > 0) != (i > j) {
				t.Errorf("%q and %q: got %d", a, b, got)
			}
		}
	}
}
