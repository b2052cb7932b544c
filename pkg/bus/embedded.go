package bus

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strconv"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

const (
	startTimeout     = 30 * time.Second
	startStep        = 50 * time.Millisecond
	defaultMaxStore  = 8 << 30
	defaultMaxMemory = 64 << 20
	// syncInterval bounds what a power cut can take from an embedded server;
	// the kill of the process takes nothing. The server's own default is two
	// minutes. Syncing each message would cap a stream at some thousands a
	// second; one sync a second costs nothing that can be measured.
	syncInterval = time.Second
	// maxPayload is the largest event: NATS's default, said here because the
	// gateway refuses larger ones earlier.
	maxPayload = 1 << 20
)

// EmbeddedOptions configures a NATS server inside this process.
type EmbeddedOptions struct {
	// StoreDir keeps the streams. Required.
	StoreDir string
	// Addr is the host:port to listen on; port 0 takes a free one. Empty means
	// that only connections from this process are possible.
	Addr string
	// MaxStore limits the bytes of all streams; 0 means 8 GiB. The sum of the
	// streams' own limits must fit.
	MaxStore int64
	// SyncInterval is the time between fsyncs; 0 means one second.
	SyncInterval time.Duration
	// Logger may be nil.
	Logger *slog.Logger
}

// Server is an embedded NATS server with JetStream.
type Server struct {
	server *server.Server
	listen bool
}

// StartEmbedded starts a server and returns once it accepts connections.
func StartEmbedded(opts EmbeddedOptions) (*Server, error) {
	cfg, err := serverOptions(opts)
	if err != nil {
		return nil, err
	}
	srv, err := server.NewServer(cfg)
	if err != nil {
		return nil, fmt.Errorf("make the embedded NATS server: %w", err)
	}
	failures := make(chan string, 1)
	log := opts.Logger
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	srv.SetLoggerV2(&serverLog{log: log, fatal: failures}, false, false, false)
	go srv.Start() // returns once the server listens; Shutdown ends what it started
	s := &Server{server: srv, listen: !cfg.DontListen}
	if err := awaitReady(srv, failures); err != nil {
		srv.Shutdown()
		srv.WaitForShutdown()
		return nil, fmt.Errorf("start the embedded NATS server: %w", err)
	}
	return s, nil
}

func awaitReady(srv *server.Server, failures <-chan string) error {
	for begin := time.Now(); time.Since(begin) < startTimeout; {
		ready := srv.ReadyForConnections(startStep)
		select {
		case reason := <-failures:
			return errors.New(reason)
		default:
		}
		if ready && srv.JetStreamEnabled() {
			return nil
		}
	}
	return errors.New("it does not become ready")
}

func serverOptions(opts EmbeddedOptions) (*server.Options, error) {
	if opts.StoreDir == "" {
		return nil, errors.New("embedded NATS server: no store directory given")
	}
	cfg := &server.Options{
		ServerName:         "uniconnect",
		DontListen:         opts.Addr == "",
		JetStream:          true,
		StoreDir:           opts.StoreDir,
		JetStreamMaxMemory: defaultMaxMemory,
		JetStreamMaxStore:  opts.MaxStore,
		SyncInterval:       opts.SyncInterval,
		MaxPayload:         maxPayload,
		NoSigs:             true, // signals are the process's to handle
	}
	if cfg.JetStreamMaxStore == 0 {
		cfg.JetStreamMaxStore = defaultMaxStore
	}
	if cfg.SyncInterval == 0 {
		cfg.SyncInterval = syncInterval
	}
	if opts.Addr == "" {
		return cfg, nil
	}
	host, port, err := net.SplitHostPort(opts.Addr)
	if err != nil {
		return nil, fmt.Errorf("embedded NATS server: %w", err)
	}
	if cfg.Port, err = strconv.Atoi(port); err != nil || cfg.Port < 0 || cfg.Port > 65535 {
		return nil, fmt.Errorf("embedded NATS server: %q is no port", port)
	}
	cfg.Host = host
	if cfg.Port == 0 {
		cfg.Port = server.RANDOM_PORT
	}
	return cfg, nil
}

// URL is where clients outside of this process connect, empty when they cannot.
func (s *Server) URL() string {
	if !s.listen {
		return ""
	}
	return s.server.ClientURL()
}

// Addr is the host:port it listens on, empty when it does not.
func (s *Server) Addr() string {
	if !s.listen {
		return ""
	}
	return s.server.Addr().String()
}

// Shutdown closes the connections, syncs the store and ends the server.
// Clients should have drained before.
func (s *Server) Shutdown(ctx context.Context) error {
	s.server.Shutdown()
	ended := make(chan struct{}) // closed when the server has ended
	go func() {
		defer close(ended)
		s.server.WaitForShutdown()
	}()
	select {
	case <-ended:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("shut the embedded NATS server down: %w", ctx.Err())
	}
}

// serverLog passes what an operator should see on to our log, and keeps the
// reason of a failed start, which the server reports in no other way.
type serverLog struct {
	log   *slog.Logger
	fatal chan string
}

func (l *serverLog) Noticef(format string, v ...any) {
	l.log.Debug("nats: " + fmt.Sprintf(format, v...))
}

func (l *serverLog) Warnf(format string, v ...any) {
	l.log.Warn("nats: " + fmt.Sprintf(format, v...))
}

func (l *serverLog) Errorf(format string, v ...any) {
	l.log.Error("nats: " + fmt.Sprintf(format, v...))
}

func (l *serverLog) Fatalf(format string, v ...any) {
	text := fmt.Sprintf(format, v...)
	l.log.Error("nats: " + text)
	select {
	case l.fatal <- text:
	default:
	}
}

func (l *serverLog) Debugf(string, ...any) {}
func (l *serverLog) Tracef(string, ...any) {}
