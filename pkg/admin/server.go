package admin

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/pprof"
	"time"
)

// Options describes the admin server.
type Options struct {
	Addr      string
	Metrics   http.Handler
	Readiness *Readiness
	Logger    *slog.Logger
	// Dev adds /debug/pprof.
	Dev bool
}

// Server serves the admin pages on an address of its own, which stays inside the cluster.
type Server struct {
	listener net.Listener
	http     *http.Server
}

// New listens; Run serves.
func New(ctx context.Context, opts Options) (*Server, error) {
	var lc net.ListenConfig
	listener, err := lc.Listen(ctx, "tcp", opts.Addr)
	if err != nil {
		return nil, fmt.Errorf("listen for admin: %w", err)
	}
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", opts.Metrics)
	mux.Handle("GET /readyz", opts.Readiness)
	mux.Handle("GET /livez", Live())
	if opts.Dev {
		mux.HandleFunc("GET /debug/pprof/", pprof.Index)
		mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
		mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	}
	return &Server{
		listener: listener,
		http: &http.Server{
			Handler:           mux,
			ReadHeaderTimeout: 5 * time.Second,
			IdleTimeout:       time.Minute,
			MaxHeaderBytes:    16 << 10,
			ErrorLog:          slog.NewLogLogger(opts.Logger.Handler(), slog.LevelWarn),
		},
	}, nil
}

// Live answers /livez: a process that can answer is alive. What it depends on is readiness; restarting would not mend that.
func Live() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		writeJSON(w, http.StatusOK, struct {
			Alive bool `json:"alive"`
		}{true})
	})
}

// Addr returns the address in use, which tells the port when Options asked for any.
func (s *Server) Addr() string { return s.listener.Addr().String() }

// Run serves until Close.
func (s *Server) Run() error {
	if err := s.http.Serve(s.listener); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve admin: %w", err)
	}
	return nil
}

// Close ends Run, also one that has not begun, and frees the address. Requests under way may finish until ctx ends.
func (s *Server) Close(ctx context.Context) error {
	err := s.http.Shutdown(ctx)
	if err != nil {
		err = s.http.Close()
	}
	if closeErr := s.listener.Close(); !errors.Is(closeErr, net.ErrClosed) {
		err = errors.Join(err, closeErr)
	}
	return err
}
