package postgres_test

import (
	"context"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"workflow.uniconnect/pkg/pgtest"
	pgpool "workflow.uniconnect/pkg/postgres"
	"workflow.uniconnect/services/executor/internal/execution"
	"workflow.uniconnect/services/executor/internal/postgres"
	"workflow.uniconnect/services/executor/internal/run"
)

func TestMain(m *testing.M) { os.Exit(pgtest.Main(m)) }

// fixture is a store on a database of its own.
type fixture struct {
	t      testing.TB
	pool   *pgxpool.Pool // of a superuser
	store  *postgres.Store
	reader *postgres.Reader
}

func newFixture(t testing.TB) *fixture {
	t.Helper()
	url := pgtest.New(t, postgres.Migrate)
	options := pgpool.Options{URL: url, Schema: postgres.Schema, Role: pgpool.Worker}
	worker, err := pgpool.Open(t.Context(), options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(worker.Close)
	api, err := pgpool.OpenTenants(t.Context(), options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(api.Close)
	return &fixture{t: t, pool: pgtest.Open(t, url, postgres.Schema), store: postgres.New(worker), reader: postgres.NewReader(api)}
}

// owner registers an owner with a lease.
func (f *fixture) owner(lease time.Duration) execution.OwnerID {
	f.t.Helper()
	id := execution.NewOwnerID()
	if err := f.store.Register(f.t.Context(), id, lease); err != nil {
		f.t.Fatal(err)
	}
	return id
}

func (f *fixture) accept(owner execution.OwnerID, items ...execution.Accept) []execution.Verdict {
	f.t.Helper()
	verdicts, err := f.store.Accept(f.t.Context(), owner, items)
	if err != nil {
		f.t.Fatal(err)
	}
	return verdicts
}

func (f *fixture) flush(owner execution.OwnerID, records ...execution.Record) []execution.Flushed {
	f.t.Helper()
	answers, err := f.store.Flush(f.t.Context(), owner, records, 1)
	if err != nil {
		f.t.Fatal(err)
	}
	return answers
}

func (f *fixture) claim(owner execution.OwnerID, limit int) []execution.Claimed {
	f.t.Helper()
	claimed, err := f.store.Claim(f.t.Context(), owner, execution.ClaimRequest{Limit: limit, TenantLimit: max(limit/2, 1)})
	if err != nil {
		f.t.Fatal(err)
	}
	return claimed
}

func (f *fixture) get(tenant string, id execution.ID) execution.View {
	f.t.Helper()
	view, ok, err := f.reader.Get(f.t.Context(), tenant, id)
	if err != nil || !ok {
		f.t.Fatalf("get %s: found %v, %v", id, ok, err)
	}
	return view
}

func (f *fixture) count(table string) int {
	f.t.Helper()
	var n int
	if err := f.pool.QueryRow(f.t.Context(), "SELECT count(*) FROM "+table).Scan(&n); err != nil {
		f.t.Fatal(err)
	}
	return n
}

func (f *fixture) exec(ctx context.Context, sql string, args ...any) {
	f.t.Helper()
	if _, err := f.pool.Exec(ctx, sql, args...); err != nil {
		f.t.Fatal(err)
	}
}

func workflow(n byte) execution.WorkflowID {
	id, _ := execution.ParseWorkflowID(fmt.Sprintf("01890000-0000-7000-8000-0000000000%02x", n))
	return id
}

// start is one item; key tells items apart.
func start(tenant string, n byte, key string) execution.Accept {
	a := execution.Accept{ID: execution.NewID(time.Now())}
	a.Tenant, a.WorkflowID, a.Revision = tenant, workflow(n), 1
	a.Key = execution.ManualKey(a.WorkflowID, key)
	a.Cause = execution.EventCause(key, "call.ended", "/calls")
	a.Event = []byte(`{"id":"` + key + `","data":{"n":1}}`)
	return a
}

func owned(a execution.Accept) execution.Accept {
	a.Owned = true
	return a
}

func ended(a execution.Accept, epoch int32) execution.Record {
	now := time.Now()
	return execution.Record{
		Tenant: a.Tenant, ID: a.ID, Epoch: epoch, Seq: 1, State: run.Succeeded, StartTime: now,
		Results: []run.Result{{
			Path: "send", StepID: "send", Attempt: 1, State: run.StepSucceeded,
			StartTime: now, EndTime: now, Output: []byte(`{"status":200}`),
		}},
	}
}
