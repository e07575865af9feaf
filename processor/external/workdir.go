//go:build unix

package external

import (
	"io/fs"
	"os"
)

// removeDir removes a command's directory with all that is in it, also what the command has made
// unreadable or read-only.
func removeDir(dir string) error {
	if err := os.RemoveAll(dir); err == nil {
		return nil
	}
	if err := os.Chmod(dir, 0o700); err != nil {
		return err
	}
	root, err := os.OpenRoot(dir) // no link that the command has left leads out of it
	if err != nil {
		return err
	}
	openUp(root, ".")
	if err := root.Close(); err != nil {
		return err
	}
	return os.RemoveAll(dir)
}

// openUp lets the owner change every directory below name. What fails shows when it is removed.
func openUp(root *os.Root, name string) {
	entries, _ := fs.ReadDir(root.FS(), name)
	for _, e := range entries {
		if !e.IsDir() {
			continue
		}
		below := name + "/" + e.Name()
		if name == "." {
			below = e.Name()
		}
		_ = root.Chmod(below, 0o700)
		openUp(root, below)
	}
}
