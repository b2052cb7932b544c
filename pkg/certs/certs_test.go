package certs_test

import (
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"workflow.uniconnect/pkg/certs"
	"workflow.uniconnect/pkg/certs/certstest"
)

func filesIn(t *testing.T) certs.Files {
	t.Helper()
	dir := t.TempDir()
	return certs.Files{Cert: filepath.Join(dir, "tls.crt"), Key: filepath.Join(dir, "tls.key"), Authority: filepath.Join(dir, "ca.crt")}
}

func open(t *testing.T, files certs.Files) *certs.Source {
	t.Helper()
	s, err := certs.Open(files, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// handshake connects the two and returns the serial number of the server's certificate.
func handshake(t *testing.T, server *certs.Source, client *tls.Config) (int64, error) {
	t.Helper()
	cfg, err := server.Server()
	if err != nil {
		t.Fatal(err)
	}
	near, far := net.Pipe()
	defer near.Close()
	// A pipe buffers nothing: two sides that refuse each other would wait for each other.
	for _, side := range []net.Conn{near, far} {
		if err := side.SetDeadline(time.Now().Add(time.Second)); err != nil {
			t.Fatal(err)
		}
	}
	done := make(chan error, 1)
	go func() {
		defer far.Close()
		conn := tls.Server(far, cfg)
		err := conn.HandshakeContext(t.Context())
		if err == nil {
			_, err = conn.Write([]byte("x"))
		}
		done <- err
	}()
	client.ServerName = "localhost"
	conn := tls.Client(near, client)
	err = conn.HandshakeContext(t.Context())
	if err == nil {
		// With TLS 1.3 a refusal of the client's certificate arrives with the first read.
		_, err = io.ReadFull(conn, make([]byte, 1))
	}
	_ = near.Close()
	if err := errors.Join(err, <-done); err != nil {
		return 0, err
	}
	return conn.ConnectionState().PeerCertificates[0].SerialNumber.Int64(), nil
}

func TestSource_both_sides_prove_themselves(t *testing.T) {
	ours, theirs := certstest.New(t), certstest.New(t)
	files, foreign := filesIn(t), filesIn(t)
	ours.Issue(t, files, 10)
	ours.Publish(t, files.Authority)
	theirs.Issue(t, foreign, 20)
	ours.Publish(t, foreign.Authority)
	server := open(t, files)

	if serial, err := handshake(t, server, open(t, files).Client()); err != nil || serial != 10 {
		t.Errorf("got certificate %d and %v, want 10", serial, err)
	}
	for name, files := range map[string]certs.Files{"no_certificate": {Authority: files.Authority}, "certificate_of_others": foreign} {
		if _, err := handshake(t, server, open(t, files).Client()); err == nil {
			t.Errorf("%s: was let in", name)
		}
	}
	if _, err := handshake(t, open(t, foreign), open(t, files).Client()); err == nil {
		t.Error("a server of another authority was trusted")
	}
	open1 := open(t, certs.Files{Cert: files.Cert, Key: files.Key})
	if _, err := handshake(t, open1, open(t, certs.Files{Authority: files.Authority}).Client()); err != nil {
		t.Errorf("a server that asks no certificate of clients: %v", err)
	}
}

func TestSource_reads_changed_files(t *testing.T) {
	ca := certstest.New(t)
	files := filesIn(t)
	ca.Issue(t, files, 1)
	ca.Publish(t, files.Authority)
	synctest.Test(t, func(t *testing.T) {
		server, client := open(t, files), open(t, files)
		expect := func(when string, want int64) {
			t.Helper()
			<-time.After(2 * time.Second)
			if got, err := handshake(t, server, client.Client()); err != nil || got != want {
				t.Errorf("%s: got certificate %d and %v, want %d", when, got, err, want)
			}
		}
		expect("at first", 1)
		if err := os.WriteFile(files.Key, []byte("half a key"), 0o600); err != nil {
			t.Fatal(err)
		}
		expect("while the key is broken", 1)
		if err := os.Remove(files.Cert); err != nil {
			t.Fatal(err)
		}
		expect("while the certificate is missing", 1)
		ca.Issue(t, files, 2)
		expect("after the renewal", 2)
	})
}

func TestOpen(t *testing.T) {
	if s, err := certs.Open(certs.Files{}, nil); s != nil || err != nil {
		t.Errorf("no files: got %v, %v", s, err)
	}
	var none *certs.Source
	if cfg, err := none.Server(); cfg != nil || err != nil || none.Client() != nil || none.Dialling() != nil {
		t.Error("without files nothing is secured")
	}
	dir := t.TempDir()
	empty := filepath.Join(dir, "empty")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, files := range map[string]certs.Files{
		"no_key":        {Cert: empty},
		"no_cert":       {Key: empty},
		"no_such_file":  {Authority: filepath.Join(dir, "none")},
		"empty_files":   {Cert: empty, Key: empty},
		"no_authority":  {Authority: empty},
		"cert_is_a_dir": {Cert: dir, Key: dir},
	} {
		if _, err := certs.Open(files, nil); err == nil {
			t.Errorf("%s: got no error", name)
		}
	}
}
