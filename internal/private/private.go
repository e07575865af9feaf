// Package private makes folders that only their owner can read, for they hold keys, payloads and results that
// other users of the machine must not see.
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

// Folder creates a folder and its missing parents with mode 0700. An existing folder loses the permissions of
// its group and others. Where they cannot be removed, because another user owns the folder, as on a volume that
// an orchestrator has made, the group may keep them; if others have any, that is an error. A folder with the
// sticky bit, such as /tmp, is an error, too.
func Folder(dir string) error {
	if err := os.MkdirAll(dir, owner); err != nil {
		return err
	}
	info, err := os.Stat(dir)
	if err != nil {
		return err
	}
	if info.Mode()&fs.ModeSticky != 0 {
		return fmt.Errorf("%s is a folder that other users share: choose one below it", dir)
	}
	mode := info.Mode().Perm()
	if mode&^owner == 0 {
		return nil
	}
	if err := os.Chmod(dir, mode&owner); err != nil && mode&others != 0 {
		return fmt.Errorf("other users can read %s (mode %o), and that cannot be changed: %w", dir, mode, err)
	}
	return nil
}
