//go:build linux

// Package procfs reads from /proc what processes cost: CPU time and memory, of one process or of one with all of its children.
package procfs

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// tick is the unit of times in /proc, 100 a second on every Linux that Go runs on.
const tick = 10 * time.Millisecond

// stat is what is used of /proc/<pid>/stat.
type stat struct {
	parent        int
	own, ofReaped time.Duration // CPU of the process and of children that have ended
}

// CPU is the CPU time that pid, its living children and its ended children have used so far.
func CPU(pid int) (time.Duration, error) {
	all, err := readAll()
	if err != nil {
		return 0, err
	}
	root, ok := all[pid]
	if !ok {
		return 0, fmt.Errorf("process %d has ended", pid)
	}
	total := root.own + root.ofReaped
	for id, s := range all {
		if id != pid && descends(all, id, pid) {
			total += s.own + s.ofReaped
		}
	}
	return total, nil
}

// descends reports whether pid is below root.
func descends(all map[int]stat, pid, root int) bool {
	for pid > 1 {
		if pid == root {
			return true
		}
		pid = all[pid].parent
	}
	return false
}

func readAll() (map[int]stat, error) {
	dirs, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		return nil, err
	}
	all := make(map[int]stat, len(dirs))
	for _, dir := range dirs {
		pid, err := strconv.Atoi(filepath.Base(dir))
		if err != nil {
			continue
		}
		s, err := readStat(pid)
		if err != nil {
			continue // ended meanwhile
		}
		all[pid] = s
	}
	return all, nil
}

func readStat(pid int) (stat, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return stat{}, err
	}
	// The name, in parentheses, may hold anything; the fields after it are numbers.
	_, after, ok := strings.Cut(string(text[strings.LastIndexByte(string(text), ')'):]), " ")
	fields := strings.Fields(after)
	const parent, user, kernel, reapedUser, reapedKernel = 1, 11, 12, 13, 14
	if !ok || len(fields) <= reapedKernel {
		return stat{}, fmt.Errorf("/proc/%d/stat is not as expected", pid)
	}
	number := func(i int) int64 {
		n, convErr := strconv.ParseInt(fields[i], 10, 64)
		if convErr != nil {
			err = convErr
		}
		return n
	}
	s := stat{
		parent:   int(number(parent)),
		own:      time.Duration(number(user)+number(kernel)) * tick,
		ofReaped: time.Duration(number(reapedUser)+number(reapedKernel)) * tick,
	}
	return s, err
}

// RSS is the memory of the process that is in RAM, in bytes.
func RSS(pid int) (int64, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	for line := range strings.SplitSeq(string(text), "\n") {
		value, ok := strings.CutPrefix(line, "VmRSS:")
		if !ok {
			continue
		}
		kib, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(value), " kB"), 10, 64)
		return kib << 10, err
	}
	return 0, fmt.Errorf("/proc/%d/status has no VmRSS", pid)
}

// Machine is the CPU time that the whole machine has been busy so far, over all of its CPUs. Time given to other guests of the host
// counts as busy: it was not there for us.
func Machine() (time.Duration, error) {
	text, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0, err
	}
	line, _, _ := strings.Cut(string(text), "\n")
	fields := strings.Fields(line)
	const idle, ioWait, steal = 4, 5, 8
	if len(fields) <= steal || fields[0] != "cpu" {
		return 0, fmt.Errorf("/proc/stat begins with %q", line)
	}
	var busy time.Duration
	for i, field := range fields[1 : steal+1] {
		if i+1 == idle || i+1 == ioWait {
			continue
		}
		n, err := strconv.ParseInt(field, 10, 64)
		if err != nil {
			return 0, err
		}
		busy += time.Duration(n) * tick
	}
	return busy, nil
}

// Self is the CPU time of the process alone, without its children.
func Self(pid int) (time.Duration, error) {
	s, err := readStat(pid)
	return s.own, err
}
