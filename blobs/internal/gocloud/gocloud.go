// Package gocloud makes stores of package blobs from the drivers of gocloud.dev that a program imports.
package gocloud

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"net/url"

	"gocloud.dev/blob"
	"gocloud.dev/gcerrors"

	"github.com/ackwire/ackwire/blobs/internal/kind"
)

// Register adds the kind of store whose URLs have a scheme. The driver for that scheme must be imported.
func Register(scheme string) { kind.Register(scheme, Open) }

// Open opens the bucket at a URL.
func Open(ctx context.Context, u *url.URL) (*kind.Bucket, error) {
	opened, err := blob.OpenBucket(ctx, u.String())
	if err != nil {
		return nil, err
	}
	b := bucket{opened}
	return &kind.Bucket{Put: b.put, Open: b.open, Delete: b.delete, Keys: b.keys, Close: opened.Close}, nil
}

type bucket struct{ *blob.Bucket }

func (b bucket) put(ctx context.Context, key string, a kind.Attributes, content io.Reader) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // a cancel before Close discards the blob
	w, err := b.NewWriter(ctx, key, &blob.WriterOptions{
		ContentType: a.ContentType, ContentDisposition: a.ContentDisposition,
	})
	if err != nil {
		return err
	}
	if _, err := io.Copy(w, content); err != nil {
		cancel()
		_ = w.Close()
		return err
	}
	return w.Close()
}

func (b bucket) open(ctx context.Context, key string) (*kind.Blob, error) {
	r, err := b.NewReader(ctx, key, nil)
	if err != nil {
		return nil, missing(err)
	}
	return &kind.Blob{ReadSeekCloser: r, Size: r.Size(), ContentType: r.ContentType()}, nil
}

func (b bucket) delete(ctx context.Context, key string) error { return missing(b.Delete(ctx, key)) }

func (b bucket) keys(ctx context.Context, folder string, all bool) iter.Seq2[string, error] {
	o := &blob.ListOptions{Prefix: folder}
	if !all {
		o.Delimiter = "/"
	}
	return func(yield func(string, error) bool) {
		for objects := b.List(o); ; {
			object, err := objects.Next(ctx)
			switch {
			case errors.Is(err, io.EOF):
				return
			case err != nil:
				yield("", err)
				return
			case object.IsDir:
				continue
			}
			if !yield(object.Key, nil) {
				return
			}
		}
	}
}

// missing adds fs.ErrNotExist to the error of a blob that does not exist.
func missing(err error) error {
	if gcerrors.Code(err) == gcerrors.NotFound {
		return fmt.Errorf("%w: %w", fs.ErrNotExist, err)
	}
	return err
}
