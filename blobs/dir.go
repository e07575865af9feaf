package blobs

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/ackwire/ackwire/blobs/internal/kind"
	"github.com/ackwire/ackwire/internal/private"
)

func init() { kind.Register("file", openDirectory) }

// directory is a store in a directory. A blob is two files: its content, named by the blob's key, and beside it its
// attributes. Only their owner may read the files and folders. The form of the files is that of gocloud.dev's driver
// fileblob, which was used here before: that driver imports Google's SDK, a third of what a first build of ackwire
// had to download.
//
// The rename of the content is what replaces a blob. Where the attributes change with it, their file tells for a while
// both the new ones, with the content they belong to, and the ones before, which hold for any other content.
type directory struct {
	dir string
	mu  sync.Mutex // held while files are renamed and removed
}

// besideExt is the end of the names of files with attributes. No key may end in it.
const besideExt = ".attrs"

// beside is what a file with attributes holds, as JSON.
type beside struct {
	attributes
	// SHA256 and Before are set while a blob with other attributes is being replaced, and after a failure in that time.
	SHA256 string      `json:"sha256,omitempty"` // in hexadecimal, of the only content that has the attributes above
	Before *attributes `json:"before,omitempty"` // of other content
}

type attributes struct {
	ContentType        string `json:"user.content_type"`
	ContentDisposition string `json:"user.content_disposition,omitempty"`
}

// openDirectory opens the store in a directory. It makes the directory if it does not exist.
func openDirectory(_ context.Context, u *url.URL) (*kind.Bucket, error) {
	if u.RawQuery != "" {
		return nil, errors.New("the URL of a directory has no parameters")
	}
	path := u.Path
	if u.Host == "." || filepath.Separator != '/' { // file://./relative and file:///C:/folder
		path = strings.TrimPrefix(path, "/")
	}
	dir, err := filepath.Abs(filepath.FromSlash(path))
	if err != nil {
		return nil, err
	}
	if err := private.Folder(dir); err != nil {
		return nil, err
	}
	d := &directory{dir: dir}
	nothing := func() error { return nil }
	return &kind.Bucket{Put: d.put, Open: d.open, Delete: d.delete, Keys: d.keys, Close: nothing}, nil
}

// path returns the path of the file or folder with a key. A key that leads out of the directory is an error.
func (d *directory) path(key string) (string, error) {
	local, err := filepath.Localize(key)
	if err != nil || key == "." || strings.HasSuffix(key, besideExt) {
		return "", fmt.Errorf("no file can have the name %q", key)
	}
	return filepath.Join(d.dir, local), nil
}

func (d *directory) put(ctx context.Context, key string, a kind.Attributes, content io.Reader) error {
	path, err := d.path(key)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	body, err := temporary(path, content)
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(body) }()
	if err := ctx.Err(); err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	return replace(path, body, attributes(a))
}

// replace makes the file body the content of the blob at path, which needs not exist, and sets its attributes. After an
// error the blob before is there as it was.
func replace(path, body string, a attributes) error {
	next := beside{attributes: a}
	before, err := current(path)
	switch {
	case err != nil: // there is no blob, or one without readable attributes
	case *before == a:
		return os.Rename(body, path)
	default:
		if next.SHA256, err = sum(body); err != nil {
			return err
		}
		next.Before = before
	}
	if err := writeBeside(path, next); err != nil {
		return err
	}
	if err := os.Rename(body, path); err != nil {
		return err
	}
	if next.Before != nil {
		// The blob is replaced. This only saves its readers the comparison of its content, so it may fail.
		_ = writeBeside(path, beside{attributes: a})
	}
	return nil
}

// current returns the attributes of the blob at path that is there.
func current(path string) (*attributes, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	return read(f)
}

// writeBeside replaces the file with the attributes of the blob at path.
func writeBeside(path string, b beside) error {
	var text bytes.Buffer
	e := json.NewEncoder(&text)
	e.SetEscapeHTML(false)
	if err := e.Encode(b); err != nil {
		return err
	}
	name, err := temporary(path+besideExt, &text)
	if err != nil {
		return err
	}
	if err := os.Rename(name, path+besideExt); err != nil {
		_ = os.Remove(name)
		return err
	}
	return nil
}

