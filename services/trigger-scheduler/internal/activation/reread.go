package activation

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"workflow.uniconnect/services/trigger-scheduler/internal/event"
	"workflow.uniconnect/services/trigger-scheduler/internal/index"
)

// reread does the pending re-reads, those that came meanwhile folded together, and moves seen forward.
func (t *Tracker) reread(ctx context.Context) {
	for failed := 0; t.awaitWork(ctx, failed); {
		t.mu.Lock()
		jobs, asOf := t.pending, t.asOf
		t.mu.Unlock()
		left, err := t.read(ctx, jobs)
		if ctx.Err() != nil {
			return
		}
		t.mu.Lock()
		t.pending = append(left, t.pending[len(jobs):]...)
		if err == nil {
			t.seen = asOf
		}
		t.mu.Unlock()
		switch {
		case err == nil:
			failed = 0
			continue
		case failed == 0:
			t.Logger.WarnContext(ctx, "stream cannot be re-read for changed workflows", "workflows", len(left), "error", err)
		}
		failed++
	}
}

// place is what one read of the stream covers.
type place struct {
	tenant event.Tenant
	typ    event.Type
}

// span is what jobs of one place want together.
type span struct {
	jobs []job
	from time.Time
	only map[index.ID]struct{}
}

// read does jobs and returns those that are left to do, with the first error: what cannot be read for one place must not keep the others
// waiting.
func (t *Tracker) read(ctx context.Context, jobs []job) ([]job, error) {
	if len(jobs) == 0 {
		return nil, nil
	}
	spans := make(map[place]*span)
	for _, j := range jobs {
		at := place{j.workflow.Tenant, j.typ}
		s := spans[at]
		if s == nil {
			s = &span{from: j.from, only: make(map[index.ID]struct{})}
			spans[at] = s
		}
		if j.from.Before(s.from) {
			s.from = j.from
		}
		s.only[j.workflow] = struct{}{}
		s.jobs = append(s.jobs, j)
	}
	// After the jobs were taken, and so after the index was updated.
	last, lastTime, err := t.Stream.Last(ctx)
	if err != nil {
		return slices.Clone(jobs), fmt.Errorf("look up the end of the stream: %w", err)
	}
	var left []job
	var failure error
	for at, s := range spans {
		if last == 0 || lastTime.Before(s.from) {
			continue
		}
		err := t.Stream.Read(ctx, event.SubjectOf(at.tenant, at.typ), s.from, last, func(msgs []event.Message) error {
			return t.Restarter.Restart(ctx, msgs, s.only)
		})
		if err != nil {
			left = append(left, s.jobs...)
			failure = cmp.Or(failure, fmt.Errorf("re-read %s events of tenant %s: %w", at.typ, at.tenant, err))
		}
	}
	return left, failure
}

// inherit looks for the watchers of dead processes and does what they may have left undone.
func (t *Tracker) inherit(ctx context.Context) {
	ticker := time.NewTicker(t.timing.takeover)
	defer ticker.Stop()
	for {
		if t.Wait(ctx) != nil { // the index must be complete, and this process covered
			return
		}
		if err := t.takeOver(ctx); err != nil && ctx.Err() == nil {
			t.Logger.WarnContext(ctx, "watcher of a dead process cannot be taken over", "error", err)
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
	}
}

func (t *Tracker) takeOver(ctx context.Context) error {
	estates, err := t.Store.Inherit(ctx, t.id, t.timing.expiry)
	if err != nil {
		return err
	}
	for _, e := range estates {
		from := e.SeenThrough.Add(-t.timing.margin)
		defs := t.Index.ChangedSince(from)
		jobs := make([]job, len(defs))
		for i, def := range defs {
			jobs[i] = job{index.ID{Tenant: def.Tenant, Workflow: def.Workflow}, def.Trigger.Type, from}
		}
		if _, err := t.read(ctx, jobs); err != nil {
			return err
		}
		if err := t.Store.Bury(ctx, e); err != nil {
			return err
		}
		t.Logger.InfoContext(ctx, "watcher of a dead process taken over", "seen_through", e.SeenThrough, "workflows", len(jobs))
	}
	return nil
}
