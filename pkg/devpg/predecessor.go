package devpg

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const (
	fastStopPatience      = 15 * time.Second
	immediateStopPatience = 10 * time.Second
)

// endPredecessor leaves the cluster without any process of a server whose owner
// was killed. The data directory's lock is ours, so no living owner exists.
func (p *plan) endPredecessor(ctx context.Context) error {
	if len(processesIn(p.cluster)) > 0 {
		p.log.Info("a killed process left its PostgreSQL behind, stopping that one", "data_dir", p.dataDir)
	}
	stops := []struct {
		signal   syscall.Signal
		patience time.Duration
	}{
		{syscall.SIGINT, fastStopPatience},
		{syscall.SIGQUIT, immediateStopPatience},
		{syscall.SIGKILL, immediateStopPatience},
	}
	for _, stop := range stops {
		gone, err := p.signalPredecessor(ctx, stop.signal, stop.patience)
		if err != nil {
			return err
		}
		if gone {
			return p.dropStalePIDFile()
		}
	}
	return errors.New("its processes do not end")
}

// signalPredecessor sends one signal and waits for all processes to end. The
// postmaster passes it on to its children; without a postmaster the children
// notice its death by themselves, and only SIGKILL is sent to them.
func (p *plan) signalPredecessor(ctx context.Context, sig syscall.Signal, patience time.Duration) (gone bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	pids := processesIn(p.cluster)
	master := p.masterPID()
	for _, pid := range pids {
		if pid == master || sig == syscall.SIGKILL {
			_ = syscall.Kill(pid, sig) // an error means that it has ended
			_ = syscall.Kill(pid, syscall.SIGCONT)
		}
	}
	err = poll(ctx, func() (bool, error) { return len(processesIn(p.cluster)) == 0, nil })
	if errors.Is(err, context.DeadlineExceeded) {
		return false, nil
	}
	return err == nil, err
}

// masterPID is the process id in the cluster's pid file, 0 when there is none.
func (p *plan) masterPID() int {
	text, err := os.ReadFile(p.pidFile())
	if err != nil {
		return 0
	}
	first, _, _ := strings.Cut(string(text), "\n")
	pid, err := strconv.Atoi(strings.TrimSpace(first))
	if err != nil || pid <= 1 {
		return 0
	}
	return pid
}

// dropStalePIDFile removes a pid file whose number now belongs to some other
// program, after a reboot or in a new container. PostgreSQL would take that
// program for its predecessor and refuse to start. It is only safe where we can
// see that no process of the old server is left.
func (p *plan) dropStalePIDFile() error {
	pid := p.masterPID()
	if pid == 0 || !canSeeProcesses() || slices.Contains(processesIn(p.cluster), pid) {
		return nil
	}
	if err := syscall.Kill(pid, 0); errors.Is(err, syscall.ESRCH) {
		return nil // PostgreSQL sees that by itself
	}
	p.log.Info("removing a pid file that names another program", "pid", pid)
	return os.Remove(p.pidFile())
}

func (p *plan) pidFile() string { return filepath.Join(p.cluster, "postmaster.pid") }
