package keeper

import (
	"container/list"
	"sync"
)

// Bounds of the tails.
const (
	DefaultTailBytes = 64 << 20 // of all tails of a process
	maxTail          = 1 << 20  // of one stream
	pieceBytes       = 96       // of memory that a piece takes beside its value
)

// Tails holds what was written last to the streams of all keepers of a process, up to a number of bytes. When they are
// more, the tail goes whose stream was neither written nor read for the longest time.
type Tails struct {
	max int64

	mu   sync.Mutex // guards all below, and the tails' fields; no other lock is taken under it
	used int64
	lru  list.List // of *tail, the last used first
}

// NewTails returns tails of at most so many bytes.
func NewTails(maxBytes int64) *Tails { return &Tails{max: maxBytes} }

// tail is the end of one stream. Its pieces follow each other, and the last one ends where the stream does.
type tail struct {
	pieces []piece
	size   int64
	place  *list.Element // nil while it is empty
}

// Bytes returns how much memory the tails take.
func (t *Tails) Bytes() int64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.used
}

// add appends a piece to a tail.
func (t *Tails) add(to *tail, p piece) {
	t.mu.Lock()
	defer t.mu.Unlock()
	to.pieces = append(to.pieces, p)
	t.grow(to, int64(len(p.Value))+pieceBytes)
	if to.place == nil {
		to.place = t.lru.PushFront(to)
	} else {
		t.lru.MoveToFront(to.place)
	}
	for to.size > maxTail {
		t.shorten(to)
	}
	for t.used > t.max {
		if last := t.lru.Back().Value.(*tail); last != to { //nolint:forcetypeassert // the list has only tails
			t.empty(last)
			continue
		}
		t.shorten(to)
	}
}

// shorten removes the first piece of a tail.
func (t *Tails) shorten(of *tail) {
	if len(of.pieces) == 1 {
		t.empty(of)
		return
	}
	t.grow(of, -int64(len(of.pieces[0].Value))-pieceBytes)
	of.pieces = of.pieces[1:]
}

func (t *Tails) grow(of *tail, by int64) {
	of.size += by
	t.used += by
}

// take returns the pieces of a tail, which nobody changes.
func (t *Tails) take(of *tail) []piece {
	t.mu.Lock()
	defer t.mu.Unlock()
	if of.place != nil {
		t.lru.MoveToFront(of.place)
	}
	return of.pieces[:len(of.pieces):len(of.pieces)]
}

// drop empties a tail.
func (t *Tails) drop(of *tail) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.empty(of)
}

func (t *Tails) empty(of *tail) {
	if of.place == nil {
		return
	}
	t.lru.Remove(of.place)
	t.grow(of, -of.size)
	of.pieces, of.place = nil, nil
}
