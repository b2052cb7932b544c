// Package devpg runs a private PostgreSQL: one server process on one data
// directory, reachable through a Unix socket alone. Development and tests use
// it; production is given a database by its operator.
//
// It finds the PostgreSQL binaries, creates the cluster, starts the server in a
// process group of its own, waits until it answers, and stops it. A predecessor
// that was killed may have left a server behind on the same directory; Start
// ends that one first, and PostgreSQL then recovers what was committed. Two
// living users of one data directory are kept apart by a file lock.
//
// It does not create roles, schemas or tables.
package devpg

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
)

// User is the superuser of every private cluster.
const User = "uniconnect"

const (
	pollInterval   = 10 * time.Millisecond
	startTimeout   = 60 * time.Second
	maxSocketPath  = 103 // the shortest limit among the systems we run on, less the final NUL
	immediateGrace = 5 * time.Second
)

// Options says where a server lives.
type Options struct {
	// DataDir holds the cluster, the lock and the server's log. It is created
	// when missing. Required.
	DataDir string
	// SocketDir holds the socket. Empty means a short directory under
	// os.TempDir whose name follows from DataDir.
	SocketDir string
	// BinDir holds postgres and initdb. Empty means UC_PG_BIN, then whatever
	// the machine has (see findBinaries).
	BinDir string
	// Fast gives up durability for speed. Only tests may set it.
	Fast bool
	// Logger may be nil.
	Logger *slog.Logger
}

// Server is a running private PostgreSQL.
type Server struct {
	socketDir string
	cmd       *exec.Cmd
	lock      *os.File
	log       *slog.Logger

	exited  chan struct{} // closed by the goroutine that waits for the process
	exitErr error         // written before exited is closed

	stopOnce sync.Once
	stopErr  error
}

// Start brings a server up on opts.DataDir and returns once it accepts
// connections. Cancelling ctx gives up the start; afterwards ctx has no
// influence on the server.
func Start(ctx context.Context, opts Options) (*Server, error) {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()

	p, err := newPlan(ctx, opts)
	if err != nil {
		return nil, err
	}
	lock, err := lockDir(ctx, p.dataDir)
	if err != nil {
		return nil, err
	}
	s, err := p.start(ctx, lock)
	if err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	return s, nil
}

func (p *plan) start(ctx context.Context, lock *os.File) (*Server, error) {
	if err := p.endPredecessor(ctx); err != nil {
		return nil, fmt.Errorf("end the previous server on %s: %w", p.cluster, err)
	}
	if err := p.prepare(ctx); err != nil {
		return nil, err
	}
	s := &Server{socketDir: p.socketDir, lock: lock, log: p.log, exited: make(chan struct{})}
	if err := s.launch(ctx, p); err != nil {
		return nil, fmt.Errorf("start %s: %w", p.bin.path("postgres"), err)
	}
	if err := s.awaitReady(ctx); err != nil {
		err = fmt.Errorf("start PostgreSQL on %s: %w\n%s", p.cluster, err, logTail(p.logFile))
		stopCtx, cancel := context.WithTimeout(context.WithoutCancel(ctx), immediateGrace)
		defer cancel()
		s.signal(syscall.SIGINT)
		s.awaitExit(stopCtx)
		return nil, err
	}
	p.log.Info("private PostgreSQL started", "data_dir", p.dataDir, "version", p.bin.version, "pid", s.PID())
	return s, nil
}

// launch starts the process from a thread that lives as long as the process
// does: the kernel sends the parent-death signal when that thread ends, and the
// Go runtime ends idle threads as it pleases.
func (s *Server) launch(ctx context.Context, p *plan) error {
	logFile, err := openLog(p.logFile)
	if err != nil {
		return err
	}
	// The server outlives the context of its start.
	s.cmd = p.ident.command(context.WithoutCancel(ctx), p.cluster, p.bin.path("postgres"), p.serverArgs())
	s.cmd.Stdout, s.cmd.Stderr = logFile, logFile

	started := make(chan error, 1)
	go func() {
		unlock := lockThread()
		defer unlock()
		err := s.cmd.Start()
		started <- err
		if err != nil {
			return
		}
		s.exitErr = s.cmd.Wait()
		close(s.exited)
	}()
	return errors.Join(<-started, logFile.Close())
}

