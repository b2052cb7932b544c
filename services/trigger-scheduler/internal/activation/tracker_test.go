package activation

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"workflow.uniconnect/services/trigger-scheduler/internal/event"
	"workflow.uniconnect/services/trigger-scheduler/internal/index"
	"workflow.uniconnect/services/trigger-scheduler/internal/predicate"
	"workflow.uniconnect/services/trigger-scheduler/internal/start"
)

// margin covers what a transaction of the catalog may take between the time of its change and its commit.
const margin = 30 * time.Second

// world is what a tracker acts on.
type world struct {
	mu      sync.Mutex
	down    error  // of the store
	broken  error  // of the stream
	poison  string // the subject that cannot be read
	estates []Estate
	record
}

// record is what the tracker did.
type record struct {
	seen     []time.Time
	released int
	buried   []WatcherID
	reads    []read
}

func (w *world) got() record {
	w.mu.Lock()
	defer w.mu.Unlock()
	r := w.record
	r.seen, r.buried, r.reads = slices.Clone(r.seen), slices.Clone(r.buried), slices.Clone(r.reads)
	return r
}

type read struct {
	subject string
	from    time.Time
	until   uint64
	only    int
}

func (w *world) Renew(_ context.Context, _ WatcherID, seen time.Time) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.down == nil {
		w.seen = append(w.seen, seen)
	}
	return w.down
}

func (w *world) Release(context.Context, WatcherID) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.released++
	return nil
}

func (w *world) Inherit(context.Context, WatcherID, time.Duration) ([]Estate, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.estates), nil
}

func (w *world) Bury(_ context.Context, e Estate) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.buried = append(w.buried, e.ID)
	w.estates = slices.DeleteFunc(w.estates, func(o Estate) bool { return o.ID == e.ID })
	return nil
}

func (w *world) Last(context.Context) (uint64, time.Time, error) {
	return 7, time.Now().Add(time.Hour), nil
}

func (w *world) Read(_ context.Context, subject string, from time.Time, until uint64, fn func([]event.Message) error) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.broken != nil {
		return w.broken
	}
	if subject == w.poison {
		return errors.New("poison")
	}
	w.reads = append(w.reads, read{subject: subject, from: from, until: until})
	return fn(nil)
}

func (w *world) Restart(_ context.Context, _ []event.Message, only map[index.ID]struct{}) error {
	w.reads[len(w.reads)-1].only = len(only)
	return nil
}

func (w *world) set(fn func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	fn()
}

// run starts a tracker in the bubble and returns its stop.
func run(t *testing.T, w *world) (*Tracker, func()) {
	t.Helper()
	env, err := predicate.NewEnv()
	if err != nil {
		t.Fatal(err)
	}
	tr, err := New(Options{Index: index.New(env), Store: w, Stream: w, Restarter: w, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = tr.Run(ctx)
	}()
	return tr, func() { cancel(); <-done }
}

func definition(id string, effective time.Time) index.Definition {
	return index.Definition{
		Tenant: "acme", Workflow: start.WorkflowID(id), Active: true, HasSteps: true, Effective: effective, ActiveSince: effective,
		Trigger: &index.Trigger{Type: "call.ended"},
	}
}

func TestTracker_gate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &world{}
		tr, stop := run(t, w)
		defer stop()
		synctest.Wait()
		if tr.Open() || len(w.got().seen) != 0 {
			t.Fatal("open before the first snapshot")
		}
		asOf := time.Now()
		tr.Snapshot(t.Context(), News{AsOf: asOf})
		synctest.Wait()
		if !tr.Open() || len(w.got().seen) != 1 || !w.got().seen[0].Equal(asOf) {
			t.Fatalf("not open after the first snapshot: %v", w.got().seen)
		}
		advance(29 * time.Second)
		if !tr.Open() {
			t.Error("closed before 30 s of silence")
		}
		advance(time.Second)
		if tr.Open() {
			t.Error("open after 30 s of silence")
		}
		opened := make(chan error, 1)
		go func() { opened <- tr.Wait(t.Context()) }()
		synctest.Wait()
		tr.Changes(t.Context(), News{AsOf: time.Now()})
		if err := <-opened; err != nil || !tr.Open() {
			t.Errorf("a word does not open it again: %v", err)
		}
	})
}

