package activation

import (
	"context"
	"fmt"
	"time"

	"workflow.uniconnect/services/trigger-scheduler/internal/event"
	"workflow.uniconnect/services/trigger-scheduler/internal/index"
)

// reread does the pending re-reads, those that came meanwhile folded together, and moves seen forward.
func (t *Tracker) reread(ctx context.Context) {
	for attempt := 0; ; {
		if attempt == 0 {
			select {
			case <-t.wake:
			case <-ctx.Done():
				return
			}
		} else if !t.pause(ctx, attempt) {
			return
		}
		t.mu.Lock()
		jobs, asOf := t.pending, t.asOf
		t.mu.Unlock()
		if err := t.read(ctx, jobs); err != nil {
			if ctx.Err() != nil {
				return
			}
			if attempt == 0 {
				t.Logger.WarnContext(ctx, "stream cannot be re-read for changed workflows", "workflows", len(jobs), "error", err)
			}
			attempt++
			continue
		}
		attempt = 0
		t.mu.Lock()
		t.pending = t.pending[len(jobs):]
		if len(t.pending) == 0 {
			t.pending = nil
		}
		t.seen = asOf
		t.mu.Unlock()
	}
}

// place is what one read of the stream covers.
type place struct {
	tenant event.Tenant
	typ    event.Type
}

// span is what jobs of one place want together.
type span struct {
	from time.Time
	only map[index.ID]struct{}
}

func (t *Tracker) read(ctx context.Context, jobs []job) error {
	if len(jobs) == 0 {
		return nil
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
	}
	// After the jobs were taken, and so after the index was updated.
	last, lastTime, err := t.Stream.Last(ctx)
	if err != nil {
		return fmt.Errorf("look up the end of the stream: %w", err)
	}
	for at, s := range spans {
		if last == 0 || lastTime.Before(s.from) {
			continue
		}
		err := t.Stream.Read(ctx, event.SubjectOf(at.tenant, at.typ), s.from, last, func(msgs []event.Message) error {
			return t.Restarter.Restart(ctx, msgs, s.only)
		})
		if err != nil {
			return fmt.Errorf("re-read %s events of tenant %s: %w", at.typ, at.tenant, err)
		}
	}
	return nil
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
		if err := t.read(ctx, jobs); err != nil {
			return err
		}
		if err := t.Store.Bury(ctx, e); err != nil {
			return err
		}
		t.Logger.InfoContext(ctx, "watcher of a dead process taken over", "seen_through", e.SeenThrough, "workflows", len(jobs))
	}
	return nil
}
