// Package private makes folders that only their owner may look into: what is in them, keys, payloads
// and results, is nobody else's on the machine.
package private

import (
	"fmt"
	"io/fs"
	"os"
)

const (
	owner  fs.FileMode = 0o700
	others fs.FileMode = 0o007
)

// Folder makes a folder and all above it that are missing, for their owner only. One that is there is
// mended: what its group and others may do is taken from it. Where that cannot be, as the folder is somebody else's,
// its group may use it, as on a volume that an orchestrator has made; a folder that everybody may look into is an
// error, and so is one like /tmp.
func Folder(dir string) error {
	if err := os.MkdirAll(dir, owner); err != nil {
		return err
	}
	info, err := os.Stat(dir)
	if err != nil {
		return err
	}
	if info.Mode()&fs.ModeSticky != 0 {
		return fmt.Errorf("%s is a folder that others use, too: name one below it", dir)
	}
	mode := info.Mode().Perm()
	if mode&^owner == 0 {
		return nil
	}
	if err := os.Chmod(dir, mode&owner); err != nil && mode&others != 0 {
		return fmt.Errorf("others may look into %s (mode %o), and that cannot be changed: %w", dir, mode, err)
	}
	return nil
}
