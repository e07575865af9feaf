//go:build unix

package external

import (
	"io/fs"
	"os"
)

// removeDir removes a command's directory with everything in it, also if the command has made parts of it unreadable or
// read-only.
func removeDir(dir string) error {
	if err := os.RemoveAll(dir); err == nil {
		return nil
	}
	if err := os.Chmod(dir, 0o700); err != nil {
		return err
	}
	root, err := os.OpenRoot(dir) // links that the command has made cannot lead out of dir
	if err != nil {
		return err
	}
	openUp(root, ".")
	if err := root.Close(); err != nil {
		return err
	}
	return os.RemoveAll(dir)
}

// openUp gives the owner all rights to every directory below name. It ignores errors: they show when dir is removed.
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
