package pgtest_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"

	"workflow.uniconnect/pkg/pgtest"
)

func TestMain(m *testing.M) { os.Exit(pgtest.Main(m)) }

func TestNew_MigratesOnceAndSeparatesTests(t *testing.T) {
	var migrations atomic.Int32
	migrate := func(ctx context.Context, url string) error {
		migrations.Add(1)
		conn, err := pgx.Connect(ctx, url)
		if err != nil {
			return err
		}
		defer conn.Close(ctx)
		_, err = conn.Exec(ctx, `CREATE SCHEMA app; CREATE TABLE app.thing (n int)`)
		return err
	}
	names := make(chan string, 4)
	t.Run("tests", func(t *testing.T) {
		for i := range cap(names) {
			t.Run(fmt.Sprint(i), func(t *testing.T) {
				t.Parallel()
				pool := pgtest.Open(t, pgtest.New(t, migrate), "app")
				if _, err := pool.Exec(t.Context(), `INSERT INTO thing VALUES (1)`); err != nil {
					t.Fatal(err)
				}
				var rows int
				var name string
				if err := pool.QueryRow(t.Context(), `SELECT count(*), current_database() FROM thing`).Scan(&rows, &name); err != nil {
					t.Fatal(err)
				}
				if rows != 1 {
					t.Errorf("rows: got %d, want 1: tests share a database", rows)
				}
				names <- name
			})
		}
	})
	close(names)
	if got := migrations.Load(); got != 1 {
		t.Errorf("migrations: got %d, want 1", got)
	}
	pool := pgtest.Open(t, pgtest.New(t, nil), "public")
	for name := range names {
		var exists bool
		err := pool.QueryRow(t.Context(), `SELECT EXISTS (SELECT 1 FROM pg_database WHERE datname = $1)`, name).Scan(&exists)
		if err != nil || exists {
			t.Errorf("database %s after its test: exists %t, %v", name, exists, err)
		}
	}
}

func TestPrepareAll(t *testing.T) {
	t.Parallel()
	pool := pgtest.Open(t, pgtest.New(t, nil), "public")
	pgtest.PrepareAll(t, pool, map[string]string{"one": `SELECT $1::int`})

	bad := &recorder{TB: t}
	pgtest.PrepareAll(bad, pool, map[string]string{"selectGone": `SELECT gone FROM nowhere`, "one": `SELECT 1`})
	if len(bad.errors) != 1 || !strings.Contains(bad.errors[0], "selectGone") {
		t.Errorf("errors of a bad query: got %q, want one that names selectGone", bad.errors)
	}
}

// recorder takes the errors that a helper reports.
type recorder struct {
	testing.TB
	errors []string
}

func (r *recorder) Errorf(format string, args ...any) {
	r.errors = append(r.errors, fmt.Sprintf(format, args...))
}

func TestWithpg(t *testing.T) {
	t.Parallel()
	program := filepath.Join(t.TempDir(), "withpg")
	if out, err := exec.Command("go", "build", "-o", program, "./withpg").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	cmd := exec.Command(program, "sh", "-c", `echo "$`+pgtest.URLEnv+`"; exit 7`)
	out, err := cmd.Output()
	if cmd.ProcessState.ExitCode() != 7 {
		t.Errorf("exit code: got %v, want the command's 7", err)
	}
	if !strings.HasPrefix(string(out), "postgres://") {
		t.Errorf("the command's %s: got %q", pgtest.URLEnv, out)
	}
	if _, err := pgx.Connect(t.Context(), strings.TrimSpace(string(out))); err == nil {
		t.Error("the server is still up after the command ended")
	}
}

func TestWithServer_RemovesWhatTheKilledLeft(t *testing.T) {
	tmp := t.TempDir()
	t.Setenv("TMPDIR", tmp)
	old := time.Now().Add(-time.Hour)
	dir := func(name string) string {
		t.Helper()
		dir := filepath.Join(tmp, name)
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		return dir
	}
	dead, inUse, young := dir("uc-pgtest-1"), dir("uc-pgtest-2"), dir("uc-pgtest-3")
	lock, err := os.Create(filepath.Join(inUse, "lock"))
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Close()
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{dead, inUse} {
		if err := os.Chtimes(dir, old, old); err != nil {
			t.Fatal(err)
		}
	}
	if err := pgtest.WithServer(t.Context(), func(string) error { return nil }); err != nil {
		t.Fatal(err)
	}
	left, err := filepath.Glob(filepath.Join(tmp, "uc-pgtest-*"))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{inUse, young}, left); diff != "" {
		t.Errorf("directories left (-want +got):\n%s", diff)
	}
}
