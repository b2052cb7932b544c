// Package pgtest gives each test a PostgreSQL database of its own, already
// migrated, on a real server.
//
// The server is the one UC_TEST_DATABASE_URL names, or one that Main starts for
// this test process (program withpg starts one for a whole `make test`). A test
// package says in its TestMain:
//
//	func TestMain(m *testing.M) { os.Exit(pgtest.Main(m)) }
//
// and each test calls New. Migrations run once per test process: they fill a
// template, of which each test gets a copy.
package pgtest

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"hash/fnv"
	"log"
	"net/url"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"workflow.uniconnect/pkg/devpg"
)

// URLEnv names the server to use. Its role must be allowed to create databases.
const URLEnv = "UC_TEST_DATABASE_URL"

const (
	dirPattern     = "uc-pgtest-*"
	abandonedAfter = 5 * time.Minute // longer than any server takes to start
	stopTimeout    = 20 * time.Second
	cleanupTimeout = 20 * time.Second
)

// Main runs the tests of a package with a server at hand and returns the exit
// code. The server ends with the test process, also when that is killed.
func Main(m *testing.M) int {
	if os.Getenv(URLEnv) == "" {
		stop, err := startServer(context.Background())
		if err != nil {
			log.Printf("pgtest: %v", err)
			return 1
		}
		defer stop()
	} else {
		defer dropTemplates(context.Background())
	}
	return m.Run()
}

// WithServer starts a server for tests, calls fn with its URL, and stops it.
func WithServer(ctx context.Context, fn func(url string) error) error {
	removeAbandoned()
	dir, err := os.MkdirTemp("", dirPattern)
	if err != nil {
		return err
	}
	// PostgreSQL may run as another user than we do.
	if err := os.Chmod(dir, 0o755); err != nil {
		return err
	}
	server, err := devpg.Start(ctx, devpg.Options{
		DataDir: dir, SocketDir: filepath.Join(dir, "socket"), Fast: true,
	})
	if err != nil {
		return errors.Join(err, os.RemoveAll(dir))
	}
	err = fn(server.URL("postgres"))
	stopCtx, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
	defer cancel()
	return errors.Join(err, server.Stop(stopCtx), os.RemoveAll(dir))
}

// startServer keeps a server running until stop is called.
func startServer(ctx context.Context) (stop func(), err error) {
	started := make(chan error, 1)
	release := make(chan struct{}) // closed by stop
	ended := make(chan struct{})   // closed when the server has stopped
	go func() {
		defer close(ended)
		err := WithServer(ctx, func(url string) error {
			started <- os.Setenv(URLEnv, url)
			<-release
			return nil
		})
		select {
		case started <- err: // it did not come up
		default:
			if err != nil {
				log.Printf("pgtest: stop the server: %v", err)
			}
		}
	}()
	if err := <-started; err != nil {
		return nil, err
	}
	return func() { close(release); <-ended }, nil
}

// removeAbandoned deletes what killed test processes left: their servers are
// gone, their directories are not.
func removeAbandoned() {
	dirs, _ := filepath.Glob(filepath.Join(os.TempDir(), dirPattern)) // the pattern is well formed
	for _, dir := range dirs {
		info, err := os.Stat(dir)
		if err == nil && time.Since(info.ModTime()) > abandonedAfter && !inUse(dir) {
			_ = os.RemoveAll(dir) // the next run tries again
		}
	}
}

// inUse reports whether a process holds the lock of a server's directory.
func inUse(dir string) bool {
	lock, err := os.Open(filepath.Join(dir, "lock"))
	if err != nil {
		return !errors.Is(err, os.ErrNotExist)
	}
	defer lock.Close()
	return syscall.Flock(int(lock.Fd()), syscall.LOCK_SH|syscall.LOCK_NB) != nil
}

// New returns the URL of a database that is this test's alone, a copy of what
// migrate built; nil means an empty one. The copy is dropped after the test.
//
// migrate is called once per test process and recognised by its code: pass a
// function, or a closure whose captured values do not change what it builds.
func New(t testing.TB, migrate func(ctx context.Context, url string) error) string {
	t.Helper()
	ctx := t.Context()
	server := os.Getenv(URLEnv)
	switch {
	case server == "":
		t.Fatal("pgtest: no server: call pgtest.Main from TestMain")
	case !strings.HasPrefix(server, "postgres://"):
		t.Fatalf("pgtest: %s must begin with postgres://", URLEnv)
	}
	conn, err := pgx.Connect(ctx, server)
	if err != nil {
		t.Fatalf("pgtest: %v", err)
	}
	defer conn.Close(ctx)

	template := "template0"
	if migrate != nil {
		if template, err = ensureTemplate(ctx, conn, server, migrate); err != nil {
			t.Fatalf("pgtest: prepare the template: %v", err)
		}
	}
	name, err := createDatabase(ctx, conn, template)
	if err != nil {
		t.Fatalf("pgtest: %v", err)
	}
	t.Cleanup(func() {
		if err := dropDatabase(context.WithoutCancel(ctx), server, name); err != nil {
			t.Errorf("pgtest: %v", err)
		}
	})
	u, err := databaseURL(server, name)
	if err != nil {
		t.Fatalf("pgtest: %v", err)
	}
	return u
}

