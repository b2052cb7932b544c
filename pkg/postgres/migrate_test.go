package postgres_test

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/jackc/pgx/v5"
	"golang.org/x/sync/errgroup"

	"workflow.uniconnect/pkg/fault"
	"workflow.uniconnect/pkg/pgtest"
	"workflow.uniconnect/pkg/postgres"
)

// migratorEnv makes this test binary one of several migrating processes.
const migratorEnv = "POSTGRES_TEST_MIGRATE_URL"

func migrations() fstest.MapFS {
	return fstest.MapFS{
		"00001_thing.sql": {Data: []byte("-- +goose Up\nCREATE TABLE thing (n int);\nINSERT INTO thing VALUES (1);\n")},
		"00002_more.sql":  {Data: []byte("-- +goose Up\nALTER TABLE thing ADD COLUMN name text;\nINSERT INTO thing VALUES (2, 'two');\n")},
	}
}

// TestMigrator is not a test of its own: see TestMigrate_ThreeProcesses.
func TestMigrator(t *testing.T) {
	url := os.Getenv(migratorEnv)
	if url == "" {
		return
	}
	if err := postgres.Migrate(t.Context(), url, "app", migrations()); err != nil {
		t.Fatal(err)
	}
}

func TestMigrate_ThreeProcesses(t *testing.T) {
	t.Parallel()
	url := pgtest.New(t, nil)
	var group errgroup.Group
	for range 3 {
		group.Go(func() error {
			cmd := exec.Command(os.Args[0], "-test.run", "^TestMigrator$")
			cmd.Env = append(os.Environ(), migratorEnv+"="+url)
			out, err := cmd.CombinedOutput()
			if err != nil {
				t.Logf("%s", out)
			}
			return err
		})
	}
	if err := group.Wait(); err != nil {
		t.Fatal(err)
	}
	pool := open(t, postgres.Options{URL: url, Schema: "app"})
	wantMigrated(t, pool)

	// A later release with one more file.
	files := migrations()
	files["00003_last.sql"] = &fstest.MapFile{Data: []byte("-- +goose Up\nINSERT INTO thing VALUES (3);\n")}
	for range 2 {
		if err := postgres.Migrate(t.Context(), url, "app", files); err != nil {
			t.Fatal(err)
		}
	}
	var rows, elsewhere int
	if err := pool.QueryRow(t.Context(), `SELECT count(*) FROM thing`).Scan(&rows); err != nil || rows != 3 {
		t.Errorf("rows: got %d, %v; want 3", rows, err)
	}
	const outside = `SELECT count(*) FROM pg_class WHERE relnamespace = 'public'::regnamespace`
	if err := pool.QueryRow(t.Context(), outside).Scan(&elsewhere); err != nil || elsewhere != 0 {
		t.Errorf("tables outside of the schema: got %d, %v; want 0", elsewhere, err)
	}
}

func TestMigrate_GoroutinesOnManySchemas(t *testing.T) {
	t.Parallel()
	url := pgtest.New(t, nil)
	var group errgroup.Group
	for range 3 {
		for _, schema := range []string{"one", "two"} {
			group.Go(func() error { return postgres.Migrate(t.Context(), url, schema, migrations()) })
		}
	}
	if err := group.Wait(); err != nil {
		t.Fatal(err)
	}
	for _, schema := range []string{"one", "two"} {
		wantMigrated(t, open(t, postgres.Options{URL: url, Schema: schema}))
	}
}

