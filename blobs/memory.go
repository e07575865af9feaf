package blobs

import (
	"bytes"
	"context"
	"io"
	"io/fs"
	"iter"
	"maps"
	"net/url"
	"slices"
	"strings"
	"sync"

	"github.com/ackwire/ackwire/blobs/internal/kind"
)

func init() { kind.Register("mem", openMemory) }

// memory is a store in memory, for tests. Each Open makes an empty one.
type memory struct {
	mu    sync.Mutex // guards blobs
	blobs map[string]held
}

// held is one blob.
type held struct {
	contentType string
	content     []byte // never changed
}

func openMemory(context.Context, *url.URL) (*kind.Bucket, error) {
	m := &memory{blobs: map[string]held{}}
	nothing := func() error { return nil }
	return &kind.Bucket{Put: m.put, Open: m.open, Delete: m.delete, Keys: m.keys, Close: nothing}, nil
}

func (m *memory) put(ctx context.Context, key string, a kind.Attributes, content io.Reader) error {
	b, err := io.ReadAll(content)
	if err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.blobs[key] = held{a.ContentType, b}
	return nil
}

func (m *memory) open(_ context.Context, key string) (*kind.Blob, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	h, ok := m.blobs[key]
	if !ok {
		return nil, fs.ErrNotExist
	}
	r := unclosed{bytes.NewReader(h.content)}
	return &kind.Blob{ReadSeekCloser: r, Size: int64(len(h.content)), ContentType: h.contentType}, nil
}

// unclosed is a reader with a Close that does nothing.
type unclosed struct{ *bytes.Reader }

// Close implements io.Closer.
func (unclosed) Close() error { return nil }

func (m *memory) delete(_ context.Context, key string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, ok := m.blobs[key]; !ok {
		return fs.ErrNotExist
	}
	delete(m.blobs, key)
	return nil
}

func (m *memory) keys(_ context.Context, folder string, all bool) iter.Seq2[string, error] {
	m.mu.Lock()
	keys := slices.Sorted(maps.Keys(m.blobs))
	m.mu.Unlock()
	return func(yield func(string, error) bool) {
		for _, key := range keys {
			name, in := strings.CutPrefix(key, folder)
			if !in || !all && strings.Contains(name, "/") {
				continue
			}
			if !yield(key, nil) {
				return
			}
		}
	}
}
