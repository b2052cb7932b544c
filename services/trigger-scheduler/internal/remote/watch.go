// Package remote reaches the other services of the Workflow Manager: it watches the catalog's definitions and has the executor start runs.
package remote

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"

	"workflow.uniconnect/pkg/fault"
	peerv1 "workflow.uniconnect/proto/gen/go/uniconnect/workflow/peer/v1"
	"workflow.uniconnect/services/trigger-scheduler/internal/activation"
	"workflow.uniconnect/services/trigger-scheduler/internal/definition"
	"workflow.uniconnect/services/trigger-scheduler/internal/index"
)

// Follower is told what the catalog says, in order and one call at a time.
type Follower interface {
	// Snapshot is every active workflow as of a time.
	Snapshot(ctx context.Context, news activation.News)
	// Resumed comes before the first Changes after a pause.
	Resumed()
	// Changes are changes in commit order; none of them with an as-of time says that nothing happened until then.
	Changes(ctx context.Context, news activation.News)
}

const (
	// heartbeat is how long the watch may say nothing before it is opened anew; the catalog promises a word every 5 s.
	heartbeat    = 15 * time.Second
	firstBackoff = 100 * time.Millisecond
	mostBackoff  = 5 * time.Second
)

// Watch follows the catalog's definitions.
type Watch struct {
	client   peerv1.DefinitionServiceClient
	follower Follower
	logger   *slog.Logger
	token    string // where to go on; empty begins with a snapshot
	rebuilt  atomic.Int64
}

// NewWatch returns a watch; Run follows.
func NewWatch(conn grpc.ClientConnInterface, follower Follower, logger *slog.Logger) *Watch {
	return &Watch{client: peerv1.NewDefinitionServiceClient(conn), follower: follower, logger: logger}
}

// Rebuilt is how long the last snapshot took, from the call until the follower had it; zero before the first.
func (w *Watch) Rebuilt() time.Duration { return time.Duration(w.rebuilt.Load()) }

// Run follows until ctx ends. A lost watch is resumed where it was; one that cannot be resumed begins with a snapshot.
func (w *Watch) Run(ctx context.Context) error {
	for attempt := 0; ; attempt++ {
		heard, err := w.follow(ctx)
		select {
		case <-ctx.Done():
			return nil
		default:
		}
		if heard {
			attempt = 0
		}
		if mustBeginAnew(err) {
			w.logger.WarnContext(ctx, "watch of definitions cannot be resumed, reading a snapshot", "error", err)
			w.token = ""
		} else if attempt == 0 {
			w.logger.WarnContext(ctx, "watch of definitions is lost", "error", err)
		}
		timer := time.NewTimer(backoff(attempt))
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return nil
		}
	}
}

// follow opens the watch and reads it to its end. heard says that it said anything.
func (w *Watch) follow(ctx context.Context) (heard bool, err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	silence := time.AfterFunc(heartbeat, func() { cancel(errSilent) })
	defer silence.Stop()
	stream, err := w.client.WatchDefinitions(ctx, &peerv1.WatchDefinitionsRequest{ResumeToken: w.token})
	if err != nil {
		return false, err
	}
	if w.token != "" {
		w.follower.Resumed()
	}
	var snapshot activation.News
	begun := time.Now()
	for {
		resp, err := stream.Recv()
		switch {
		case errors.Is(context.Cause(ctx), errSilent):
			return heard, errSilent
		case errors.Is(err, io.EOF):
			return heard, errEnded
		case err != nil:
			return heard, err
		}
		heard = true
		silence.Reset(heartbeat)
		news := newsOf(resp)
		switch {
		case resp.GetSnapshotComplete():
			snapshot.Add(news)
			w.follower.Snapshot(ctx, snapshot)
			took := time.Since(begun)
			w.rebuilt.Store(int64(took))
			w.logger.InfoContext(ctx, "definitions are read", "workflows", len(snapshot.Definitions), "took", took)
			snapshot = activation.News{}
		case resp.GetResumeToken() == "": // a part of a snapshot
			snapshot.Add(news)
			continue
		default:
			w.follower.Changes(ctx, news)
		}
		w.token = resp.GetResumeToken()
	}
}

func newsOf(resp *peerv1.WatchDefinitionsResponse) activation.News {
	news := activation.News{Definitions: make([]index.Definition, len(resp.GetDefinitions()))}
	for i, d := range resp.GetDefinitions() {
		news.Definitions[i] = definition.FromProto(d)
	}
	for _, g := range resp.GetTenantGates() {
		news.Gates = append(news.Gates, definition.GateFromProto(g))
	}
	if t := resp.GetAsOfTime(); t != nil {
		news.AsOf = t.AsTime()
	}
	return news
}

var (
	errSilent = errors.New("the watch said nothing for too long")
	errEnded  = errors.New("the catalog ended the watch")
)

// mustBeginAnew reports whether the catalog does not know the token any more.
func mustBeginAnew(err error) bool {
	switch fault.KindOf(err) {
	case fault.KindInvalidArgument, fault.KindFailedPrecondition, fault.KindNotFound, fault.KindAborted:
		return true
	}
	return false
}

func backoff(n int) time.Duration {
	d := min(firstBackoff<<min(n, 10), mostBackoff)
	return d/2 + rand.N(d/2+1)
}
