package blobs

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// owner is the mode of files in a directory's store: the driver makes them readable by everybody
// that the process's umask lets.
const owner fs.FileMode = 0o600

// files makes the files of one blob in a directory its owner's only. A blob is a file and one
// beside it that has its content type and name. The zero files does nothing.
type files struct{ beside string }

// beforeWrite is called with the file that is to be written.
func (f *files) beforeWrite(as func(any) bool) error {
	var file *os.File
	if !as(&file) {
		return nil // it is no directory's store
	}
	// The driver writes to KEY.TIME.tmp, and renames that.
	path := strings.TrimSuffix(file.Name(), ".tmp")
	f.beside = strings.TrimSuffix(path, filepath.Ext(path)) + ".attrs"
	_ = file.Chmod(owner) // there are file systems without modes; the folder above all was checked by Open
	return nil
}

// written is called when the blob is visible.
func (f *files) written() {
	if f.beside != "" {
		_ = os.Chmod(f.beside, owner)
	}
}
