package config_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"workflow.uniconnect/pkg/config"
)

func TestLoad_defaults(t *testing.T) {
	got, err := config.Load(nil, []string{"PATH=/bin", "HOME=/"})
	if err != nil {
		t.Fatal(err)
	}
	want := config.Settings{
		HTTPAddr: "127.0.0.1:8080", CatalogAddr: "127.0.0.1:9101", SchedulerAddr: "127.0.0.1:9102", ExecutorAddr: "127.0.0.1:9103",
		AdminAddr: "127.0.0.1:9190", NATSAddr: "127.0.0.1:4222", DataDir: ".data", KeysetFile: ".data/keyset.json",
		SessionKeyFile: ".data/session.key", CRMAddr: "127.0.0.1:9111", SandboxAddr: "127.0.0.1:9110",
		SandboxGRPCAddr: "127.0.0.1:9111", SandboxSMTPAddr: "127.0.0.1:9125", ExecutorSlots: 512,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestLoad_sources(t *testing.T) {
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte("s3cret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	got, err := config.Load(
		[]string{"--dev", "--http-addr=:1", "--executor-slots", "7", "--data-dir", "/srv/uc"},
		[]string{
			"UC_HTTP_ADDR=:2", "UC_CATALOG_ADDR=catalog-0:9101,catalog-1:9101", "UC_LOG_LEVEL=debug", "UC_SCHEDULER_ADDR=",
			"UC_OIDC_CLIENT_ID=executor", "UC_OIDC_CLIENT_SECRET_FILE=" + secret, "UC_SESSION_KEY_FILE=/keys/session",
			"UC_SANDBOX_ADDR=127.0.0.1:7", "UC_PEER_SERVICES=catalog, executor", "UC_PUBLIC_URL=http://localhost:2",
		})
	if err != nil {
		t.Fatal(err)
	}
	type view struct {
		HTTP, Catalog, Scheduler, Keyset, Session, ClientSecret string
		Dev                                                     bool
		Slots                                                   int
		Level                                                   slog.Level
		Targets, Peers                                          []string
	}
	want := view{
		":1", "catalog-0:9101,catalog-1:9101", "127.0.0.1:9102", "/srv/uc/keyset.json", "/keys/session", "s3cret",
		true, 7, slog.LevelDebug, []string{"127.0.0.1:7"}, []string{"catalog", "executor"},
	}
	if diff := cmp.Diff(want, view{
		got.HTTPAddr, got.CatalogAddr, got.SchedulerAddr, got.KeysetFile, got.SessionKeyFile, got.OIDCClientSecret.Reveal(),
		got.Dev, got.ExecutorSlots, got.LogLevel, got.AllowTargets, got.PeerServices,
	}); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestLoad_refuses(t *testing.T) {
	cases := map[string]struct {
		args, env []string
		want      string
	}{
		"unknown_env":               {nil, []string{"UC_HTTP_ADR=:1"}, "UC_HTTP_ADR: unknown setting"},
		"file_of_no_secret":         {nil, []string{"UC_HTTP_ADDR_FILE=/x"}, "UC_HTTP_ADDR_FILE: unknown setting"},
		"unknown_flag":              {[]string{"--http-adr=:1"}, nil, "unknown flag --http-adr"},
		"flag_without_value":        {[]string{"--http-addr"}, nil, "http-addr"},
		"argument":                  {[]string{"--dev", "now"}, nil, `unexpected argument "now"`},
		"list_where_one_listens":    {nil, []string{"UC_HTTP_ADDR=:1,:2"}, `UC_HTTP_ADDR: ":1,:2" is not host:port`},
		"bad_replica":               {nil, []string{"UC_EXECUTOR_ADDR=a:1,b"}, `UC_EXECUTOR_ADDR: "b" is not host:port`},
		"bad_address":               {nil, []string{"UC_ADMIN_ADDR=9190"}, `UC_ADMIN_ADDR: "9190" is not host:port`},
		"bad_port":                  {[]string{"--admin-addr=:99999"}, nil, `--admin-addr: ":99999" has no port`},
		"bad_bool":                  {nil, []string{"UC_DEV=maybe"}, `UC_DEV: "maybe" is neither true nor false`},
		"bad_level":                 {nil, []string{"UC_LOG_LEVEL=loud"}, `UC_LOG_LEVEL: "loud" is not one of: debug, info, warn or error`},
		"slots_out_of_range":        {nil, []string{"UC_EXECUTOR_SLOTS=0"}, "UC_EXECUTOR_SLOTS: 0 is not between 1 and 65536"},
		"slots_no_number":           {nil, []string{"UC_EXECUTOR_SLOTS=many"}, `UC_EXECUTOR_SLOTS: "many" is not a whole number`},
		"bad_target":                {nil, []string{"UC_ALLOW_TARGETS=10.0.0.0/8,crm"}, `UC_ALLOW_TARGETS: "crm" is neither host:port nor a CIDR`},
		"secret_as_flag":            {[]string{"--oidc-client-secret=x"}, nil, "unknown flag --oidc-client-secret"},
		"password_in_flag":          {[]string{"--database-url=postgres://u:pw@db/x"}, nil, "--database-url: a password is visible"},
		"password_in_dsn_flag":      {[]string{"--database-url=host=db password=pw"}, nil, "--database-url: a password is visible"},
		"file_is_missing":           {nil, []string{"UC_OIDC_CLIENT_SECRET_FILE=/nowhere"}, "UC_OIDC_CLIENT_SECRET_FILE: open /nowhere"},
		"issuer_without_audience":   {nil, []string{"UC_OIDC_ISSUER=https://id.test"}, "UC_OIDC_AUDIENCE: is required"},
		"issuer_in_the_clear":       {nil, []string{"UC_OIDC_ISSUER=http://id.test", "UC_OIDC_AUDIENCE=a"}, "UC_OIDC_ISSUER: must begin with https://"},
		"issuer_is_no_url":          {nil, []string{"UC_OIDC_ISSUER=id.test", "UC_OIDC_AUDIENCE=a"}, "UC_OIDC_ISSUER: must begin with https://"},
		"login_without_issuer":      {nil, []string{"UC_LOGIN_CLIENT_ID=x"}, "UC_OIDC_ISSUER: is required"},
		"login_without_url":         {nil, []string{"UC_LOGIN_CLIENT_ID=x", "UC_OIDC_ISSUER=http://127.0.0.1:1", "UC_OIDC_AUDIENCE=a"}, "UC_PUBLIC_URL: is required"},
		"login_is_the_audience":     {nil, []string{"UC_LOGIN_CLIENT_ID=a", "UC_OIDC_ISSUER=http://[::1]:1", "UC_OIDC_AUDIENCE=a", "UC_PUBLIC_URL=https://w.test"}, "UC_OIDC_AUDIENCE: must differ"},
		"public_url_with_path":      {nil, []string{"UC_PUBLIC_URL=https://w.test/"}, "UC_PUBLIC_URL: must be https://host"},
		"public_url_in_the_clear":   {nil, []string{"UC_PUBLIC_URL=http://w.test"}, "UC_PUBLIC_URL: must be https://host"},
		"certificate_without_key":   {nil, []string{"UC_TLS_CERT_FILE=x"}, "UC_TLS_CERT_FILE, UC_TLS_KEY_FILE: each needs the other"},
		"client_ca_without_cert":    {nil, []string{"UC_TLS_CLIENT_CA_FILE=x"}, "UC_TLS_CERT_FILE: is required with UC_TLS_CLIENT_CA_FILE"},
		"http_key_without_cert":     {nil, []string{"UC_HTTP_TLS_KEY_FILE=x"}, "each needs the other"},
		"client_without_secret":     {nil, []string{"UC_OIDC_CLIENT_ID=x"}, "UC_OIDC_CLIENT_SECRET: is required"},
		"several_are_named_at_once": {nil, []string{"UC_A=1", "UC_DEV=2"}, "UC_A: unknown setting\nUC_DEV: "},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			_, err := config.Load(c.args, c.env)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want it to contain %q", err, c.want)
			}
			if err != nil && strings.Contains(err.Error(), "pw") {
				t.Errorf("the error repeats the password: %v", err)
			}
		})
	}
}

