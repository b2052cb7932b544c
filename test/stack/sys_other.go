//go:build !linux

package stack

import "syscall"

// procAttr puts a process into a group of its own. Only Linux can kill it when we die.
func procAttr() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }
