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
	code := wfctl.Run(ctx, wfctl.Process{
		Args: os.Args[1:], Environ: os.Environ(), Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr,
		Interactive: isTerminal(os.Stdin), Version: service.Version(),
	})
	stop()
	os.Exit(code)
}

// isTerminal tells whether somebody can type: the null device looks like a terminal too, and nobody is there.
func isTerminal(f *os.File) bool {
	info, err := f.Stat()
	if err != nil || info.Mode()&os.ModeCharDevice == 0 {
		return false
	}
	null, err := os.Stat(os.DevNull)
	return err != nil || !os.SameFile(info, null)
}
