//go:build unix

package private

import "syscall"

// Files has every file and folder that this process makes from now on be its owner's only. Commands that it starts
// inherit that.
func Files() { syscall.Umask(0o077) }