// A long transaction holds the table; the migration must neither fail for it
// nor stand in the way of others while it waits.
func TestMigrate_WaitsForATablesLock(t *testing.T) {
	t.Parallel()
	url := pgtest.New(t, nil)
	files := migrations()
	second := files["00002_more.sql"]
	delete(files, "00002_more.sql")
	if err := postgres.Migrate(t.Context(), url, "app", files); err != nil {
		t.Fatal(err)
	}
	files["00002_more.sql"] = second

	pool := open(t, postgres.Options{URL: url, Schema: "app"})
	holder, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer holder.Close(t.Context())
	if _, err := holder.Exec(t.Context(), `BEGIN; LOCK TABLE app.thing IN ACCESS SHARE MODE`); err != nil {
		t.Fatal(err)
	}
	migrated := make(chan error, 1)
	go func() { migrated <- postgres.Migrate(t.Context(), url, "app", files) }()

	// While the migration queues, this waits behind it for at most its lock timeout.
	awaitMigrationInQueue(t, holder)
	ctx, cancel := context.WithTimeout(t.Context(), 8*time.Second)
	defer cancel()
	if _, err := pool.Exec(ctx, `SELECT count(*) FROM thing`); err != nil {
		t.Errorf("a reader behind the migration: %v", err)
	}
	select {
	case err := <-migrated:
		t.Fatalf("the migration ended with %v while the table was locked", err)
	default:
	}
	if _, err := holder.Exec(t.Context(), `COMMIT`); err != nil {
		t.Fatal(err)
	}
	if err := <-migrated; err != nil {
		t.Fatal(err)
	}
	wantMigrated(t, pool)
}

func awaitMigrationInQueue(t *testing.T, conn *pgx.Conn) {
	t.Helper()
	ticker := time.NewTicker(5 * time.Millisecond)
	defer ticker.Stop()
	for {
		var waiting bool
		const q = `SELECT EXISTS (SELECT 1 FROM pg_locks WHERE NOT granted AND relation = 'app.thing'::regclass)`
		if err := conn.QueryRow(t.Context(), q).Scan(&waiting); err != nil {
			t.Fatal(err)
		}
		if waiting {
			return
		}
		select {
		case <-ticker.C:
		case <-t.Context().Done():
			t.Fatal("the migration never asked for the lock")
		}
	}
}

func TestMigrate_NamesABadFile(t *testing.T) {
	t.Parallel()
	files := migrations()
	files["00003_bad.sql"] = &fstest.MapFile{Data: []byte("-- +goose Up\nCREATE TABEL oops (n int);\n")}
	url := pgtest.New(t, nil)
	err := postgres.Migrate(t.Context(), url, "app", files)
	if err == nil {
		t.Fatal("a bad migration was accepted")
	}
	wantMigrated(t, open(t, postgres.Options{URL: url, Schema: "app"})) // what came before it stays
}

func wantMigrated(t *testing.T, db interface {
	QueryRow(context.Context, string, ...any) pgx.Row
}) {
	t.Helper()
	var names string
	err := db.QueryRow(t.Context(), `SELECT string_agg(n || coalesce(name, '-'), ',' ORDER BY n) FROM thing`).Scan(&names)
	if err != nil || names != "1-,2two" {
		t.Errorf("rows: got %q, %v; want 1-,2two", names, err)
	}
}

func TestUpToDate(t *testing.T) {
	t.Parallel()
	url := pgtest.New(t, nil)
	one := fstest.MapFS{"00001_a.sql": {Data: []byte("-- +goose Up\nCREATE TABLE a (id int);\n")}}
	two := fstest.MapFS{"00001_a.sql": one["00001_a.sql"], "00002_b.sql": {Data: []byte("-- +goose Up\nCREATE TABLE b (id int);\n")}}
	pool, err := postgres.Open(t.Context(), postgres.Options{URL: url, Schema: "things", Name: "test"})
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	check := func(files fs.FS, want string) {
		t.Helper()
		err := postgres.UpToDate(t.Context(), pool, files)
		if got := fmt.Sprint(err); !strings.Contains(got, want) {
			t.Errorf("got %s, want %q", got, want)
		}
		if f, ok := fault.As(err); err != nil && (!ok || f.Message == "") {
			t.Errorf("got %v, want a text that readiness may show", err)
		}
	}
	check(one, "run the migrate verb")
	if err := postgres.Migrate(t.Context(), url, "things", one); err != nil {
		t.Fatal(err)
	}
	check(one, "<nil>")
	check(two, "version 1, this program needs 2")
	if err := postgres.Migrate(t.Context(), url, "things", two); err != nil {
		t.Fatal(err)
	}
	check(two, "<nil>")
	check(one, "<nil>")
}
