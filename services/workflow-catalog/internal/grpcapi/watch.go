package grpcapi

import (
	"context"
	"sync"
	"time"

	"workflow.uniconnect/pkg/fault"
	"workflow.uniconnect/services/workflow-catalog/internal/feed"
)

// sendLimit is how long a message may wait for its watcher. It is below what the database grants an idle transaction, in which a snapshot is
// read.
const sendLimit = 5 * time.Second

// The ends of a watch that are not the watcher's wish. It comes back with its token.
var (
	errSlow    = fault.Unavailable(fault.ReasonServiceUnavailable, "the watcher is too slow").WithRetryAfter(time.Second)
	errPruned  = fault.Unavailable(fault.ReasonServiceUnavailable, "the watcher is too far behind").WithRetryAfter(time.Second)
	errStopped = fault.Unavailable(fault.ReasonShuttingDown, "the service is stopping").WithRetryAfter(time.Second)
)

// Hub is the feed in memory, for all watchers of a process.
type Hub = feed.Hub[Fed]

// sender gives up on watchers that do not take what they are sent.
type sender struct{ sends sync.WaitGroup }

// send runs a send that may block. When it takes too long, its goroutine ends as soon as the handler has returned, because gRPC cancels the
// stream; Wait waits for it.
func (s *sender) send(ctx context.Context, send func() error) error {
	sent := make(chan error, 1)
	s.sends.Go(func() { sent <- send() })
	timer := time.NewTimer(sendLimit)
	defer timer.Stop()
	select {
	case err := <-sent:
		return err
	case <-timer.C:
		return errSlow
	case <-ctx.Done():
		// The stopping server ends its streams through this context, of which a send under way knows nothing.
		return ctx.Err()
	}
}

// Wait returns when no send is under way. Call it after the server has stopped.
func (s *sender) Wait() { s.sends.Wait() }
