package stack

import (
	"context"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// New starts a system that ends with the test. When the test fails, the ends of all logs are shown.
func New(t testing.TB, opts Options) *Stack {
	t.Helper()
	s, err := Start(t.Context(), opts)
	if err != nil {
		t.Fatalf("start the system: %v", err)
	}
	t.Cleanup(func() {
		if err := s.end(); err != nil {
			t.Errorf("end the system: %v", err)
		}
		if t.Failed() {
			for _, p := range s.all {
				t.Logf("log of %s:\n%s", p.name, p.LogTail())
			}
		}
		if err := s.Close(); err != nil {
			t.Errorf("clean up: %v", err)
		}
	})
	return s
}

// User returns a client for a user of development.
func (s *Stack) User(t testing.TB, name string) *Client {
	t.Helper()
	c, err := s.Client(name)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// JetStream returns a connection to the event bus that ends with the test.
func (s *Stack) JetStream(t testing.TB) jetstream.JetStream {
	t.Helper()
	conn, err := nats.Connect(s.NATSURL, nats.MaxReconnects(-1), nats.ReconnectWait(100*time.Millisecond))
	if err != nil {
		t.Fatalf("connect to the event bus: %v", err)
	}
	t.Cleanup(conn.Close)
	js, err := jetstream.New(conn)
	if err != nil {
		t.Fatal(err)
	}
	return js
}

// Database returns a pool on the system's database that ends with the test.
func (s *Stack) Database(t testing.TB) *pgxpool.Pool {
	t.Helper()
	url, err := s.DatabaseURL()
	if err != nil {
		t.Fatal(err)
	}
	pool, err := pgxpool.New(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	return pool
}

// Eventually calls check until it returns nil; the test fails with its last error when that takes longer than limit.
func Eventually(t testing.TB, limit time.Duration, check func(context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	ticker := time.NewTicker(5 * pollEvery)
	defer ticker.Stop()
	for {
		err := check(ctx)
		if err == nil {
			return
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			t.Fatalf("not within %v: %v", limit, err)
		}
	}
}
