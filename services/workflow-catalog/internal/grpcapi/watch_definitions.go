package grpcapi

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	peerv1 "workflow.uniconnect/proto/gen/go/uniconnect/workflow/peer/v1"
	"workflow.uniconnect/services/workflow-catalog/internal/feed"
	"workflow.uniconnect/services/workflow-catalog/internal/workflow"
)

const (
	// heartbeat is how long a watcher hears nothing at most, while the database answers.
	heartbeat = time.Second
	// batchBytes keeps messages far below what a client accepts, however large the triggers are.
	batchBytes = 1 << 20
	// maxSnapshots bounds how many are read at a time, since each holds a connection.
	maxSnapshots    = 4
	snapshotTimeout = 2 * time.Minute
)

// Snapshotter reads the stored feed.
type Snapshotter interface {
	feed.Source
	// Snapshot calls yield with all ACTIVE workflows in batches as of the newest change of the window that it returns.
	Snapshot(ctx context.Context, limit int, yield func([]feed.Change) error) (feed.Window, error)
}

// DefinitionDeps is what Definitions works with. All are required.
type DefinitionDeps struct {
	Catalog *workflow.Catalog
	Hub     *Hub
	Source  Snapshotter
	Encode  func(feed.Change) Fed
}

// Definitions serves DefinitionService.
//
// A snapshot is a run of messages without a resume token, ended by the first with snapshot_complete. It replaces everything: a watcher
// forgets what the snapshot does not name. All other messages carry a token. Whether a watch begins with a snapshot is for the server to
// say, since a token may be too old, or of another database.
type Definitions struct {
	peerv1.UnimplementedDefinitionServiceServer
	sender
	deps      DefinitionDeps
	snapshots chan struct{} // holds one value per snapshot being read
	watchers  atomic.Int64
}

// NewDefinitions returns the service.
func NewDefinitions(deps DefinitionDeps) *Definitions {
	return &Definitions{deps: deps, snapshots: make(chan struct{}, maxSnapshots)}
}

// Watchers is how many watches are open.
func (s *Definitions) Watchers() int64 { return s.watchers.Load() }

// WatchDefinitions streams a snapshot, unless the watcher can go on from its token, and then changes.
func (s *Definitions) WatchDefinitions(req *peerv1.WatchDefinitionsRequest, stream grpc.ServerStreamingServer[peerv1.WatchDefinitionsResponse]) error {
	s.watchers.Add(1)
	defer s.watchers.Add(-1)
	ctx := stream.Context()
	w := &watch{service: s, stream: stream}
	window, _, err := s.deps.Source.Changes(ctx, 0, 0)
	if err != nil {
		return err
	}
	w.feed = window.Feed
	resumed := false
	if w.at, resumed = parseResumeToken(req.GetResumeToken(), window); !resumed {
		if err := w.snapshot(ctx); err != nil {
			return err
		}
	}
	for {
		batch, err := s.deps.Hub.Next(ctx, w.at, heartbeat)
		switch {
		case errors.Is(err, feed.ErrBehind):
			if batch, err = w.stored(ctx); err != nil {
				return err
			}
		case errors.Is(err, feed.ErrStopped):
			return errStopped
		case err != nil:
			return err
		}
		if err := w.changes(batch); err != nil {
			return err
		}
	}
}

// watch is one watcher's stream.
type watch struct {
	service *Definitions
	stream  grpc.ServerStreamingServer[peerv1.WatchDefinitionsResponse]
	feed    string
	at      feed.Seq
	asOf    time.Time // of the last message that had one
}

// snapshot sends all ACTIVE workflows. The last message is held back until it is known to be the last.
func (w *watch) snapshot(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, snapshotTimeout)
	defer cancel()
	select {
	case w.service.snapshots <- struct{}{}:
		defer func() { <-w.service.snapshots }()
	case <-ctx.Done():
		return ctx.Err()
	}
	msg := &peerv1.WatchDefinitionsResponse{}
	size := 0
	// room sends what there is when n bytes more would be too many.
	room := func(n int) error {
		if size += n; size <= batchBytes && len(msg.Definitions) < feed.PageSize {
			return nil
		}
		full := msg
		msg, size = &peerv1.WatchDefinitionsResponse{}, n
		return w.send(full)
	}
	window, err := w.service.deps.Source.Snapshot(ctx, feed.PageSize, func(batch []feed.Change) error {
		for _, c := range batch {
			fed := w.service.deps.Encode(c)
			if fed.gate != nil {
				if err := room(proto.Size(fed.gate)); err != nil {
					return err
				}
				msg.TenantGates = append(msg.TenantGates, fed.gate)
				continue
			}
			if err := room(proto.Size(fed.definition)); err != nil {
				return err
			}
			msg.Definitions = append(msg.Definitions, fed.definition)
		}
		return nil
	})
	if err != nil {
		return err
	}
	w.at, w.asOf, w.feed = window.Newest, window.AsOf, window.Feed
	msg.SnapshotComplete, msg.ResumeToken, msg.AsOfTime = true, resumeToken(w.feed, w.at), timestamp(w.asOf)
	return w.send(msg)
}

// stored reads what the hub has forgotten.
func (w *watch) stored(ctx context.Context) (feed.Batch[Fed], error) {
	window, changes, err := w.service.deps.Source.Changes(ctx, w.at, feed.PageSize)
	switch {
	case err != nil:
		return feed.Batch[Fed]{}, err
	case window.Feed != w.feed || window.Floor > w.at:
		return feed.Batch[Fed]{}, errPruned
	}
	batch := feed.Batch[Fed]{Entries: make([]feed.Entry[Fed], len(changes))}
	for i, c := range changes {
		batch.Entries[i] = feed.Entry[Fed]{Seq: c.Seq, Item: w.service.deps.Encode(c)}
	}
	if len(changes) < feed.PageSize {
		batch.AsOf = window.AsOf
	}
	return batch, nil
}

// changes sends a batch, cut where it grows too large. An empty batch is sent when it proves something new.
func (w *watch) changes(batch feed.Batch[Fed]) error {
	msg := &peerv1.WatchDefinitionsResponse{}
	size := 0
	for _, e := range batch.Entries {
		w.at = e.Seq
		if e.Item.gate != nil {
			msg.TenantGates = append(msg.TenantGates, e.Item.gate)
			continue
		}
		if e.Item.definition == nil {
			continue
		}
		if size += proto.Size(e.Item.definition); size > batchBytes && len(msg.Definitions) > 0 {
			msg.ResumeToken = resumeToken(w.feed, w.at)
			if err := w.send(msg); err != nil {
				return err
			}
			msg, size = &peerv1.WatchDefinitionsResponse{}, proto.Size(e.Item.definition)
		}
		msg.Definitions = append(msg.Definitions, e.Item.definition)
	}
	if batch.AsOf.After(w.asOf) {
		w.asOf = batch.AsOf
		msg.AsOfTime = timestamp(w.asOf)
	}
	if len(msg.Definitions)+len(msg.TenantGates) == 0 && msg.AsOfTime == nil {
		return nil
	}
	msg.ResumeToken = resumeToken(w.feed, w.at)
	return w.send(msg)
}

func (w *watch) send(msg *peerv1.WatchDefinitionsResponse) error {
	return w.service.send(w.stream.Context(), func() error { return w.stream.Send(msg) })
}
