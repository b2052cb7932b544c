package feed_test

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"workflow.uniconnect/services/workflow-catalog/internal/feed"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// source is a stored feed that tests write to.
type source struct {
	mu     sync.Mutex
	window feed.Window
	stored []feed.Change
	asked  int
	err    error
}

func (s *source) Changes(_ context.Context, after feed.Seq, limit int) (feed.Window, []feed.Change, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked++
	if s.err != nil {
		return feed.Window{}, nil, s.err
	}
	window := s.window
	window.AsOf = time.Now()
	var out []feed.Change
	for _, c := range s.stored {
		if c.Seq > after && c.Seq > window.Floor && len(out) < limit {
			out = append(out, c)
		}
	}
	return window, out, nil
}

// commit appends n changes.
func (s *source) commit(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for range n {
		s.window.Newest++
		s.stored = append(s.stored, feed.Change{Seq: s.window.Newest})
	}
}

func (s *source) change(fn func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	fn()
}

// start runs a hub inside a bubble; stop ends it.
func start(t *testing.T, s *source) (hub *feed.Hub[feed.Seq], stop func() error) {
	t.Helper()
	s.window.Feed = "f"
	hub = feed.NewHub(s, func(c feed.Change) feed.Seq { return c.Seq }, slog.New(slog.DiscardHandler))
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- hub.Run(ctx) }()
	synctest.Wait()
	return hub, func() error { cancel(); return <-ended }
}

func TestHub_Next(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &source{}
		s.commit(3)
		hub, stop := start(t, s)
		if _, err := hub.Next(t.Context(), 2, time.Second); !errors.Is(err, feed.ErrBehind) {
			t.Errorf("before the hub's time: got %v, want ErrBehind", err)
		}

		begin := time.Now()
		batch, err := hub.Next(t.Context(), 3, time.Second)
		if err != nil || len(batch.Entries) != 0 || time.Since(begin) != time.Second || batch.AsOf.Before(begin) {
			t.Errorf("nothing new: got %v %v after %v as of %v, want a heartbeat after a second", batch.Entries, err, time.Since(begin), batch.AsOf)
		}

		begin = time.Now()
		s.commit(1)
		batch, err = hub.Next(t.Context(), 3, time.Second)
		if err != nil || len(batch.Entries) != 1 || time.Since(begin) > feed.PollInterval || batch.AsOf.IsZero() {
			t.Errorf("another replica's commit: got %v %v after %v, want it within a poll", batch.Entries, err, time.Since(begin))
		}

		synctest.Wait()
		begin = time.Now()
		s.commit(1)
		hub.Wake()
		batch, err = hub.Next(t.Context(), 4, time.Second)
		if err != nil || len(batch.Entries) != 1 || time.Since(begin) != 0 {
			t.Errorf("own commit: got %v %v after %v, want it at once", batch.Entries, err, time.Since(begin))
		}

		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		if _, err := hub.Next(ctx, 5, time.Second); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v, want the end of the context", err)
		}
		waiting := make(chan error, 1)
		go func() { _, err := hub.Next(t.Context(), 5, time.Hour); waiting <- err }()
		synctest.Wait()
		if err := stop(); err != nil {
			t.Error(err)
		}
		if err := <-waiting; !errors.Is(err, feed.ErrStopped) {
			t.Errorf("got %v, want ErrStopped", err)
		}
	})
}

