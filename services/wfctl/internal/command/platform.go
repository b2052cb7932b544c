package command

import (
	"context"
	"log/slog"
	"net"
	"strings"
	"time"

	"google.golang.org/grpc"

	"workflow.uniconnect/pkg/auth"
	"workflow.uniconnect/pkg/certs"
	"workflow.uniconnect/pkg/config"
	"workflow.uniconnect/pkg/grpcclient"
	"workflow.uniconnect/pkg/service"
	"workflow.uniconnect/pkg/telemetry"
	"workflow.uniconnect/services/wfctl/internal/client"
	"workflow.uniconnect/services/wfctl/internal/show"
)

// platformSubject is the platform's administrator in development.
const platformSubject = "platform"

// platformTimeout bounds one call.
const platformTimeout = 30 * time.Second

// tokenFunc gives the calls their token.
type tokenFunc func(context.Context) (string, error)

// Token implements grpcclient.TokenSource.
func (f tokenFunc) Token(ctx context.Context) (string, error) { return f(ctx) }

// ConnectPlatform speaks gRPC to the catalog.
func ConnectPlatform(settings config.Settings, token func(context.Context) (string, error)) (grpc.ClientConnInterface, error) {
	files := certs.Files{Cert: settings.TLSCertFile, Key: settings.TLSKeyFile, Authority: settings.TLSCAFile}
	source, err := certs.Open(files, slog.New(slog.DiscardHandler))
	if err != nil {
		return nil, usage("UC_TLS_CERT_FILE, UC_TLS_KEY_FILE, UC_TLS_CA_FILE: %v", err)
	}
	// An open address is where the service listens, on this machine; for a caller it is the nearest one.
	conn, err := grpcclient.Dial(nearest(settings.CatalogAddr), grpcclient.Options{
		Telemetry: telemetry.Discard(), TokenSource: tokenFunc(token), Credentials: source.Dialling(), Timeout: platformTimeout,
	})
	if err != nil {
		return nil, usage("UC_CATALOG_ADDR: %v", err)
	}
	return conn, nil
}

func nearest(addr string) string {
	host, port, err := net.SplitHostPort(addr)
	if ip := net.ParseIP(host); err == nil && (host == "" || ip != nil && ip.IsUnspecified()) {
		return net.JoinHostPort("127.0.0.1", port)
	}
	return addr
}

// platformToken returns what gives calls to the catalog their token: one that was given, that of the client credentials in the settings, or
// in development the platform's own.
func (a *App) platformToken(ctx context.Context, settings config.Settings) (func(context.Context) (string, error), error) {
	switch {
	case a.flags.user != "":
		return nil, usage("tenants are administered by the platform's service identity, not by --user %s", a.flags.user)
	case a.flags.tokenFile != "" || settings.Token != "":
		return a.token(settings, "")
	case settings.OIDCIssuer != "":
		cfg, err := service.AuthConfig(settings)
		if err != nil {
			return nil, usage("%v", err)
		}
		source, err := auth.NewTokenSource(ctx, cfg, platformSubject)
		if err != nil {
			return nil, err
		}
		return source.Token, nil
	case isLoopback("http://" + strings.Split(nearest(settings.CatalogAddr), ",")[0]):
		issuer, err := auth.FindIssuer(settings.DataDir)
		if err == nil {
			return func(context.Context) (string, error) {
				return issuer.Issue(auth.Principal{Kind: auth.Service, Subject: platformSubject}, developmentTTL)
			}, nil
		}
	}
	return nil, usage("no identity: set UC_OIDC_ISSUER, UC_OIDC_CLIENT_ID and UC_OIDC_CLIENT_SECRET_FILE, or UC_TOKEN_FILE; in development give --data-dir")
}

// office is a platform with a printer: what every command about tenants needs.
type office struct {
	api *client.Platform
	*show.Printer
}

func (a *App) office(ctx context.Context) (*office, error) {
	p, err := a.printer()
	if err != nil {
		return nil, err
	}
	settings, err := a.settings()
	if err != nil {
		return nil, err
	}
	token, err := a.platformToken(ctx, settings)
	if err != nil {
		return nil, err
	}
	conn, err := a.DialPlatform(settings, token)
	if err != nil {
		return nil, err
	}
	return &office{api: client.NewPlatform(conn), Printer: p}, nil
}
