package stack

import "syscall"

// procAttr puts a process into a group of its own, so that a Ctrl-C meant for us does not reach it, and has the kernel kill it when we
// die.
func procAttr() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
