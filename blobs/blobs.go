// Package blobs opens the store for what is too large for Kafka: files, large results and large
// payloads. A URL chooses it: a directory (file:///dir) or memory (mem://), and with package cloud,
// or with one of gocloud.dev's drivers, a bucket of S3, Google Cloud Storage or Azure Blob Storage.
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
	// ErrNotFound is returned for a key that no blob has. It is an fs.ErrNotExist as well.
	ErrNotFound error = notFound{}
	// ErrTooLarge is returned by Get for a blob above the caller's limit.
	ErrTooLarge = errors.New("blob is above its limit")
)

type notFound struct{}

func (notFound) Error() string        { return "no such blob" }
func (notFound) Is(target error) bool { return target == fs.ErrNotExist }

// errNoURL does not show the URL, which may hold a secret.
var errNoURL = errors.New("blobs: it is not a URL")

// Store holds blobs by key. It may be used from any goroutine.
type Store struct{ bucket *blob.Bucket }

// CheckURL reports what is wrong with a store's URL, as far as that shows without opening the store.
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

// Dir is the URL of a directory, made when it does not exist.
func Dir(dir string) (string, error) {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return "", fmt.Errorf("blob directory: %w", err)
	}
	return (&url.URL{Scheme: "file", Path: filepath.ToSlash(abs)}).String(), nil
}

// Open opens the store at a URL. A directory is made if need be, for its owner only. Close the store
// when nothing uses it any more.
func Open(ctx context.Context, address string) (*Store, error) {
	u, err := url.Parse(address)
	if err != nil || address == "" {
		return nil, errNoURL
	}
	if u.Scheme == "file" {
		// What is written becomes visible by a rename, which must not cross file systems.
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

// Close releases what the store holds; nil is closed already.
func (s *Store) Close() error {
	if s == nil {
		return nil
	}
	return s.bucket.Close()
}

// Put writes a blob, in place of one that the key had before. It is visible as a whole or not at
// all: after an error of content, which Put wraps, the former blob is still there. name, which may
// be empty, is the file's name for those who download it.
func (s *Store) Put(ctx context.Context, key, contentType, name string, content io.Reader) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // before Close it discards what was written
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

// Disposition is the header that offers a download under a name (RFC 6266); empty without one.
func Disposition(name string) string {
	if name == "" {
		return ""
	}
	return mime.FormatMediaType("attachment", map[string]string{"filename": name})
}

// Reader reads one blob. It can seek, so that ranges of it can be served.
type Reader struct{ *blob.Reader }

// Open opens a blob for reading; ErrNotFound when there is none.
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

// Get reads a whole blob of at most limit bytes.
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

// ErrPrefix refuses a prefix that could be the beginning of another job's keys.
var ErrPrefix = errors.New("prefix must name a folder: not empty, and with a slash at its end")

// maxRemoveErrors is after how many failures RemoveAll gives up.
const maxRemoveErrors = 10

// RemoveAll removes the blobs below a folder and returns how many there were. It goes on
// after one that cannot be removed.
func (s *Store) RemoveAll(ctx context.Context, prefix string) (removed int, err error) {
	return s.remove(ctx, prefix, "")
}

// RemoveIn is RemoveAll but for what is in folders below the folder.
func (s *Store) RemoveIn(ctx context.Context, prefix string) (removed int, err error) {
	return s.remove(ctx, prefix, "/")
}

// remove removes the blobs below a folder, up to the next delimiter in their keys.
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

// Delete removes a blob; one that is not there is removed already.
func (s *Store) Delete(ctx context.Context, key string) error {
	if err := s.bucket.Delete(ctx, key); err != nil && gcerrors.Code(err) != gcerrors.NotFound {
		return fmt.Errorf("delete blob %s: %w", key, err)
	}
	return nil
}
