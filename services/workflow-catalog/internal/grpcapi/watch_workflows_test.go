package grpcapi

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"

	workflowv1 "workflow.uniconnect/proto/gen/go/uniconnect/workflow/v1"
	"workflow.uniconnect/services/workflow-catalog/internal/feed"
	"workflow.uniconnect/services/workflow-catalog/internal/workflow"
)

// still is a feed in which nothing happens.
type still struct{}

func (still) Changes(context.Context, feed.Seq, int) (feed.Window, []feed.Change, error) {
	return feed.Window{Feed: "0198c0de-0000-4000-8000-000000000001", Newest: 7, AsOf: time.Now()}, nil, nil
}

func (s still) ChangesOf(ctx context.Context, _ workflow.Tenant, after feed.Seq, limit int) (feed.Window, []feed.Change, error) {
	return s.Changes(ctx, after, limit)
}

// timedStream notes when it is sent something, and takes nothing any more when it is stuck.
type timedStream struct {
	grpc.ServerStream
	ctx      context.Context
	stuck    bool
	returned chan struct{} // closed when the handler has returned
	sends    atomic.Int32
	sent     chan *workflowv1.WatchWorkflowsResponse
}

func (s *timedStream) Context() context.Context { return s.ctx }

func (s *timedStream) Send(msg *workflowv1.WatchWorkflowsResponse) error {
	s.sends.Add(1)
	if s.stuck {
		<-s.returned
		return context.Canceled
	}
	s.sent <- msg
	return nil
}

func newStillWatches(t *testing.T) (watches *Watches, stop func()) {
	t.Helper()
	encode := Encoder(slog.New(slog.DiscardHandler))
	hub := feed.NewHub(still{}, encode, slog.New(slog.DiscardHandler))
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- hub.Run(ctx) }()
	return NewWatches(WatchDeps{Hub: hub, Source: still{}, Encode: encode}), func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
}

func TestWatches_sign_of_life(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		watches, stop := newStillWatches(t)
		ctx, cancel := context.WithCancel(t.Context())
		stream := &timedStream{ctx: ctx, sent: make(chan *workflowv1.WatchWorkflowsResponse)}
		ended := make(chan error, 1)
		go func() { ended <- watches.watch(stream, "acme", "") }()
		begin := time.Now()
		var token string
		for i := range 4 {
			msg := <-stream.sent
			if msg.GetChange() != nil || msg.GetResumeToken() == "" || i > 0 && msg.GetResumeToken() != token {
				t.Errorf("message %d: got %v, want the token of where it began", i, msg)
			}
			if late := time.Since(begin); late > time.Duration(i)*15*time.Second {
				t.Errorf("message %d came after %v", i, late)
			}
			token = msg.GetResumeToken()
		}
		if watches.Watchers() != 1 {
			t.Errorf("watchers: got %d, want 1", watches.Watchers())
		}
		cancel()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Errorf("got %v, want the end of the stream", err)
		}
		stop()
		watches.Wait()
	})
}

func TestWatches_ends_a_watch_that_is_stuck(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		watches, stop := newStillWatches(t)
		stream := &timedStream{ctx: t.Context(), stuck: true, returned: make(chan struct{})}
		begin := time.Now()
		err := watches.watch(stream, "acme", "")
		if !errors.Is(err, errSlow) || time.Since(begin) != sendLimit || stream.sends.Load() != 1 || watches.Watchers() != 0 {
			t.Errorf("got %v after %v and %d sends, want %v after %v and 1", err, time.Since(begin), stream.sends.Load(), errSlow, sendLimit)
		}
		close(stream.returned)
		stop()
		watches.Wait()
	})
}

func TestTenantTokens(t *testing.T) {
	tokens := func(feedID string, tenant workflow.Tenant) *tenantTokens {
		made, err := newTenantTokens(feedID, tenant)
		if err != nil {
			t.Fatal(err)
		}
		return made
	}
	ours := tokens("f", "acme")
	token := ours.token(12345)
	if at, ok := ours.parse(token); at != 12345 || !ok {
		t.Errorf("got %d %v, want the position", at, ok)
	}
	if next := ours.token(12346); next[:8] == token[:8] {
		t.Errorf("%s and %s tell how far apart they are", token, next)
	}
	for name, c := range map[string]struct {
		tokens *tenantTokens
		token  string
	}{
		"other_tenant": {tokens("f", "globex"), token}, "other_feed": {tokens("g", "acme"), token},
		"cut": {ours, token[:20]}, "long": {ours, token + "AA"}, "garbage": {ours, "!"}, "empty": {ours, ""},
	} {
		if _, ok := c.tokens.parse(c.token); ok {
			t.Errorf("%s: accepted", name)
		}
	}
}
