package lifecycle

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"sync"
)

// Group runs named goroutines that live and end together: the first error cancels the context of all, and Wait waits for all.
type Group struct {
	ctx    context.Context // of the goroutines; a group is itself a scope, like errgroup's
	cancel context.CancelCauseFunc
	wg     sync.WaitGroup

	once sync.Once
	err  error
}

// NewGroup returns a group whose goroutines' context ends with parent, or with the first error.
func NewGroup(parent context.Context) *Group {
	ctx, cancel := context.WithCancelCause(parent)
	return &Group{ctx: ctx, cancel: cancel}
}

// Go runs fn. A return of nil ends this goroutine alone. A panic is an error with its stack, so that one part's defect stops the
// group in order rather than the process at once.
func (g *Group) Go(name string, fn func(context.Context) error) {
	g.wg.Go(func() {
		err := protect(g.ctx, fn)
		if err == nil || g.ctx.Err() != nil && errors.Is(err, context.Canceled) {
			return
		}
		g.once.Do(func() {
			g.err = fmt.Errorf("%s: %w", name, err)
			g.cancel(g.err)
		})
	})
}

// Stop cancels the context of all goroutines; Wait then returns nil unless one of them fails on its way out.
func (g *Group) Stop() { g.cancel(context.Canceled) }

// Wait waits for every goroutine and returns the first error. Being cancelled is not an error.
func (g *Group) Wait() error {
	g.wg.Wait()
	g.cancel(context.Canceled)
	return g.err
}

func protect(ctx context.Context, fn func(context.Context) error) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("panic: %v\n%s", v, debug.Stack())
		}
	}()
	return fn(ctx)
}