func TestTracker_is_not_covered_without_its_row(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &world{}
		tr, stop := run(t, w)
		defer stop()
		tr.Snapshot(t.Context(), News{AsOf: time.Now()})
		synctest.Wait()
		w.set(func() { w.down = errors.New("away") })
		for range 19 {
			advance(time.Second)
			tr.Changes(t.Context(), News{AsOf: time.Now()})
		}
		if !tr.Covered() {
			t.Error("not covered although the row is not 20 s old")
		}
		advance(2 * time.Second)
		if tr.Covered() || tr.Open() {
			t.Error("covered by a row of more than 20 s")
		}
		w.set(func() { w.down = nil })
		advance(2 * time.Second)
		synctest.Wait()
		if !tr.Covered() {
			t.Error("not covered after a renewal")
		}
		if err := tr.Release(t.Context()); err != nil || w.got().released != 1 || tr.Covered() {
			t.Errorf("after the release: %v, %d, covered %v", err, w.got().released, tr.Covered())
		}
	})
}

func TestTracker_seen_waits_for_the_re_reads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &world{broken: errors.New("away")}
		tr, stop := run(t, w)
		defer stop()
		begin := time.Now()
		tr.Snapshot(t.Context(), News{Definitions: []index.Definition{definition("old", begin.Add(-time.Hour))}, AsOf: begin})
		synctest.Wait()
		changed := begin.Add(time.Second)
		off := definition("off", changed)
		off.Active = false
		tr.Changes(t.Context(), News{Definitions: []index.Definition{definition("a", changed), definition("b", changed.Add(time.Millisecond)), off}, AsOf: begin.Add(2 * time.Second)})
		advance(5 * time.Second)
		if got := w.got().seen[len(w.got().seen)-1]; !got.Equal(begin) {
			t.Errorf("seen went on to %v although nothing was re-read", got.Sub(begin))
		}
		w.set(func() { w.broken = nil })
		advance(10 * time.Second)
		synctest.Wait()
		want := read{"uniconnect.events.acme.call.ended", changed, 7, 2}
		if len(w.got().reads) != 1 || w.got().reads[0] != want {
			t.Errorf("reads: got %+v, want one %+v", w.got().reads, want)
		}
		if got := w.got().seen[len(w.got().seen)-1]; !got.Equal(begin.Add(2 * time.Second)) {
			t.Errorf("seen: got %v, want 2s", got.Sub(begin))
		}
	})
}

// TestTracker_one_place_does_not_hold_up_the_others: nor is what was read for the others read again.
func TestTracker_one_place_does_not_hold_up_the_others(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &world{poison: "uniconnect.events.acme.call.started"}
		tr, stop := run(t, w)
		defer stop()
		begin := time.Now()
		tr.Snapshot(t.Context(), News{AsOf: begin})
		synctest.Wait()
		bad := definition("bad", begin)
		bad.Trigger = &index.Trigger{Type: "call.started"}
		defs := []index.Definition{bad}
		const tenants = 20
		for i := range tenants {
			good := definition("good", begin)
			good.Tenant = event.Tenant(fmt.Sprintf("t%d", i))
			defs = append(defs, good)
		}
		tr.Changes(t.Context(), News{Definitions: defs, AsOf: begin.Add(time.Second)})
		synctest.Wait()
		if got := len(w.got().reads); got != tenants {
			t.Errorf("the first attempt read %d places, want %d", got, tenants)
		}
		advance(time.Minute)
		if got := len(w.got().reads); got != tenants {
			t.Errorf("%d reads of %d places", got, tenants)
		}
		if got := w.got().seen[len(w.got().seen)-1]; !got.Equal(begin) {
			t.Errorf("seen went on by %v over what was not read", got.Sub(begin))
		}
		later := definition("later", begin.Add(time.Minute))
		tr.Changes(t.Context(), News{Definitions: []index.Definition{later}, AsOf: begin.Add(time.Minute)})
		synctest.Wait()
		if got := len(w.got().reads); got != tenants+1 {
			t.Errorf("a new change waits for what fails: %d reads", got)
		}
		w.set(func() { w.poison = "" })
		advance(10 * time.Second)
		if got := w.got().seen[len(w.got().seen)-1]; len(w.got().reads) != tenants+2 || !got.Equal(begin.Add(time.Minute)) {
			t.Errorf("in the end: %d reads, seen %v", len(w.got().reads), got.Sub(begin))
		}
	})
}

func TestTracker_resumed_watch_reaches_back(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &world{}
		tr, stop := run(t, w)
		defer stop()
		begin := time.Now()
		tr.Snapshot(t.Context(), News{AsOf: begin})
		advance(8 * time.Second)
		tr.Resumed()
		late := begin.Add(7 * time.Second)
		tr.Changes(t.Context(), News{Definitions: []index.Definition{definition("a", late)}, AsOf: begin.Add(7500 * time.Millisecond)})
		synctest.Wait()
		tr.Changes(t.Context(), News{AsOf: begin.Add(9 * time.Second)}) // beyond the pause
		tr.Changes(t.Context(), News{Definitions: []index.Definition{definition("b", begin.Add(9*time.Second))}, AsOf: begin.Add(10 * time.Second)})
		synctest.Wait()
		if len(w.got().reads) != 2 || !w.got().reads[0].from.Equal(begin.Add(-margin)) || !w.got().reads[1].from.Equal(begin.Add(9*time.Second)) {
			t.Errorf("reads: got %+v", w.got().reads)
		}
	})
}

