package session

import (
	"errors"
	"sync"

	"github.com/ackwire/ackwire/gateway/outbox"
)

// batch is the content of one write to a socket.
type batch struct {
	frames []*outbox.Frame // only while they are copied
	bytes  []byte
	times  []int64 // see outbox.Take
	try    *trier

	before, after int // bytes of the frames that may be compressed, before and after
}

var batches = sync.Pool{New: func() any { return &batch{bytes: make([]byte, 0, flushBytes), try: newTrier()} }}

func newBatch() *batch { return batches.Get().(*batch) }

func (b *batch) free() {
	if cap(b.bytes) <= 4*flushBytes {
		batches.Put(b)
	}
}

// fill fills the batch with the next frames of the outbox. It reports false if there are none, and then the flush is
// over.
func (s *Session) fill(b *batch) bool {
	var more bool
	b.frames, b.times, more = s.out.Take(b.frames[:0], b.times[:0], flushBytes)
	b.bytes, b.before, b.after = s.encode(b.bytes[:0], b.frames)
	clear(b.frames) // so that a pooled batch does not keep them alive
	if s.out.Owing() {
		s.loadOwed()
	}
	return more
}

// wrote handles the result of a write. It reports false if the flush must end.
func (s *Session) wrote(b *batch, err error) bool {
	if err != nil {
		if s.ctx.Err() == nil && !errors.Is(err, errHushed) {
			s.tooSlow()
		}
		// The outbox stays in its flushing state, so that no other flush begins.
		return false
	}
	s.out.Wrote()
	s.cfg.Metrics.Sent(b.times)
	if b.before > 0 {
		s.cfg.Metrics.SentCompressed(b.before, b.after)
	}
	return true
}

// flush writes until the outbox is empty or it has made flushTurns writes. It never blocks: if the kernel does not
// accept everything at once, a separate goroutine writes the rest.
func (s *Session) flush() {
	b := newBatch()
	for range flushTurns {
		if !s.fill(b) {
			b.free()
			s.flushes.Done()
			return
		}
		rest, err := s.conn.try(b.bytes, s.out.Over(), b.try)
		if len(rest) > 0 {
			go s.flushWaiting(b, rest)
			return
		}
		if !s.wrote(b, err) {
			b.free()
			s.flushes.Done()
			return
		}
	}
	b.free()
	s.cfg.writers.add(s)
}

// flushWaiting writes the rest of a batch, if there is one, and then everything in the outbox. Its writes block.
func (s *Session) flushWaiting(b *batch, rest []byte) {
	defer s.flushes.Done()
	defer b.free()
	if len(rest) > 0 && !s.wrote(b, s.conn.finish(rest, s.out.Over())) {
		return
	}
	for s.fill(b) {
		if !s.wrote(b, s.conn.send(b.bytes, s.out.Over())) {
			return
		}
	}
}
