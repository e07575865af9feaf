package outbox

// Source makes the frames of something that is read on as its client reads, such as a stream of a job: nothing of it
// waits in the outbox. Package streams implements it.
type Source interface {
	// Next returns the next frame, which has about limit bytes of content, and whether there is more by now. It
	// returns nil if there is nothing: the owner of the slot then calls Ready when there is. The flush calls it,
	// without the outbox's lock. It must not block.
	Next(limit int) (f *Frame, more bool)
}

// leastChunk is the limit for a source when there is no room for more, in bytes.
const leastChunk = 1 << 10

// Ready queues a slot with a source, unless it is queued. It is queued again, behind what waits, each time it was its
// turn and its source has more.
func (o *Outbox) Ready(s *Slot) Outcome {
	o.mu.Lock()
	defer o.mu.Unlock()
	switch {
	case o.closed:
		return Closed
	case s.queued:
		return Queued
	}
	return o.push(s)
}

// Drop removes a slot with a source that has ended.
func (o *Outbox) Drop(s *Slot) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if s.queued {
		o.unlink(s)
	}
}

// made returns the next frame of a slot's source, and queues the slot again if there is more. The frame's bytes count
// as being written. If there is no room for limit bytes the frame is small, so that each client makes progress. o.mu is
// held, but not while the source makes the frame.
func (o *Outbox) made(s *Slot, limit int) *Frame {
	if o.closed {
		return nil
	}
	limit = max(limit, leastChunk)
	had := o.charge(limit)
	if !had {
		limit = leastChunk
	}
	o.mu.Unlock()
	f, more := s.Source.Next(limit)
	o.mu.Lock()
	if had {
		o.shrink(limit)
	}
	if f != nil && !o.charge(len(f.Bytes)) {
		o.bytes += len(f.Bytes) // it is small, or one value
	}
	if more && !o.closed && !s.queued {
		o.push(s)
	}
	return f
}
