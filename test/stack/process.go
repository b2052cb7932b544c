package stack

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"syscall"
	"time"

	"workflow.uniconnect/pkg/faultpoint"
)

const (
	readyTimeout = 40 * time.Second
	pollEvery    = 10 * time.Millisecond
	logTailBytes = 16 << 10
)

// Process is one place in the stack, filled by one life of a binary after the other.
type Process struct {
	name    string
	binary  string
	args    []string
	env     []string
	admin   string // URL of its admin pages
	logFile string

	mu         sync.Mutex
	life       *life
	last       *life   // the present life or, when there is none, the one before
	unexpected []error // ends that nobody asked for
}

// life is one run of the binary.
type life struct {
	cmd    *exec.Cmd
	exited chan struct{} // closed by the goroutine that waits for the process
	err    error         // written before exited is closed
	asked  bool          // we ended it; guarded by Process.mu
}

// Name tells the process from the others, for example `executor-1`.
func (p *Process) Name() string { return p.name }

// AdminURL begins the addresses of its metrics, health and profiles.
func (p *Process) AdminURL() string { return p.admin }

// PID is the process id of the present life, 0 when there is none.
func (p *Process) PID() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.life == nil {
		return 0
	}
	return p.life.cmd.Process.Pid
}

// Start begins a life and returns at once; AwaitReady waits.
func (p *Process) Start(ctx context.Context) error { return p.start(ctx, false) }

// start begins a life with more in its environment. One that is doomed may end by itself.
func (p *Process) start(ctx context.Context, doomed bool, env ...string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.life != nil {
		return fmt.Errorf("start %s: it runs", p.name)
	}
	log, err := os.OpenFile(p.logFile, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	// The process outlives the context of its start.
	cmd := exec.CommandContext(context.WithoutCancel(ctx), p.binary, p.args...) //nolint:gosec // starting this binary is what the type is for
	cmd.Dir = filepath.Dir(p.logFile)
	cmd.Env = append(slices.Clip(p.env), env...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = procAttr()
	l := &life{cmd: cmd, exited: make(chan struct{}), asked: doomed}
	started := make(chan error, 1)
	go func() {
		// The kernel sends the parent-death signal when the thread that started the child ends, so this one stays.
		runtime.LockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			l.err = cmd.Wait()
			p.ended(l)
			close(l.exited)
		}
	}()
	err = errors.Join(<-started, log.Close())
	if err != nil {
		return fmt.Errorf("start %s: %w", p.name, err)
	}
	p.life, p.last = l, l
	return nil
}

func (p *Process) ended(l *life) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !l.asked {
		p.unexpected = append(p.unexpected, fmt.Errorf("%s ended by itself: %s", p.name, l.cmd.ProcessState))
	}
	if p.life == l {
		p.life = nil
	}
}

// AwaitReady returns when the process says that it is ready.
func (p *Process) AwaitReady(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	p.mu.Lock()
	l := p.life
	p.mu.Unlock()
	if l == nil {
		return fmt.Errorf("%s ended while it started\n%s", p.name, p.LogTail())
	}
	ticker := time.NewTicker(pollEvery)
	defer ticker.Stop()
	for {
		status, err := get(ctx, p.admin+"/readyz")
		if err == nil && status == http.StatusOK {
			return nil
		}
		select {
		case <-ticker.C:
		case <-l.exited:
			return fmt.Errorf("%s ended while it started: %w\n%s", p.name, l.err, p.LogTail())
		case <-ctx.Done():
			return fmt.Errorf("%s does not become ready: status %d, %w\n%s", p.name, status, errors.Join(err, ctx.Err()), p.LogTail())
		}
	}
}

// Kill ends the process as kill -9 does and returns when it is gone.
func (p *Process) Kill() error { return p.end(syscall.SIGKILL, 0) }

// Stop asks the process to end and returns when it is gone. A process that is not gone after patience is killed, which is an error.
func (p *Process) Stop(patience time.Duration) error { return p.end(syscall.SIGTERM, patience) }

func (p *Process) end(sig syscall.Signal, patience time.Duration) error {
	p.mu.Lock()
	l := p.life
	if l == nil {
		p.mu.Unlock()
		return nil
	}
	l.asked = true
	_ = l.cmd.Process.Signal(sig) // fails only when the process has ended, for which we wait
	p.mu.Unlock()
	if sig == syscall.SIGKILL {
		<-l.exited
		return nil
	}
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case <-l.exited:
		if l.err != nil {
			return fmt.Errorf("stop %s: %w", p.name, l.err)
		}
		return nil
	case <-timer.C:
		_ = l.cmd.Process.Signal(syscall.SIGQUIT) // the stacks go to the log
		killed := time.AfterFunc(time.Second, func() { _ = l.cmd.Process.Kill() })
		defer killed.Stop()
		<-l.exited
		return fmt.Errorf("stop %s: it did not end within %v", p.name, patience)
	}
}

// Pause stops the process in its tracks, as SIGSTOP does; Resume lets it go on.
func (p *Process) Pause() error { return p.signal(syscall.SIGSTOP) }

// Resume lets a paused process go on.
func (p *Process) Resume() error { return p.signal(syscall.SIGCONT) }

func (p *Process) signal(sig syscall.Signal) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.life == nil {
		return fmt.Errorf("signal %s: it does not run", p.name)
	}
	return p.life.cmd.Process.Signal(sig)
}

// Restart begins a new life after the last one has ended and waits until it is ready.
func (p *Process) Restart(ctx context.Context) error {
	if err := p.Start(ctx); err != nil {
		return err
	}
	return p.AwaitReady(ctx)
}

// RestartDoomed is Restart for a life that ends at a fault point, as kill -9 would end it there. It needs Options.FaultPoints.
func (p *Process) RestartDoomed(ctx context.Context, point string) error {
	if err := p.start(ctx, true, faultpoint.Variable+"="+point); err != nil {
		return err
	}
	return p.AwaitReady(ctx)
}

// AwaitKilled returns when the last life that began has been killed.
func (p *Process) AwaitKilled(ctx context.Context) error {
	p.mu.Lock()
	l := p.last
	p.mu.Unlock()
	select {
	case <-l.exited:
	case <-ctx.Done():
		return fmt.Errorf("%s lives on: %w", p.name, ctx.Err())
	}
	if status, ok := l.cmd.ProcessState.Sys().(syscall.WaitStatus); !ok || status.Signal() != syscall.SIGKILL {
		return fmt.Errorf("%s was not killed, it ended with: %s", p.name, l.cmd.ProcessState)
	}
	return nil
}

// Log is everything that the process has written, in all of its lives.
func (p *Process) Log() string {
	text, err := os.ReadFile(p.logFile)
	if err != nil {
		return err.Error()
	}
	return string(text)
}

// LogTail is the end of the log.
func (p *Process) LogTail() string {
	text := p.Log()
	return text[max(0, len(text)-logTailBytes):]
}

// Unexpected lists the ends of the process that nobody asked for.
func (p *Process) Unexpected() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return errors.Join(p.unexpected...)
}

// run executes the binary to its end with other arguments, for `migrate`.
func (p *Process) run(ctx context.Context, args ...string) error {
	cmd := exec.CommandContext(ctx, p.binary, args...) //nolint:gosec // starting this binary is what the type is for
	cmd.Env = p.env
	cmd.Dir = filepath.Dir(p.logFile)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s %v: %w\n%s", p.name, args, err, out)
	}
	return nil
}

func get(ctx context.Context, url string) (int, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return 0, err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, err
	}
	return res.StatusCode, res.Body.Close()
}
