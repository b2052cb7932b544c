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
	"workflow.uniconnect/services/workflow-catalog/internal/workflow"
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

// commitOf appends a change of each of the tenants.
func (s *source) commitOf(tenants ...workflow.Tenant) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, tenant := range tenants {
		s.window.Newest++
		s.stored = append(s.stored, feed.Change{Seq: s.window.Newest, Tenant: tenant})
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

// TestHub_Next_before_the_beginning: a watcher that waits for the hub to begin learns at once that it is behind the beginning.
func TestHub_Next_before_the_beginning(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &source{err: errors.New("away")}
		s.commit(3)
		hub, stop := start(t, s)
		waiting := make(chan error, 2)
		go func() { _, err := hub.Next(t.Context(), 1, time.Hour); waiting <- err }()
		go func() { _, err := hub.NextOf(t.Context(), "acme", 1, time.Hour); waiting <- err }()
		synctest.Wait()
		s.change(func() { s.err = nil })
		for range 2 {
			if err := <-waiting; !errors.Is(err, feed.ErrBehind) {
				t.Errorf("got %v, want ErrBehind", err)
			}
		}
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
}

func TestHub_NextOf(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &source{}
		hub, stop := start(t, s)
		next := func(topic workflow.Tenant, after feed.Seq) (feed.Batch[feed.Seq], time.Duration) {
			t.Helper()
			begin := time.Now()
			batch, err := hub.NextOf(t.Context(), topic, after, time.Minute)
			if err != nil {
				t.Fatal(err)
			}
			for _, e := range batch.Entries {
				if e.Topic != topic || e.Seq <= after || e.Seq > batch.At {
					t.Errorf("got %d of %s after %d for %s", e.Seq, e.Topic, after, topic)
				}
			}
			return batch, time.Since(begin)
		}
		s.commitOf("acme", "globex", "acme")
		if batch, took := next("acme", 0); len(batch.Entries) != 2 || batch.At != 3 || took > feed.PollInterval {
			t.Errorf("got %d entries up to %d after %v, want two at once", len(batch.Entries), batch.At, took)
		}
		if batch, took := next("globex", 2); len(batch.Entries) != 0 || batch.At != 3 || took != time.Minute {
			t.Errorf("got %d entries up to %d after %v, want a sign of life", len(batch.Entries), batch.At, took)
		}

		woken := make(chan feed.Seq, 1)
		go func() {
			batch, err := hub.NextOf(t.Context(), "globex", 3, time.Hour)
			if err != nil || len(batch.Entries) != 1 {
				t.Errorf("got %d entries, %v; want one", len(batch.Entries), err)
			}
			woken <- batch.At
		}()
		synctest.Wait()
		s.commitOf("acme", "acme")
		<-time.After(time.Second)
		select {
		case <-woken:
			t.Error("changes of another topic wake a watcher")
		default:
		}
		s.commitOf("globex")
		if at := <-woken; at != 6 {
			t.Errorf("position: got %d, want 6", at)
		}

		// A topic that was still misses nothing, however much of the others was forgotten.
		s.commit(20000)
		hub.Wake()
		synctest.Wait()
		if batch, took := next("globex", 6); len(batch.Entries) != 0 || batch.At != 20006 || took != time.Minute {
			t.Errorf("still topic: got %d entries up to %d after %v", len(batch.Entries), batch.At, took)
		}
		for topic, after := range map[workflow.Tenant]feed.Seq{"globex": 5, "": 6} {
			if _, err := hub.NextOf(t.Context(), topic, after, time.Second); !errors.Is(err, feed.ErrBehind) {
				t.Errorf("%q after %d: got %v, want ErrBehind", topic, after, err)
			}
		}
		at := feed.Seq(20006 - 1200)
		for _, want := range []int{feed.PageSize, feed.PageSize, 200} {
			batch, _ := next("", at)
			if at = batch.At; len(batch.Entries) != want {
				t.Errorf("page: got %d, want %d", len(batch.Entries), want)
			}
		}
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
}