// TestHub_Next_many_watchers shows that watchers cost no query and see every change in order, however slow some are.
func TestHub_Next_many_watchers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &source{}
		hub, stop := start(t, s)
		const watchers, changes = 1000, 100
		var group sync.WaitGroup
		for n := range watchers {
			group.Go(func() {
				var at feed.Seq
				for at < changes {
					batch, err := hub.Next(t.Context(), at, time.Hour)
					if err != nil {
						t.Error(err)
						return
					}
					for _, e := range batch.Entries {
						if e.Seq != at+1 || e.Item != e.Seq {
							t.Errorf("watcher %d: got %d after %d", n, e.Seq, at)
						}
						at = e.Seq
					}
					if n%10 == 0 {
						<-time.After(time.Second) // of the bubble's clock: a slow one
					}
				}
			})
		}
		before := s.asked
		begin := time.Now()
		for range changes {
			s.commit(1)
			<-time.After(10 * time.Millisecond)
		}
		group.Wait()
		s.change(func() {
			if polls := int(time.Since(begin)/feed.PollInterval) + 1; s.asked-before > polls {
				t.Errorf("queries: got %d, want no more than the %d polls", s.asked-before, polls)
			}
		})
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
}

func TestHub_memory_is_bounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &source{}
		hub, stop := start(t, s)
		s.commit(20000)
		hub.Wake()
		synctest.Wait()
		if _, err := hub.Next(t.Context(), 0, time.Second); !errors.Is(err, feed.ErrBehind) {
			t.Errorf("from the beginning: got %v, want ErrBehind", err)
		}
		at := feed.Seq(20000 - 4000)
		for at < 20000 {
			batch, err := hub.Next(t.Context(), at, time.Second)
			if err != nil || len(batch.Entries) > feed.PageSize || batch.Entries[0].Seq != at+1 {
				t.Fatalf("after %d: got %d entries, %v", at, len(batch.Entries), err)
			}
			at = batch.Entries[len(batch.Entries)-1].Seq
			if complete := at == 20000; complete == batch.AsOf.IsZero() {
				t.Errorf("at %d: as of %v; want a time with the last batch alone", at, batch.AsOf)
			}
		}
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
}

func TestHub_Run_while_the_database_is_away(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &source{err: errors.New("away")}
		hub, stop := start(t, s)
		batch, err := hub.Next(t.Context(), 0, time.Second)
		if err != nil || !batch.AsOf.IsZero() {
			t.Errorf("got as of %v, %v; want nothing known", batch.AsOf, err)
		}
		s.change(func() { s.err = nil })
		if batch, err = hub.Next(t.Context(), 0, time.Second); err != nil || batch.AsOf.IsZero() {
			t.Errorf("after it came back: got as of %v, %v", batch.AsOf, err)
		}
		s.change(func() { s.err = errors.New("away") })
		stood, err := hub.Next(t.Context(), 0, 10*time.Second)
		if err != nil || time.Since(stood.AsOf) < 9*time.Second {
			t.Errorf("away again: as of %v at %v, %v; want it to stand still", stood.AsOf, time.Now(), err)
		}
		if hub.Lag() < 9*time.Second {
			t.Errorf("lag: got %v, want about 10 s", hub.Lag())
		}
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
}

func TestHub_Run_ends_when_the_feed_is_another(t *testing.T) {
	for name, change := range map[string]func(*source){
		"other_database":     func(s *source) { s.window.Feed = "g" },
		"restored_to_before": func(s *source) { s.window.Newest = 1 },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &source{}
				s.commit(2)
				_, stop := start(t, s)
				s.change(func() { change(s) })
				<-time.After(time.Second)
				synctest.Wait()
				if err := stop(); err == nil {
					t.Error("the hub goes on with numbers of another feed")
				}
			})
		})
	}
}

func TestHub_Run_after_changes_were_dropped_unread(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &source{}
		hub, stop := start(t, s)
		s.change(func() { s.window.Floor, s.window.Newest = 50, 50 })
		s.commit(1)
		hub.Wake()
		synctest.Wait()
		if _, err := hub.Next(t.Context(), 0, time.Second); !errors.Is(err, feed.ErrBehind) {
			t.Errorf("a watcher from before: got %v, want ErrBehind", err)
		}
		batch, err := hub.Next(t.Context(), 50, time.Second)
		if err != nil || len(batch.Entries) != 1 || batch.Entries[0].Seq != 51 {
			t.Errorf("got %v, %v; want change 51", batch.Entries, err)
		}
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
}
