package connlimit_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"testing"
	"time"

	"go.uber.org/goleak"

	"workflow.uniconnect/services/gateway/internal/connlimit"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// server is an HTTP server with capped connections. A call of /wait reports to arrived and ends with the test. idle is told of each
// connection that begins to wait for its next request, which is after its client has the answer.
type server struct {
	addr          string
	arrived, idle chan struct{}
}

func start(t *testing.T, total, perAddr int) *server {
	t.Helper()
	var lc net.ListenConfig
	listener, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &server{addr: listener.Addr().String(), arrived: make(chan struct{}, 10), idle: make(chan struct{}, 100)}
	limited := connlimit.New(listener, total, perAddr)
	over := make(chan struct{})
	mux := http.NewServeMux()
	mux.HandleFunc("/wait", func(_ http.ResponseWriter, r *http.Request) {
		s.arrived <- struct{}{}
		select {
		case <-over:
		case <-r.Context().Done(): // the client has gone
		}
	})
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "hello") })
	state := func(c net.Conn, now http.ConnState) {
		limited.ConnState(c, now)
		if now == http.StateIdle {
			s.idle <- struct{}{}
		}
	}
	httpServer := &http.Server{Handler: mux, ConnState: state, ReadHeaderTimeout: time.Minute}
	ended := make(chan error, 1)
	go func() { ended <- httpServer.Serve(limited) }()
	t.Cleanup(func() {
		close(over)
		if err := httpServer.Close(); err != nil {
			t.Error(err)
		}
		if err := <-ended; !errors.Is(err, http.ErrServerClosed) {
			t.Error(err)
		}
	})
	return s
}

func (s *server) dial(t *testing.T, from string) net.Conn {
	t.Helper()
	d := net.Dialer{Timeout: 10 * time.Second, LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
	c, err := d.DialContext(t.Context(), "tcp", s.addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	if err := c.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	return c
}

func get(c net.Conn, path string) error {
	if _, err := fmt.Fprintf(c, "GET %s HTTP/1.1\r\nHost: x\r\n\r\n", path); err != nil {
		return err
	}
	res, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		return err
	}
	defer func() { _ = res.Body.Close() }()
	if _, err := io.Copy(io.Discard, res.Body); err != nil {
		return err
	}
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("status %d", res.StatusCode)
	}
	return nil
}

// closed waits until the other side has closed.
func closed(c net.Conn) bool {
	_, err := c.Read(make([]byte, 1))
	var timeout net.Error
	return err != nil && (!errors.As(err, &timeout) || !timeout.Timeout()) && !errors.Is(err, context.DeadlineExceeded)
}

func TestListener_the_longest_idle_makes_room(t *testing.T) {
	s := start(t, 2, 2)
	silent := s.dial(t, "127.0.0.1") // sends nothing
	used := s.dial(t, "127.0.0.1")
	if err := get(used, "/"); err != nil {
		t.Fatal(err)
	}
	<-s.idle
	third := s.dial(t, "127.0.0.1")
	if err := get(third, "/"); err != nil {
		t.Fatalf("a third: %v", err)
	}
	<-s.idle
	if !closed(silent) {
		t.Error("the connection that never asked for anything is open")
	}
	if err := get(s.dial(t, "127.0.0.1"), "/"); err != nil {
		t.Fatalf("a fourth: %v", err)
	}
	if !closed(used) {
		t.Error("the connection that was idle longest is open")
	}
}

func TestListener_a_connection_at_work_is_never_closed(t *testing.T) {
	s := start(t, 2, 2)
	for range 2 {
		c := s.dial(t, "127.0.0.1")
		if _, err := io.WriteString(c, "GET /wait HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		<-s.arrived
	}
	if err := get(s.dial(t, "127.0.0.1"), "/"); err == nil {
		t.Error("a third connection has got a place")
	}
}

func TestListener_one_address_leaves_places_to_others(t *testing.T) {
	s := start(t, 3, 2)
	var busy []net.Conn
	for range 2 {
		c := s.dial(t, "127.0.0.2")
		if _, err := io.WriteString(c, "GET /wait HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		<-s.arrived
		busy = append(busy, c)
	}
	if err := get(s.dial(t, "127.0.0.2"), "/"); err == nil {
		t.Error("one address has got more than its places")
	}
	if err := get(s.dial(t, "127.0.0.1"), "/"); err != nil {
		t.Errorf("another address: %v", err)
	}
	// What is closed frees its place.
	if err := busy[0].Close(); err != nil {
		t.Fatal(err)
	}
	for {
		c := s.dial(t, "127.0.0.2")
		if get(c, "/") == nil {
			return
		}
		_ = c.Close() // the server hears of the free place a moment later
	}
}
