package grpcserver_test

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/peer"

	"workflow.uniconnect/pkg/certs"
	"workflow.uniconnect/pkg/certs/certstest"
	"workflow.uniconnect/pkg/fault"
	"workflow.uniconnect/pkg/grpcclient"
	"workflow.uniconnect/pkg/grpcserver"

	peerv1 "workflow.uniconnect/proto/gen/go/uniconnect/workflow/peer/v1"
)

// secured is a server that lets in who proves a certificate of the authority.
type secured struct {
	*env
	authority *certstest.Authority
	files     certs.Files
	addr      string
}

func startSecured(t *testing.T) *secured {
	t.Helper()
	dir := t.TempDir()
	s := &secured{authority: certstest.New(t), files: certs.Files{
		Cert: filepath.Join(dir, "tls.crt"), Key: filepath.Join(dir, "tls.key"), Authority: filepath.Join(dir, "ca.crt"),
	}}
	s.authority.Issue(t, s.files, 1)
	s.authority.Publish(t, s.files.Authority)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.addr = listener.Addr().String()
	s.env = start(t, &handlers{}, func(o *grpcserver.Options) {
		o.Listener = listener
		if o.Credentials, err = s.source(t, s.files).Serving(); err != nil {
			t.Fatal(err)
		}
	})
	return s
}

func (s *secured) source(t *testing.T, files certs.Files) *certs.Source {
	t.Helper()
	source, err := certs.Open(files, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	return source
}

// call makes one call over a connection of its own and returns the serial number of the server's certificate.
func (s *secured) call(ctx context.Context, addr string, with credentials.TransportCredentials) (int64, error) {
	conn, err := grpcclient.Dial(addr, grpcclient.Options{Telemetry: s.tel, TokenSource: s.service, Credentials: with})
	if err != nil {
		return 0, err
	}
	var from peer.Peer
	_, err = peerv1.NewGrantsServiceClient(conn).GetGrants(ctx, good(), grpc.Peer(&from))
	if err := errors.Join(err, conn.Close()); err != nil {
		return 0, err
	}
	info, ok := from.AuthInfo.(credentials.TLSInfo)
	if !ok {
		return 0, errors.New("the connection is not secured")
	}
	return info.State.PeerCertificates[0].SerialNumber.Int64(), nil
}

func TestServer_mutual_tls(t *testing.T) {
	s := startSecured(t)
	dir := t.TempDir()
	foreign := certs.Files{Cert: filepath.Join(dir, "c"), Key: filepath.Join(dir, "k"), Authority: s.files.Authority}
	certstest.New(t).Issue(t, foreign, 7)
	cases := map[string]struct {
		addr string
		with credentials.TransportCredentials
		ok   bool
	}{
		"certificate":           {s.addr, s.source(t, s.files).Dialling(), true},
		"list_of_replicas":      {s.addr + "," + s.addr, s.source(t, s.files).Dialling(), true},
		"no_certificate":        {s.addr, s.source(t, certs.Files{Authority: s.files.Authority}).Dialling(), false},
		"of_another_authority":  {s.addr, s.source(t, foreign).Dialling(), false},
		"in_the_clear":          {s.addr, nil, false},
		"server_is_not_trusted": {s.addr, s.source(t, certs.Files{Cert: s.files.Cert, Key: s.files.Key}).Dialling(), false},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
			defer cancel()
			_, err := s.call(ctx, c.addr, c.with)
			if (err == nil) != c.ok {
				t.Errorf("got %v, want let in: %v", err, c.ok)
			}
			if f, ok := fault.As(err); err != nil && (!ok || f.Kind != fault.KindUnavailable) {
				t.Errorf("got %v, want UNAVAILABLE", err)
			}
		})
	}
}

// Certificates are renewed on both sides while calls go on, and no call notices.
func TestServer_certificate_is_renewed_under_load(t *testing.T) {
	s := startSecured(t)
	client := s.source(t, s.files).Dialling()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	var calls, renewed atomic.Int64
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for renewed.Load() < 20 {
				serial, err := s.call(ctx, s.addr, client)
				if err != nil {
					t.Errorf("call %d: %v", calls.Load(), err)
					return
				}
				calls.Add(1)
				if serial == 2 {
					renewed.Add(1)
				}
			}
		})
	}
	// One long connection goes through all of it as well.
	conn, err := grpcclient.Dial(s.addr, grpcclient.Options{Telemetry: s.tel, TokenSource: s.service, Credentials: client})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	wg.Go(func() {
		for renewed.Load() < 20 && ctx.Err() == nil {
			if _, err := peerv1.NewGrantsServiceClient(conn).GetGrants(ctx, good()); err != nil {
				t.Errorf("the long connection: %v", err)
				return
			}
		}
	})
	s.authority.Issue(t, s.files, 2)
	wg.Wait()
	if renewed.Load() < 20 {
		t.Errorf("of %d calls %d met the new certificate", calls.Load(), renewed.Load())
	}
}
