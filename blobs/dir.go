package blobs

import (
	"bytes"
	"cmp"
	"context"
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

	"github.com/ackwire/ackwire/blobs/internal/kind"
	"github.com/ackwire/ackwire/internal/private"
)

func init() { kind.Register("file", openDirectory) }

// directory is a store in a directory. A blob is two files: its content, named by the blob's key, and beside it its
// attributes. Only their owner may read the files and folders. The form of the files is that of gocloud.dev's driver
// fileblob, which was used here before: that driver imports gRPC and Google's SDK, a third of what a first build of
// ackwire had to download.
type directory struct{ dir string }

// besideExt is the end of the names of files with attributes. No key may end in it.
const besideExt = ".attrs"

// beside is what a file with attributes holds, as JSON.
type beside struct {
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
	d := directory{dir}
	nothing := func() error { return nil }
	return &kind.Bucket{Put: d.put, Open: d.open, Delete: d.delete, Keys: d.keys, Close: nothing}, nil
}

// path returns the path of the file or folder with a key. A key that leads out of the directory is an error.
func (d directory) path(key string) (string, error) {
	local, err := filepath.Localize(key)
	if err != nil || key == "." || strings.HasSuffix(key, besideExt) {
		return "", fmt.Errorf("no file can have the name %q", key)
	}
	return filepath.Join(d.dir, local), nil
}

func (d directory) put(ctx context.Context, key string, a kind.Attributes, content io.Reader) error {
	path, err := d.path(key)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	attributes, err := json.Marshal(beside(a))
	if err != nil {
		return err
	}
	// A blob exists when the file with its content does, so that file is renamed last.
	body, err := temporary(path, content)
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(body) }()
	also, err := temporary(path+besideExt, bytes.NewReader(attributes))
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(also) }()
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := os.Rename(also, path+besideExt); err != nil {
		return err
	}
	return os.Rename(body, path)
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

func (d directory) open(_ context.Context, key string) (*kind.Blob, error) {
	path, err := d.path(key)
	if err != nil {
		return nil, err
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	b, err := opened(f)
	if err != nil {
		_ = f.Close()
		return nil, err
	}
	return b, nil
}

// opened returns the blob whose content is in an open file.
func opened(f *os.File) (*kind.Blob, error) {
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if info.IsDir() {
		return nil, fs.ErrNotExist
	}
	var a beside
	text, err := os.ReadFile(f.Name() + besideExt)
	switch {
	case errors.Is(err, fs.ErrNotExist): // the file was not stored by Put
	case err != nil:
		return nil, err
	default:
		if err := json.Unmarshal(text, &a); err != nil {
			return nil, fmt.Errorf("attributes of the blob: %w", err)
		}
	}
	contentType := cmp.Or(a.ContentType, "application/octet-stream")
	return &kind.Blob{ReadSeekCloser: f, Size: info.Size(), ContentType: contentType}, nil
}

func (d directory) delete(_ context.Context, key string) error {
	path, err := d.path(key)
	if err != nil {
		return err
	}
	err = os.Remove(path)
	if also := os.Remove(path + besideExt); err == nil && !errors.Is(also, fs.ErrNotExist) {
		return also
	}
	return err
}

func (d directory) keys(_ context.Context, folder string, all bool) iter.Seq2[string, error] {
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
