// Package remote reaches the services that executor depends on: the definitions and the grants of workflow-catalog.
package remote

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"
	"google.golang.org/grpc"

	"workflow.uniconnect/pkg/access"
	"workflow.uniconnect/pkg/auth"
	"workflow.uniconnect/pkg/fault"
	peerv1 "workflow.uniconnect/proto/gen/go/uniconnect/workflow/peer/v1"
	workflowv1 "workflow.uniconnect/proto/gen/go/uniconnect/workflow/v1"
	"workflow.uniconnect/services/executor/internal/definition"
	"workflow.uniconnect/services/executor/internal/engine"
	"workflow.uniconnect/services/executor/internal/execution"
	"workflow.uniconnect/services/executor/internal/run"
)

const (
	// cacheSize is how many compiled revisions each of the cache's two generations holds.
	cacheSize = 2048
	// fetchTimeout bounds a fetch that several executions may wait for.
	fetchTimeout = 5 * time.Second
)

type revisionKey struct {
	tenant   string
	workflow execution.WorkflowID
	revision int32
}

// Revisions fetches revisions from the catalog and compiles them. A revision never changes, so what was compiled is kept while it is used;
// many executions that ask for the same one at once cost a single fetch. It is safe for concurrent use.
type Revisions struct {
	client   peerv1.DefinitionServiceClient
	compiler *run.Compiler
	flights  singleflight.Group

	mu         sync.Mutex
	young, old map[revisionKey]engine.Revision
}

// NewRevisions returns a client on conn, whose errors must be faults, as package grpcclient makes them.
func NewRevisions(conn grpc.ClientConnInterface, compiler *run.Compiler) *Revisions {
	return &Revisions{
		client: peerv1.NewDefinitionServiceClient(conn), compiler: compiler,
		young: make(map[revisionKey]engine.Revision),
	}
}

// Program returns a revision ready to run.
func (r *Revisions) Program(ctx context.Context, tenant string, workflow execution.WorkflowID, revision int32) (engine.Revision, error) {
	key := revisionKey{tenant, workflow, revision}
	if known, ok := r.cached(key); ok {
		return known, nil
	}
	answer := r.flights.DoChan(fmt.Sprintf("%s/%s/%d", tenant, workflow, revision), func() (any, error) {
		// Whoever came first may give up; the others still want the answer.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), fetchTimeout)
		defer cancel()
		w, err := r.fetch(ctx, tenant, workflow, revision)
		if err != nil {
			return nil, err
		}
		program, violations := r.compiler.Compile(definition.FromProto(w))
		if len(violations) > 0 {
			return nil, fault.Invalid(violations...)
		}
		compiled := engine.Revision{Program: program, Title: w.GetTitle()}
		r.keep(key, compiled)
		return compiled, nil
	})
	select {
	case result := <-answer:
		if result.Err != nil {
			return engine.Revision{}, result.Err
		}
		compiled, ok := result.Val.(engine.Revision)
		if !ok {
			return engine.Revision{}, errors.New("a flight brought something else than a revision")
		}
		return compiled, nil
	case <-ctx.Done():
		return engine.Revision{}, ctx.Err()
	}
}

// Current returns the workflow as it is now, with its state.
func (r *Revisions) Current(ctx context.Context, tenant string, workflow execution.WorkflowID) (*workflowv1.Workflow, error) {
	return r.fetch(ctx, tenant, workflow, 0)
}

// fetch asks the catalog. A request that the catalog finds invalid is our defect and not the definition's.
func (r *Revisions) fetch(ctx context.Context, tenant string, workflow execution.WorkflowID, revision int32) (*workflowv1.Workflow, error) {
	resp, err := r.client.GetRevision(ctx, &peerv1.GetRevisionRequest{Tenant: tenant, WorkflowId: workflow.String(), Revision: revision})
	switch {
	case err == nil:
		return resp.GetWorkflow(), nil
	case fault.KindOf(err) == fault.KindInvalidArgument:
		return nil, fault.Internal(fault.ReasonInternal, "internal error").WithCause(fmt.Errorf("fetch revision: %w", err))
	}
	return nil, fmt.Errorf("fetch revision: %w", err)
}

func (r *Revisions) cached(key revisionKey) (engine.Revision, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if v, ok := r.young[key]; ok {
		return v, true
	}
	v, ok := r.old[key]
	if ok {
		r.put(key, v)
	}
	return v, ok
}

func (r *Revisions) keep(key revisionKey, v engine.Revision) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.put(key, v)
}

// put must be called with the lock held. A full young generation becomes the old one, and what the old one held and nobody asked for
// since is dropped.
func (r *Revisions) put(key revisionKey, v engine.Revision) {
	if len(r.young) >= cacheSize {
		r.old, r.young = r.young, make(map[revisionKey]engine.Revision, cacheSize)
	}
	r.young[key] = v
}

// Grants returns the function that asks the catalog for a user's grants.
func Grants(conn grpc.ClientConnInterface) access.GrantsFunc {
	client := peerv1.NewGrantsServiceClient(conn)
	return func(ctx context.Context, who auth.Principal) (access.Grants, error) {
		resp, err := client.GetGrants(ctx, &peerv1.GetGrantsRequest{Tenant: who.Tenant, Subject: who.Subject, TokenRoles: who.Roles})
		if err != nil {
			return access.Grants{}, fmt.Errorf("fetch grants: %w", err)
		}
		quotas := resp.GetQuotas()
		g := access.Grants{
			TenantClosed: resp.GetTenantClosed(), ModuleEnabled: resp.GetModuleEnabled(),
			Permissions: make(map[string]struct{}, len(resp.GetPermissions())),
			Quotas: access.Quotas{
				RequestsPerSecond: int(quotas.GetRequestsPerSecond()), Workflows: int(quotas.GetWorkflows()), Streams: int(quotas.GetStreams()),
			},
		}
		for _, p := range resp.GetPermissions() {
			g.Permissions[access.PermissionName(p)] = struct{}{}
		}
		return g, nil
	}
}
