package service

import (
	"context"
	"fmt"
	"io"
	"os"

	"google.golang.org/grpc/credentials"

	"workflow.uniconnect/pkg/access"
	"workflow.uniconnect/pkg/admin"
	"workflow.uniconnect/pkg/auth"
	"workflow.uniconnect/pkg/certs"
	"workflow.uniconnect/pkg/config"
	"workflow.uniconnect/pkg/lifecycle"
	"workflow.uniconnect/pkg/telemetry"
)

// Deps is what every service is built from. workflowd makes it once and gives each of its services a copy of its own with For.
type Deps struct {
	Settings    config.Settings
	Telemetry   *telemetry.Telemetry
	Verifier    *auth.Verifier
	TokenSource *auth.TokenSource
	// Serving protects the gRPC server and Dialling the calls to others; nil when that is not asked for.
	Serving, Dialling credentials.TransportCredentials
	// Readiness takes the service's checks; it answers /readyz.
	Readiness *admin.Readiness
}

// NewDeps makes the dependencies of a process and puts what must be closed on stack. The log goes to standard error.
func NewDeps(ctx context.Context, name string, settings config.Settings, stack *lifecycle.Stack) (Deps, error) {
	return newDeps(ctx, name, settings, stack, os.Stderr)
}

// For returns the same dependencies for one of several services in a process: its log lines carry its own name.
func (d Deps) For(name string) Deps {
	d.Telemetry = d.Telemetry.Named(name)
	return d
}

func newDeps(ctx context.Context, name string, settings config.Settings, stack *lifecycle.Stack, log io.Writer) (Deps, error) {
	tel, err := telemetry.New(ctx, telemetry.Options{Service: name, Version: Version(), LogLevel: settings.LogLevel, Writer: log})
	if err != nil {
		return Deps{}, err
	}
	stack.Push("telemetry", tel.Shutdown)
	d := Deps{Settings: settings, Telemetry: tel, Readiness: admin.NewReadiness(tel.Logger)}
	if err := d.identify(ctx, name); err != nil {
		return Deps{}, err
	}
	if err := d.secure(); err != nil {
		return Deps{}, err
	}
	return d, nil
}

// identify makes what tells callers apart and this process from others.
func (d *Deps) identify(ctx context.Context, name string) error {
	cfg, err := AuthConfig(d.Settings)
	if err != nil {
		return err
	}
	if d.Verifier, err = auth.NewVerifier(ctx, cfg); err != nil {
		return err
	}
	d.Readiness.Add("issuer", d.Verifier.Ready)
	d.TokenSource, err = auth.NewTokenSource(ctx, cfg, name)
	return err
}

// secure reads the certificates. What this process calls and who calls it may be checked against different authorities.
func (d *Deps) secure() error {
	s, log := d.Settings, d.Telemetry.Logger
	dialling, err := certs.Open(certs.Files{Cert: s.TLSCertFile, Key: s.TLSKeyFile, Authority: s.TLSCAFile}, log)
	if err != nil {
		return fmt.Errorf("UC_TLS_CERT_FILE, UC_TLS_KEY_FILE, UC_TLS_CA_FILE: %w", err)
	}
	d.Dialling = dialling.Dialling()
	serving, err := certs.Open(certs.Files{Cert: s.TLSCertFile, Key: s.TLSKeyFile, Authority: s.TLSClientCAFile}, log)
	if err != nil {
		return fmt.Errorf("UC_TLS_CLIENT_CA_FILE: %w", err)
	}
	d.Serving, err = serving.Serving()
	return err
}

// AuthConfig returns the settings that package auth needs.
func AuthConfig(s config.Settings) (auth.Config, error) {
	grants, err := auth.ParseGrants(s.CrossTenantServices)
	if err != nil {
		return auth.Config{}, fmt.Errorf("UC_CROSS_TENANT_SERVICES: %w", err)
	}
	for _, permissions := range grants {
		for _, name := range permissions {
			if _, ok := access.ParsePermission(name); !ok {
				return auth.Config{}, fmt.Errorf("UC_CROSS_TENANT_SERVICES: %q is no permission", name)
			}
		}
	}
	peers := s.PeerServices
	if len(peers) == 0 && s.OIDCClientID != "" {
		peers = []string{s.OIDCClientID}
	}
	return auth.Config{
		Dev: s.Dev, DataDir: s.DataDir,
		Issuer: s.OIDCIssuer, Audience: s.OIDCAudience,
		ClientID: s.OIDCClientID, ClientSecret: s.OIDCClientSecret.Reveal(),
		Peers: peers, Grants: grants,
	}, nil
}
