package postgres

import (
	"context"
	"fmt"
	"net"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"workflow.uniconnect/pkg/fault"
	"workflow.uniconnect/pkg/pgtest"
	"workflow.uniconnect/services/trigger-scheduler/internal/activation"
	"workflow.uniconnect/services/trigger-scheduler/internal/deadletter"
)

// TestStore_does_not_wait_for_a_database_that_hangs: the callers have no deadline, since what they do must be finished also when the
// service stops.
func TestStore_does_not_wait_for_a_database_that_hangs(t *testing.T) {
	t.Parallel()
	url := pgtest.New(t, Migrate)
	proxied, hang, end := proxy(t, url)
	defer end()
	s := NewStore(pgtest.Open(t, proxied, Schema))
	letters := []deadletter.Letter{{Tenant: "acme", Reason: "X", Sequence: 1}}
	if _, err := s.Add(t.Context(), letters); err != nil {
		t.Fatal(err)
	}
	hang.Store(true)
	calls := map[string]func() error{
		"Add":     func() error { _, err := s.Add(t.Context(), letters); return err },
		"Renew":   func() error { return s.Renew(t.Context(), activation.WatcherID{1}, time.Now()) },
		"Release": func() error { return s.Release(t.Context(), activation.WatcherID{1}) },
		"Bury":    func() error { return s.Bury(t.Context(), activation.Estate{}) },
		"Inherit": func() error { _, err := s.Inherit(t.Context(), activation.WatcherID{1}, time.Minute); return err },
	}
	type ended struct {
		name string
		err  error
	}
	done := make(chan ended, len(calls))
	for name, call := range calls {
		go func() { done <- ended{name, call()} }()
	}
	deadline := time.After(callTimeout + 5*time.Second)
	for range calls {
		select {
		case e := <-done:
			if fault.KindOf(e.err) != fault.KindUnavailable {
				t.Errorf("%s: got %v, want Unavailable", e.name, e.err)
			}
		case <-deadline:
			t.Fatalf("a call is still waiting after %v", callTimeout+5*time.Second)
		}
	}
}

// proxy stands before the database of url and, once told to hang, passes nothing on any more until its end.
func proxy(t *testing.T, url string) (proxied string, hang *atomic.Bool, end func()) {
	t.Helper()
	cfg, err := pgx.ParseConfig(url)
	if err != nil {
		t.Fatal(err)
	}
	network, address := "tcp", net.JoinHostPort(cfg.Host, fmt.Sprint(cfg.Port))
	if filepath.IsAbs(cfg.Host) {
		network, address = "unix", filepath.Join(cfg.Host, fmt.Sprintf(".s.PGSQL.%d", cfg.Port))
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	hang = &atomic.Bool{}
	pass := func(to, from net.Conn) {
		buf := make([]byte, 64<<10)
		for {
			n, err := from.Read(buf)
			if hang.Load() {
				<-ctx.Done()
			}
			if n > 0 {
				_, _ = to.Write(buf[:n])
			}
			if err != nil || ctx.Err() != nil {
				_, _ = to.Close(), from.Close()
				return
			}
		}
	}
	go func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			server, err := (&net.Dialer{}).DialContext(ctx, network, address)
			if err != nil {
				_ = client.Close()
				continue
			}
			go pass(server, client)
			go pass(client, server)
		}
	}()
	proxied = fmt.Sprintf("postgres://%s:%s@%s/%s?sslmode=disable", cfg.User, cfg.Password, listener.Addr(), cfg.Database)
	return proxied, hang, func() { cancel(); _ = listener.Close() }
}
