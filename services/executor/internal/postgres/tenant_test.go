package postgres_test

import (
	"context"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"workflow.uniconnect/services/executor/internal/execution"
)

func TestStore_FinalizeTenant(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	me := f.owner(time.Minute)
	running, done := owned(start("acme", 1, "running")), owned(start("acme", 2, "done"))
	f.accept(me, running, done, start("acme", 1, "waiting"), start("globex", 1, "other"))
	f.flush(me, ended(done, 1))
	if finished, err := f.store.Finalize(t.Context(), "acme", workflow(3)); !finished || err != nil {
		t.Fatalf("a workflow that was deleted before: got %v, %v", finished, err)
	}
	if finished, err := f.store.FinalizeTenant(t.Context(), "acme"); !finished || err != nil {
		t.Fatalf("got %v, %v; want done", finished, err)
	}
	if got := f.flush(me, ended(running, 1)); got[0] != execution.Lost {
		t.Errorf("record of a deleted execution: got %v, want lost", got)
	}
	late := f.accept(me, start("acme", 1, "late"), start("globex", 1, "goes on"), start("acme", 9, "never heard of"))
	for _, i := range []int{0, 2} {
		if got := late[i]; got.Outcome != execution.Refused || got.Reason != execution.ReasonWorkflowDeleted || got.Retryable {
			t.Errorf("late start: got %+v, want a final refusal", got)
		}
	}
	if late[1].Outcome != execution.Started {
		t.Errorf("start of another tenant: got %+v", late[1])
	}
	for table, want := range map[string]int{
		"live": 2, "executions": 2, "starts": 2, "step_results": 0, "tombstones": 0, "tenant_tombstones": 1,
	} {
		if n := f.count(table); n != want {
			t.Errorf("%s: got %d rows, want %d", table, n, want)
		}
	}
	if finished, err := f.store.FinalizeTenant(t.Context(), "acme"); !finished || err != nil {
		t.Errorf("again: got %v, %v; want done", finished, err)
	}
}

// TestStore_FinalizeTenant_serves_for_a_time holds that a name can be used again when its tombstone has served, whether it was buried or not.
func TestStore_FinalizeTenant_serves_for_a_time(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	me := f.owner(time.Minute)
	if finished, err := f.store.FinalizeTenant(t.Context(), "acme"); !finished || err != nil {
		t.Fatalf("got %v, %v; want done", finished, err)
	}
	f.exec(t.Context(), `UPDATE tenant_tombstones SET create_time = now() - interval '30 days 1 second'`)
	if got := f.accept(me, start("acme", 1, "new"))[0]; got.Outcome != execution.Started {
		t.Errorf("a start after the time of the tombstone: got %+v", got)
	}
	if err := f.store.BuryTombstones(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := f.count("tenant_tombstones"); n != 0 {
		t.Errorf("%d tombstones are left", n)
	}
}

func TestStore_FinalizeTenant_WaitsForOlderTransactions(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	tx, err := f.pool.BeginTx(t.Context(), pgx.TxOptions{IsoLevel: pgx.RepeatableRead})
	if err != nil {
		t.Fatal(err)
	}
	var n int
	if err := tx.QueryRow(t.Context(), `SELECT count(*) FROM tenant_tombstones`).Scan(&n); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if finished, err := f.store.FinalizeTenant(ctx, "acme"); finished || err != nil {
		t.Errorf("with an older transaction: got %v, %v; want not yet", finished, err)
	}
	if err := tx.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	if finished, err := f.store.FinalizeTenant(t.Context(), "acme"); !finished || err != nil {
		t.Errorf("after it: got %v, %v; want done", finished, err)
	}
}
