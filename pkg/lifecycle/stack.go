// Package lifecycle owns the beginning and the end of a process's parts: a stack of what to close and a group of what runs. It
// never ends the process; errors come back to main.
package lifecycle

import (
	"context"
	"errors"
	"fmt"
	"sync"
)

// Stack remembers how to close what was opened. The zero value is ready for use; it is safe for concurrent use.
type Stack struct {
	mu      sync.Mutex
	closers []closer
}

type closer struct {
	name  string
	close func(context.Context) error
}

// Push adds a resource as soon as it is open.
func (s *Stack) Push(name string, fn func(context.Context) error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closers = append(s.closers, closer{name, fn})
}

// Close closes everything in reverse order. It goes on after an error and when ctx has ended, and returns all errors joined.
// Each resource is closed once, however often Close is called.
func (s *Stack) Close(ctx context.Context) error {
	s.mu.Lock()
	closers := s.closers
	s.closers = nil
	s.mu.Unlock()

	var errs []error
	for i := len(closers) - 1; i >= 0; i-- {
		if err := closers[i].close(ctx); err != nil {
			errs = append(errs, fmt.Errorf("close %s: %w", closers[i].name, err))
		}
	}
	return errors.Join(errs...)
}
