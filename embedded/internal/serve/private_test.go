//go:build unix

package serve

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ackwire/ackwire/blobs"
	"github.com/ackwire/ackwire/embedded/broker"
	"github.com/ackwire/ackwire/internal/private"
)

// TestDataIsItsOwners: the data folder, also one that is there, and what is below it.
func TestDataIsItsOwners(t *testing.T) {
	private.Files()
	dir := filepath.Join(t.TempDir(), "data")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	unlock, err := broker.Lock(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = unlock() }()
	if _, err := Keys(dir); err != nil {
		t.Fatal(err)
	}
	url, err := blobs.Dir(filepath.Join(dir, "blobs"))
	if err != nil {
		t.Fatal(err)
	}
	store, err := blobs.Open(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = store.Close() }()
	if err := store.Put(t.Context(), "payloads/x/y", "text/plain", "", strings.NewReader("x")); err != nil {
		t.Fatal(err)
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
	if err != nil || seen < 5 {
		t.Errorf("%d files and folders, %v", seen, err)
	}
}
