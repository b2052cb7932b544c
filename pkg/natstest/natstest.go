// Package natstest gives each test a NATS server with JetStream of its own,
// inside the test process, with its files in the test's directory.
package natstest

import (
	"context"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"workflow.uniconnect/pkg/bus"
)

const stopTimeout = 10 * time.Second

// Server is a NATS server for one test.
type Server struct {
	*bus.Server

	tb   testing.TB
	opts bus.EmbeddedOptions
}

// New starts a server that listens on a free port of the loopback interface and
// ends with the test.
func New(tb testing.TB) *Server {
	tb.Helper()
	s := &Server{tb: tb, opts: bus.EmbeddedOptions{
		StoreDir: tb.TempDir(), Addr: "127.0.0.1:0", MaxStore: 1 << 30,
	}}
	s.start()
	return s
}

func (s *Server) start() {
	s.tb.Helper()
	server, err := bus.StartEmbedded(s.opts)
	if err != nil {
		s.tb.Fatalf("natstest: %v", err)
	}
	s.Server = server
	s.tb.Cleanup(func() { s.stop(server) })
}

// Stop takes the server away, for tests of what happens then. Its address and
// its streams are kept for Restart.
func (s *Server) Stop() {
	s.tb.Helper()
	s.opts.Addr = s.Addr()
	s.stop(s.Server)
}

// Restart brings the server back after Stop.
func (s *Server) Restart() {
	s.tb.Helper()
	s.start()
}

func (s *Server) stop(server *bus.Server) {
	s.tb.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(s.tb.Context()), stopTimeout)
	defer cancel()
	if err := server.Shutdown(ctx); err != nil {
		s.tb.Errorf("natstest: %v", err)
	}
}

// Connect returns a connection that is closed after the test.
func (s *Server) Connect() *nats.Conn {
	s.tb.Helper()
	conn, err := bus.Connect(bus.Options{URL: s.URL(), Name: s.tb.Name()})
	if err != nil {
		s.tb.Fatalf("natstest: %v", err)
	}
	s.tb.Cleanup(conn.Close)
	return conn
}

// JetStream returns a JetStream client on a connection of its own.
func (s *Server) JetStream() jetstream.JetStream {
	s.tb.Helper()
	js, err := jetstream.New(s.Connect())
	if err != nil {
		s.tb.Fatalf("natstest: %v", err)
	}
	return js
}
