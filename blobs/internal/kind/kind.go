// Package kind lets packages add kinds of stores to package blobs. A package with a kind of store registers a
// function that opens one; package blobs finds that function by the scheme of a store's URL.
package kind

import (
	"context"
	"io"
	"iter"
	"maps"
	"net/url"
	"slices"
	"sync"
)

// Attributes are stored beside a blob's content.
type Attributes struct {
	ContentType        string
	ContentDisposition string // for downloads from the store itself, past the gateway
}

// Blob is an open blob.
type Blob struct {
	io.ReadSeekCloser
	Size        int64
	ContentType string
}

// Bucket holds the functions of an open store. They are safe for concurrent use.
type Bucket struct {
	// Put stores content under a key. It is atomic: after an error, the former blob is unchanged.
	Put func(ctx context.Context, key string, attributes Attributes, content io.Reader) error
	// Open opens a blob. It fails with fs.ErrNotExist if there is no such blob.
	Open func(ctx context.Context, key string) (*Blob, error)
	// Delete removes a blob. It fails with fs.ErrNotExist if there is no such blob.
	Delete func(ctx context.Context, key string) error
	// Keys returns the keys of the blobs in a folder, whose name ends in a slash: all of them, or only those that are
	// in no folder below it. An error ends the sequence.
	Keys func(ctx context.Context, folder string, all bool) iter.Seq2[string, error]
	// Close releases the store's connections.
	Close func() error
}

// Open opens the store at a URL.
type Open func(ctx context.Context, u *url.URL) (*Bucket, error)

var (
	mu    sync.Mutex // guards kinds
	kinds = map[string]Open{}
)

// Register adds the kind of store whose URLs have a scheme. Packages call it from init.
func Register(scheme string, open Open) {
	mu.Lock()
	defer mu.Unlock()
	kinds[scheme] = open
}

// Of returns the function that opens the stores with a scheme, or nil if this program has no such kind.
func Of(scheme string) Open {
	mu.Lock()
	defer mu.Unlock()
	return kinds[scheme]
}

// Schemes returns the schemes of the kinds that this program has, sorted.
func Schemes() []string {
	mu.Lock()
	defer mu.Unlock()
	return slices.Sorted(maps.Keys(kinds))
}
