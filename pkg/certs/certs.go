// Package certs secures connections with keys and certificates from files. The files are read again when they change, so a certificate
// is renewed by replacing its files, without a restart; a replacement that cannot be used is reported and the one before it stays.
//
// It owns no policy of who may call what: with a client authority set, a peer that proves no certificate of it is not let in, and that is
// all a certificate is good for.
package certs

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"sync"
	"time"

	"google.golang.org/grpc/credentials"
)

// lookAgain is how long files are trusted not to have changed.
const lookAgain = time.Second

// Files names PEM files. Cert and Key belong together.
type Files struct {
	// Cert and Key are this process's own certificate with its chain, and the key.
	Cert, Key string
	// Authority has the certificates that peers' are checked against: those of servers when this process calls, those of clients when it
	// is called. Empty: the system's for servers, and no certificate is asked of clients.
	Authority string
}

func (f Files) empty() bool { return f == Files{} }

// Source is what the files say now. It is safe for concurrent use.
type Source struct {
	files Files
	log   *slog.Logger

	mu     sync.Mutex
	looked time.Time
	stamp  string
	now    material
}

// material is what files held when they were last read.
type material struct {
	cert      *tls.Certificate
	authority *x509.CertPool
}

// Open reads the files. It returns nil when there are none: connections are not secured then.
func Open(files Files, log *slog.Logger) (*Source, error) {
	if files.empty() {
		return nil, nil //nolint:nilnil // no files, no source: its methods say so
	}
	if (files.Cert == "") != (files.Key == "") {
		return nil, errors.New("a certificate needs its key and a key its certificate")
	}
	s := &Source{files: files, log: log}
	now, stamp, err := s.read()
	if err != nil {
		return nil, err
	}
	s.now, s.stamp, s.looked = now, stamp, time.Now()
	return s, nil
}

// Server returns the configuration of a listener, or nil when connections are not secured.
func (s *Source) Server() (*tls.Config, error) {
	if s == nil {
		return nil, nil //nolint:nilnil // see above
	}
	if s.files.Cert == "" {
		return nil, errors.New("a server needs a certificate and a key")
	}
	base := s.server()
	return &tls.Config{
		MinVersion: tls.VersionTLS12,
		NextProtos: base.NextProtos,
		GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
			return s.server(), nil
		},
	}, nil
}

func (s *Source) server() *tls.Config {
	m := s.current()
	cfg := &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{*m.cert}, NextProtos: []string{"h2", "http/1.1"}}
	if m.authority != nil {
		cfg.ClientAuth, cfg.ClientCAs = tls.RequireAndVerifyClientCert, m.authority
	}
	return cfg
}

// Client returns the configuration of calls as the files are now, or nil when connections are not secured.
func (s *Source) Client() *tls.Config {
	if s == nil {
		return nil
	}
	m := s.current()
	cfg := &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: m.authority}
	if m.cert != nil {
		cfg.Certificates = []tls.Certificate{*m.cert}
	}
	return cfg
}

// current returns what the files hold, looking at them now and then.
func (s *Source) current() material {
	s.mu.Lock()
	defer s.mu.Unlock()
	if time.Since(s.looked) < lookAgain {
		return s.now
	}
	s.looked = time.Now()
	if stamp, err := s.stampOf(); err == nil && stamp == s.stamp {
		return s.now
	}
	now, stamp, err := s.read()
	if err != nil {
		s.log.Error("changed certificate files cannot be used; those before them stay", "error", err)
		return s.now
	}
	s.now, s.stamp = now, stamp
	s.log.Info("certificate files were read again")
	return s.now
}

// read reads the files, and what tells this state of theirs from the next. The stamp is taken first: a change meanwhile is seen later.
func (s *Source) read() (material, string, error) {
	stamp, err := s.stampOf()
	if err != nil {
		return material{}, "", err
	}
	var m material
	if s.files.Cert != "" {
		cert, err := tls.LoadX509KeyPair(s.files.Cert, s.files.Key)
		if err != nil {
			return material{}, "", fmt.Errorf("load certificate %s: %w", s.files.Cert, err)
		}
		m.cert = &cert
	}
	if s.files.Authority != "" {
		text, err := os.ReadFile(s.files.Authority)
		if err != nil {
			return material{}, "", fmt.Errorf("load authority: %w", err)
		}
		m.authority = x509.NewCertPool()
		if !m.authority.AppendCertsFromPEM(text) {
			return material{}, "", fmt.Errorf("load authority: %s holds no certificate", s.files.Authority)
		}
	}
	return m, stamp, nil
}

func (s *Source) stampOf() (string, error) {
	var stamp string
	for _, name := range []string{s.files.Cert, s.files.Key, s.files.Authority} {
		if name == "" {
			continue
		}
		info, err := os.Stat(name)
		if err != nil {
			return "", fmt.Errorf("look at certificate file: %w", err)
		}
		stamp += fmt.Sprintf("%d/%d ", info.ModTime().UnixNano(), info.Size())
	}
	return stamp, nil
}

// Serving returns the credentials of a gRPC server, or nil when its connections are not secured.
func (s *Source) Serving() (credentials.TransportCredentials, error) {
	cfg, err := s.Server()
	if cfg == nil || err != nil {
		return nil, err
	}
	return credentials.NewTLS(cfg), nil
}

// Dialling returns the credentials of gRPC connections, or nil when they are not secured. Each handshake takes the files as they are.
func (s *Source) Dialling() credentials.TransportCredentials {
	if s == nil {
		return nil
	}
	return &dialling{TransportCredentials: credentials.NewTLS(s.Client()), source: s}
}

type dialling struct {
	credentials.TransportCredentials
	source *Source
}

func (d *dialling) ClientHandshake(ctx context.Context, authority string, conn net.Conn) (net.Conn, credentials.AuthInfo, error) {
	secured, info, err := credentials.NewTLS(d.source.Client()).ClientHandshake(ctx, authority, conn)
	if err != nil {
		return nil, nil, fmt.Errorf("tls handshake: %w", err)
	}
	return secured, info, nil
}

// Clone is part of the interface.
func (d *dialling) Clone() credentials.TransportCredentials {
	return &dialling{TransportCredentials: d.TransportCredentials.Clone(), source: d.source}
}
