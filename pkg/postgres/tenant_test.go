package postgres_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/fstest"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"workflow.uniconnect/pkg/pgtest"
	"workflow.uniconnect/pkg/postgres"
)

const walled = `-- +goose Up
CREATE TABLE things (tenant text NOT NULL, id integer NOT NULL, n integer NOT NULL DEFAULT 0, PRIMARY KEY (tenant, id));
ALTER TABLE things ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON things TO app_api USING (tenant = nullif(current_setting('uc.tenant', true), ''));
CREATE POLICY everything ON things TO app_worker USING (true);
GRANT USAGE ON SCHEMA app TO app_api, app_worker;
GRANT SELECT, INSERT, UPDATE, DELETE ON things TO app_api, app_worker;
INSERT INTO things (tenant, id) VALUES ('acme', 1), ('acme', 2), ('globex', 1), ('', 1);`

func migrateWalled(ctx context.Context, url string) error {
	files := fstest.MapFS{"00001_things.sql": {Data: []byte(walled)}}
	return postgres.Migrate(ctx, url, "app", files, postgres.API, postgres.Worker)
}

func openTenants(t testing.TB, url string, conns int32) *postgres.TenantPool {
	t.Helper()
	pool, err := postgres.OpenTenants(t.Context(), postgres.Options{URL: url, Schema: "app", Name: "tenants", MaxConns: conns})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	return pool
}

const selectThings = `SELECT tenant || '/' || id FROM things ORDER BY tenant, id`

func TestTenantPool_ShowsOneTenant(t *testing.T) {
	t.Parallel()
	url := pgtest.New(t, migrateWalled)
	pool := openTenants(t, url, 1)
	for tenant, want := range map[string]string{"acme": "[acme/1 acme/2]", "globex": "[globex/1]", "initech": "[]"} {
		rows, err := pool.Of(tenant).Query(t.Context(), selectThings)
		if err != nil {
			t.Fatal(err)
		}
		got, err := pgx.CollectRows(rows, pgx.RowTo[string])
		if fmt.Sprint(got) != want || err != nil {
			t.Errorf("query as %s: got %v %v, want %s", tenant, got, err, want)
		}
		err = pool.InTx(t.Context(), tenant, func(tx pgx.Tx) error {
			rows, err := tx.Query(t.Context(), selectThings)
			if err != nil {
				return err
			}
			got, err = pgx.CollectRows(rows, pgx.RowTo[string])
			return err
		})
		if fmt.Sprint(got) != want || err != nil {
			t.Errorf("transaction as %s: got %v %v, want %s", tenant, got, err, want)
		}
	}
	worker := open(t, postgres.Options{URL: url, Schema: "app", Role: postgres.Worker})
	rows, err := worker.Query(t.Context(), selectThings)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := pgx.CollectRows(rows, pgx.RowTo[string]); fmt.Sprint(got) != "[/1 acme/1 acme/2 globex/1]" || err != nil {
		t.Errorf("the worker sees %v, %v", got, err)
	}
}

// Neither a session that never named a tenant nor one that did in an earlier transaction sees anything, not even rows of no tenant.
func TestTenantPool_NothingWithoutATenant(t *testing.T) {
	t.Parallel()
	api := open(t, postgres.Options{URL: pgtest.New(t, migrateWalled), Schema: "app", Role: postgres.API, MaxConns: 1})
	count := func() (n int) {
		t.Helper()
		if err := api.QueryRow(t.Context(), `SELECT count(*) FROM things`).Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	if n := count(); n != 0 {
		t.Errorf("a fresh session sees %d rows", n)
	}
	if _, err := api.Exec(t.Context(), `BEGIN; SELECT set_config('uc.tenant', 'acme', true); COMMIT`); err != nil {
		t.Fatal(err)
	}
	if n := count(); n != 0 {
		t.Errorf("a session that named a tenant before sees %d rows", n)
	}
}

func TestTenantPool_ChangesOneTenant(t *testing.T) {
	t.Parallel()
	pool := openTenants(t, pgtest.New(t, migrateWalled), 2)
	acme := pool.Of("acme")
	for _, sql := range []string{
		`UPDATE things SET n = 1`, `DELETE FROM things WHERE tenant = 'globex'`, `UPDATE things SET n = 2 WHERE tenant <> 'acme'`,
	} {
		if _, err := acme.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
	var n int
	if err := pool.Of("globex").QueryRow(t.Context(), `SELECT n FROM things`).Scan(&n); n != 0 || err != nil {
		t.Errorf("the other tenant's row has %d, %v", n, err)
	}
	for _, sql := range []string{`INSERT INTO things (tenant, id) VALUES ('globex', 7)`, `UPDATE things SET tenant = 'globex' WHERE id = 2`} {
		_, err := acme.Exec(t.Context(), sql)
		var refused *pgconn.PgError
		if !errors.As(err, &refused) || refused.Code != "42501" {
			t.Errorf("%s: got %v, want a refusal", sql, err)
		}
	}
}

func TestTenantPool_RefusesWhatIsNoTenant(t *testing.T) {
	t.Parallel()
	pool := openTenants(t, pgtest.New(t, migrateWalled), 1)
	for _, name := range []string{"", "a'; RESET ROLE; --", "Acme", "a b", strings.Repeat("a", 33), "acme\x00"} {
		if err := pool.Of(name).QueryRow(t.Context(), `SELECT 1`).Scan(nil); err == nil {
			t.Errorf("a query as %q is run", name)
		}
		if _, err := pool.Of(name).Exec(t.Context(), `SELECT 1`); err == nil {
			t.Errorf("a statement as %q is run", name)
		}
		if err := pool.InTx(t.Context(), name, func(pgx.Tx) error { return nil }); err == nil {
			t.Errorf("a transaction as %q is begun", name)
		}
	}
}

// Whatever becomes of a call, its connection comes back, and nothing of its tenant stays with it.
func TestTenant_GivesTheConnectionBack(t *testing.T) {
	t.Parallel()
	pool := openTenants(t, pgtest.New(t, migrateWalled), 1)
	acme := pool.Of("acme")
	ctx := t.Context()
	calls := map[string]func() error{
		"no row": func() error { return acme.QueryRow(ctx, `SELECT 1 WHERE false`).Scan(nil) },
		"a row of several": func() error {
			return acme.QueryRow(ctx, selectThings).Scan(nil)
		},
		"a value that does not fit": func() error {
			var n int
			return acme.QueryRow(ctx, selectThings).Scan(&n)
		},
		"rows closed early": func() error {
			rows, err := acme.Query(ctx, selectThings)
			if err == nil {
				rows.Next()
				rows.Close()
				err = rows.Err()
			}
			return err
		},
		"an error of the statement": func() error { return acme.QueryRow(ctx, `SELECT 1/n FROM things`).Scan(nil) },
		"an error of the text":      func() error { return acme.QueryRow(ctx, `SELEKT`).Scan(nil) },
		"an error of a batch": func() error {
			batch := &pgx.Batch{}
			batch.Queue(`SELECT 1`)
			batch.Queue(`SELECT 1/0`)
			return acme.SendBatch(ctx, batch).Close()
		},
		"an error of fn": func() error {
			return pool.InTx(ctx, "acme", func(pgx.Tx) error { return errors.New("no") })
		},
		"a caller that gave up": func() error {
			ctx, cancel := context.WithCancel(ctx)
			cancel()
			return acme.QueryRow(ctx, `SELECT 1`).Scan(nil)
		},
	}
	fine := []string{"a row of several", "rows closed early"}
	for name, call := range calls {
		if err := call(); (err == nil) != slices.Contains(fine, name) {
			t.Errorf("%s: got %v", name, err)
		}
		var got string
		if err := pool.Of("globex").QueryRow(ctx, selectThings).Scan(&got); got != "globex/1" || err != nil {
			t.Fatalf("after %s: got %q, %v", name, got, err)
		}
	}
}

// A statement takes effect as a whole, or not at all.
func TestTenant_Run_IsOneTransaction(t *testing.T) {
	t.Parallel()
	pool := openTenants(t, pgtest.New(t, migrateWalled), 1)
	batch := &pgx.Batch{}
	batch.Queue(`UPDATE things SET n = 9`)
	batch.Queue(`SELECT 1/0`)
	if err := pool.Of("acme").SendBatch(t.Context(), batch).Close(); err == nil {
		t.Error("a batch with an error is fine")
	}
	var n int
	if err := pool.Of("acme").QueryRow(t.Context(), `SELECT sum(n) FROM things`).Scan(&n); n != 0 || err != nil {
		t.Errorf("half a batch took effect: %d, %v", n, err)
	}
}

func TestTenantPool_ManyTenantsOnFewConnections(t *testing.T) {
	t.Parallel()
	pool := openTenants(t, pgtest.New(t, migrateWalled), 2)
	var group sync.WaitGroup
	for worker := range 8 {
		tenant := []string{"acme", "globex"}[worker%2]
		group.Go(func() {
			for range 50 {
				var others int
				read := func(row pgx.Row) error { return row.Scan(&others) }
				const count = `SELECT count(*) FROM things WHERE tenant <> $1`
				err := read(pool.Of(tenant).QueryRow(t.Context(), count, tenant))
				if err == nil && others == 0 {
					err = pool.InTx(t.Context(), tenant, func(tx pgx.Tx) error { return read(tx.QueryRow(t.Context(), count, tenant)) })
				}
				if err != nil || others != 0 {
					t.Errorf("%s sees %d rows of others, %v", tenant, others, err)
					return
				}
			}
		})
	}
	group.Wait()
}

// What a read costs that names its tenant, beside one that does not.
func BenchmarkTenant_QueryRow(b *testing.B) {
	url := pgtest.New(b, migrateWalled)
	pool := openTenants(b, url, 1)
	worker, err := postgres.Open(b.Context(), postgres.Options{URL: url, Schema: "app", Role: postgres.Worker, MaxConns: 1})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(worker.Close)
	const query = `SELECT n FROM things WHERE tenant = $1 AND id = $2`
	var n int
	for name, read := range map[string]func() error{
		"plain":  func() error { return worker.QueryRow(b.Context(), query, "acme", 1).Scan(&n) },
		"tenant": func() error { return pool.Of("acme").QueryRow(b.Context(), query, "acme", 1).Scan(&n) },
		"transaction": func() error {
			return postgres.InTx(b.Context(), worker, func(tx pgx.Tx) error { return tx.QueryRow(b.Context(), query, "acme", 1).Scan(&n) })
		},
		"tenant_transaction": func() error {
			return pool.InTx(b.Context(), "acme", func(tx pgx.Tx) error { return tx.QueryRow(b.Context(), query, "acme", 1).Scan(&n) })
		},
	} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				if err := read(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
