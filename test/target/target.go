// Package target is what the workflows of tests call over HTTP. It keeps an account of every call that came, with its time, and answers
// as the test wishes: at once, late, with an error, or when the test lets it.
package target

import (
	"context"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// Call is one request as it came.
type Call struct {
	// Number counts the calls from 1 in the order in which they came.
	Number int
	Method string
	Path   string
	Header http.Header
	Body   []byte
	// Came is when the request had been read.
	Came time.Time
}

// Key is what tells the attempts of one step from everything else.
func (c *Call) Key() string { return c.Header.Get("Idempotency-Key") }

// Answer is what a call gets. The zero value is an empty 200.
type Answer struct {
	Status int
	Body   string
	// After delays the answer.
	After time.Duration
	// Hold, when set, delays the answer until it is closed.
	Hold <-chan struct{}
}

// Target is a server for one test.
type Target struct {
	// Addr is its host:port, URL begins its addresses.
	Addr, URL string

	answer   func(*Call) Answer
	underWay atomic.Int64
	mu       sync.Mutex
	calls    []*Call
	came     chan struct{} // closed and replaced whenever a call comes; guarded by mu
}

// New starts a target that ends with the test. answer may be nil and must be safe for concurrent use.
func New(t testing.TB, answer func(*Call) Answer) *Target {
	t.Helper()
	if answer == nil {
		answer = func(*Call) Answer { return Answer{} }
	}
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	target := &Target{
		Addr: listener.Addr().String(), URL: "http://" + listener.Addr().String(), answer: answer, came: make(chan struct{}),
	}
	server := &http.Server{Handler: target, ReadHeaderTimeout: time.Minute}
	served := make(chan struct{}) // closed when Serve has returned
	go func() { defer close(served); _ = server.Serve(listener) }()
	t.Cleanup(func() { _ = server.Close(); <-served })
	return target
}

// ServeHTTP notes the call and answers.
func (t *Target) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return // the caller died while it sent
	}
	call := &Call{Method: r.Method, Path: r.URL.Path, Header: r.Header, Body: body, Came: time.Now()}
	t.mu.Lock()
	t.calls = append(t.calls, call)
	call.Number = len(t.calls)
	close(t.came)
	t.came = make(chan struct{})
	t.mu.Unlock()

	t.underWay.Add(1)
	defer t.underWay.Add(-1)
	a := t.answer(call)
	if a.After > 0 {
		timer := time.NewTimer(a.After)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-r.Context().Done():
			return
		}
	}
	if a.Hold != nil {
		select {
		case <-a.Hold:
		case <-r.Context().Done():
			return
		}
	}
	w.Header().Set("Content-Type", "application/json")
	if a.Status != 0 {
		w.WriteHeader(a.Status)
	}
	_, _ = io.WriteString(w, a.Body) // a caller that has died will call again
}

// UnderWay counts the calls that wait for their answer and whose caller lives.
func (t *Target) UnderWay() int { return int(t.underWay.Load()) }

// Calls lists what came so far.
func (t *Target) Calls() []*Call {
	t.mu.Lock()
	defer t.mu.Unlock()
	return append([]*Call(nil), t.calls...)
}

// Await returns the calls for which match holds once there are at least n of them.
func (t *Target) Await(ctx context.Context, n int, match func(*Call) bool) ([]*Call, error) {
	for {
		t.mu.Lock()
		came := t.came
		var matching []*Call
		for _, c := range t.calls {
			if match(c) {
				matching = append(matching, c)
			}
		}
		t.mu.Unlock()
		if len(matching) >= n {
			return matching, nil
		}
		select {
		case <-came:
		case <-ctx.Done():
			return matching, ctx.Err()
		}
	}
}