// Open returns a pool on url that is closed after the test, with schema as its
// search path.
func Open(t testing.TB, url, schema string) *pgxpool.Pool {
	t.Helper()
	cfg, err := pgxpool.ParseConfig(url)
	if err != nil {
		t.Fatalf("pgtest: %v", err)
	}
	cfg.ConnConfig.RuntimeParams["search_path"] = schema
	pool, err := pgxpool.NewWithConfig(t.Context(), cfg)
	if err != nil {
		t.Fatalf("pgtest: %v", err)
	}
	t.Cleanup(pool.Close)
	return pool
}

// PrepareAll has the server parse and plan each of queries, by name, so that a
// query that does not fit the schema fails in a test and not in service.
func PrepareAll(t testing.TB, pool *pgxpool.Pool, queries map[string]string) {
	t.Helper()
	if len(queries) == 0 {
		t.Fatal("pgtest: no queries to prepare")
	}
	conn, err := pool.Acquire(t.Context())
	if err != nil {
		t.Fatalf("pgtest: %v", err)
	}
	defer conn.Release()
	for name, query := range queries {
		if _, err := conn.Conn().Prepare(t.Context(), "", query); err != nil {
			t.Errorf("query %s does not fit the schema: %v", name, err)
		}
	}
}

// ensureTemplate builds the template once. Tests run in parallel: an advisory
// lock of the server makes the others wait, and the template gets its final
// name only when it is complete.
func ensureTemplate(ctx context.Context, conn *pgx.Conn, server string, migrate func(context.Context, string) error) (name string, err error) {
	name = templatePrefix() + hash(funcName(migrate))
	if _, err := conn.Exec(ctx, `SELECT pg_advisory_lock(hashtext($1))`, name); err != nil {
		return "", err
	}
	defer func() {
		_, unlockErr := conn.Exec(context.WithoutCancel(ctx), `SELECT pg_advisory_unlock(hashtext($1))`, name)
		err = errors.Join(err, unlockErr)
	}()
	var exists bool
	err = conn.QueryRow(ctx, `SELECT EXISTS (SELECT 1 FROM pg_database WHERE datname = $1)`, name).Scan(&exists)
	if err != nil || exists {
		return name, err
	}
	building := name + "_building"
	statements := []string{
		`DROP DATABASE IF EXISTS ` + quote(building) + ` WITH (FORCE)`,
		`CREATE DATABASE ` + quote(building) + ` TEMPLATE template0`,
	}
	for _, sql := range statements {
		if _, err := conn.Exec(ctx, sql); err != nil {
			return "", err
		}
	}
	target, err := databaseURL(server, building)
	if err != nil {
		return "", err
	}
	if err := migrate(ctx, target); err != nil {
		return "", fmt.Errorf("migrate: %w", err)
	}
	// Copying needs a template without connections. A migration's connection
	// is closed by now, but its server process may still be on the way out.
	_, err = conn.Exec(ctx, `SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = $1`, building)
	if err != nil {
		return "", err
	}
	_, err = conn.Exec(ctx, `ALTER DATABASE `+quote(building)+` RENAME TO `+quote(name))
	return name, err
}

func createDatabase(ctx context.Context, conn *pgx.Conn, template string) (string, error) {
	name := "t_" + strings.ToLower(rand.Text())
	_, err := conn.Exec(ctx, `CREATE DATABASE `+quote(name)+` TEMPLATE `+quote(template))
	if err != nil {
		return "", fmt.Errorf("create database: %w", err)
	}
	return name, nil
}

func dropDatabase(ctx context.Context, server, name string) error {
	ctx, cancel := context.WithTimeout(ctx, cleanupTimeout)
	defer cancel()
	conn, err := pgx.Connect(ctx, server)
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	if _, err := conn.Exec(ctx, `DROP DATABASE IF EXISTS `+quote(name)+` WITH (FORCE)`); err != nil {
		return fmt.Errorf("drop database: %w", err)
	}
	return nil
}

// dropTemplates leaves a server that is not ours as it was.
func dropTemplates(ctx context.Context) {
	server := os.Getenv(URLEnv)
	names, err := templateNames(ctx, server)
	for _, name := range names {
		err = errors.Join(err, dropDatabase(ctx, server, name))
	}
	if err != nil {
		log.Printf("pgtest: drop templates: %v", err)
	}
}

func templateNames(ctx context.Context, server string) ([]string, error) {
	conn, err := pgx.Connect(ctx, server)
	if err != nil {
		return nil, err
	}
	defer conn.Close(ctx)
	rows, err := conn.Query(ctx, `SELECT datname FROM pg_database WHERE starts_with(datname, $1)`, templatePrefix())
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowTo[string])
}

// templatePrefix differs between the test processes that share a server.
func templatePrefix() string { return fmt.Sprintf("tmpl_%d_", os.Getpid()) }

func funcName(fn any) string {
	return runtime.FuncForPC(reflect.ValueOf(fn).Pointer()).Name()
}

func hash(s string) string {
	h := fnv.New64a()
	_, _ = h.Write([]byte(s)) // a hash accepts everything
	return fmt.Sprintf("%016x", h.Sum64())
}

func quote(name string) string { return pgx.Identifier{name}.Sanitize() }

// databaseURL is the server's URL with another database.
func databaseURL(server, name string) (string, error) {
	u, err := url.Parse(server)
	if err != nil {
		return "", fmt.Errorf("%s: %w", URLEnv, err)
	}
	u.Path = "/" + name
	return u.String(), nil
}
