package grpcapi

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strconv"
	"strings"
	"time"

	"workflow.uniconnect/pkg/fault"
	workflowv1 "workflow.uniconnect/proto/gen/go/uniconnect/workflow/v1"
	"workflow.uniconnect/services/workflow-catalog/internal/workflow"
)

const reasonWorkflowExists fault.Reason = "WORKFLOW_EXISTS"

// ValidateWorkflow finds everything that is wrong with a workflow, as saving it would, and what is probably not meant.
func (s *Catalog) ValidateWorkflow(ctx context.Context, req *workflowv1.ValidateWorkflowRequest) (*workflowv1.ValidateWorkflowResponse, error) {
	caller, err := callerOf(ctx)
	if err != nil {
		return nil, err
	}
	w := req.GetWorkflow()
	if w == nil {
		return nil, fault.Invalid(fault.Violation{Field: "workflow", Description: "is required"})
	}
	if !isUUID(w.GetId()) && w.GetId() != "" {
		return nil, fault.Invalid(fault.Violation{Field: "id", Description: "must be the id of a workflow, or empty for a new one"})
	}
	w.Id = strings.ToLower(w.GetId()) // as ids are compared
	tenant := workflow.Tenant(caller.Tenant)
	x, err := s.checker.examine(ctx, tenant, w)
	if err != nil {
		return nil, err
	}
	if len(unstorable(&workflowv1.Workflow{Title: w.GetTitle()})) == 0 {
		err := s.catalog.CheckTitle(ctx, tenant, workflow.ID(w.GetId()), w.GetTitle())
		switch {
		case errors.Is(err, workflow.TitleTaken("")):
			x.violations = append(x.violations, fault.Violation{
				Field: "title", Reason: reasonWorkflowExists, Description: "another workflow has this title; choose another one",
			})
		case err != nil:
			return nil, err
		}
	}
	if x.away != nil {
		return nil, x.away
	}
	violations := unique(x.violations)
	problems := slices.Concat(
		problemsOf(violations, workflowv1.Problem_ERROR), problemsOf(unique(x.warnings), workflowv1.Problem_WARNING), warnings(w, time.Now()))
	slices.SortStableFunc(problems, func(a, b *workflowv1.Problem) int { return compareFields(a.GetField(), b.GetField()) })
	return &workflowv1.ValidateWorkflowResponse{Valid: len(violations) == 0, Problems: problems}, nil
}

func problemsOf(violations []fault.Violation, severity workflowv1.Problem_Severity) []*workflowv1.Problem {
	problems := make([]*workflowv1.Problem, len(violations))
	for i, v := range violations {
		problems[i] = &workflowv1.Problem{
			Field: v.Field, Description: v.Description, Reason: string(cmp.Or(v.Reason, fault.ReasonFieldRule)), Severity: severity,
		}
	}
	return problems
}

// compareFields orders paths as people read them: `steps[2]` stands before `steps[10]`.
func compareFields(a, b string) int {
	return slices.CompareFunc(pathParts(a), pathParts(b), func(x, y string) int {
		m, errX := strconv.Atoi(x)
		n, errY := strconv.Atoi(y)
		if errX == nil && errY == nil {
			return cmp.Compare(m, n)
		}
		return strings.Compare(x, y)
	})
}

func pathParts(field string) []string {
	return strings.FieldsFunc(field, func(r rune) bool { return r == '.' || r == '[' || r == ']' })
}
