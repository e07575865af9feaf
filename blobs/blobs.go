// Package blobs stores data that is too large for Kafka: files, large results and large payloads. A URL selects the
// store: a directory (file:///dir) or memory (mem://), and with package cloud, or with one
// of the packages below it, a bucket of S3, Google Cloud Storage or Azure Blob Storage.
//
//	store, err := blobs.Open(ctx, "s3://my-bucket?region=eu-central-1")
//	w, err := processor.New(cfg, processor.WithBlobs(store))
//
// The clouds' SDKs are large, and most programs need none of them: only package cloud imports them.
package blobs

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"mime"
	"net/url"
	"path/filepath"
	"strings"

	"github.com/ackwire/ackwire/blobs/internal/kind"
)

// Errors that callers branch on.
var (
	// ErrNotFound is returned for a key without a blob. It matches fs.ErrNotExist too.
	ErrNotFound error = notFound{}
	// ErrTooLarge is returned by Get for a blob above the caller's limit.
	ErrTooLarge = errors.New("blob is above its limit")
)

type notFound struct{}

func (notFound) Error() string        { return "no such blob" }
func (notFound) Is(target error) bool { return target == fs.ErrNotExist }

// errNoURL is returned for a string that is not a URL. It does not show the string, which may hold a secret.
var errNoURL = errors.New("blobs: it is not a URL")

// Store holds blobs by key. It is safe for concurrent use.
type Store struct{ bucket *kind.Bucket }

// CheckURL returns an error if a store's URL is not valid or of a kind that this program has no driver for. It does not
// open the store.
func CheckURL(address string) error {
	_, _, err := parse(address)
	return err
}

// parse returns a store's parsed URL and the function that opens its kind of store.
func parse(address string) (*url.URL, kind.Open, error) {
	u, err := url.Parse(address)
	if err != nil || address == "" {
		return nil, nil, errNoURL
	}
	open := kind.Of(u.Scheme)
	if open == nil {
		return nil, nil, fmt.Errorf("blobs: this program has no stores of the kind %q but %s; gateway, tracker and "+
			"processor also have s3, gs and azblob", u.Scheme, strings.Join(kind.Schemes(), ", "))
	}
	return u, open, nil
}

// Dir returns the URL of a directory's store. Open makes the directory if it does not exist.
func Dir(dir string) (string, error) {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return "", fmt.Errorf("blob directory: %w", err)
	}
	return (&url.URL{Scheme: "file", Path: filepath.ToSlash(abs)}).String(), nil
}

// Open opens the store at a URL. A directory that does not exist is made, readable for its owner only. The caller must
// Close the store.
func Open(ctx context.Context, address string) (*Store, error) {
	u, open, err := parse(address)
	if err != nil {
		return nil, err
	}
	bucket, err := open(ctx, u)
	if err != nil {
		return nil, fmt.Errorf("open blob store: %w", err)
	}
	return &Store{bucket}, nil
}

// Close releases the store's resources. On a nil Store it does nothing.
func (s *Store) Close() error {
	if s == nil {
		return nil
	}
	return s.bucket.Close()
}

// Put writes a blob and replaces the one that the key had before. The replacement is atomic: after an error, also one
// of content (which Put wraps), the former blob is unchanged. name is the file name that a download is given; it may
// be empty.
func (s *Store) Put(ctx context.Context, key, contentType, name string, content io.Reader) error {
	err := s.bucket.Put(ctx, key, kind.Attributes{
		ContentType: contentType, ContentDisposition: Disposition(name),
	}, content)
	if err != nil {
		return fmt.Errorf("write blob %s: %w", key, err)
	}
	return nil
}

// Disposition returns the value of a Content-Disposition header that offers a download under a name (RFC 6266). It is
// empty if name is.
func Disposition(name string) string {
	if name == "" {
		return ""
	}
	return mime.FormatMediaType("attachment", map[string]string{"filename": name})
}

// Reader reads one blob. It can seek, so that ranges of it can be served.
type Reader struct{ blob *kind.Blob }

// Read implements io.Reader.
func (r *Reader) Read(p []byte) (int, error) { return r.blob.Read(p) }

// Seek implements io.Seeker.
func (r *Reader) Seek(offset int64, whence int) (int64, error) { return r.blob.Seek(offset, whence) }

// Close releases the blob. The caller must call it.
func (r *Reader) Close() error { return r.blob.Close() }

// Size returns the number of bytes of the blob.
func (r *Reader) Size() int64 { return r.blob.Size }

// ContentType returns the content type that Put was called with.
func (r *Reader) ContentType() string { return r.blob.ContentType }

// Open opens a blob for reading. It fails with ErrNotFound if there is no such blob.
func (s *Store) Open(ctx context.Context, key string) (*Reader, error) {
	b, err := s.bucket.Open(ctx, key)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("%w: %s", ErrNotFound, key)
	case err != nil:
		return nil, fmt.Errorf("read blob %s: %w", key, err)
	}
	return &Reader{b}, nil
}

// Get reads a whole blob. It fails with ErrTooLarge if the blob has more than limit bytes.
func (s *Store) Get(ctx context.Context, key string, limit int64) ([]byte, error) {
	r, err := s.Open(ctx, key)
	if err != nil {
		return nil, err
	}
	defer func() { _ = r.Close() }()
	if r.Size() > limit {
		return nil, fmt.Errorf("read blob %s: %w of %d bytes", key, ErrTooLarge, limit)
	}
	b, err := io.ReadAll(r)
	if err != nil {
		return nil, fmt.Errorf("read blob %s: %w", key, err)
	}
	return b, nil
}

// ErrPrefix is returned for a prefix that does not end in a slash: it could match the keys of other jobs too.
var ErrPrefix = errors.New("prefix must name a folder: not empty, and with a slash at its end")

// maxRemoveErrors is the number of failures after which RemoveAll gives up.
const maxRemoveErrors = 10

// RemoveAll removes all blobs below a folder and returns how many it removed. It goes on after a blob that cannot be
// removed, and gives up after ten of them. prefix is the folder, with a slash at its end.
func (s *Store) RemoveAll(ctx context.Context, prefix string) (removed int, err error) {
	return s.remove(ctx, prefix, true)
}

// RemoveIn removes the blobs directly in a folder, and not those in folders below it. Otherwise it is like RemoveAll.
func (s *Store) RemoveIn(ctx context.Context, prefix string) (removed int, err error) {
	return s.remove(ctx, prefix, false)
}

// remove removes the blobs in a folder: all of them, or only those that are in no folder below it.
func (s *Store) remove(ctx context.Context, prefix string, all bool) (removed int, err error) {
	if len(prefix) < 2 || !strings.HasSuffix(prefix, "/") || strings.HasPrefix(prefix, "/") {
		return 0, fmt.Errorf("remove blobs below %q: %w", prefix, ErrPrefix)
	}
	var failed []error
	for key, err := range s.bucket.Keys(ctx, prefix, all) {
		if err := cmp.Or(err, ctx.Err()); err != nil {
			failed = append(failed, fmt.Errorf("list blobs below %s: %w", prefix, err))
			break
		}
		if err := s.Delete(ctx, key); err != nil {
			failed = append(failed, err)
			if len(failed) == maxRemoveErrors {
				break
			}
			continue
		}
		removed++
	}
	return removed, errors.Join(failed...)
}

// Delete removes a blob. A blob that does not exist is no error.
func (s *Store) Delete(ctx context.Context, key string) error {
	if err := s.bucket.Delete(ctx, key); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("delete blob %s: %w", key, err)
	}
	return nil
}
