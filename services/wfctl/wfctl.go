// Package wfctl is the command line of the Workflow Manager: it manages workflows and keeps them as code. It speaks to the gateway over
// REST, like any other client, and holds nothing. For the platform team it administers tenants, for which it calls the catalog itself.
package wfctl

import (
	"context"
	"fmt"
	"io"
	"time"

	"workflow.uniconnect/services/wfctl/internal/command"
)

// Process is what a run sees of the operating system.
type Process struct {
	// Args are those behind the program's name.
	Args, Environ  []string
	Stdin          io.Reader
	Stdout, Stderr io.Writer
	// Interactive says that a person can be asked on Stdin.
	Interactive bool
	Version     string
}

// Run runs one command line and returns the exit code: 0 well, 1 refused or different, 2 wrong usage, 3 the system is away, 130 interrupted.
func Run(ctx context.Context, p Process) int {
	return run(ctx, p, &command.App{Now: time.Now, Dial: command.Connect(p.Version), DialPlatform: command.ConnectPlatform})
}

func run(ctx context.Context, p Process, app *command.App) int {
	app.Environ, app.Stdin, app.Stdout, app.Stderr = p.Environ, &interruptible{ctx.Done(), p.Stdin}, p.Stdout, p.Stderr
	app.Interactive, app.Version = p.Interactive, p.Version
	root := app.Root()
	root.SetArgs(p.Args)
	err := root.ExecuteContext(ctx)
	// Where the terminal is gone there is nobody to tell.
	_, _ = fmt.Fprint(p.Stderr, command.Problem(err))
	return command.ExitCode(err)
}

// interruptible is an input that stops when the process is interrupted, also while nobody types.
type interruptible struct {
	done <-chan struct{}
	from io.Reader
}

// Read reads. The goroutine of a read that was interrupted ends with the process: nothing else can end it.
func (r *interruptible) Read(p []byte) (int, error) {
	type result struct {
		text []byte
		err  error
	}
	read := make(chan result, 1)
	go func() {
		text := make([]byte, len(p)) // of its own, since p is the caller's again after an interruption
		n, err := r.from.Read(text)
		read <- result{text[:n], err}
	}()
	select {
	case got := <-read:
		return copy(p, got.text), got.err
	case <-r.done:
		return 0, context.Canceled
	}
}
