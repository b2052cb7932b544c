package bench

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// Every trigger has a number, which comes back in the body of its POST.
const numberMark = `"id":"run-`

func triggerID(n int) string { return "run-" + strconv.Itoa(n) }

// target receives the POSTs and notes when each came.
type target struct {
	URL    string
	Addr   string
	server *http.Server
	served chan struct{}

	arrived []atomic.Int64 // UnixNano of the first POST, by number
	repeats atomic.Int64
	strange atomic.Int64
	count   atomic.Int64
	awaited atomic.Int64
	enough  chan struct{} // receives a value when count reaches awaited
	buffers sync.Pool
}

// newTarget listens; numbers up to limit may come.
func newTarget(ctx context.Context, limit int) (*target, error) {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	t := &target{
		Addr: listener.Addr().String(), URL: "http://" + listener.Addr().String() + "/",
		arrived: make([]atomic.Int64, limit), enough: make(chan struct{}, 1), served: make(chan struct{}),
		buffers: sync.Pool{New: func() any { return new(bytes.Buffer) }},
	}
	t.awaited.Store(-1)
	t.server = &http.Server{Handler: t, ReadHeaderTimeout: time.Minute}
	go func() { defer close(t.served); _ = t.server.Serve(listener) }() // returns for Close alone
	return t, nil
}

func (t *target) Close() {
	_ = t.server.Close() // the clients have ended
	<-t.served
}

// ServeHTTP answers at once.
func (t *target) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	now := time.Now().UnixNano()
	buffer, _ := t.buffers.Get().(*bytes.Buffer)
	defer t.buffers.Put(buffer)
	buffer.Reset()
	if _, err := io.Copy(buffer, r.Body); err != nil {
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write([]byte(`{"ok":true}`)) // a caller that has gone will call again
	n, ok := number(buffer.Bytes())
	if !ok || n >= len(t.arrived) {
		t.strange.Add(1)
		return
	}
	if !t.arrived[n].CompareAndSwap(0, now) {
		t.repeats.Add(1)
		return
	}
	if t.count.Add(1) == t.awaited.Load() {
		t.enough <- struct{}{}
	}
}

func number(body []byte) (int, bool) {
	at := bytes.Index(body, []byte(numberMark))
	if at < 0 {
		return 0, false
	}
	rest := body[at+len(numberMark):]
	end := bytes.IndexByte(rest, '"')
	if end < 0 {
		return 0, false
	}
	n, err := strconv.Atoi(string(rest[:end]))
	return n, err == nil
}

// expect begins a round of n POSTs.
func (t *target) expect(n int) {
	t.count.Store(0)
	t.awaited.Store(int64(n))
}

// await returns when the POSTs of the round have come.
func (t *target) await(ctx context.Context) error {
	select {
	case <-t.enough:
	case <-ctx.Done():
		return fmt.Errorf("%d of %d POSTs received: %w", t.count.Load(), t.awaited.Load(), ctx.Err())
	}
	if n := t.repeats.Load() + t.strange.Load(); n > 0 {
		return fmt.Errorf("%d POSTs came twice, %d were not ours", t.repeats.Load(), t.strange.Load())
	}
	return nil
}

// when is the time at which the POST with that number came.
func (t *target) when(n int) time.Time { return time.Unix(0, t.arrived[n].Load()) }
