//go:build unix

package blobs

import (
	"errors"
	"fmt"
	"io"
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

// losing is the content of a put that fails: at its end the file that it was written to is removed.
type losing struct {
	io.Reader
	dir string
}

func (l losing) Read(p []byte) (int, error) {
	n, err := l.Reader.Read(p)
	if err == io.EOF {
		files, _ := filepath.Glob(filepath.Join(l.dir, "*.tmp"))
		for _, f := range files {
			_ = os.Remove(f)
		}
	}
	return n, err
}

// openDir opens a store in a new directory.
func openDir(t *testing.T) (dir string, s *Store) {
	t.Helper()
	dir = t.TempDir()
	url, err := Dir(dir)
	if err != nil {
		t.Fatal(err)
	}
	if s, err = Open(t.Context(), url); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return dir, s
}

// wantBlob checks the blob at the key k.
func wantBlob(t *testing.T, what string, s *Store, contentType, content string) {
	t.Helper()
	r, err := s.Open(t.Context(), "k")
	if err != nil {
		t.Fatalf("%s: %v", what, err)
	}
	defer func() { _ = r.Close() }()
	b, err := io.ReadAll(r)
	if err != nil || string(b) != content || r.ContentType() != contentType || r.Size() != int64(len(content)) {
		t.Errorf("%s: %d bytes %q of %s, %v, want %q of %s", what, r.Size(), b, r.ContentType(), err, content, contentType)
	}
}

// TestAFailedPutKeepsTheAttributes of the blob before when the new content cannot be put in place.
func TestAFailedPutKeepsTheAttributes(t *testing.T) {
	dir, s := openDir(t)
	if err := s.Put(t.Context(), "k", "text/plain", "", strings.NewReader("one")); err != nil {
		t.Fatal(err)
	}
	for range 2 { // also after a failure
		err := s.Put(t.Context(), "k", "text/csv", "", losing{strings.NewReader("two"), dir})
		if err == nil {
			t.Fatal("the put did not fail")
		}
		wantBlob(t, "after a failure", s, "text/plain", "one")
	}
	if err := s.Put(t.Context(), "k", "text/csv", "a", strings.NewReader("two")); err != nil {
		t.Fatal(err)
	}
	wantBlob(t, "after a put", s, "text/csv", "two")
}

// TestAPutThatEndsBetweenTheFiles: the content that is there decides which attributes it has.
func TestAPutThatEndsBetweenTheFiles(t *testing.T) {
	dir, s := openDir(t)
	if err := s.Put(t.Context(), "k", "text/plain", "", strings.NewReader("one")); err != nil {
		t.Fatal(err)
	}
	between, err := sumOf(strings.NewReader("two"))
	if err != nil {
		t.Fatal(err)
	}
	attrs := fmt.Sprintf(`{"user.content_type":"text/csv","sha256":%q,"before":{"user.content_type":"text/plain"}}`,
		between)
	write := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("k.attrs", attrs)
	wantBlob(t, "before the content is renamed", s, "text/plain", "one")
	write("k", "two")
	wantBlob(t, "after it", s, "text/csv", "two")
}

// TestFoldersWrittenBefore: attributes alone, as they were written before, belong to the content that is there.
func TestFoldersWrittenBefore(t *testing.T) {
	dir, s := openDir(t)
	for name, text := range map[string]string{
		"k": "one", "k.attrs": `{"user.content_type":"text/plain","user.content_disposition":"attachment"}`,
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	wantBlob(t, "as written", s, "text/plain", "one")
	if err := s.Put(t.Context(), "k", "text/csv", "", losing{strings.NewReader("two"), dir}); err == nil {
		t.Fatal("the put did not fail")
	}
	wantBlob(t, "after a failure", s, "text/plain", "one")
}

// TestReadersSeeOneBlob: while a blob is replaced, readers get the content of one put with its own attributes.
func TestReadersSeeOneBlob(t *testing.T) {
	_, s := openDir(t)
	put := func(i int) error {
		content := fmt.Sprintf("text/%d", i%3)
		return s.Put(t.Context(), "k", content, "", strings.NewReader(content))
	}
	if err := put(0); err != nil {
		t.Fatal(err)
	}
	written := make(chan error, 1)
	go func() {
		var err error
		for i := 1; i < 300 && err == nil; i++ {
			err = put(i)
		}
		written <- err
	}()
	for {
		select {
		case err := <-written:
			if err != nil {
				t.Error(err)
			}
			return
		default:
		}
		r, err := s.Open(t.Context(), "k")
		if err != nil {
			t.Error(errors.Join(err, <-written))
			return
		}
		b, err := io.ReadAll(r)
		_ = r.Close()
		if err != nil || string(b) != r.ContentType() {
			t.Errorf("%q of %s, %v", b, r.ContentType(), err)
		}
	}
}