// sum returns the SHA-256 of a file in hexadecimal.
func sum(name string) (string, error) {
	f, err := os.Open(name)
	if err != nil {
		return "", err
	}
	defer func() { _ = f.Close() }()
	return sumOf(f)
}

func sumOf(r io.Reader) (string, error) {
	h := sha256.New()
	if _, err := io.Copy(h, r); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// temporary writes content to a new file and returns its name. The file is in the same folder as path, because
// a rename works only within a file system. Only its owner may read it.
func temporary(path string, content io.Reader) (name string, err error) {
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*.tmp")
	if err != nil {
		return "", err
	}
	_, err = io.Copy(f, content)
	if err := errors.Join(err, f.Close()); err != nil {
		_ = os.Remove(f.Name())
		return "", err
	}
	return f.Name(), nil
}

func (d *directory) open(ctx context.Context, key string) (*kind.Blob, error) {
	path, err := d.path(key)
	if err != nil {
		return nil, err
	}
	for {
		f, err := os.Open(path)
		if err != nil {
			return nil, err
		}
		b, err := opened(f)
		if err == nil {
			return b, nil
		}
		_ = f.Close()
		if !errors.Is(err, errReplaced) {
			return nil, err
		}
		if err := ctx.Err(); err != nil {
			return nil, err
		}
	}
}

// errReplaced tells that a blob was replaced after its content had been opened.
var errReplaced = errors.New("the blob was replaced meanwhile")

// opened returns the blob whose content is in an open file. It fails with errReplaced when another content took the
// file's name: the attributes that it read may be that one's.
func opened(f *os.File) (*kind.Blob, error) {
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if info.IsDir() {
		return nil, fs.ErrNotExist
	}
	a, err := read(f)
	if err != nil {
		return nil, err
	}
	now, err := os.Stat(f.Name())
	switch {
	case err != nil:
		return nil, err
	case !os.SameFile(info, now):
		return nil, errReplaced
	}
	contentType := cmp.Or(a.ContentType, "application/octet-stream")
	return &kind.Blob{ReadSeekCloser: f, Size: info.Size(), ContentType: contentType}, nil
}

// read returns the attributes of the content that is in an open file.
func read(f *os.File) (*attributes, error) {
	text, err := os.ReadFile(f.Name() + besideExt)
	if errors.Is(err, fs.ErrNotExist) { // the file was not stored by Put
		return &attributes{}, nil
	}
	if err != nil {
		return nil, err
	}
	var b beside
	if err := json.Unmarshal(text, &b); err != nil {
		return nil, fmt.Errorf("attributes of the blob: %w", err)
	}
	if b.Before == nil {
		return &b.attributes, nil
	}
	of, err := sumOf(f)
	if err != nil {
		return nil, err
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return nil, err
	}
	if of != b.SHA256 {
		return b.Before, nil
	}
	return &b.attributes, nil
}

func (d *directory) delete(_ context.Context, key string) error {
	path, err := d.path(key)
	if err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	err = os.Remove(path)
	if also := os.Remove(path + besideExt); err == nil && !errors.Is(also, fs.ErrNotExist) {
		return also
	}
	return err
}

func (d *directory) keys(_ context.Context, folder string, all bool) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		root, err := d.path(strings.TrimSuffix(folder, "/"))
		if err != nil {
			yield("", err)
			return
		}
		// visit is called for the folder itself and for every file and folder in it.
		visit := func(path string, entry fs.DirEntry, err error) error {
			switch {
			case errors.Is(err, fs.ErrNotExist): // the folder does not exist, or another process has just removed the file
				return nil
			case err != nil:
				return err
			case entry.IsDir() && (all || path == root):
				return nil
			case entry.IsDir():
				return fs.SkipDir
			case strings.HasSuffix(path, besideExt):
				return nil
			}
			name, err := filepath.Rel(d.dir, path)
			if err != nil {
				return err
			}
			if !yield(filepath.ToSlash(name), nil) {
				return fs.SkipAll
			}
			return nil
		}
		if err := filepath.WalkDir(root, visit); err != nil {
			yield("", err)
		}
	}
}
