package grpcapi

import (
	"sync"

	workflowv1 "workflow.uniconnect/proto/gen/go/uniconnect/workflow/v1"
	"workflow.uniconnect/services/workflow-catalog/internal/workflow"
)

// documentBytes is how much stored text a generation of documents holds decoded, which takes several times as much memory.
const documentBytes = 3 << 20

// documents keeps decoded configurations, which cost more to decode than all else that lists do. A configuration is known by its hash, so
// it never changes, and it is shared: nobody may write to it. Two generations bound the memory: when the young one is full, the old one is
// dropped and the young one grows old.
type documents struct {
	mu         sync.Mutex
	young, old map[documentKey]*workflowv1.Workflow
	size       int
}

// documentKey names a configuration, or what is left of it without steps and settings.
type documentKey struct {
	hash  string
	basic bool
}

func newDocuments() *documents {
	return &documents{young: make(map[documentKey]*workflowv1.Workflow)}
}

// get returns a configuration that is known.
func (d *documents) get(config workflow.Config, basic bool) (*workflowv1.Workflow, bool) {
	key := documentKey{string(config.Hash), basic}
	d.mu.Lock()
	defer d.mu.Unlock()
	if known, ok := d.young[key]; ok {
		return known, true
	}
	known, ok := d.old[key]
	return known, ok
}

// decode returns a configuration of which the document is at hand, and keeps it.
func (d *documents) decode(config workflow.Config, basic bool) (*workflowv1.Workflow, error) {
	decoded, err := configMessage(config)
	if err != nil {
		return nil, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.size += len(config.Document); d.size > documentBytes {
		d.old, d.young, d.size = d.young, make(map[documentKey]*workflowv1.Workflow), len(config.Document)
	}
	d.young[documentKey{string(config.Hash), basic}] = decoded
	return decoded, nil
}
