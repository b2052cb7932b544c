package grpcapi

import (
	"context"
	"errors"
	"strconv"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"

	"workflow.uniconnect/pkg/fault"
	workflowv1 "workflow.uniconnect/proto/gen/go/uniconnect/workflow/v1"
	"workflow.uniconnect/services/workflow-catalog/internal/feed"
	"workflow.uniconnect/services/workflow-catalog/internal/workflow"
)

const (
	// quiet is how long a watcher hears nothing at most; the contract says 15 s.
	quiet = 10 * time.Second
	// maxWatches bounds the watches of a process.
	maxWatches = 10000
	// maxCatchUps bounds how many watchers read from the storage at a time.
	maxCatchUps = 4
)

var errResume = fault.OutOfRange("RESUME_TOKEN", "the resume token is too old or not one of ours: list the workflows and watch anew without it")

// TenantSource reads the stored feed, whole or for one tenant.
type TenantSource interface {
	feed.Source
	// ChangesOf returns up to limit changes of a tenant after a number, in order.
	ChangesOf(ctx context.Context, tenant workflow.Tenant, after feed.Seq, limit int) (feed.Window, []feed.Change, error)
}

// WatchDeps is what Watches works with. All are required.
type WatchDeps struct {
	Hub    *Hub
	Source TenantSource
	Encode func(feed.Change) Fed
}

// Watches serves those who look at workflows while others change them.
//
// A watcher is a position in the feed and no more: nothing is queued for it. What it is sent lies in the hub, made once per change for all;
// when it is so slow that the hub has forgotten, it reads the rest from the storage, and when it takes nothing at all, it is ended and comes
// back with its token. So neither the number of watchers nor their pace costs a query: 40 changes cost 250 statements with one watcher and
// 267 with a thousand.
//
// What is told is the workflow after the change, without steps and settings; backup and draft are those of when the change was read, and a
// workflow that is gone by then is told as gone. An open stream passes the gate again once a second while messages go out.
type Watches struct {
	sender
	deps     WatchDeps
	catchUps chan struct{} // holds one value per watcher that reads from the storage
	watchers atomic.Int64
}

// NewWatches returns the Watches.
func NewWatches(deps WatchDeps) *Watches {
	return &Watches{deps: deps, catchUps: make(chan struct{}, maxCatchUps)}
}

// Watchers is how many watches are open.
func (s *Watches) Watchers() int64 { return s.watchers.Load() }

// WatchWorkflows streams changes of the tenant's workflows, from a resume token or from now on.
func (s *Catalog) WatchWorkflows(req *workflowv1.WatchWorkflowsRequest, stream grpc.ServerStreamingServer[workflowv1.WatchWorkflowsResponse]) error {
	caller, err := callerOf(stream.Context())
	if err != nil {
		return err
	}
	return s.watches.watch(stream, workflow.Tenant(caller.Tenant), req.GetResumeToken())
}

func (s *Watches) watch(stream grpc.ServerStreamingServer[workflowv1.WatchWorkflowsResponse], tenant workflow.Tenant, token string) error {
	defer s.watchers.Add(-1)
	if s.watchers.Add(1) > maxWatches {
		return fault.ResourceExhausted(fault.ReasonLimitReached, "too many watches are open").
			With("limit", strconv.Itoa(maxWatches)).WithRetryAfter(quiet)
	}
	ctx := stream.Context()
	w := &workflowWatch{service: s, stream: stream, tenant: tenant}
	if err := w.begin(ctx, token); err != nil {
		return err
	}
	for {
		batch, err := s.deps.Hub.NextOf(ctx, tenant, w.at, quiet)
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
		if err := w.changes(ctx, batch); err != nil {
			return err
		}
	}
}

// workflowWatch is one watcher's stream.
type workflowWatch struct {
	service *Watches
	stream  grpc.ServerStreamingServer[workflowv1.WatchWorkflowsResponse]
	tenant  workflow.Tenant
	feed    string
	tokens  *tenantTokens
	at      feed.Seq
}

// begin finds the watcher's position and tells it at once. The storage is asked only where the hub cannot know.
func (w *workflowWatch) begin(ctx context.Context, token string) error {
	window, known := w.service.deps.Hub.Known()
	for {
		if !known {
			var err error
			if window, _, err = w.service.deps.Source.Changes(ctx, 0, 0); err != nil {
				return err
			}
		}
		var err error
		if w.tokens, err = newTenantTokens(window.Feed, w.tenant); err != nil {
			return err
		}
		w.feed, w.at = window.Feed, window.Newest
		if token == "" {
			break
		}
		at, ours := w.tokens.parse(token)
		if w.at = at; ours && at >= window.Floor && at <= window.Newest {
			break
		}
		if !known || !ours {
			return errResume
		}
		known = false // the storage goes back further than the hub, and may be ahead of it
	}
	return w.send(ctx, &workflowv1.WatchWorkflowsResponse{})
}

// stored reads what the hub has forgotten.
func (w *workflowWatch) stored(ctx context.Context) (feed.Batch[Fed], error) {
	select {
	case w.service.catchUps <- struct{}{}:
		defer func() { <-w.service.catchUps }()
	case <-ctx.Done():
		return feed.Batch[Fed]{}, ctx.Err()
	}
	window, changes, err := w.service.deps.Source.ChangesOf(ctx, w.tenant, w.at, feed.PageSize)
	switch {
	case err != nil:
		return feed.Batch[Fed]{}, err
	case window.Feed != w.feed || window.Floor > w.at:
		return feed.Batch[Fed]{}, errResume
	}
	batch := feed.Batch[Fed]{At: window.Newest}
	for _, c := range changes {
		batch.Entries = append(batch.Entries, feed.Entry[Fed]{Seq: c.Seq, Topic: c.Tenant, Item: w.service.deps.Encode(c)})
	}
	if len(changes) == feed.PageSize {
		batch.At = changes[feed.PageSize-1].Seq
	}
	return batch, nil
}

// changes sends a batch; an empty one is sent as a sign of life.
func (w *workflowWatch) changes(ctx context.Context, batch feed.Batch[Fed]) error {
	sent := false
	for _, e := range batch.Entries {
		w.at = e.Seq
		if e.Item.gate != nil {
			continue // the gate of this watch is passed with every message
		}
		sent = true
		msg := &workflowv1.WatchWorkflowsResponse{Change: &workflowv1.WatchWorkflowsResponse_DeletedId{DeletedId: e.Item.id}}
		if e.Item.card != nil {
			msg.Change = &workflowv1.WatchWorkflowsResponse_Workflow{Workflow: e.Item.card}
		}
		if err := w.send(ctx, msg); err != nil {
			return err
		}
	}
	w.at = batch.At
	if sent {
		return nil
	}
	return w.send(ctx, &workflowv1.WatchWorkflowsResponse{})
}

func (w *workflowWatch) send(ctx context.Context, msg *workflowv1.WatchWorkflowsResponse) error {
	msg.ResumeToken = w.tokens.token(w.at)
	return w.service.send(ctx, func() error { return w.stream.Send(msg) })
}
