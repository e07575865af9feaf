package blobs

import (
	"errors"
	"io"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	_ "gocloud.dev/blob/fileblob"

	"github.com/ackwire/ackwire/blobs/internal/gocloud"
)

// directoryStore opens a store in a new folder.
func directoryStore(t *testing.T) (dir string, s *Store) {
	t.Helper()
	dir = t.TempDir()
	address, err := Dir(dir)
	if err != nil {
		t.Fatal(err)
	}
	if s, err = Open(t.Context(), address); err != nil {
		t.Fatal(err)
	}
	return dir, s
}

// TestFilesOfGocloud: this package reads the blobs that gocloud.dev's driver, which was used before, has stored in a
// directory, and the other way around.
func TestFilesOfGocloud(t *testing.T) {
	dir, ours := directoryStore(t)
	address := &url.URL{Scheme: "file", Path: filepath.ToSlash(dir), RawQuery: "no_tmp_dir=1"}
	bucket, err := gocloud.Open(t.Context(), address)
	if err != nil {
		t.Fatal(err)
	}
	theirs := &Store{bucket}
	t.Cleanup(func() { _ = theirs.Close() })
	const key = "results/019c1db0/f7bd/GJ5KQ2WX-_.~!$'()+,;=@ ä"
	for name, of := range map[string]struct{ writer, reader *Store }{
		"stored by gocloud": {theirs, ours}, "read by gocloud": {ours, theirs},
	} {
		if err := of.writer.Put(t.Context(), key, "text/csv", "sales.csv", strings.NewReader(name)); err != nil {
			t.Fatal(err)
		}
		r, err := of.reader.Open(t.Context(), key)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		b, err := io.ReadAll(r)
		if err != nil || string(b) != name || r.ContentType() != "text/csv" {
			t.Errorf("%s: %q of type %s, %v", name, b, r.ContentType(), err)
		}
		_ = r.Close()
		if n, err := of.reader.RemoveAll(t.Context(), "results/019c1db0/"); n != 1 || err != nil {
			t.Errorf("%s: %d removed, %v", name, n, err)
		}
	}
	err = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			t.Errorf("%s is left", path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestKeysStayInTheDirectory: a key that would lead out of the folder, or to a blob's attributes, is an error other
// than ErrNotFound.
func TestKeysStayInTheDirectory(t *testing.T) {
	dir, s := directoryStore(t)
	secret := filepath.Join(filepath.Dir(dir), "secret")
	if err := os.WriteFile(secret, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.Remove(secret) })
	keys := []string{"", ".", "..", "../secret", "a/../../secret", "/a", "a/", "a//b", "a/./b", "a\x00", "a.attrs"}
	for _, key := range keys {
		if err := s.Put(t.Context(), key, "text/plain", "", strings.NewReader("y")); err == nil {
			t.Errorf("%q was stored", key)
		}
		if _, err := s.Open(t.Context(), key); err == nil || errors.Is(err, ErrNotFound) {
			t.Errorf("%q: %v", key, err)
		}
		if err := s.Delete(t.Context(), key); err == nil {
			t.Errorf("%q was deleted", key)
		}
	}
	for _, prefix := range []string{"../", "a/../../", "a//"} {
		if n, err := s.RemoveAll(t.Context(), prefix); n != 0 || err == nil {
			t.Errorf("%q: %d removed, %v", prefix, n, err)
		}
	}
	if b, err := os.ReadFile(secret); err != nil || string(b) != "x" {
		t.Errorf("the file beside the folder: %q, %v", b, err)
	}
}

// TestWhatPutDidNotStore: a folder is not a blob, and a file without attributes is a blob of unknown type.
func TestWhatPutDidNotStore(t *testing.T) {
	dir, s := directoryStore(t)
	if err := os.MkdirAll(filepath.Join(dir, "a", "b"), 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Open(t.Context(), "a/b"); !errors.Is(err, ErrNotFound) {
		t.Errorf("a folder: %v", err)
	}
	if err := os.WriteFile(filepath.Join(dir, "a", "file"), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	r, err := s.Open(t.Context(), "a/file")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = r.Close() }()
	if r.ContentType() != "application/octet-stream" || r.Size() != 1 {
		t.Errorf("a file without attributes: %s of %d bytes", r.ContentType(), r.Size())
	}
	if _, err := Open(t.Context(), "file://"+filepath.ToSlash(dir)+"?metadata=skip"); err == nil {
		t.Error("a directory's URL with parameters was taken")
	}
}
