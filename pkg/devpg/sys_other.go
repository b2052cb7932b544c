//go:build !linux

package devpg

import (
	"bufio"
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

func (id identity) procAttr() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Credential: id.credential()}
}

func canReadAll() bool { return false }

func lockThread() (unlock func()) { return func() {} }

func onLockedThread(fn func()) { fn() }

// processesIn finds the postmaster alone, by its pid file and its command line,
// which names the directory.
func processesIn(dir string) []int {
	text, err := os.ReadFile(filepath.Join(dir, "postmaster.pid"))
	if err != nil {
		return nil
	}
	line, _, _ := bufio.ScanLines(text, true)
	pid, err := strconv.Atoi(strings.TrimSpace(string(text[:max(line-1, 0)])))
	if err != nil || pid <= 0 {
		return nil
	}
	out, err := exec.Command("ps", "-o", "command=", "-p", strconv.Itoa(pid)).Output()
	if err != nil || !bytes.Contains(out, []byte("-D "+dir)) {
		return nil
	}
	return []int{pid}
}

func canSeeProcesses() bool { return false }
