package service

import (
	"context"
	"io"
	"os"

	"workflow.uniconnect/pkg/admin"
	"workflow.uniconnect/pkg/auth"
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
	cfg := AuthConfig(settings)
	verifier, err := auth.NewVerifier(ctx, cfg)
	if err != nil {
		return Deps{}, err
	}
	source, err := auth.NewTokenSource(ctx, cfg, name)
	if err != nil {
		return Deps{}, err
	}
	return Deps{
		Settings:    settings,
		Telemetry:   tel,
		Verifier:    verifier,
		TokenSource: source,
		Readiness:   admin.NewReadiness(tel.Logger),
	}, nil
}

// AuthConfig returns the settings that package auth needs.
func AuthConfig(s config.Settings) auth.Config {
	return auth.Config{
		Dev: s.Dev, DataDir: s.DataDir,
		Issuer: s.OIDCIssuer, Audience: s.OIDCAudience,
		ClientID: s.OIDCClientID, ClientSecret: s.OIDCClientSecret.Reveal(),
	}
}
