package lifecycle_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"workflow.uniconnect/pkg/lifecycle"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestStack_Close(t *testing.T) {
	var order []string
	closing := func(name string, err error) func(context.Context) error {
		return func(context.Context) error {
			order = append(order, name)
			return err
		}
	}
	errPool, errBus := errors.New("pool stuck"), errors.New("bus gone")
	var s lifecycle.Stack
	s.Push("pool", closing("pool", errPool))
	s.Push("bus", closing("bus", errBus))
	s.Push("server", closing("server", nil))

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	err := s.Close(ctx)
	if diff := cmp.Diff([]string{"server", "bus", "pool"}, order); diff != "" {
		t.Errorf("order (-want +got):\n%s", diff)
	}
	if !errors.Is(err, errPool) || !errors.Is(err, errBus) {
		t.Errorf("error: got %v, want both causes", err)
	}
	if !strings.Contains(err.Error(), "close bus: bus gone") {
		t.Errorf("error: got %q, want the name of the resource", err)
	}
	if err := s.Close(t.Context()); err != nil || len(order) != 3 {
		t.Errorf("second close: err %v, closers called %v; want nothing", err, order)
	}
}

func TestGroup_Wait(t *testing.T) {
	t.Run("first_error_cancels_the_others", func(t *testing.T) {
		boom := errors.New("boom")
		g := lifecycle.NewGroup(t.Context())
		stopped := false
		g.Go("waiter", func(ctx context.Context) error {
			<-ctx.Done()
			stopped = true
			return ctx.Err()
		})
		g.Go("failer", func(context.Context) error { return boom })
		err := g.Wait()
		if !errors.Is(err, boom) || !strings.HasPrefix(err.Error(), "failer: ") {
			t.Errorf("got %v, want failer: boom", err)
		}
		if !stopped {
			t.Error("Wait returned before the other goroutine ended")
		}
	})
	t.Run("cancelled_parent_is_no_error", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		g := lifecycle.NewGroup(ctx)
		g.Go("waiter", func(ctx context.Context) error {
			<-ctx.Done()
			return ctx.Err()
		})
		cancel()
		if err := g.Wait(); err != nil {
			t.Errorf("got %v, want nil", err)
		}
	})
	t.Run("nil_return_leaves_the_others_running", func(t *testing.T) {
		g := lifecycle.NewGroup(t.Context())
		ended := make(chan struct{}) // closed by the first goroutine
		g.Go("short", func(context.Context) error {
			close(ended)
			return nil
		})
		g.Go("long", func(ctx context.Context) error {
			<-ended
			return ctx.Err()
		})
		if err := g.Wait(); err != nil {
			t.Errorf("got %v, want nil", err)
		}
	})
	t.Run("panic_becomes_an_error", func(t *testing.T) {
		g := lifecycle.NewGroup(t.Context())
		g.Go("broken", func(context.Context) error { panic("index out of order") })
		if err := g.Wait(); err == nil || !strings.Contains(err.Error(), "broken: panic: index out of order") {
			t.Errorf("got %v, want the panic", err)
		}
	})
	t.Run("stop_ends_the_goroutines", func(t *testing.T) {
		g := lifecycle.NewGroup(t.Context())
		g.Go("waiter", func(ctx context.Context) error {
			<-ctx.Done()
			return ctx.Err()
		})
		g.Stop()
		if err := g.Wait(); err != nil {
			t.Errorf("got %v, want nil", err)
		}
	})
}