func TestTracker_second_snapshot_reads_what_was_missed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &world{}
		tr, stop := run(t, w)
		defer stop()
		begin := time.Now()
		old, changed := definition("old", begin.Add(-time.Hour)), definition("new", begin.Add(3*time.Second))
		tr.Snapshot(t.Context(), News{Definitions: []index.Definition{old}, AsOf: begin})
		synctest.Wait()
		tr.Snapshot(t.Context(), News{Definitions: []index.Definition{old, changed}, AsOf: begin.Add(5 * time.Second)})
		synctest.Wait()
		if len(w.got().reads) != 1 || w.got().reads[0].only != 1 || !w.got().reads[0].from.Equal(begin.Add(-margin)) {
			t.Errorf("reads: got %+v", w.got().reads)
		}
	})
}

func TestTracker_takes_over_after_reading(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begin := time.Now()
		dead := Estate{ID: WatcherID{1}, SeenThrough: begin.Add(-time.Minute)}
		w := &world{estates: []Estate{dead}, broken: errors.New("away")}
		tr, stop := run(t, w)
		defer stop()
		tr.Snapshot(t.Context(), News{Definitions: []index.Definition{definition("old", begin.Add(-time.Hour)), definition("new", begin.Add(-time.Second))}, AsOf: begin})
		advance(time.Second)
		if len(w.got().buried) != 0 {
			t.Fatal("the row is gone before the stream was read")
		}
		w.set(func() { w.broken = nil })
		advance(10 * time.Second)
		synctest.Wait()
		if len(w.got().buried) != 1 || len(w.got().reads) != 1 || w.got().reads[0].only != 1 || !w.got().reads[0].from.Equal(dead.SeenThrough.Add(-margin)) {
			t.Errorf("buried %v after %+v", w.got().buried, w.got().reads)
		}
	})
}

// advance lets time pass in the bubble, and everything that is due happen.
func advance(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

// An event that was published after a gate opened, and handled before this process heard of it, has started nothing: it is read again.
func TestTracker_gate_opens(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &world{}
		tr, stop := run(t, w)
		defer stop()
		begin := time.Now()
		other := definition("other", begin)
		other.Tenant = "globex"
		tr.Snapshot(t.Context(), News{
			Definitions: []index.Definition{definition("a", begin), definition("b", begin), other},
			Gates:       []index.Gate{{Tenant: "acme", Effective: begin}, {Tenant: "globex", Effective: begin}}, AsOf: begin,
		})
		synctest.Wait()
		if len(w.reads) != 0 {
			t.Fatalf("got %v, want no re-read", w.reads)
		}
		opened := begin.Add(time.Second)
		tr.Changes(t.Context(), News{Gates: []index.Gate{
			{Tenant: "acme", Open: true, Effective: opened}, {Tenant: "acme", Effective: opened.Add(time.Second)},
		}, AsOf: begin.Add(5 * time.Second)})
		synctest.Wait()
		if len(w.reads) != 1 || !w.reads[0].from.Equal(opened) || w.reads[0].only != 0 && w.reads[0].only != 2 {
			t.Errorf("got %v, want one from %v", w.reads, opened)
		}
		// A watch that begins anew may hold an opening that was missed.
		again := begin.Add(6 * time.Second)
		tr.Snapshot(t.Context(), News{
			Definitions: []index.Definition{definition("a", begin)},
			Gates:       []index.Gate{{Tenant: "acme", Effective: begin}, {Tenant: "acme", Open: true, Effective: again}}, AsOf: begin.Add(7 * time.Second),
		})
		synctest.Wait()
		if len(w.reads) != 2 || w.reads[1].from.After(again) {
			t.Errorf("got %v, want another from %v at the latest", w.reads, again)
		}
	})
}

// What is told of a tenant in the same message as its end is not kept: the next tenant of that name has other workflows.
func TestTracker_tenant_ends(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tr, stop := run(t, &world{})
		defer stop()
		begin := time.Now()
		tr.Snapshot(t.Context(), News{Definitions: []index.Definition{definition("a", begin)}, AsOf: begin})
		tr.Changes(t.Context(), News{
			Definitions: []index.Definition{definition("b", begin)}, Gates: []index.Gate{{Tenant: "acme", Deleted: true, Effective: begin}}, AsOf: begin,
		})
		synctest.Wait()
		if got := tr.Index.Len(); got != 0 {
			t.Errorf("%d workflows are known", got)
		}
	})
}
