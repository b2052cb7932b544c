// Package config reads the settings. The struct Settings is the only list: the environment names, the flags, the defaults and the text
// of --help all come from its tags, so that none can be forgotten. Every binary knows the whole list and uses what concerns it; a
// UC_ name or a flag on no list is an error, because a misspelt setting that is ignored is found in production.
package config

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"reflect"
	"strings"
)

// ErrHelp says that --help was asked for; the caller prints Help and ends well.
var ErrHelp = errors.New("help requested")

// Settings holds every setting of every binary.
//
// Tags: env is the name in the environment, from which the flag's follows (UC_HTTP_ADDR, --http-addr); default may refer to
// {data-dir}; form "addr" wants host:port, "peer" one or several of them, replicas over which calls are spread, and "addrs" a list of
// host:port or CIDR, "names" a list of anything; secret "true" forbids the flag, secret "url" forbids a password in the flag, and both allow the environment name
// followed by _FILE.
type Settings struct {
	Dev bool `env:"UC_DEV" help:"development mode: built-in token issuer, seeds, reflection; never in production"`

	HTTPAddr      string `env:"UC_HTTP_ADDR" default:"127.0.0.1:8080" form:"addr" help:"gateway: REST and dashboard"`
	CatalogAddr   string `env:"UC_CATALOG_ADDR" default:"127.0.0.1:9101" form:"peer" help:"gRPC of workflow-catalog: listened on there, dialled elsewhere, where several are separated by commas"`
	SchedulerAddr string `env:"UC_SCHEDULER_ADDR" default:"127.0.0.1:9102" form:"peer" help:"gRPC of trigger-scheduler"`
	ExecutorAddr  string `env:"UC_EXECUTOR_ADDR" default:"127.0.0.1:9103" form:"peer" help:"gRPC of executor"`
	AdminAddr     string `env:"UC_ADMIN_ADDR" default:"127.0.0.1:9190" form:"addr" help:"/metrics, /livez and /readyz"`

	NATSURL     Secret `env:"UC_NATS_URL" secret:"url" help:"NATS with JetStream; empty: embedded (workflowd only)"`
	NATSAddr    string `env:"UC_NATS_ADDR" default:"127.0.0.1:4222" form:"addr" help:"where the embedded NATS server listens"`
	DatabaseURL Secret `env:"UC_DATABASE_URL" secret:"url" help:"PostgreSQL; empty: private server in the data directory (workflowd only)"`
	PGBin       string `env:"UC_PG_BIN" help:"directory with initdb and postgres for the private server; empty: searched"`

	DataDir        string `env:"UC_DATA_DIR" default:".data" help:"everything local state"`
	KeysetFile     string `env:"UC_KEYSET_FILE" default:"{data-dir}/keyset.json" help:"keys that encrypt secrets"`
	SessionKeyFile string `env:"UC_SESSION_KEY_FILE" default:"{data-dir}/session.key" help:"key of the dashboard's sessions"`

	OIDCIssuer       string `env:"UC_OIDC_ISSUER" help:"who signs tokens; empty: the development issuer, with --dev only"`
	OIDCAudience     string `env:"UC_OIDC_AUDIENCE" help:"audience a token must name; required with an issuer"`
	OIDCClientID     string `env:"UC_OIDC_CLIENT_ID" help:"service identity of this process at the issuer"`
	OIDCClientSecret Secret `env:"UC_OIDC_CLIENT_SECRET" secret:"true" help:"secret of the service identity"`

	PublicURL         string `env:"UC_PUBLIC_URL" form:"origin" help:"gateway: where browsers reach it, for example https://workflow.example.com; required to sign people in at the issuer"`
	LoginClientID     string `env:"UC_LOGIN_CLIENT_ID" help:"gateway: client at the issuer that signs people in; empty: the dashboard offers no such login"`
	LoginClientSecret Secret `env:"UC_LOGIN_CLIENT_SECRET" secret:"true" help:"gateway: secret of that client; empty: a public client"`

	PeerServices        []string `env:"UC_PEER_SERVICES" form:"names" help:"subjects of the Workflow Manager's own service identities, comma-separated, which may call internal methods; empty: the one of UC_OIDC_CLIENT_ID"`
	PlatformAdmins      []string `env:"UC_PLATFORM_ADMINS" form:"names" help:"subjects of the service identities that administer tenants and modules, comma-separated; with --dev also platform"`
	CrossTenantServices string   `env:"UC_CROSS_TENANT_SERVICES" help:"other services that may name the tenant per call, and what they may do: subject=permission,permission;subject=permission"`

	TLSCertFile     string `env:"UC_TLS_CERT_FILE" help:"certificate of this process for gRPC, PEM with its chain; empty: no TLS"`
	TLSKeyFile      string `env:"UC_TLS_KEY_FILE" help:"key of that certificate"`
	TLSCAFile       string `env:"UC_TLS_CA_FILE" help:"authorities that sign the certificates of the gRPC servers called; empty: those of the system"`
	TLSClientCAFile string `env:"UC_TLS_CLIENT_CA_FILE" help:"authorities of which every gRPC client must prove a certificate; empty: none is asked for"`
	HTTPTLSCertFile string `env:"UC_HTTP_TLS_CERT_FILE" help:"gateway: certificate for REST and dashboard; empty: no TLS"`
	HTTPTLSKeyFile  string `env:"UC_HTTP_TLS_KEY_FILE" help:"gateway: key of that certificate"`

	CRMAddr         string `env:"UC_CRM_ADDR" default:"127.0.0.1:9111" form:"peer" help:"gRPC of the CRM"`
	SandboxAddr     string `env:"UC_SANDBOX_ADDR" default:"127.0.0.1:9110" form:"addr" help:"sandbox over HTTP"`
	SandboxGRPCAddr string `env:"UC_SANDBOX_GRPC_ADDR" default:"127.0.0.1:9111" form:"addr" help:"the sandbox's CRM over gRPC"`
	SandboxSMTPAddr string `env:"UC_SANDBOX_SMTP_ADDR" default:"127.0.0.1:9125" form:"addr" help:"the sandbox's mail sink"`

	AllowTargets  []string `env:"UC_ALLOW_TARGETS" form:"addrs" help:"host:port or CIDR, comma-separated, that outbound calls may reach although private; with --dev the sandbox as well"`
	ExecutorSlots int      `env:"UC_EXECUTOR_SLOTS" default:"512" min:"1" max:"65536" help:"executions one executor runs at once"`

	Server string `env:"UC_SERVER" help:"wfctl: address of the gateway, for example https://workflow.example.com; empty: the one of UC_HTTP_ADDR"`
	Token  Secret `env:"UC_TOKEN" secret:"true" help:"wfctl: bearer token"`

	LogLevel slog.Level `env:"UC_LOG_LEVEL" default:"info" help:"debug, info, warn or error"`
}

