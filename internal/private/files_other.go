//go:build !unix

package private

// Files does nothing: this operating system has no umask.
func Files() {}
