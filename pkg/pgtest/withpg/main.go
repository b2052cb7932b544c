// Withpg runs a command while a PostgreSQL for tests is up, and tells it the
// server's URL in UC_TEST_DATABASE_URL:
//
//	withpg go test work
//
// So one server serves the test processes of all packages. It ends with the
// command, whose exit code it takes over.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"syscall"

	"workflow.uniconnect/pkg/pgtest"
)

func main() { os.Exit(run(os.Args[1:])) }

func run(args []string) int {
	if len(args) == 0 {
		fmt.Fprintln(os.Stderr, "usage: withpg command [argument ...]")
		return 2
	}
	// The command is in our process group and gets a Ctrl-C itself; we only
	// have to outlive it.
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer cancel()
	err := pgtest.WithServer(context.WithoutCancel(ctx), func(url string) error {
		cmd := exec.CommandContext(ctx, args[0], args[1:]...)
		cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
		cmd.Env = append(os.Environ(), pgtest.URLEnv+"="+url)
		cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
		return cmd.Run()
	})
	var exit *exec.ExitError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &exit) && exit.ExitCode() > 0:
		return exit.ExitCode()
	}
	fmt.Fprintln(os.Stderr, "withpg:", err)
	return 1
}
