package grpcapi

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"
	"google.golang.org/protobuf/encoding/protojson"

	"workflow.uniconnect/pkg/fault"
	"workflow.uniconnect/pkg/grpcserver"
	workflowv1 "workflow.uniconnect/proto/gen/go/uniconnect/workflow/v1"
	"workflow.uniconnect/services/workflow-catalog/internal/workflow"
)

// Owner is a service that knows what is wrong with the part of a workflow that it owns.
type Owner interface {
	// Validate finds problems, each with its path from the workflow. An error means that the owner could not be asked.
	Validate(ctx context.Context, tenant workflow.Tenant, w *workflowv1.Workflow) ([]fault.Violation, error)
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
	found = append(found, contractViolations(w)...)
	bare := configOnly(w)
	unfit := unstorable(bare)
	if len(unfit) > 0 {
		// Neither a document nor an owner's call could be made of this.
		found = append(found, unfit...)
		found = append(found, outlineOf(bare, 0).Check()...)
		return workflow.Config{}, fault.Invalid(unique(found)...)
	}
	document, err := protojson.Marshal(bare)
	if err != nil {
		return workflow.Config{}, fmt.Errorf("encode configuration: %w", err)
	}
	config, err := workflow.NewConfig(w.GetTitle(), w.GetDescription(), document)
	if err != nil {
		return workflow.Config{}, err
	}
	outline := outlineOf(bare, len(config.Document))
	config.Calls = outline.Calls()
	domain := outline.Check()
	found = append(found, domain...)
	if !beyondLimits(domain) {
		said, err := c.ask(ctx, tenant, w)
		if err != nil && len(found) == 0 {
			return workflow.Config{}, err
		}
		found = append(found, said...)
		if said, err = c.calls.CheckCalls(ctx, tenant, workflow.ID(w.GetId()), config); err != nil {
			return workflow.Config{}, err
		}
		found = append(found, said...)
	}
	return config, fault.Check(unique(found)...)
}

// beyondLimits reports whether a configuration is too large to be passed on.
func beyondLimits(violations []fault.Violation) bool {
	return slices.ContainsFunc(violations, func(v fault.Violation) bool {
		return v.Reason == fault.ReasonLimitReached || v.Reason == fault.ReasonTooLarge
	})
}

// ask has all owners look at the same time.
func (c *checker) ask(ctx context.Context, tenant workflow.Tenant, w *workflowv1.Workflow) ([]fault.Violation, error) {
	answers := make([][]fault.Violation, len(c.owners))
	var group errgroup.Group
	for i, owner := range c.owners {
		group.Go(func() error {
			var err error
			answers[i], err = owner.Validate(ctx, tenant, w)
			return err
		})
	}
	err := group.Wait()
	return slices.Concat(answers...), err
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

// withoutPrefix drops violations below a field, which is checked by itself.
func withoutPrefix(violations []fault.Violation, field string) []fault.Violation {
	return slices.DeleteFunc(violations, func(v fault.Violation) bool {
		return strings.HasPrefix(v.Field, field+".") || strings.HasPrefix(v.Field, field+"[")
	})
}
