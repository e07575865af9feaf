//go:build unix

package private

import "syscall"

// Files sets the umask to 077: only the owner can read files and folders that this process creates from now on.
// Commands that it starts inherit that.
func Files() { syscall.Umask(0o077) }
