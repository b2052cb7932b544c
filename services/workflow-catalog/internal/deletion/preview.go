package deletion

import (
	"context"
	"time"

	"workflow.uniconnect/services/workflow-catalog/internal/workflow"
)

// Preview is what goes with a workflow, and who would miss it.
type Preview struct {
	Holdings
	Unfinished
}

// Holdings is what the catalog has of a workflow.
type Holdings struct {
	Title, ETag        string
	Revisions, Backups int
	Draft              bool
	// Callers are workflows that call this one, a limited number of them.
	Callers []Caller
}

// Caller is a workflow that calls another.
type Caller struct {
	ID    workflow.ID
	Title string
	State workflow.State
}

// Unfinished is what runs of a workflow.
type Unfinished struct {
	// Count is how many executions have not ended.
	Count int
	// Executions are some of them, those that wait first.
	Executions []Execution
}

// Execution is one that has not ended.
type Execution struct {
	ID string
	// StepPath is where it stands; empty before the first step.
	StepPath string
	// WakeTime is when it goes on by itself; zero while it runs or is about to.
	WakeTime time.Time
}

// Inventory knows what the catalog has of a workflow.
type Inventory interface {
	// Holdings names up to limit callers, or answers workflow.ErrNotFound.
	Holdings(ctx context.Context, tenant workflow.Tenant, id workflow.ID, limit int) (Holdings, error)
}

// Runs knows what runs of a workflow.
type Runs interface {
	Unfinished(ctx context.Context, tenant workflow.Tenant, id workflow.ID) (Unfinished, error)
}

// Previewer tells what a deletion would take away.
type Previewer struct {
	inventory Inventory
	runs      Runs
}

// NewPreviewer returns a Previewer.
func NewPreviewer(inventory Inventory, runs Runs) *Previewer {
	return &Previewer{inventory: inventory, runs: runs}
}

// maxCallers is how many callers a preview names.
const maxCallers = 50

// Preview tells what would go with a workflow. It is not known while the executions are not.
func (p *Previewer) Preview(ctx context.Context, tenant workflow.Tenant, id workflow.ID) (Preview, error) {
	holdings, err := p.inventory.Holdings(ctx, tenant, id, maxCallers)
	if err != nil {
		return Preview{}, err
	}
	unfinished, err := p.runs.Unfinished(ctx, tenant, id)
	return Preview{Holdings: holdings, Unfinished: unfinished}, err
}
