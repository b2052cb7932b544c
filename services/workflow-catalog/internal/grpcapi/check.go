package grpcapi

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/types/known/structpb"

	"workflow.uniconnect/pkg/fault"
	"workflow.uniconnect/pkg/grpcserver"
	workflowv1 "workflow.uniconnect/proto/gen/go/uniconnect/workflow/v1"
	"workflow.uniconnect/services/workflow-catalog/internal/peer"
	"workflow.uniconnect/services/workflow-catalog/internal/workflow"
)

// Owner is a service that knows what is wrong with the part of a workflow that it owns.
type Owner interface {
	// Validate finds problems, each with its path from the workflow. data is what is known of the event that starts the workflow. An error
	// means that the owner could not be asked.
	Validate(ctx context.Context, tenant workflow.Tenant, w *workflowv1.Workflow, data *structpb.Struct) (peer.Opinion, error)
}

// checker finds everything that is wrong with a workflow at once: by the contract's rules, by the domain's, and by those of the owners
// of trigger and steps.
type checker struct {
	owners []Owner
	calls  CallChecker
}

// CallChecker finds calls of workflows that do not exist or that lead back to the caller, which has no id while it is being created.
type CallChecker interface {
	CheckCalls(ctx context.Context, tenant workflow.Tenant, caller workflow.ID, config workflow.Config) ([]fault.Violation, error)
}

// config returns the configuration that w describes, or every problem with it. found are problems that are known already.
func (c *checker) config(ctx context.Context, tenant workflow.Tenant, w *workflowv1.Workflow, found []fault.Violation) (workflow.Config, error) {
	x, err := c.examine(ctx, tenant, w)
	if err != nil {
		return workflow.Config{}, err
	}
	found = append(found, x.violations...)
	if x.away != nil && len(found) == 0 {
		return workflow.Config{}, x.away
	}
	return x.config, fault.Check(unique(found)...)
}

// examination is what there is to say of a workflow.
type examination struct {
	// config is the workflow's configuration, as far as there is one.
	config     workflow.Config
	violations []fault.Violation
	// warnings keep nothing from being saved.
	warnings []fault.Violation
	// away says that an owner could not be asked, so that there may be more violations.
	away error
}

// examine looks at a workflow from all sides. The error is a failure of ours.
func (c *checker) examine(ctx context.Context, tenant workflow.Tenant, w *workflowv1.Workflow) (examination, error) {
	x := examination{violations: contractViolations(w)}
	bare := configOnly(w)
	if unfit := unstorable(bare); len(unfit) > 0 {
		// Neither a document nor an owner's call could be made of this.
		x.violations = slices.Concat(x.violations, unfit, outlineOf(bare, 0).Check())
		return x, nil
	}
	document, err := protojson.Marshal(bare)
	if err != nil {
		return x, fmt.Errorf("encode configuration: %w", err)
	}
	if x.config, err = workflow.NewConfig(w.GetTitle(), w.GetDescription(), document); err != nil {
		return x, err
	}
	outline := outlineOf(bare, len(x.config.Document))
	x.config.Calls = outline.Calls()
	domain := outline.Check()
	x.violations = append(x.violations, domain...)
	if beyondLimits(domain) {
		return x, nil
	}
	c.ask(ctx, tenant, w, &x)
	said, err := c.calls.CheckCalls(ctx, tenant, workflow.ID(w.GetId()), x.config)
	x.violations = append(x.violations, said...)
	return x, err
}

// beyondLimits reports whether a configuration is too large to be passed on.
func beyondLimits(violations []fault.Violation) bool {
	return slices.ContainsFunc(violations, func(v fault.Violation) bool {
		return v.Reason == fault.ReasonLimitReached || v.Reason == fault.ReasonTooLarge
	})
}

// ask has one owner after the other look: what one knows of the event helps the next.
func (c *checker) ask(ctx context.Context, tenant workflow.Tenant, w *workflowv1.Workflow, x *examination) {
	var data *structpb.Struct
	for _, owner := range c.owners {
		opinion, err := owner.Validate(ctx, tenant, w, data)
		if err != nil {
			// The next may have something to say all the same.
			x.away = err
			continue
		}
		if opinion.DataSchema != nil {
			data = opinion.DataSchema
		}
		x.violations = append(x.violations, opinion.Violations...)
		x.warnings = append(x.warnings, opinion.Warnings...)
	}
}

// contractViolations applies the contract's rules to what people write; the rest of a workflow is ours.
func contractViolations(w *workflowv1.Workflow) []fault.Violation {
	input := configOnly(w)
	input.State = w.GetState()
	return grpcserver.Validate(input)
}

// unique drops what is said of the same field for the same reason before.
func unique(violations []fault.Violation) []fault.Violation {
	type key struct {
		field  string
		reason fault.Reason
	}
	seen := make(map[key]struct{}, len(violations))
	return slices.DeleteFunc(slices.Clone(violations), func(v fault.Violation) bool {
		k := key{v.Field, v.Reason}
		if k.reason == "" {
			k.reason = fault.ReasonFieldRule
		}
		_, twice := seen[k]
		seen[k] = struct{}{}
		return twice
	})
}

// unprefixed names violations below a field as that field's own message names them, which is how REST sees it.
func unprefixed(violations []fault.Violation, field string) []fault.Violation {
	for i := range violations {
		violations[i].Field = strings.TrimPrefix(violations[i].Field, field+".")
	}
	return violations
}

// withoutPrefix drops violations below a field, which is checked by itself.
func withoutPrefix(violations []fault.Violation, field string) []fault.Violation {
	return slices.DeleteFunc(violations, func(v fault.Violation) bool {
		return strings.HasPrefix(v.Field, field+".") || strings.HasPrefix(v.Field, field+"[")
	})
}
