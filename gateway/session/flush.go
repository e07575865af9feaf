package session

import (
	"errors"
	"sync"

	"github.com/ackwire/ackwire/gateway/outbox"
)

// batch is what one write carries.
type batch struct {
	frames []*outbox.Frame // while they are copied
	bytes  []byte
	times  []int64
	try    *trier

	before, after int // bytes of the frames that were to be compressed
}

var batches = sync.Pool{New: func() any { return &batch{bytes: make([]byte, 0, flushBytes), try: newTrier()} }}

func newBatch() *batch { return batches.Get().(*batch) }

func (b *batch) free() {
	if cap(b.bytes) <= 4*flushBytes {
		batches.Put(b)
	}
}

// fill fills the batch with what is to be sent next; false when nothing is left, and the flush is
// over.
func (s *Session) fill(b *batch) bool {
	var more bool
	b.frames, b.times, more = s.out.Take(b.frames[:0], b.times[:0], flushBytes)
	b.bytes, b.before, b.after = s.encode(b.bytes[:0], b.frames)
	clear(b.frames) // a pooled batch keeps none alive
	if s.out.Owing() {
		s.loadOwed()
	}
	return more
}

// wrote notes what became of the batch; false ends the flush.
func (s *Session) wrote(b *batch, err error) bool {
	if err != nil {
		if s.ctx.Err() == nil && !errors.Is(err, errHushed) {
			s.tooSlow()
		}
		// The outbox stays in its flushing state: nothing is written any more.
		return false
	}
	s.out.Wrote()
	s.cfg.Metrics.Sent(b.times)
	if b.before > 0 {
		s.cfg.Metrics.SentCompressed(b.before, b.after)
	}
	return true
}

// flush writes until the outbox is empty or others have their turn. It never waits: what the
// client does not take at once a goroutine of its own goes on with.
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

// flushWaiting writes the rest of a batch, if there is one, and on until the outbox is empty.
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
