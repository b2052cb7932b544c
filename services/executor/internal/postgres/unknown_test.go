package postgres_test

import (
	"context"
	"testing"
	"time"

	"workflow.uniconnect/services/executor/internal/execution"
	"workflow.uniconnect/services/executor/internal/run"
)

// holdCommits makes every commit that changes the live table wait until the returned function is called, and no client can cancel it: so
// does a disk that does not answer.
func (f *fixture) holdCommits() (release func()) {
	f.t.Helper()
	f.exec(f.t.Context(), `CREATE FUNCTION hold() RETURNS trigger LANGUAGE plpgsql AS $$
		BEGIN
			LOOP
				BEGIN
					PERFORM pg_advisory_xact_lock_shared(7);
					RETURN NULL;
				EXCEPTION WHEN query_canceled THEN
				END;
			END LOOP;
		END $$`)
	f.exec(f.t.Context(), `CREATE CONSTRAINT TRIGGER hold AFTER UPDATE ON live DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION hold()`)
	conn, err := f.pool.Acquire(f.t.Context())
	if err != nil {
		f.t.Fatal(err)
	}
	if _, err := conn.Exec(f.t.Context(), `SELECT pg_advisory_lock(7)`); err != nil {
		f.t.Fatal(err)
	}
	return func() {
		f.t.Helper()
		if _, err := conn.Exec(f.t.Context(), `SELECT pg_advisory_unlock(7)`); err != nil {
			f.t.Error(err)
		}
		conn.Release()
	}
}

// A claim whose commit is still under way when the claimer gives up may become the owner's later: handing back waits until that is settled.
// Otherwise the row would name a living owner that does not know about it, and nobody would ever run it.
func TestStore_HandBack_AwaitsTheCommit(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	me := f.owner(time.Minute)
	f.accept(me, start("acme", 1, "one"))
	release := f.holdCommits()
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	claimed, err := f.store.Claim(ctx, me, execution.ClaimRequest{Limit: 10, TenantLimit: 5})
	if err == nil || len(claimed) != 1 {
		t.Fatalf("claim: got %d and %v, want one row whose outcome is unknown", len(claimed), err)
	}
	short, cancelShort := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancelShort()
	if err := f.store.HandBack(short, me, claimed); err == nil {
		t.Error("handed back before the commit was settled")
	}
	release()
	if err := f.store.HandBack(t.Context(), me, claimed); err != nil {
		t.Fatal(err)
	}
	if again := f.claim(me, 10); len(again) != 1 || again[0].Epoch != claimed[0].Epoch+1 {
		t.Errorf("claimed again: got %+v, want one of epoch %d", again, claimed[0].Epoch+1)
	}
	// What was claimed since then stays where it is.
	if err := f.store.HandBack(t.Context(), me, claimed); err != nil {
		t.Fatal(err)
	}
	if left := f.claim(me, 10); len(left) != 0 {
		t.Errorf("claimable after handing back an old claim: got %+v, want none", left)
	}
}

// A record of an owner that slept must not pass for stored because its successor has written as many records.
func TestStore_Flush_RepeatedBehindTheSuccessor(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	sleeper, successor := f.owner(time.Microsecond), f.owner(time.Minute)
	item := owned(start("acme", 1, "one"))
	f.accept(sleeper, item)
	if n, err := f.store.Sweep(t.Context(), 100); n != 1 || err != nil {
		t.Fatalf("sweep: got %d, %v; want 1", n, err)
	}
	if claimed := f.claim(successor, 10); len(claimed) != 1 {
		t.Fatalf("claimed %d, want 1", len(claimed))
	}
	results := ended(item, 1).Results
	f.flush(successor, execution.Record{Tenant: item.Tenant, ID: item.ID, Epoch: 2, Seq: 1, Results: results})
	stale := execution.Record{Tenant: item.Tenant, ID: item.ID, Epoch: 1, Seq: 1, Results: results}
	got, err := f.store.Flush(t.Context(), sleeper, []execution.Record{stale}, 2)
	if err != nil {
		t.Fatal(err)
	}
	if got[0] != execution.Lost {
		t.Errorf("got %v, want lost", got[0])
	}
}

// The answer to a record that ended its execution as unstorable gets lost; asked again, the owner must not go on.
func TestStore_Flush_RepeatedUnstorable(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	me := f.owner(time.Minute)
	item := owned(start("acme", 1, "one"))
	f.accept(me, item)
	record := ended(item, 1)
	record.State = execution.StateKept
	record.Results[0].Output = []byte("\"\x00\"")
	records := []execution.Record{record}
	for try := 1; try <= 2; try++ {
		got, err := f.store.Flush(t.Context(), me, records, try)
		if err != nil {
			t.Fatal(err)
		}
		if got[0] != execution.Unstorable {
			t.Errorf("try %d: got %v, want unstorable", try, got[0])
		}
	}
	if view := f.get("acme", item.ID); view.State != run.Failed {
		t.Errorf("state: got %v, want failed", view.State)
	}
}

// The answer to an accept gets lost, and its key has expired by the time it is given again.
func TestStore_Accept_RepeatedAfterTheExpiry(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	me := f.owner(time.Minute)
	item := owned(start("acme", 1, "one"))
	item.KeyTTL = time.Microsecond
	for try := 1; try <= 2; try++ {
		if got := f.accept(me, item)[0]; got.Outcome != execution.Started || got.ID != item.ID {
			t.Errorf("try %d: got %+v, want started", try, got)
		}
	}
}
