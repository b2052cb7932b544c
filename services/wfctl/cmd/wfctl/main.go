// Command wfctl manages workflows from the command line.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"workflow.uniconnect/pkg/service"
	"workflow.uniconnect/services/wfctl"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	info, err := os.Stdin.Stat()
	code := wfctl.Run(ctx, wfctl.Process{
		Args: os.Args[1:], Environ: os.Environ(), Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr,
		Interactive: err == nil && info.Mode()&os.ModeCharDevice != 0, Version: service.Version(),
	})
	stop()
	os.Exit(code)
}
