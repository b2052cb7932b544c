package httpaction_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/tls"
	"crypto/x509"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"workflow.uniconnect/services/executor/internal/run"
)

func TestClient_Do_refusals(t *testing.T) {
	cases := map[string]struct {
		status     int
		retryAfter string
		body       string
		want       run.Error
		wait       time.Duration
	}{
		"not_found":         {404, "", "no such\n thing", run.Error{Message: "the target answered 404 Not Found: no such thing"}, 0},
		"bad_request":       {400, "9", "", run.Error{Message: "the target answered 400 Bad Request"}, 0},
		"request_timeout":   {408, "", "", run.Error{Message: "the target answered 408 Request Timeout", Retryable: true}, 0},
		"too_early":         {425, "", "", run.Error{Message: "the target answered 425 Too Early", Retryable: true}, 0},
		"too_many":          {429, "7", "", run.Error{Message: "the target answered 429 Too Many Requests", Retryable: true}, 7 * time.Second},
		"too_many_for_days": {429, "999999", "", run.Error{Message: "the target answered 429 Too Many Requests", Retryable: true}, time.Hour},
		"unavailable_junk":  {503, "soon", "", run.Error{Message: "the target answered 503 Service Unavailable", Retryable: true}, 0},
		"unavailable_past":  {503, "Fri, 01 Jan 2021 00:00:00 GMT", "", run.Error{Message: "the target answered 503 Service Unavailable", Retryable: true}, 0},
		"server_error":      {500, "", "\x00\x01\xff\xfe\xfd\xfc\xfb", run.Error{Message: "the target answered 500 Internal Server Error", Retryable: true}, 0},
		"bad_gateway":       {502, "", strings.Repeat("é", 400), run.Error{Message: "the target answered 502 Bad Gateway: " + strings.Repeat("é", 128), Retryable: true}, 0},
	}
	c := newClient(t, nil)
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			tg := newTarget(t, func(w http.ResponseWriter, _ *http.Request) {
				if tc.retryAfter != "" {
					w.Header().Set("Retry-After", tc.retryAfter)
				}
				w.WriteHeader(tc.status)
				_, _ = io.WriteString(w, tc.body)
			})
			o := c.Do(t.Context(), call(map[string]any{"url": tg.URL}))
			tc.want.Reason = "TARGET_STATUS"
			if diff := cmp.Diff(&tc.want, o.Err); diff != "" {
				t.Errorf("error (-want +got):\n%s", diff)
			}
			if o.RetryAfter != tc.wait {
				t.Errorf("retry after: got %v, want %v", o.RetryAfter, tc.wait)
			}
		})
	}
	t.Run("retry_after_as_a_date", func(t *testing.T) {
		tg := newTarget(t, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Retry-After", time.Now().Add(time.Minute).UTC().Format(http.TimeFormat))
			w.WriteHeader(http.StatusServiceUnavailable)
		})
		o := c.Do(t.Context(), call(map[string]any{"url": tg.URL}))
		if o.RetryAfter < 50*time.Second || o.RetryAfter > time.Minute {
			t.Errorf("got %v, want about a minute", o.RetryAfter)
		}
	})
	t.Run("redirect_loop", func(t *testing.T) {
		tg := newTarget(t, func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, r.URL.Path, http.StatusFound) })
		o := c.Do(t.Context(), call(map[string]any{"url": tg.URL, "body": "x"}))
		want := &run.Error{Reason: "TARGET_STATUS", Message: "the target answered 302 Found; redirects are not followed"}
		if diff := cmp.Diff(want, o.Err); diff != "" {
			t.Errorf("error (-want +got):\n%s", diff)
		}
		if got := tg.count(); got != 1 {
			t.Errorf("the target got %d requests, want 1", got)
		}
	})
}

func TestClient_Do_bad_targets(t *testing.T) {
	bomb := gzipped(t, bytes.Repeat([]byte{'0'}, 64<<20))
	unreachable := func(message string) *run.Error {
		return &run.Error{Reason: "TARGET_UNREACHABLE", Message: message, Retryable: true}
	}
	timeout := &run.Error{Reason: "STEP_TIMEOUT", Message: "the target did not answer within the step's time limit", Retryable: true}
	tooLarge := &run.Error{Reason: "TOO_LARGE", Message: "the target's answer is larger than 1048576 bytes"}
	brokeOff := unreachable("the connection broke off before the answer was complete")

	cases := map[string]struct {
		serve func(net.Conn) // after the request has been read
		want  *run.Error
	}{
		"no_reply":             {func(c net.Conn) { _, _ = io.Copy(io.Discard, c) }, timeout},
		"slow_drip":            {drip("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n", "x", 20*time.Millisecond), timeout},
		"slow_drip_of_headers": {drip("HTTP/1.1 200 OK\r\n", "A: b\r\n", 20*time.Millisecond), timeout},
		"slow_drip_of_a_refusal": {drip("HTTP/1.1 404 Not Found\r\nContent-Length: 1000\r\n\r\n", "x", 20*time.Millisecond), &run.Error{
			Reason: "TARGET_STATUS", Message: "the target answered 404 Not Found: xxx"}},
		"infinite_body":    {drip("HTTP/1.1 200 OK\r\n\r\n", strings.Repeat("x", 64<<10), 0), tooLarge},
		"infinite_headers": {drip("HTTP/1.1 200 OK\r\n", "A: "+strings.Repeat("x", 1000)+"\r\n", 0), unreachable("the call to the target failed before the answer was complete")},
		"gzip_bomb":        {say("HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nConnection: close\r\n\r\n" + bomb), tooLarge},
		"broken_gzip":      {say("HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nConnection: close\r\n\r\nnot gzip at all"), unreachable("the call to the target failed before the answer was complete")},
		"closed_mid_body":  {say("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nabc"), brokeOff},
		"closed_mid_chunk": {say("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab"), brokeOff},
		"closed_at_once":   {say(""), brokeOff},
		"reset_mid_body": {func(c net.Conn) {
			_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nabc")
			if tcp, ok := c.(*net.TCPConn); ok {
				_ = tcp.SetLinger(0)
			}
		}, brokeOff},
		"not_http": {say("SSH-2.0-OpenSSH_9.0\r\n"), unreachable("the call to the target failed before the answer was complete")},
		"upgrade":  {say("HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n"), &run.Error{Reason: "TARGET_STATUS", Message: "the target answered 101 Switching Protocols"}},
	}
	client := newClient(t, nil)
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
			defer cancel()
			o := client.Do(ctx, call(map[string]any{"url": rawServer(t, tc.serve), "body": "x"}))
			if o.Err != nil && strings.HasPrefix(name, "slow_drip_of_a_refusal") {
				o.Err.Message = o.Err.Message[:min(len(o.Err.Message), len(tc.want.Message))]
			}
			if diff := cmp.Diff(tc.want, o.Err); diff != "" {
				t.Errorf("error (-want +got):\n%s", diff)
			}
		})
	}
	t.Run("nobody_listens", func(t *testing.T) {
		l, err := net.Listen("tcp4", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		_ = l.Close()
		o := client.Do(t.Context(), call(map[string]any{"url": "http://" + l.Addr().String()}))
		if diff := cmp.Diff(unreachable("the target refused the connection"), o.Err); diff != "" {
			t.Errorf("error (-want +got):\n%s", diff)
		}
	})
	t.Run("nobody_by_that_name", func(t *testing.T) {
		o := client.Do(t.Context(), call(map[string]any{"url": "http://no-such-host.invalid/"}))
		if diff := cmp.Diff(unreachable("the target's name cannot be resolved"), o.Err); diff != "" {
			t.Errorf("error (-want +got):\n%s", diff)
		}
	})
}

