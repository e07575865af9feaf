//go:build !linux

package command

// AsInit does nothing: there are no containers here whose first process this could be.
func AsInit() {}
