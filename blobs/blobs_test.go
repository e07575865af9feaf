package blobs

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"net/url"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"

	"go.uber.org/goleak"
	"gocloud.dev/blob/memblob"

	"github.com/ackwire/ackwire/blobs/internal/gocloud"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m)
}

// stores returns the stores that need no server: the project's own, and a driver of gocloud.dev in memory, which stands
// for the buckets of the clouds.
func stores(t *testing.T) map[string]*Store {
	t.Helper()
	dir, err := Dir(filepath.Join(t.TempDir(), "new", "blobs"))
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]*Store{}
	for name, address := range map[string]string{"directory": dir, "memory": "mem://"} {
		if err := CheckURL(address); err != nil {
			t.Fatal(err)
		}
		s, err := Open(t.Context(), address)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = s.Close() })
		all[name] = s
	}
	bucket, err := gocloud.Open(t.Context(), &url.URL{Scheme: memblob.Scheme})
	if err != nil {
		t.Fatal(err)
	}
	all["gocloud"] = &Store{bucket}
	t.Cleanup(func() { _ = bucket.Close() })
	return all
}

func TestPutAndOpen(t *testing.T) {
	for name, s := range stores(t) {
		if err := s.Put(t.Context(), "results/j/r", "text/csv",
			`a "report".csv`, strings.NewReader("day,sales\n")); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		r, err := s.Open(t.Context(), "results/j/r")
		if err != nil {
			t.Fatal(err)
		}
		if r.ContentType() != "text/csv" || r.Size() != 10 {
			t.Errorf("%s: %s of %d bytes", name, r.ContentType(), r.Size())
		}
		if _, err := r.Seek(4, io.SeekStart); err != nil {
			t.Fatal(err)
		}
		if rest, err := io.ReadAll(r); err != nil || string(rest) != "sales\n" {
			t.Errorf("%s: from byte 4 on: %q, %v", name, rest, err)
		}
		_ = r.Close()
		if _, err := s.Get(t.Context(), "results/j/r", 9); !errors.Is(err, ErrTooLarge) {
			t.Errorf("%s: 10 bytes read with a limit of 9: %v", name, err)
		}
		if err := errors.Join(s.Delete(t.Context(), "results/j/r"), s.Delete(t.Context(), "results/j/r")); err != nil {
			t.Errorf("%s: delete, twice: %v", name, err)
		}
		if _, err := s.Get(t.Context(), "results/j/r", 100); !errors.Is(err, ErrNotFound) || !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: a deleted blob: %v", name, err)
		}
	}
}

// TestNothingIsHalfWritten: after a reader's error the blob before stays.
func TestNothingIsHalfWritten(t *testing.T) {
	broken := errors.New("broken")
	for name, s := range stores(t) {
		if err := s.Put(t.Context(), "k", "text/plain", "", strings.NewReader("before")); err != nil {
			t.Fatal(err)
		}
		if err := s.Put(t.Context(), "k", "text/plain", "", io.MultiReader(strings.NewReader("half"),
			iotest.ErrReader(broken))); !errors.Is(err, broken) {
			t.Errorf("%s: a reader that breaks: %v", name, err)
		}
		if b, err := s.Get(t.Context(), "k", 100); err != nil || string(b) != "before" {
			t.Errorf("%s: %q, %v", name, b, err)
		}
	}
}

func TestBadURLs(t *testing.T) {
	for _, address := range []string{"ftp://x", "/just/a/path", "file", "://", "", "s3://bucket"} {
		if err := CheckURL(address); err == nil {
			t.Errorf("%s was taken", address)
		}
	}
	if s, err := Open(t.Context(), ""); s != nil || err == nil {
		t.Errorf("no URL: %v, %v", s, err)
	}
	if err := (*Store)(nil).Close(); err != nil {
		t.Error(err)
	}
}

// removesTwo stores a blob at each key and removes those below results/job-1/, twice: the first two keys
// are gone, and no other.
func removesTwo(
	t *testing.T, name string, s *Store, remove func(ctx context.Context, prefix string) (int, error), keys []string,
) {
	t.Helper()
	for _, key := range keys {
		if err := s.Put(t.Context(), key, "text/plain", "", strings.NewReader("x")); err != nil {
			t.Fatal(err)
		}
	}
	for _, want := range []int{2, 0} {
		if n, err := remove(t.Context(), "results/job-1/"); n != want || err != nil {
			t.Errorf("%s: %d removed, %v, want %d", name, n, err, want)
		}
	}
	for i, key := range keys {
		r, err := s.Open(t.Context(), key)
		if err == nil {
			_ = r.Close()
		}
		if gone := errors.Is(err, ErrNotFound); gone != (i < 2) {
			t.Errorf("%s: %s: %v", name, key, err)
		}
	}
}

func TestRemoveAll(t *testing.T) {
	for name, s := range stores(t) {
		keys := []string{"results/job-1/a", "results/job-1/b/c", "results/job-10/a", "results/job-2/a", "payloads/job-1/p"}
		removesTwo(t, name, s, s.RemoveAll, keys)
		for _, prefix := range []string{"", "/", "results", "results/job-1", "/results/"} {
			if n, err := s.RemoveAll(t.Context(), prefix); n != 0 || !errors.Is(err, ErrPrefix) {
				t.Errorf("%s: below %q: %d removed, %v", name, prefix, n, err)
			}
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := s.RemoveAll(ctx, "results/job-2/"); err == nil {
			t.Errorf("%s: a call that was given up has no error", name)
		}
	}
}

// TestRemoveIn leaves the folders below a folder alone.
func TestRemoveIn(t *testing.T) {
	for name, s := range stores(t) {
		keys := []string{"results/job-1/a", "results/job-1/b", "results/job-1/c/d", "results/job-1/c/e/f", "results/job-10/a"}
		removesTwo(t, name, s, s.RemoveIn, keys)
		if n, err := s.RemoveIn(t.Context(), "results/job-1"); n != 0 || !errors.Is(err, ErrPrefix) {
			t.Errorf("%s: %d removed, %v", name, n, err)
		}
	}
}
