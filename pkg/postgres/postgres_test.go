package postgres_test

import (
	"context"
	"errors"
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"workflow.uniconnect/pkg/devpg"
	"workflow.uniconnect/pkg/fault"
	"workflow.uniconnect/pkg/pgtest"
	"workflow.uniconnect/pkg/postgres"
)

func TestMain(m *testing.M) { os.Exit(pgtest.Main(m)) }

func open(t *testing.T, opts postgres.Options) *pgxpool.Pool {
	t.Helper()
	pool, err := postgres.Open(t.Context(), opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	return pool
}

func TestOpen_SetsTheSession(t *testing.T) {
	t.Parallel()
	url := pgtest.New(t, nil)
	pool := open(t, postgres.Options{
		URL: url + "&lock_timeout=1234", Schema: "app", Name: "tester",
		StatementTimeout: 4500 * time.Millisecond, LockTimeout: time.Second,
	})
	want := map[string]string{
		"search_path":                         "app",
		"application_name":                    "tester",
		"statement_timeout":                   "4500ms",
		"lock_timeout":                        "1234ms", // the URL's wins
		"idle_in_transaction_session_timeout": "10s",
	}
	for name, want := range want {
		var got string
		if err := pool.QueryRow(t.Context(), `SELECT current_setting($1)`, name).Scan(&got); err != nil {
			t.Fatal(err)
		}
		if got != want {
			t.Errorf("%s: got %q, want %q", name, got, want)
		}
	}
}

func TestOpen_RefusesAStrangeSchema(t *testing.T) {
	t.Parallel()
	for _, schema := range []string{"a,b", `"x"`, "Upper", "1st"} {
		if pool, err := postgres.Open(t.Context(), postgres.Options{URL: "postgres:///x", Schema: schema}); err == nil {
			pool.Close()
			t.Errorf("schema %q was accepted", schema)
		}
	}
}

func TestOpen_Traces(t *testing.T) {
	t.Parallel()
	spans := tracetest.NewSpanRecorder()
	provider := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(spans))
	pool := open(t, postgres.Options{URL: pgtest.New(t, nil), TracerProvider: provider})
	ctx, parent := provider.Tracer("test").Start(t.Context(), "request")
	if _, err := pool.Exec(ctx, `SELECT 1`); err != nil {
		t.Fatal(err)
	}
	for _, span := range spans.Ended() {
		if span.SpanContext().TraceID() == parent.SpanContext().TraceID() {
			return
		}
	}
	t.Errorf("no span for a query inside a trace: got %v", spans.Ended())
}

// A pool must not keep a connection whose server turned read-only: the
// connection is alive, so nothing else would ever replace it.
func TestOpen_DropsConnectionsToAReadOnlyServer(t *testing.T) {
	t.Parallel()
	url := pgtest.New(t, nil)
	pool := open(t, postgres.Options{URL: url, MaxConns: 1})
	backend := func() (pid int) {
		t.Helper()
		if err := pool.QueryRow(t.Context(), `SELECT pg_backend_pid()`).Scan(&pid); err != nil {
			t.Fatal(err)
		}
		return pid
	}
	if _, err := pool.Exec(t.Context(), `CREATE TABLE thing (n int)`); err != nil {
		t.Fatal(err)
	}
	before := backend()
	if _, err := pool.Exec(t.Context(), `SET default_transaction_read_only = on`); err != nil {
		t.Fatal(err)
	}
	if err := postgres.Ready(t.Context(), pool); fault.KindOf(err) != fault.KindUnavailable {
		t.Errorf("Ready on a read-only server: got %v, want Unavailable", err)
	}
	if before != backend() {
		t.Error("reading alone replaced the connection")
	}
	_, err := pool.Exec(t.Context(), `INSERT INTO thing VALUES (1)`)
	if fault.KindOf(postgres.Classify(err)) != fault.KindUnavailable {
		t.Errorf("a write on a read-only server: got %v, want Unavailable", err)
	}
	if before == backend() {
		t.Error("the pool kept the connection")
	}
	if _, err := pool.Exec(t.Context(), `INSERT INTO thing VALUES (1)`); err != nil {
		t.Errorf("a write after the replacement: %v", err)
	}
	if err := postgres.Ready(t.Context(), pool); err != nil {
		t.Errorf("Ready: %v", err)
	}
}

