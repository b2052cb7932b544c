package devpg

import (
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// procAttr puts the child into a process group of its own, so that a Ctrl-C
// meant for us does not reach it, and has the kernel stop it when we die.
func (id identity) procAttr() *syscall.SysProcAttr {
	attr := &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGINT, Credential: id.credential()}
	if id.readAll {
		attr.AmbientCaps = []uintptr{unix.CAP_DAC_READ_SEARCH}
	}
	return attr
}

// canReadAll reports whether we hold the capability that readAll hands on.
func canReadAll() bool {
	held, err := unix.PrctlRetInt(unix.PR_CAPBSET_READ, unix.CAP_DAC_READ_SEARCH, 0, 0, 0)
	return err == nil && held == 1
}

// lockThread ties the goroutine to its thread: the parent-death signal follows
// the thread that started the child.
func lockThread() (unlock func()) {
	runtime.LockOSThread()
	return runtime.UnlockOSThread
}

func onLockedThread(fn func()) {
	defer lockThread()()
	fn()
}

// processesIn lists the PostgreSQL processes whose working directory is dir,
// which a postmaster and all of its children have and nothing else.
func processesIn(dir string) []int {
	entries, _ := filepath.Glob("/proc/[0-9]*/cwd") // the pattern is well formed
	var pids []int
	for _, entry := range entries {
		cwd, err := os.Readlink(entry)
		if err != nil || cwd != dir {
			continue // gone meanwhile, not ours to see, or another directory
		}
		proc := filepath.Dir(entry)
		exe, err := os.Readlink(filepath.Join(proc, "exe"))
		if err != nil || filepath.Base(exe) != "postgres" {
			continue
		}
		if pid, err := strconv.Atoi(filepath.Base(proc)); err == nil {
			pids = append(pids, pid)
		}
	}
	return pids
}

// canSeeProcesses reports whether processesIn is complete.
func canSeeProcesses() bool { return true }
