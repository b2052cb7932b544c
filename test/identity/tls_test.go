package identity

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"

	"workflow.uniconnect/pkg/certs"
	"workflow.uniconnect/pkg/certs/certstest"
	"workflow.uniconnect/test/stack"
)

// TestMutualTLS runs the services as processes of their own that talk to each other with certificates alone.
func TestMutualTLS(t *testing.T) {
	authority := certstest.New(t)
	dir := t.TempDir()
	files := certs.Files{Cert: filepath.Join(dir, "tls.crt"), Key: filepath.Join(dir, "tls.key"), Authority: filepath.Join(dir, "ca.crt")}
	authority.Issue(t, files, 1)
	authority.Publish(t, files.Authority)
	s := stack.New(t, stack.Options{Env: []string{
		"UC_TLS_CERT_FILE=" + files.Cert, "UC_TLS_KEY_FILE=" + files.Key,
		"UC_TLS_CA_FILE=" + files.Authority, "UC_TLS_CLIENT_CA_FILE=" + files.Authority,
	}})
	owner := s.User(t, "owner@acme.test")
	executor := s.ExecutorAddrs[0]
	pair, err := tls.LoadX509KeyPair(files.Cert, files.Key)
	if err != nil {
		t.Fatal(err)
	}
	config := &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: authority.Pool(), Certificates: []tls.Certificate{pair}}
	bare := config.Clone()
	bare.Certificates = nil

	t.Run("who_is_let_in", func(t *testing.T) {
		for name, c := range map[string]struct {
			with credentials.TransportCredentials
			ok   bool
		}{
			"with_a_certificate":    {credentials.NewTLS(config), true},
			"without_a_certificate": {credentials.NewTLS(bare), false},
			"in_the_clear":          {insecure.NewCredentials(), false},
		} {
			if err := health(t.Context(), executor, c.with); (err == nil) != c.ok {
				t.Errorf("%s: got %v, want let in: %v", name, err, c.ok)
			}
		}
	})
	t.Run("renewal_under_load", func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), soon)
		defer cancel()
		var wg sync.WaitGroup
		var renewed atomic.Bool
		var calls atomic.Int64
		for _, path := range []string{"/v1/workflows", "/v1/executions"} {
			wg.Go(func() {
				for !renewed.Load() && ctx.Err() == nil {
					if err := owner.Call(ctx, http.MethodGet, path, nil, nil); err != nil {
						t.Errorf("%s: %v", path, err)
						return
					}
					calls.Add(1)
				}
			})
		}
		authority.Issue(t, files, 2)
		// Every service meets the new certificate when it connects anew; here a stranger does.
		for !renewed.Load() && ctx.Err() == nil {
			serial, err := serialAt(ctx, executor, config)
			if err != nil {
				t.Errorf("connect: %v", err)
				break
			}
			renewed.Store(serial == 2)
		}
		renewed.Store(true)
		wg.Wait()
		if ctx.Err() != nil || calls.Load() == 0 {
			t.Errorf("the new certificate is not used; %d calls", calls.Load())
		}
	})
	t.Run("a_process_that_starts_anew_joins", func(t *testing.T) {
		if err := errors.Join(s.Catalog.Stop(soon), s.Catalog.Restart(t.Context())); err != nil {
			t.Fatal(err)
		}
		stack.Eventually(t, soon, func(ctx context.Context) error {
			return owner.Call(ctx, http.MethodGet, "/v1/workflows", nil, nil)
		})
	})
}

func health(ctx context.Context, addr string, with credentials.TransportCredentials) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	conn, err := grpc.NewClient(addr, grpc.WithTransportCredentials(with))
	if err != nil {
		return err
	}
	_, err = healthpb.NewHealthClient(conn).Check(ctx, &healthpb.HealthCheckRequest{})
	return errors.Join(err, conn.Close())
}

// serialAt connects and returns the serial number of the certificate that is proven there.
func serialAt(ctx context.Context, addr string, config *tls.Config) (int64, error) {
	config = config.Clone()
	config.NextProtos = []string{"h2"}
	dialer := tls.Dialer{Config: config, NetDialer: &net.Dialer{}}
	conn, err := dialer.DialContext(ctx, "tcp", addr)
	if err != nil {
		return 0, err
	}
	defer func() { _ = conn.Close() }()
	secured, ok := conn.(*tls.Conn)
	if !ok {
		return 0, errors.New("the connection is not secured")
	}
	return secured.ConnectionState().PeerCertificates[0].SerialNumber.Int64(), nil
}
