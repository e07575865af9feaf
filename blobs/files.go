package blobs

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// owner is the mode of files in a directory's store: only their owner may read them. The driver itself makes files with
// the default mode, which depends on the process's umask.
const owner fs.FileMode = 0o600

// files restricts the files of one blob in a directory to their owner. A blob is two files: its content and, beside it,
// its content type and name. The zero value does nothing.
type files struct{ beside string }

// beforeWrite is a blob.WriterOptions.BeforeWrite: it is called with the file before its content is written.
func (f *files) beforeWrite(as func(any) bool) error {
	var file *os.File
	if !as(&file) {
		return nil // the store is not a directory
	}
	// The driver writes to KEY.TIME.tmp, and renames that.
	path := strings.TrimSuffix(file.Name(), ".tmp")
	f.beside = strings.TrimSuffix(path, filepath.Ext(path)) + ".attrs"
	_ = file.Chmod(owner) // it may fail on file systems without modes; Open has checked the store's folder
	return nil
}

// written is called when the blob is visible.
func (f *files) written() {
	if f.beside != "" {
		_ = os.Chmod(f.beside, owner)
	}
}
