package postgres_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"workflow.uniconnect/services/executor/internal/execution"
)

func TestStore_Finalize(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	me := f.owner(time.Minute)
	running, done, other := owned(start("acme", 1, "running")), owned(start("acme", 1, "done")), start("acme", 2, "other")
	f.accept(me, running, done, other)
	f.flush(me, ended(done, 1))
	if finished, err := f.store.Finalize(t.Context(), "acme", workflow(1)); !finished || err != nil {
		t.Fatalf("got %v, %v; want done", finished, err)
	}
	if got := f.flush(me, ended(running, 1)); got[0] != execution.Lost {
		t.Errorf("record of a deleted execution: got %v, want lost", got)
	}
	if got := f.accept(me, start("acme", 1, "late"))[0]; got.Outcome != execution.Refused || got.Reason != execution.ReasonWorkflowDeleted || got.Retryable {
		t.Errorf("late start: got %+v, want refused", got)
	}
	for table, want := range map[string]int{"live": 1, "executions": 1, "starts": 1, "step_results": 0} {
		if n := f.count(table); n != want {
			t.Errorf("%s: got %d rows, want %d", table, n, want)
		}
	}
	if finished, err := f.store.Finalize(t.Context(), "acme", workflow(1)); !finished || err != nil {
		t.Errorf("again: got %v, %v; want done", finished, err)
	}
}

// A transaction that took its snapshot before the tombstone may still accept: finalize must wait for it.
func TestStore_Finalize_WaitsForOlderTransactions(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	tx, err := f.pool.BeginTx(t.Context(), pgx.TxOptions{IsoLevel: pgx.RepeatableRead})
	if err != nil {
		t.Fatal(err)
	}
	var n int
	if err := tx.QueryRow(t.Context(), `SELECT count(*) FROM tombstones`).Scan(&n); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if finished, err := f.store.Finalize(ctx, "acme", workflow(1)); finished || err != nil {
		t.Errorf("with an older transaction: got %v, %v; want not yet", finished, err)
	}
	if err := tx.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	if finished, err := f.store.Finalize(t.Context(), "acme", workflow(1)); !finished || err != nil {
		t.Errorf("after it: got %v, %v; want done", finished, err)
	}
}

func TestStore_Finalize_RacesAccept(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	me := f.owner(time.Minute)
	ctx, cancel := context.WithCancel(t.Context())
	var group sync.WaitGroup
	accepted := make(chan struct{}, 1)
	for w := range 3 {
		group.Go(func() {
			for i := 0; ctx.Err() == nil; i++ {
				item := owned(start("acme", 1, fmt.Sprintf("%d-%d", w, i)))
				verdicts, err := f.store.Accept(t.Context(), me, []execution.Accept{item})
				if err != nil {
					t.Error(err)
					return
				}
				select {
				case accepted <- struct{}{}:
				default:
				}
				if i%2 == 0 && verdicts[0].Outcome == execution.Started {
					if _, err := f.store.Flush(t.Context(), me, []execution.Record{ended(item, 1)}, 1); err != nil {
						t.Error(err)
					}
				}
			}
		})
	}
	<-accepted
	finished, err := f.store.Finalize(t.Context(), "acme", workflow(1))
	cancel()
	group.Wait()
	if !finished || err != nil {
		t.Fatalf("got %v, %v; want done", finished, err)
	}
	for _, table := range []string{"live", "executions", "starts", "step_results"} {
		if n := f.count(table); n != 0 {
			t.Errorf("%s: %d rows came back", table, n)
		}
	}
}

func TestStore_MakePartitions(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	me := f.owner(time.Minute)
	f.accept(me, start("acme", 1, "one"))
	if n := f.count("executions_default"); n != 0 {
		t.Errorf("rows in the default partition: got %d, want 0", n)
	}
	var group sync.WaitGroup
	f.exec(t.Context(), `DELETE FROM executions`)
	for range 3 {
		group.Go(func() {
			if err := f.store.MakePartitions(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
}