// Secret is a text that prints as a placeholder wherever it lands; Reveal returns it.
type Secret string

const redacted = "[redacted]"

// devPlatformAdmin administers the platform in development.
const devPlatformAdmin = "platform"

// Reveal returns the secret itself.
func (s Secret) Reveal() string { return string(s) }

// String returns a placeholder, or nothing when there is no secret.
func (s Secret) String() string {
	if s == "" {
		return ""
	}
	return redacted
}

// GoString returns the placeholder, for %#v.
func (s Secret) GoString() string { return s.String() }

// MarshalText returns the placeholder, for encoders.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// LogValue returns the placeholder, for slog.
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.String()) }

// Load reads the settings from flags and environment. A flag wins over the environment, which wins over the default; a name that is
// set to nothing counts as not set. Every problem is in the error, each naming its flag or variable.
func Load(args, environ []string) (Settings, error) {
	return LoadFlags(flag.NewFlagSet("", flag.ContinueOnError), args, environ)
}

// LoadFlags is Load for a command that has flags of its own: fs holds them already and is parsed with the settings' flags.
func LoadFlags(fs *flag.FlagSet, args, environ []string) (Settings, error) {
	var s Settings
	all := fieldsOf(&s)
	flags := make(map[string]string)
	for _, f := range all {
		if f.secret != secretOnly {
			fs.Var(&flagValue{values: flags, name: f.flag, isBool: f.isBool()}, f.flag, f.help)
		}
	}
	fs.SetOutput(io.Discard)
	fs.Usage = func() {}
	if err := fs.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return Settings{}, ErrHelp
		}
		return Settings{}, errors.New(strings.Replace(err.Error(), "flag provided but not defined: -", "unknown flag --", 1))
	}
	if fs.NArg() > 0 {
		return Settings{}, fmt.Errorf("unexpected argument %q", fs.Arg(0))
	}

	env, errs := readEnviron(all, environ)
	for _, f := range all {
		value, source, err := f.pick(flags, env)
		if err == nil && value != "" {
			err = f.set(value)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", source, err))
		}
	}
	if err := errors.Join(errs...); err != nil {
		return Settings{}, err
	}
	s.derive(all)
	if err := s.check(); err != nil {
		return Settings{}, err
	}
	return s, nil
}

// derive fills what depends on other settings.
func (s *Settings) derive(all []field) {
	for _, f := range all {
		if f.value.Kind() == reflect.String {
			f.value.SetString(strings.ReplaceAll(f.value.String(), "{data-dir}", s.DataDir))
		}
	}
	if s.Dev {
		s.AllowTargets = append(s.AllowTargets, s.SandboxAddr)
		s.PlatformAdmins = append(s.PlatformAdmins, devPlatformAdmin)
	}
}

// readEnviron returns the UC_ variables by name, secrets' files read, and an error for each name on no list.
func readEnviron(all []field, environ []string) (map[string]string, []error) {
	known := make(map[string]field, len(all))
	for _, f := range all {
		known[f.env] = f
	}
	env := make(map[string]string)
	var errs []error
	for _, entry := range environ {
		name, value, _ := strings.Cut(entry, "=")
		if !strings.HasPrefix(name, "UC_") {
			continue
		}
		if _, ok := known[name]; ok {
			env[name] = value
			continue
		}
		f, ok := known[strings.TrimSuffix(name, "_FILE")]
		if !ok || f.secret == notSecret {
			errs = append(errs, fmt.Errorf("%s: unknown setting", name))
			continue
		}
		if value == "" {
			continue
		}
		content, err := os.ReadFile(value)
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", name, err))
			continue
		}
		env[name] = strings.TrimRight(string(content), "\r\n")
	}
	return env, errs
}