func (s *Server) awaitReady(ctx context.Context) error {
	return poll(ctx, func() (bool, error) {
		select {
		case <-s.exited:
			return false, fmt.Errorf("server ended at once: %w", exitReason(s.exitErr))
		default:
		}
		conn, err := pgx.Connect(ctx, s.URL("postgres"))
		if err != nil {
			return false, nil //nolint:nilerr // not listening yet, or still recovering: asked again
		}
		return true, conn.Close(ctx)
	})
}

// URL is the connection string of one database of the server.
func (s *Server) URL(database string) string {
	u := url.URL{Scheme: "postgres", Path: "/" + database}
	u.RawQuery = url.Values{"host": {s.socketDir}, "user": {User}}.Encode()
	return u.String()
}

// EnsureDatabase creates a database unless it exists.
func (s *Server) EnsureDatabase(ctx context.Context, name string) error {
	conn, err := pgx.Connect(ctx, s.URL("postgres"))
	if err != nil {
		return fmt.Errorf("connect to the private PostgreSQL: %w", err)
	}
	defer conn.Close(ctx)
	var exists bool
	err = conn.QueryRow(ctx, `SELECT EXISTS (SELECT 1 FROM pg_database WHERE datname = $1)`, name).Scan(&exists)
	if err != nil {
		return fmt.Errorf("look for database %s: %w", name, err)
	}
	if exists {
		return nil
	}
	if _, err := conn.Exec(ctx, `CREATE DATABASE `+pgx.Identifier{name}.Sanitize()); err != nil {
		return fmt.Errorf("create database %s: %w", name, err)
	}
	return nil
}

// PID is the process id of the postmaster.
func (s *Server) PID() int { return s.cmd.Process.Pid }

// Exited is closed when the server process has ended, asked for or not.
func (s *Server) Exited() <-chan struct{} { return s.exited }

// Stop ends the server: it disconnects the clients and writes a checkpoint.
// When ctx ends first, the server is stopped without the checkpoint; the next
// start then recovers from the log. Stop may be called more than once.
func (s *Server) Stop(ctx context.Context) error {
	s.stopOnce.Do(func() { s.stopErr = s.stop(ctx) })
	return s.stopErr
}

func (s *Server) stop(ctx context.Context) error {
	s.signal(syscall.SIGINT)
	if !s.awaitExit(ctx) {
		s.log.Warn("private PostgreSQL did not stop in time, stopping without a checkpoint", "pid", s.PID())
		s.signal(syscall.SIGQUIT)
		s.signal(syscall.SIGCONT) // a stopped process sees no other signal
		grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), immediateGrace)
		defer cancel()
		if !s.awaitExit(grace) {
			s.kill()
			<-s.exited
		}
	}
	err := os.RemoveAll(s.socketDir)         // with the socket of a server that was killed
	_ = os.Remove(filepath.Dir(s.socketDir)) // it may be the caller's, with more in it
	return errors.Join(err, s.lock.Close())
}

func (s *Server) awaitExit(ctx context.Context) bool {
	select {
	case <-s.exited:
		return true
	case <-ctx.Done():
		return false
	}
}

// signal reaches the postmaster alone; it passes on what concerns its children.
// An error means that the process has ended, which is what callers wait for.
func (s *Server) signal(sig syscall.Signal) { _ = s.cmd.Process.Signal(sig) }

func (s *Server) kill() { _ = syscall.Kill(-s.PID(), syscall.SIGKILL) }

func exitReason(err error) error {
	if err == nil {
		return errors.New("exit status 0")
	}
	return err
}

// poll calls try until it reports true, fails, or ctx ends.
func poll(ctx context.Context, try func() (bool, error)) error {
	ticker := time.NewTicker(pollInterval)
	defer ticker.Stop()
	for {
		done, err := try()
		if done || err != nil {
			return err
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
