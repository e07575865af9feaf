//go:build unix

package blobs

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// TestFilesAreTheirOwners whatever the umask of the process: gateways and processors do not set it.
func TestFilesAreTheirOwners(t *testing.T) {
	defer syscall.Umask(syscall.Umask(0))
	dir := filepath.Join(t.TempDir(), "blobs")
	url, err := Dir(dir)
	if err != nil {
		t.Fatal(err)
	}
	store, err := Open(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = store.Close() }()
	for _, key := range []string{"payloads/a/b", "results/a/1/file with a.name: ä.tmp"} {
		for range 2 { // also in place of one that is there
			if err := store.Put(t.Context(), key, "text/plain",
				"name", strings.NewReader(strings.Repeat("x", 100_000))); err != nil {
				t.Fatal(err)
			}
		}
	}
	seen := 0
	err = filepath.Walk(dir, func(path string, info os.FileInfo, err error) error {
		if err == nil {
			seen++
			if m := info.Mode().Perm(); m&0o077 != 0 {
				t.Errorf("%s has mode %o", path, m)
			}
		}
		return err
	})
	if err != nil || seen != 10 {
		t.Errorf("%d files and folders, %v", seen, err)
	}
}
