// Package admin serves what operators and orchestrators ask a process: /metrics, /livez and /readyz. It owns no state of the services;
// they add named checks.
package admin

import (
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"workflow.uniconnect/pkg/fault"
)

const (
	// checkTimeout bounds one round of checks: a dependency that hangs is a dependency that is away.
	checkTimeout = 2 * time.Second
	// checkAge is how long an answer serves: probes from many sides cost the dependencies one.
	checkAge = 250 * time.Millisecond
)

// Readiness answers whether a process can do its work. It is an http.Handler: 200, or 503 with what is missing.
type Readiness struct {
	log *slog.Logger

	mu       sync.Mutex
	checks   []check
	draining bool

	// round is held while the checks run, so that there is one round at a time.
	round   sync.Mutex
	last    []Missing
	lastAt  time.Time
	lastLen int
}

type check struct {
	name string
	fn   func(context.Context) error
}

// Missing is one thing that keeps a process from being ready.
type Missing struct {
	Name    string `json:"name"`
	Message string `json:"message"`
}

// NewReadiness returns a readiness without checks, which is ready. Causes, which clients may not read, go to log when they change.
func NewReadiness(log *slog.Logger) *Readiness { return &Readiness{log: log} }

// Add adds a check. It must return when its context ends. Of an error that is a fault the public message is shown.
func (r *Readiness) Add(name string, fn func(context.Context) error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.checks = append(r.checks, check{name, fn})
}

// Drain makes the process not ready for good: it is stopping, and no new work should be sent.
func (r *Readiness) Drain() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.draining = true
}

// Missing runs the checks and returns those that fail, in the order of their names.
func (r *Readiness) Missing(ctx context.Context) []Missing {
	r.mu.Lock()
	checks, draining := slices.Clone(r.checks), r.draining
	r.mu.Unlock()
	if draining {
		return []Missing{{Name: "process", Message: "is stopping"}}
	}

	r.round.Lock()
	defer r.round.Unlock()
	if time.Since(r.lastAt) < checkAge && r.lastLen == len(checks) {
		return r.last
	}
	// The answer serves other probes too, so it does not end with the one that asked first.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), checkTimeout)
	defer cancel()
	missing := run(ctx, checks, r.log)
	if !slices.Equal(missing, r.last) {
		if len(missing) == 0 {
			r.log.InfoContext(ctx, "ready")
		} else {
			r.log.WarnContext(ctx, "not ready", "missing", names(missing))
		}
	}
	r.last, r.lastAt, r.lastLen = missing, time.Now(), len(checks)
	return missing
}

// ServeHTTP answers /readyz.
func (r *Readiness) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	missing := r.Missing(req.Context())
	code := http.StatusOK
	if len(missing) > 0 {
		code = http.StatusServiceUnavailable
		w.Header().Set("Retry-After", "1")
	}
	writeJSON(w, code, struct {
		Ready   bool      `json:"ready"`
		Missing []Missing `json:"missing,omitempty"`
	}{len(missing) == 0, missing})
}

func run(ctx context.Context, checks []check, log *slog.Logger) []Missing {
	errs := make([]error, len(checks))
	var wg sync.WaitGroup
	for i, c := range checks {
		wg.Go(func() { errs[i] = c.fn(ctx) })
	}
	wg.Wait()
	var missing []Missing
	for i, err := range errs {
		if err == nil {
			continue
		}
		message := "is not available"
		if f, ok := fault.As(err); ok && f.Message != "" {
			message = f.Message
		}
		log.DebugContext(ctx, "readiness check failed", "check", checks[i].name, "error", err)
		missing = append(missing, Missing{checks[i].name, message})
	}
	slices.SortFunc(missing, func(a, b Missing) int { return strings.Compare(a.Name, b.Name) })
	return missing
}

func names(missing []Missing) []string {
	out := make([]string, len(missing))
	for i, m := range missing {
		out[i] = m.Name
	}
	return out
}

func writeJSON(w http.ResponseWriter, code int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(code)
	// A client that went away is the only way this fails.
	_ = json.NewEncoder(w).Encode(body)
}
