package deletion_test

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"workflow.uniconnect/services/workflow-catalog/internal/deletion"
	"workflow.uniconnect/services/workflow-catalog/internal/workflow"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// queue holds one deletion.
type queue struct {
	mu       sync.Mutex
	due      time.Time
	deletion deletion.Deletion
	removed  bool
	waits    []time.Duration // between a failure and the next attempt
}

func (q *queue) Claim(_ context.Context, _ int, lease time.Duration) ([]deletion.Deletion, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.removed || time.Now().Before(q.due) {
		return nil, nil
	}
	q.due = time.Now().Add(lease)
	q.deletion.Attempt++
	return []deletion.Deletion{q.deletion}, nil
}

func (q *queue) Release(_ context.Context, d deletion.Deletion, after time.Duration) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.deletion, q.due = d, time.Now().Add(after)
	q.waits = append(q.waits, after)
	return nil
}

func (q *queue) Remove(context.Context, deletion.Deletion) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.removed = true
	return nil
}

func (q *queue) Pending(context.Context) (int64, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.removed {
		return 0, nil
	}
	return 1, nil
}

// owner answers with what a test scripted, and done at the end of the script.
type owner struct {
	name   string
	script []any // an error, or a bool for done
	asked  func(name string)
}

func (o *owner) Name() string { return o.name }

func (o *owner) Finalize(context.Context, workflow.Tenant, workflow.ID) (bool, error) {
	o.asked(o.name)
	if len(o.script) == 0 {
		return true, nil
	}
	next := o.script[0]
	o.script = o.script[1:]
	if err, failed := next.(error); failed {
		return false, err
	}
	return next.(bool), nil
}

func TestLoop_Run(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := &queue{}
		var asked []string
		record := func(name string) { asked = append(asked, name) }
		away := errors.New("away")
		loop := deletion.NewLoop(deletion.Workflow, q, []deletion.Owner{
			&owner{name: "triggers", script: []any{away, away, false, true}, asked: record},
			&owner{name: "executions", script: []any{false, away, true}, asked: record},
		}, slog.New(slog.DiscardHandler))
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- loop.Run(ctx) }()
		<-time.After(30 * time.Second)
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		want := []string{"triggers", "triggers", "triggers", "triggers", "executions", "executions", "triggers", "executions"}
		if diff := cmp.Diff(want, asked); diff != "" {
			t.Errorf("asked (-want +got):\n%s", diff)
		}
		if !q.removed || loop.Pending() != 0 {
			t.Errorf("removed %v, pending %d; want it gone", q.removed, loop.Pending())
		}
		for i, wait := range q.waits {
			if most := 500 * time.Millisecond << i; wait < most/2 || wait > most {
				t.Errorf("wait %d: got %v, want between half of and %v", i, wait, most)
			}
		}
	})
}

// TestLoop_Run_owner_takes_long has an owner that is not done within a turn: the deletion goes on at once and counts no failure.
func TestLoop_Run_owner_takes_long(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := &queue{}
		notYet := make([]any, 250)
		for i := range notYet {
			notYet[i] = false
		}
		loop := deletion.NewLoop(deletion.Workflow, q, []deletion.Owner{&owner{name: "executions", script: notYet, asked: func(string) {}}}, slog.New(slog.DiscardHandler))
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- loop.Run(ctx) }()
		<-time.After(55 * time.Second)
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		if !q.removed || q.deletion.Failures != 0 || q.deletion.Attempt < 3 {
			t.Errorf("removed %v after %d attempts with %d failures; want it done in three turns without", q.removed, q.deletion.Attempt, q.deletion.Failures)
		}
	})
}

// stuckOwner answers when its caller gives up.
type stuckOwner struct{}

func (stuckOwner) Name() string { return "executions" }

func (stuckOwner) Finalize(ctx context.Context, _ workflow.Tenant, _ workflow.ID) (bool, error) {
	<-ctx.Done()
	return false, ctx.Err()
}

func TestLoop_Run_gives_back_what_it_holds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := &queue{}
		loop := deletion.NewLoop(deletion.Workflow, q, []deletion.Owner{stuckOwner{}}, slog.New(slog.DiscardHandler))
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- loop.Run(ctx) }()
		synctest.Wait()
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		if q.removed || q.due.After(time.Now()) || q.deletion.Failures != 0 {
			t.Errorf("removed %v, due in %v with %d failures; want it due now without", q.removed, time.Until(q.due), q.deletion.Failures)
		}
	})
}
