//go:build unix && !linux

package external

import "syscall"

// attributes returns the attributes of a command's process: it has a process group of its own.
func attributes() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }

// watch does nothing: on this system commands go on when their processor is killed.
func watch(int) (ended func(), err error) { return func() {}, nil }
