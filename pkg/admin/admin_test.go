package admin_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"workflow.uniconnect/pkg/admin"
	"workflow.uniconnect/pkg/fault"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func ready(r *admin.Readiness) (int, string) {
	rec := httptest.NewRecorder()
	r.ServeHTTP(rec, httptest.NewRequest("GET", "/readyz", nil))
	return rec.Code, strings.TrimSpace(rec.Body.String())
}

func TestReadiness_names_what_is_missing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := admin.NewReadiness(slog.New(slog.DiscardHandler))
		var away atomic.Bool
		away.Store(true)
		r.Add("executor: postgres", func(context.Context) error {
			if away.Load() {
				return fault.Unavailable("DATABASE_UNAVAILABLE", "the database is away").WithCause(errors.New("dial 10.0.0.7"))
			}
			return nil
		})
		r.Add("bus", func(ctx context.Context) error {
			if away.Load() {
				<-ctx.Done() // hangs, as a stopped server does
				return ctx.Err()
			}
			return nil
		})

		start := time.Now()
		code, body := ready(r)
		want := `{"ready":false,"missing":[{"name":"bus","message":"is not available"},{"name":"executor: postgres","message":"the database is away"}]}`
		if code != 503 || body != want {
			t.Errorf("got %d %s\nwant 503 %s", code, body, want)
		}
		if d := time.Since(start); d > 2*time.Second {
			t.Errorf("a check that hangs delays the answer by %v", d)
		}

		away.Store(false)
		<-time.After(time.Second) // of the bubble's clock: the last answer grows old
		if code, body := ready(r); code != 200 || body != `{"ready":true}` {
			t.Errorf("after recovery: got %d %s, want 200", code, body)
		}
		r.Drain()
		if code, body := ready(r); code != 503 || !strings.Contains(body, "is stopping") {
			t.Errorf("while draining: got %d %s, want 503", code, body)
		}
	})
}

func TestReadiness_many_probes_cost_one_check(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := admin.NewReadiness(slog.New(slog.DiscardHandler))
		var calls atomic.Int32
		r.Add("postgres", func(context.Context) error {
			calls.Add(1)
			return nil
		})
		for range 100 {
			ready(r)
		}
		if got := calls.Load(); got != 1 {
			t.Errorf("checks: got %d, want 1", got)
		}
	})
}

func TestServer(t *testing.T) {
	readiness := admin.NewReadiness(slog.New(slog.DiscardHandler))
	readiness.Add("bus", func(context.Context) error { return errors.New("nats: no servers") })
	s, err := admin.New(t.Context(), admin.Options{
		Addr: "127.0.0.1:0", Readiness: readiness, Logger: slog.New(slog.DiscardHandler),
		Metrics: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "uc 1\n") }),
	})
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- s.Run() }()

	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	for path, want := range map[string]int{"/livez": 200, "/readyz": 503, "/metrics": 200, "/debug/pprof/": 404, "/": 404} {
		resp, err := client.Get("http://" + s.Addr() + path)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if resp.StatusCode != want {
			t.Errorf("%s: got %d %s, want %d", path, resp.StatusCode, body, want)
		}
		if strings.Contains(string(body), "nats: no servers") {
			t.Errorf("%s shows the cause: %s", path, body)
		}
	}
	if err := s.Close(t.Context()); err != nil {
		t.Error(err)
	}
	if err := <-done; err != nil {
		t.Errorf("Run: got %v, want nil", err)
	}
}

func TestServer_Close_before_Run_frees_the_address(t *testing.T) {
	opts := admin.Options{Addr: "127.0.0.1:0", Readiness: admin.NewReadiness(slog.New(slog.DiscardHandler)), Logger: slog.New(slog.DiscardHandler), Metrics: http.NotFoundHandler()}
	s, err := admin.New(t.Context(), opts)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	opts.Addr = s.Addr()
	again, err := admin.New(t.Context(), opts)
	if err != nil {
		t.Fatalf("the address is still taken: %v", err)
	}
	if err := again.Close(t.Context()); err != nil {
		t.Error(err)
	}
}
