package postgres_test

import (
	"context"
	"errors"
	"net"
	"net/url"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/jackc/pgx/v5"
	"golang.org/x/sync/errgroup"

	"workflow.uniconnect/pkg/pgtest"
	"workflow.uniconnect/pkg/postgres"
)

// Two transactions lock two rows in opposite order and meet in the middle, so
// that one of them must lose; InTx runs the loser again.
func TestInTx_RetriesADeadlock(t *testing.T) {
	t.Parallel()
	pool := open(t, postgres.Options{URL: pgtest.New(t, nil)})
	if _, err := pool.Exec(t.Context(), `CREATE TABLE pair AS SELECT id, 0 AS n FROM generate_series(1, 2) id`); err != nil {
		t.Fatal(err)
	}
	var runs atomic.Int32
	holds := [2]chan struct{}{make(chan struct{}), make(chan struct{})} // each closed by its transaction's first run
	bump := func(first, second int) error {
		firstRun := true
		return postgres.InTx(t.Context(), pool, func(tx pgx.Tx) error {
			runs.Add(1)
			const update = `UPDATE pair SET n = n + 1 WHERE id = $1`
			if _, err := tx.Exec(t.Context(), update, first); err != nil {
				return err
			}
			if firstRun {
				firstRun = false
				close(holds[first-1])
				<-holds[second-1]
			}
			_, err := tx.Exec(t.Context(), update, second)
			return err
		})
	}
	var group errgroup.Group
	group.Go(func() error { return bump(1, 2) })
	group.Go(func() error { return bump(2, 1) })
	if err := group.Wait(); err != nil {
		t.Fatal(err)
	}
	var sum int
	if err := pool.QueryRow(t.Context(), `SELECT sum(n) FROM pair`).Scan(&sum); err != nil {
		t.Fatal(err)
	}
	if sum != 4 {
		t.Errorf("sum: got %d, want 4: each transaction exactly once", sum)
	}
	if got := runs.Load(); got < 3 {
		t.Errorf("runs: got %d, want at least 3: there was no deadlock", got)
	}
}

func TestInTx_GivesUpAfterFive(t *testing.T) {
	t.Parallel()
	pool := open(t, postgres.Options{URL: pgtest.New(t, nil)})
	runs := 0
	err := postgres.InTx(t.Context(), pool, func(tx pgx.Tx) error {
		runs++
		_, err := tx.Exec(t.Context(), `DO $$ BEGIN RAISE EXCEPTION 'lost' USING ERRCODE = '40001'; END $$`)
		return err
	})
	if err == nil || runs != 5 {
		t.Errorf("got %v after %d runs, want an error after 5", err, runs)
	}
}

func TestInTx_RollsBack(t *testing.T) {
	t.Parallel()
	pool := open(t, postgres.Options{URL: pgtest.New(t, nil), MaxConns: 1})
	if _, err := pool.Exec(t.Context(), `CREATE TABLE thing (n int UNIQUE DEFERRABLE INITIALLY DEFERRED)`); err != nil {
		t.Fatal(err)
	}
	own := errors.New("own reason")
	insert := func(ctx context.Context, tx pgx.Tx) {
		t.Helper()
		if _, err := tx.Exec(ctx, `INSERT INTO thing VALUES (1)`); err != nil {
			t.Fatal(err)
		}
	}
	t.Run("after_an_error", func(t *testing.T) {
		err := postgres.InTx(t.Context(), pool, func(tx pgx.Tx) error {
			insert(t.Context(), tx)
			return own
		})
		if !errors.Is(err, own) {
			t.Errorf("got %v, want %v", err, own)
		}
	})
	t.Run("after_the_context", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		err := postgres.InTx(ctx, pool, func(tx pgx.Tx) error {
			insert(ctx, tx)
			cancel()
			return ctx.Err()
		})
		if !errors.Is(err, context.Canceled) {
			t.Errorf("got %v, want Canceled", err)
		}
	})
	t.Run("after_a_panic", func(t *testing.T) {
		defer func() {
			if recover() == nil {
				t.Error("the panic was swallowed")
			}
		}()
		_ = postgres.InTx(t.Context(), pool, func(tx pgx.Tx) error {
			insert(t.Context(), tx)
			panic("bug")
		})
	})
	t.Run("in_the_commit", func(t *testing.T) {
		err := postgres.InTx(t.Context(), pool, func(tx pgx.Tx) error {
			insert(t.Context(), tx)
			insert(t.Context(), tx)
			return nil
		})
		if !postgres.IsUnique(err, "") || postgres.CommitUnknown(err) {
			t.Errorf("a refused commit: got %v, want a definite unique violation", err)
		}
	})
	var rows int
	if err := pool.QueryRow(t.Context(), `SELECT count(*) FROM thing`).Scan(&rows); err != nil {
		t.Fatal(err)
	}
	if rows != 0 {
		t.Errorf("rows: got %d, want 0", rows)
	}
}

// The connection breaks just after COMMIT went out: the server commits, the
// client cannot know.
func TestInTx_ConnectionLostInCommit(t *testing.T) {
	t.Parallel()
	url := pgtest.New(t, nil)
	direct := open(t, postgres.Options{URL: url})
	if _, err := direct.Exec(t.Context(), `CREATE TABLE thing (n int)`); err != nil {
		t.Fatal(err)
	}
	pool := open(t, postgres.Options{URL: cutAtCommit(t, url)})
	err := postgres.InTx(t.Context(), pool, func(tx pgx.Tx) error {
		_, err := tx.Exec(t.Context(), `INSERT INTO thing VALUES (1)`)
		return err
	})
	if !postgres.CommitUnknown(err) {
		t.Errorf("got %v, want an unknown outcome", err)
	}
	if !postgres.CommitUnknown(postgres.Classify(err)) {
		t.Error("Classify hides that the outcome is unknown")
	}
	wantUnavailable(t, "lost in commit", err)
}

// cutAtCommit returns the URL of a proxy that passes a COMMIT on and then
// closes the client's side without the answer.
func cutAtCommit(t *testing.T, target string) string {
	t.Helper()
	u, err := url.Parse(target)
	if err != nil {
		t.Fatal(err)
	}
	query := u.Query()
	upstream := filepath.Join(query.Get("host"), ".s.PGSQL.5432")
	dir := t.TempDir()
	listener, err := net.Listen("unix", filepath.Join(dir, ".s.PGSQL.5432"))
	if err != nil {
		t.Fatal(err)
	}
	var group errgroup.Group
	t.Cleanup(func() {
		_ = listener.Close()
		_ = group.Wait() // connections end in errors here
	})
	group.Go(func() error {
		for {
			client, err := listener.Accept()
			if err != nil {
				return err
			}
			server, err := net.Dial("unix", upstream)
			if err != nil {
				return errors.Join(err, client.Close())
			}
			group.Go(func() error { return pass(server, client, "") })
			group.Go(func() error { return pass(client, server, "commit") })
		}
	})
	query.Set("host", dir)
	u.RawQuery = query.Encode()
	return u.String()
}

// pass copies from src to dst and closes both at the end, or once it has
// passed the word on.
func pass(src, dst net.Conn, word string) error {
	defer src.Close()
	defer dst.Close()
	buf := make([]byte, 1<<16)
	for {
		n, err := src.Read(buf)
		if err != nil {
			return err
		}
		if _, err := dst.Write(buf[:n]); err != nil {
			return err
		}
		if word != "" && strings.Contains(string(buf[:n]), word) {
			return nil
		}
	}
}