func TestOpen_Prepare(t *testing.T) {
	t.Parallel()
	url := pgtest.New(t, nil)
	for _, prepare := range []bool{false, true} {
		pool := open(t, postgres.Options{URL: url, MaxConns: 1, Prepare: prepare})
		var kept int
		var mode string
		for range 2 {
			const query = `SELECT count(*), current_setting('plan_cache_mode') FROM pg_prepared_statements WHERE statement ~ $1`
			if err := pool.QueryRow(t.Context(), query, "pg_prepared_statements").Scan(&kept, &mode); err != nil {
				t.Fatal(err)
			}
		}
		if (kept == 1) != prepare || (mode == "force_custom_plan") != prepare {
			t.Errorf("Prepare %t: %d statements are kept, plans are made as %s", prepare, kept, mode)
		}
	}
}

func TestClassify_WhenTheServerIsAway(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	server := startServer(t, dir)
	pool := open(t, postgres.Options{URL: server.URL("postgres")})
	query := func(ctx context.Context) error {
		_, err := pool.Exec(ctx, `SELECT 1`)
		return err
	}
	if err := query(t.Context()); err != nil {
		t.Fatal(err)
	}

	// Hanging: the connection is there, nothing answers.
	var backend int
	if err := pool.QueryRow(t.Context(), `SELECT pg_backend_pid()`).Scan(&backend); err != nil {
		t.Fatal(err)
	}
	for _, pid := range []int{server.PID(), backend} {
		if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"hanging connection", "hanging postmaster"} {
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		wantUnavailable(t, name, query(ctx))
		cancel()
	}
	for _, pid := range []int{backend, server.PID()} {
		if err := syscall.Kill(pid, syscall.SIGCONT); err != nil {
			t.Fatal(err)
		}
	}
	if err := query(t.Context()); err != nil {
		t.Errorf("after the hang: %v", err)
	}

	// Killed: connections break, new ones are refused.
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if err := server.Stop(ctx); err != nil {
		t.Fatal(err)
	}
	wantUnavailable(t, "broken connection", query(t.Context()))
	wantUnavailable(t, "refused connection", query(t.Context()))
	wantUnavailable(t, "Ready", postgres.Ready(t.Context(), pool))

	// Back: the same pool goes on.
	startServer(t, dir)
	if err := postgres.Ready(t.Context(), pool); err != nil {
		t.Errorf("after the restart: %v", err)
	}
}

func TestClassify(t *testing.T) {
	t.Parallel()
	url := pgtest.New(t, nil)
	pool := open(t, postgres.Options{URL: url})
	run := func(sql string) error {
		_, err := pool.Exec(t.Context(), sql)
		return err
	}
	raise := func(code string) error {
		return run(`DO $$ BEGIN RAISE EXCEPTION 'as ordered' USING ERRCODE = '` + code + `'; END $$`)
	}
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	_, cancelErr := pool.Exec(cancelled, `SELECT 1`)
	closed := open(t, postgres.Options{URL: url})
	closed.Close()
	_, closedErr := closed.Exec(t.Context(), `SELECT 1`)
	known := fault.NotFound("THING_NOT_FOUND", "no such thing")

	tests := []struct {
		name string
		err  error
		want fault.Kind
	}{
		{"nil", nil, fault.KindNone},
		{"statement_timeout", run(`SET statement_timeout = 1; SELECT pg_sleep(5)`), fault.KindUnavailable},
		{"too_many_connections", raise("53300"), fault.KindUnavailable},
		{"disk_full", raise("53100"), fault.KindUnavailable},
		{"shutting_down", raise("57P01"), fault.KindUnavailable},
		{"lock_timeout", raise("55P03"), fault.KindUnavailable},
		{"deadlock", raise("40P01"), fault.KindUnavailable},
		{"pool_closed", closedErr, fault.KindUnavailable},
		{"cancelled_by_the_caller", cancelErr, fault.KindCanceled},
		{"bad_sql", run(`SELECT nothing`), fault.KindInternal},
		{"already_a_fault", known, fault.KindNotFound},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if tt.err == nil && tt.want != fault.KindNone {
				t.Fatal("the error did not occur")
			}
			got := postgres.Classify(tt.err)
			if fault.KindOf(got) != tt.want {
				t.Errorf("got %v (%v), want %v", fault.KindOf(got), got, tt.want)
			}
			if !errors.Is(got, tt.err) {
				t.Errorf("the cause is lost: %v", got)
			}
		})
	}
}

