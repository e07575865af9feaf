//go:build !linux

package command

// AsInit does nothing: only on Linux does a container run a program as PID 1.
func AsInit() {}
