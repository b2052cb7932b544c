// Package command is the commands of wfctl: what they are called, what they take, and which calls they make. They decide nothing about
// workflows; the services do.
package command

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"strings"
	"time"

	"google.golang.org/grpc"

	"workflow.uniconnect/pkg/auth"
	"workflow.uniconnect/pkg/config"
	"workflow.uniconnect/pkg/devusers"
	"workflow.uniconnect/pkg/rest"
	"workflow.uniconnect/services/wfctl/internal/client"
	"workflow.uniconnect/services/wfctl/internal/show"
)

// App is what the commands work with.
type App struct {
	Environ        []string
	Stdin          io.Reader
	Stdout, Stderr io.Writer
	// Interactive says that a person can be asked on Stdin.
	Interactive bool
	Version     string
	Now         func() time.Time
	// Dial connects to the gateway; Connect does outside of tests.
	Dial func(server string, token func(context.Context) (string, error)) (grpc.ClientConnInterface, error)
	// DialPlatform connects to the catalog itself; ConnectPlatform does outside of tests.
	DialPlatform func(settings config.Settings, token func(context.Context) (string, error)) (grpc.ClientConnInterface, error)

	flags global
}

// global are the flags of every command.
type global struct {
	server, tokenFile, user, dataDir, output string
}

// ErrDifferent says that something differs, which was told already.
var ErrDifferent = errors.New("different")

// errTold says that something was refused, which was told already.
var errTold = errors.New("refused")

// UsageError says that the command line is wrong.
type UsageError struct{ Text string }

// Error returns what is wrong.
func (e *UsageError) Error() string { return e.Text }

func usage(format string, args ...any) error { return &UsageError{fmt.Sprintf(format, args...)} }

// Connect speaks REST to the gateway.
func Connect(version string) func(string, func(context.Context) (string, error)) (grpc.ClientConnInterface, error) {
	return func(server string, token func(context.Context) (string, error)) (grpc.ClientConnInterface, error) {
		conn, err := rest.Dial(server, rest.Options{Token: token, UserAgent: "wfctl/" + version, Headers: client.Headers()})
		if err != nil {
			return nil, usage("--server: %v", err)
		}
		return conn, nil
	}
}

// client returns a client for the server and the user that flags and environment name.
func (a *App) client() (*client.Client, error) {
	settings, err := a.settings()
	if err != nil {
		return nil, err
	}
	server := a.server(settings)
	token, err := a.token(settings, server)
	if err != nil {
		return nil, err
	}
	conn, err := a.Dial(server, token)
	if err != nil {
		return nil, err
	}
	return client.New(conn), nil
}

func (a *App) settings() (config.Settings, error) {
	settings, err := config.Load(nil, a.Environ)
	if err != nil {
		return settings, usage("%v", err)
	}
	if a.flags.dataDir != "" {
		settings.DataDir = a.flags.dataDir
	}
	return settings, nil
}

// server returns the gateway's address.
func (a *App) server(settings config.Settings) string {
	server := settings.Server
	if a.flags.server != "" {
		server = a.flags.server
	}
	if server == "" {
		host, port, err := net.SplitHostPort(settings.HTTPAddr)
		if ip := net.ParseIP(host); err == nil && (host == "" || ip != nil && ip.IsUnspecified()) {
			return "http://" + net.JoinHostPort("127.0.0.1", port) // it listens everywhere, so here as well
		}
		return "http://" + settings.HTTPAddr
	}
	if !strings.Contains(server, "://") && isLoopback("http://"+server) {
		return "http://" + server
	}
	return server
}

func isLoopback(server string) bool {
	u, err := url.Parse(server)
	if err != nil {
		return false
	}
	ip := net.ParseIP(u.Hostname())
	return u.Hostname() == "localhost" || ip != nil && ip.IsLoopback()
}

// defaultUser is who calls in development when nobody says otherwise.
const defaultUser = "owner@acme.test"

// token returns what gives the calls their token. A token is taken from where it was asked for, and only to a system on this machine
// goes one that was not: that of a development user.
func (a *App) token(settings config.Settings, server string) (func(context.Context) (string, error), error) {
	fixed := func(text string) (func(context.Context) (string, error), error) {
		text = strings.TrimSpace(text)
		if text == "" || strings.ContainsFunc(text, func(r rune) bool { return r <= ' ' || r > '~' }) {
			return nil, usage("the token is not one line of text")
		}
		return func(context.Context) (string, error) { return text, nil }, nil
	}
	switch {
	case a.flags.tokenFile != "" && a.flags.user != "":
		return nil, usage("--token-file and --user exclude one another")
	case a.flags.tokenFile != "":
		text, err := os.ReadFile(a.flags.tokenFile)
		if err != nil {
			return nil, usage("--token-file: %v", err)
		}
		return fixed(string(text))
	case a.flags.user != "":
		return a.development(settings, a.flags.user)
	case settings.Token != "":
		return fixed(settings.Token.Reveal())
	case isLoopback(server):
		if token, err := a.development(settings, defaultUser); err == nil {
			return token, nil
		}
	}
	return nil, usage("no token: set UC_TOKEN or UC_TOKEN_FILE, or give --token-file; in development give --user and --data-dir")
}

// developmentTTL is long enough for one command, a watch included.
const developmentTTL = 12 * time.Hour

// development signs tokens as a development user, with the key in the data directory.
func (a *App) development(settings config.Settings, name string) (func(context.Context) (string, error), error) {
	user, ok := devusers.Find(name)
	if !ok {
		return nil, usage("no development user %s; there are %s", name, strings.Join(users(), ", "))
	}
	issuer, err := auth.FindIssuer(settings.DataDir)
	if err != nil {
		return nil, usage("--user: %v", err)
	}
	return func(context.Context) (string, error) { return issuer.Issue(user.Principal(), developmentTTL) }, nil
}

func users() []string {
	var all []string
	for _, u := range devusers.All() {
		all = append(all, u.Name)
	}
	return all
}

// printer returns what writes the answers.
func (a *App) printer() (*show.Printer, error) {
	for _, f := range show.Formats() {
		if f == a.flags.output {
			return &show.Printer{Out: a.Stdout, Notes: a.Stderr, Format: show.Format(f), Now: a.Now()}, nil
		}
	}
	return nil, usage("-o %s: there are %s", a.flags.output, strings.Join(show.Formats(), ", "))
}

// session is a client with a printer: what nearly every command needs.
type session struct {
	api *client.Client
	*show.Printer
}

func (a *App) session() (*session, error) {
	p, err := a.printer()
	if err != nil {
		return nil, err
	}
	c, err := a.client()
	if err != nil {
		return nil, err
	}
	return &session{api: c, Printer: p}, nil
}