func TestLoad_secret_and_its_file_exclude_one_another(t *testing.T) {
	file := filepath.Join(t.TempDir(), "url")
	if err := os.WriteFile(file, []byte("postgres://b"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := config.Load(nil, []string{"UC_DATABASE_URL=postgres://a", "UC_DATABASE_URL_FILE=" + file})
	if err == nil || !strings.Contains(err.Error(), "UC_DATABASE_URL: is set together with UC_DATABASE_URL_FILE") {
		t.Errorf("got %v", err)
	}
}

func TestLoadFlags_with_flags_of_the_command(t *testing.T) {
	fs := flag.NewFlagSet("token", flag.ContinueOnError)
	user := fs.String("user", "", "")
	s, err := config.LoadFlags(fs, []string{"--user", "owner@acme.test", "--data-dir", "/d"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if *user != "owner@acme.test" || s.DataDir != "/d" {
		t.Errorf("got user %q, data dir %q", *user, s.DataDir)
	}
}

// TestHelp compares with the golden file; write it anew with UPDATE_GOLDEN=1.
func TestHelp(t *testing.T) {
	if _, err := config.Load([]string{"--help"}, nil); !errors.Is(err, config.ErrHelp) {
		t.Errorf("--help: got %v, want ErrHelp", err)
	}
	golden := filepath.Join("testdata", "help.golden")
	if os.Getenv("UPDATE_GOLDEN") != "" {
		if err := os.WriteFile(golden, []byte(config.Help()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), config.Help()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestSecret_never_prints(t *testing.T) {
	s := config.Settings{OIDCClientSecret: "CANARY", DatabaseURL: "postgres://u:CANARY@h/d"}
	var log bytes.Buffer
	slog.New(slog.NewJSONHandler(&log, nil)).Info("settings", "settings", s, "one", s.DatabaseURL)
	encoded, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"v": fmt.Sprintf("%v", s), "+v": fmt.Sprintf("%+v", s), "#v": fmt.Sprintf("%#v", s),
		"log": log.String(), "json": string(encoded),
	} {
		if strings.Contains(text, "CANARY") {
			t.Errorf("%s shows the secret: %s", name, text)
		}
	}
	if got, want := s.OIDCClientSecret.Reveal(), "CANARY"; got != want {
		t.Errorf("Reveal: got %q, want %q", got, want)
	}
}