func TestClient_Do_TLS(t *testing.T) {
	serve := func(t *testing.T, cfg *tls.Config) *httptest.Server {
		t.Helper()
		s := httptest.NewUnstartedServer(answerWith("text/plain", "ok"))
		s.TLS = cfg
		s.Config.ErrorLog = log.New(io.Discard, "", 0)
		s.StartTLS()
		t.Cleanup(s.Close)
		return s
	}
	t.Run("trusted", func(t *testing.T) {
		s := serve(t, nil)
		roots := x509.NewCertPool()
		roots.AddCert(s.Certificate())
		if o := newClient(t, roots).Do(t.Context(), call(map[string]any{"url": s.URL})); o.Err != nil {
			t.Errorf("got %+v, want success", o.Err)
		}
	})
	t.Run("unknown_authority", func(t *testing.T) {
		o := newClient(t, x509.NewCertPool()).Do(t.Context(), call(map[string]any{"url": serve(t, nil).URL}))
		want := &run.Error{Reason: "TARGET_UNREACHABLE", Message: "the target's certificate is not valid", Retryable: true}
		if diff := cmp.Diff(want, o.Err); diff != "" {
			t.Errorf("error (-want +got):\n%s", diff)
		}
	})
	t.Run("too_old", func(t *testing.T) {
		s := serve(t, &tls.Config{MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11})
		roots := x509.NewCertPool()
		roots.AddCert(s.Certificate())
		o := newClient(t, roots).Do(t.Context(), call(map[string]any{"url": s.URL}))
		want := &run.Error{Reason: "TARGET_UNREACHABLE", Message: "no secure connection to the target could be made", Retryable: true}
		if diff := cmp.Diff(want, o.Err); diff != "" {
			t.Errorf("error (-want +got):\n%s", diff)
		}
	})
	t.Run("plain_behind_https", func(t *testing.T) {
		tg := newTarget(t, answerWith("text/plain", "ok"))
		o := newClient(t, nil).Do(t.Context(), call(map[string]any{"url": strings.Replace(tg.URL, "http:", "https:", 1)}))
		if o.Err == nil || o.Err.Reason != "TARGET_UNREACHABLE" || !o.Err.Retryable {
			t.Errorf("got %+v, want TARGET_UNREACHABLE, retryable", o.Err)
		}
	})
}

// Many targets that never stop talking must not take the process's memory.
func TestClient_Do_bounded_memory(t *testing.T) {
	const calls, bound = 200, 80 << 20
	url := rawServer(t, drip("HTTP/1.1 200 OK\r\n\r\n", strings.Repeat("x", 64<<10), 0))
	client := newClient(t, nil)

	var before, now runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	var peak uint64
	done := make(chan struct{}) // closed when all calls have ended
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		tick := time.NewTicker(5 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-done:
				return
			case <-tick.C:
				runtime.ReadMemStats(&now)
				peak = max(peak, now.HeapInuse)
			}
		}
	}()
	var wg sync.WaitGroup
	for range calls {
		wg.Go(func() {
			if o := client.Do(t.Context(), call(map[string]any{"url": url})); o.Err == nil || o.Err.Reason != "TOO_LARGE" {
				t.Errorf("got %+v, want TOO_LARGE", o.Err)
			}
		})
	}
	wg.Wait()
	close(done)
	<-watched
	if peak > before.HeapInuse+bound {
		t.Errorf("heap grew by %d MiB, want at most %d", (peak-before.HeapInuse)>>20, bound>>20)
	}
	t.Logf("heap grew by %d MiB", (int64(peak)-int64(before.HeapInuse))>>20)
}

func gzipped(t *testing.T, data []byte) string {
	t.Helper()
	var buf bytes.Buffer
	w := gzip.NewWriter(&buf)
	if _, err := w.Write(data); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return buf.String()
}

func say(text string) func(net.Conn) {
	return func(c net.Conn) { _, _ = io.WriteString(c, text) }
}

// drip says head and then more, again and again, until the other side has gone.
func drip(head, more string, every time.Duration) func(net.Conn) {
	return func(c net.Conn) {
		tick := time.NewTicker(max(every, 1))
		defer tick.Stop()
		words := []byte(more)
		for _, err := io.WriteString(c, head); err == nil; {
			if every > 0 {
				<-tick.C
			}
			_, err = c.Write(words)
		}
	}
}

// rawServer answers each request as serve does, closes the connection after it, and returns its URL.
func rawServer(t *testing.T, serve func(net.Conn)) string {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	t.Cleanup(func() {
		_ = l.Close()
		wg.Wait()
	})
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				defer func() { _ = c.Close() }()
				if _, err := c.Read(make([]byte, 4096)); err == nil {
					serve(c)
				}
			})
		}
	})
	return "http://" + l.Addr().String()
}
