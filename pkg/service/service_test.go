package service

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"workflow.uniconnect/pkg/config"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// runner is a service whose Run a test fills in.
type runner func(context.Context) error

func (r runner) Run(ctx context.Context) error { return r(ctx) }

// output is a writer that the process writes while the test reads.
type output struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.String()
}

func serving(t *testing.T, args ...string) (process, *output, *output) {
	t.Helper()
	var stdout, stderr output
	environ := []string{"UC_DEV=true", "UC_DATA_DIR=" + filepath.Join(t.TempDir(), "data"), "UC_ADMIN_ADDR=127.0.0.1:0"}
	return process{args: args, environ: environ, stdout: &stdout, stderr: &stderr}, &stdout, &stderr
}

func TestRun_verbs(t *testing.T) {
	migrated := false
	failing := errors.New("schema is locked")
	spec := Spec{
		Name:    "executor",
		New:     func(context.Context, Deps) (Runner, error) { return nil, errors.New("no database") },
		Migrate: func(context.Context, config.Settings) error { migrated = true; return failing },
		Verbs: map[string]Verb{"greet": func(_ context.Context, args, _ []string, stdout io.Writer) error {
			if len(args) == 0 {
				return errors.New("whom")
			}
			_, err := io.WriteString(stdout, "hello "+args[0])
			return err
		}},
	}
	cases := map[string]struct {
		args           []string
		code           int
		stdout, stderr string
	}{
		"version":        {[]string{"version"}, 0, "executor ", ""},
		"help":           {[]string{"--help"}, 0, "--http-addr", ""},
		"help_verb":      {[]string{"help"}, 0, "Usage: executor [serve | migrate | version | greet]", ""},
		"unknown_verb":   {[]string{"run"}, 2, "", `unknown verb "run"`},
		"own_verb":       {[]string{"greet", "all"}, 0, "hello all", ""},
		"own_verb_fails": {[]string{"greet"}, 1, "", "executor: greet: whom"},
		"unknown_flag":   {[]string{"serve", "--nonsense"}, 2, "", "unknown flag --nonsense"},
		"migrate":        {[]string{"migrate"}, 1, "", "executor: migrate: schema is locked"},
		"new_fails":      {nil, 1, "", "executor: serve: start executor: no database"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			p, stdout, stderr := serving(t, c.args...)
			if code := run(t.Context(), spec, p); code != c.code {
				t.Errorf("exit code: got %d, want %d (%s)", code, c.code, stderr)
			}
			if !strings.Contains(stdout.String(), c.stdout) || !strings.Contains(stderr.String(), c.stderr) {
				t.Errorf("got %q and %q, want %q and %q", stdout, stderr, c.stdout, c.stderr)
			}
		})
	}
	if !migrated {
		t.Error("migrate did not call Migrate")
	}
}

func TestRun_refuses_to_start_without_an_issuer(t *testing.T) {
	p, _, stderr := serving(t)
	p.environ[0] = "UC_DEV=false"
	spec := Spec{Name: "executor", New: func(context.Context, Deps) (Runner, error) {
		t.Error("the service is built")
		return runner(func(context.Context) error { return nil }), nil
	}}
	if code := run(t.Context(), spec, p); code != 1 || !strings.Contains(stderr.String(), "UC_OIDC_ISSUER") {
		t.Errorf("got %d %q, want a failure that names UC_OIDC_ISSUER", code, stderr)
	}
}

func TestRun_serves_and_stops(t *testing.T) {
	p, _, stderr := serving(t, "serve")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	status := func(path string) int {
		resp, err := client.Get("http://" + adminAddr(t, stderr.String()) + path)
		if err != nil {
			t.Errorf("%s: %v", path, err)
			return 0
		}
		_ = resp.Body.Close()
		return resp.StatusCode
	}
	spec := Spec{Name: "executor", New: func(_ context.Context, deps Deps) (Runner, error) {
		deps.Readiness.Add("postgres", func(context.Context) error { return errors.New("away") })
		return runner(func(ctx context.Context) error {
			if _, err := deps.TokenSource.Token(ctx); err != nil {
				t.Errorf("token: %v", err)
			}
			if got := status("/readyz"); got != 503 {
				t.Errorf("while a dependency is away: got %d, want 503", got)
			}
			cancel()
			<-ctx.Done()
			if got := status("/readyz"); got != 503 {
				t.Errorf("while it stops: got %d, want 503", got)
			}
			if got := status("/livez"); got != 200 {
				t.Errorf("alive while it stops: got %d, want 200", got)
			}
			return nil
		}), nil
	}}
	if code := run(ctx, spec, p); code != 0 {
		t.Errorf("exit code: got %d, want 0: %s", code, stderr)
	}
}

func TestRun_failure_of_the_service_ends_the_process(t *testing.T) {
	p, _, stderr := serving(t)
	spec := Spec{Name: "executor", New: func(context.Context, Deps) (Runner, error) {
		return runner(func(context.Context) error { panic("lost the lease table") }), nil
	}}
	if code := run(t.Context(), spec, p); code != 1 || !strings.Contains(stderr.String(), "lost the lease table") {
		t.Errorf("got %d %q, want a failure that says why", code, stderr)
	}
}

// adminAddr finds the address in the log line that says where.
func adminAddr(t *testing.T, log string) string {
	t.Helper()
	for line := range strings.Lines(log) {
		var entry struct {
			Addr string `json:"admin_addr"`
		}
		if json.Unmarshal([]byte(line), &entry) == nil && entry.Addr != "" {
			return entry.Addr
		}
	}
	t.Fatal("the log names no address")
	return ""
}
