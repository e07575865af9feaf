package streams

import (
	"encoding/json"
	"unicode/utf8"

	"github.com/ackwire/ackwire/schemas/job"
)

// Bounds of the window of one stream, in bytes.
const (
	maxWindow    = 64 << 10
	minWindow    = 4 << 10 // it may have these whatever other windows have
	itemOverhead = 32      // what an item costs beside its own bytes
)

// window is the end of what one run has written to a stream, as much as fits. Guarded by its buffer's lock.
type window struct {
	kind       job.StreamKind
	start, end int64             // positions: [start,end) is there
	ring       []byte            // of a text: the byte at position p is ring[p%len(ring)]
	items      []json.RawMessage // of values: the first is at start
	held       int               // bytes of items, with itemOverhead
	size       int               // bytes that the window may have by now
	spare      func(n int) bool  // takes n more bytes, or gives -n back; false if there are none
}

// restart empties the window; it goes on at a position.
func (w *window) restart(at int64) {
	w.kind, w.start, w.end = "", at, at
	w.ring, w.items, w.held = nil, nil, 0
	w.release()
}

// release gives the window's bytes back.
func (w *window) release() {
	if more := w.size - minWindow; more > 0 {
		w.spare(-more)
	}
	w.size = 0
}

// grow lets the window have n bytes, or fewer if there is no room.
func (w *window) grow(n int) {
	size := max(w.size, minWindow)
	for size < min(n, maxWindow) && w.spare(size) {
		size *= 2
	}
	w.size = size
}

// addText appends text. The window then begins between two characters.
func (w *window) addText(b []byte) {
	w.kind = job.StreamText
	w.grow(int(w.end-w.start) + len(b))
	if w.size != len(w.ring) {
		had := w.text(w.start, int(w.end-w.start))
		w.ring = make([]byte, w.size)
		w.put(w.start, had)
	}
	over := max(len(b)-len(w.ring), 0)
	w.put(w.end+int64(over), b[over:])
	w.end += int64(len(b))
	if first := w.end - int64(len(w.ring)); w.start < first {
		w.start = first
		for w.start < w.end && !utf8.RuneStart(w.ring[w.start%int64(len(w.ring))]) {
			w.start++
		}
	}
}

// put writes bytes into the ring, which is not smaller.
func (w *window) put(at int64, b []byte) {
	if len(b) > 0 {
		n := copy(w.ring[at%int64(len(w.ring)):], b)
		copy(w.ring, b[n:])
	}
}

// text returns a copy of n bytes of the ring.
func (w *window) text(at int64, n int) []byte {
	if n == 0 {
		return nil
	}
	b := make([]byte, n)
	had := copy(b, w.ring[at%int64(len(w.ring)):])
	copy(b[had:], w.ring)
	return b
}

// addItems appends values. The last one is there whatever its size.
func (w *window) addItems(items []json.RawMessage) {
	w.kind = job.StreamJSON
	for _, item := range items {
		need := len(item) + itemOverhead
		w.grow(w.held + need)
		for len(w.items) > 0 && w.held+need > w.size {
			w.held -= len(w.items[0]) + itemOverhead
			w.items[0] = nil
			w.items = w.items[1:]
			w.start++
		}
		w.items = append(w.items, item)
		w.held += need
		w.end++
	}
}

// take returns what follows a position that is in the window, or at its end.
func (w *window) take(at int64, limit int) (text []byte, items []json.RawMessage) {
	if w.kind == job.StreamText {
		n := int(w.end - at)
		// Up to utf8.UTFMax bytes more are copied, to see where the characters end.
		b := w.text(at, min(n, limit+utf8.UTFMax))
		return b[:wholeText(b, limit)], nil
	}
	behind := w.items[at-w.start:]
	return nil, append([]json.RawMessage(nil), behind[:wholeItems(behind, limit)]...)
}

// wholeText returns how many bytes of a text, which is valid UTF-8, make whole characters in at most limit bytes; it
// is one character at least.
func wholeText(b []byte, limit int) int {
	if len(b) <= limit {
		return len(b)
	}
	n := limit
	for n > 0 && !utf8.RuneStart(b[n]) {
		n--
	}
	if n == 0 {
		_, n = utf8.DecodeRune(b)
	}
	return n
}

// wholeItems returns how many values have at most limit bytes; at least one, if there is one.
func wholeItems(items []json.RawMessage, limit int) int {
	n, size := 0, 0
	for n < len(items) && (n == 0 || size+len(items[n])+1 <= limit) {
		size += len(items[n]) + 1
		n++
	}
	return n
}
