// Package blobs stores data that is too large for Kafka: files, large results and large payloads. A URL selects the
// store: a directory (file:///dir) or memory (mem://), and with package cloud, or with one of gocloud.dev's drivers,
// a bucket of S3, Google Cloud Storage or Azure Blob Storage.
//
//	store, err := blobs.Open(ctx, "s3://my-bucket?region=eu-central-1")
//	w, err := processor.New(cfg, processor.WithBlobs(store))
//
// It is a module of its own: the clouds' SDKs are large, and most programs need none of them.
package blobs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"mime"
	"net/url"
	"path/filepath"
	"strings"

	"gocloud.dev/blob"
	_ "gocloud.dev/blob/fileblob" // file://
	_ "gocloud.dev/blob/memblob"  // mem://
	"gocloud.dev/gcerrors"

	"github.com/ackwire/ackwire/internal/private"
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
type Store struct{ bucket *blob.Bucket }

// CheckURL returns an error if a store's URL is not valid or of a kind that this program has no driver for. It does not
// open the store.
func CheckURL(address string) error {
	u, err := url.Parse(address)
	if err != nil || address == "" {
		return errNoURL
	}
	if !blob.DefaultURLMux().ValidBucketScheme(u.Scheme) {
		return fmt.Errorf("blobs: this program has no stores of the kind %q; gateway, tracker and processor have file, s3, "+
			"gs and azblob, others file", u.Scheme)
	}
	return nil
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
	u, err := url.Parse(address)
	if err != nil || address == "" {
		return nil, errNoURL
	}
	if u.Scheme == "file" {
		// A blob becomes visible by a rename, which works only within a file system: the driver must
		// write its temporary files beside the blobs (no_tmp_dir).
		q := u.Query()
		q.Set("create_dir", "true")
		q.Set("no_tmp_dir", "true")
		q.Set("dir_file_mode", "0700")
		u.RawQuery = q.Encode()
		if err := private.Folder(filepath.FromSlash(u.Path)); err != nil {
			return nil, fmt.Errorf("blob directory: %w", err)
		}
	}
	bucket, err := blob.OpenBucket(ctx, u.String())
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
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // a cancel before Close discards the blob
	var made files
	o := &blob.WriterOptions{ContentType: contentType, BeforeWrite: made.beforeWrite}
	o.ContentDisposition = Disposition(name)
	w, err := s.bucket.NewWriter(ctx, key, o)
	if err != nil {
		return fmt.Errorf("write blob %s: %w", key, err)
	}
	if _, err := io.Copy(w, content); err != nil {
		cancel()
		_ = w.Close()
		return fmt.Errorf("write blob %s: %w", key, err)
	}
	if err := w.Close(); err != nil {
		return fmt.Errorf("write blob %s: %w", key, err)
	}
	made.written()
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
type Reader struct{ *blob.Reader }

// Open opens a blob for reading. It fails with ErrNotFound if there is no such blob.
func (s *Store) Open(ctx context.Context, key string) (*Reader, error) {
	r, err := s.bucket.NewReader(ctx, key, nil)
	switch {
	case gcerrors.Code(err) == gcerrors.NotFound:
		return nil, fmt.Errorf("%w: %s", ErrNotFound, key)
	case err != nil:
		return nil, fmt.Errorf("read blob %s: %w", key, err)
	}
	return &Reader{r}, nil
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
	return s.remove(ctx, prefix, "")
}

// RemoveIn removes the blobs directly in a folder, and not those in folders below it. Otherwise it is like RemoveAll.
func (s *Store) RemoveIn(ctx context.Context, prefix string) (removed int, err error) {
	return s.remove(ctx, prefix, "/")
}

// remove removes the blobs whose keys start with prefix. With a delimiter it leaves those whose keys contain the
// delimiter after the prefix.
func (s *Store) remove(ctx context.Context, prefix, delimiter string) (removed int, err error) {
	if len(prefix) < 2 || !strings.HasSuffix(prefix, "/") || strings.HasPrefix(prefix, "/") {
		return 0, fmt.Errorf("remove blobs below %q: %w", prefix, ErrPrefix)
	}
	var failed []error
	for all := s.bucket.List(&blob.ListOptions{Prefix: prefix, Delimiter: delimiter}); len(failed) < maxRemoveErrors; {
		if ctx.Err() != nil {
			failed = append(failed, ctx.Err())
			break
		}
		o, err := all.Next(ctx)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			failed = append(failed, fmt.Errorf("list blobs below %s: %w", prefix, err))
			break
		}
		if o.IsDir {
			continue
		}
		if err := s.Delete(ctx, o.Key); err != nil {
			failed = append(failed, err)
			continue
		}
		removed++
	}
	return removed, errors.Join(failed...)
}

// Delete removes a blob. A blob that does not exist is no error.
func (s *Store) Delete(ctx context.Context, key string) error {
	if err := s.bucket.Delete(ctx, key); err != nil && gcerrors.Code(err) != gcerrors.NotFound {
		return fmt.Errorf("delete blob %s: %w", key, err)
	}
	return nil
}
