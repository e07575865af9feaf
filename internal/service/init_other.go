//go:build !linux

package service

// AsInit does nothing: there are no containers here whose first process this could be.
func AsInit() {}
