package predicate

import (
	"fmt"
	"sync"

	"workflow.uniconnect/pkg/expr"
)

// Checks keeps the environments that predicates are checked in, one for each event type, made when it is first asked for. It is safe for
// concurrent use.
type Checks struct {
	mu   sync.Mutex
	envs map[string]*Env // guarded by mu
}

// NewChecks returns Checks without environments.
func NewChecks() *Checks { return &Checks{envs: make(map[string]*Env)} }

// untyped is the name under which the environment of data without a schema is kept.
const untyped = ""

// Of returns the environment of an event type whose data has the JSON Schema, nil for none.
func (c *Checks) Of(eventType string, schema map[string]any) (*Env, error) {
	if schema == nil {
		eventType = untyped
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if env, ok := c.envs[eventType]; ok {
		return env, nil
	}
	var data *expr.Schema
	if schema != nil {
		var err error
		if data, err = expr.SchemaFromJSON(schema); err != nil {
			return nil, fmt.Errorf("schema of %s: %w", eventType, err)
		}
	}
	env, err := NewCheck(data)
	if err != nil {
		return nil, fmt.Errorf("environment of %s: %w", eventType, err)
	}
	c.envs[eventType] = env
	return env, nil
}
