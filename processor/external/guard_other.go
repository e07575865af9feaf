//go:build unix && !linux

package external

import "syscall"

// attributes are those of a command's process: a group of its own.
func attributes() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }

// watch does nothing: on this system, commands outlive a processor that is killed.
func watch(int) (ended func(), err error) { return func() {}, nil }