func TestErrorPredicates(t *testing.T) {
	t.Parallel()
	pool := open(t, postgres.Options{URL: pgtest.New(t, nil)})
	run := func(sql string, args ...any) error {
		t.Helper()
		_, err := pool.Exec(t.Context(), sql, args...)
		return err
	}
	if err := run(`CREATE TABLE thing (id int CONSTRAINT thing_id PRIMARY KEY CHECK (id > 0), body jsonb, name text)`); err != nil {
		t.Fatal(err)
	}
	if err := run(`INSERT INTO thing VALUES (1)`); err != nil {
		t.Fatal(err)
	}
	unique := run(`INSERT INTO thing VALUES (1)`)
	if !postgres.IsUnique(unique, "thing_id") || !postgres.IsUnique(unique, "") || postgres.IsUnique(unique, "other") {
		t.Errorf("IsUnique is wrong about %v", unique)
	}
	for name, err := range map[string]error{
		"check":    run(`INSERT INTO thing VALUES (-1)`),
		"nul_text": run(`INSERT INTO thing (id, name) VALUES (2, $1)`, "a\x00b"),
		"nul_json": run(`INSERT INTO thing (id, body) VALUES (2, $1)`, `{"a": "\u0000"}`),
		"bad_utf8": run(`INSERT INTO thing (id, name) VALUES (2, $1)`, "\xff"),
		"range":    run(`INSERT INTO thing (id) VALUES (2147483648)`),
	} {
		if !postgres.IsDataError(err) {
			t.Errorf("%s is no data error: %v", name, err)
		}
	}
	for name, err := range map[string]error{
		"missing_column": run(`SELECT nothing`),
		"unique":         unique,
		"not_null":       run(`INSERT INTO thing (name) VALUES ('a column that the program does not know')`),
	} {
		if err == nil || postgres.IsDataError(err) {
			t.Errorf("%s: got %v, want an error that is no data error", name, err)
		}
	}
	if postgres.IsDataError(pgx.ErrNoRows) {
		t.Error("no rows is a data error")
	}
}

func wantUnavailable(t *testing.T, name string, err error) {
	t.Helper()
	f, ok := fault.As(postgres.Classify(err))
	if !ok || f.Kind != fault.KindUnavailable || f.Reason != postgres.ReasonDatabaseUnavailable {
		t.Errorf("%s: got %v, want Unavailable", name, err)
		return
	}
	if f.Message != "the database is not available" || f.RetryAfter <= 0 {
		t.Errorf("%s: public text %q, retry after %v", name, f.Message, f.RetryAfter)
	}
}

// startServer is for tests that take the server away.
func startServer(t *testing.T, dir string) *devpg.Server {
	t.Helper()
	server, err := devpg.Start(t.Context(), devpg.Options{DataDir: dir, Fast: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), 20*time.Second)
		defer cancel()
		if err := server.Stop(ctx); err != nil {
			t.Errorf("stop: %v", err)
		}
	})
	return server
}
