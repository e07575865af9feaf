package outbox

// Cut drops everything that waits, queues a last frame, and closes the outbox.
func (o *Outbox) Cut(last []byte) Outcome {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.closed {
		return Closed
	}
	for s := o.head; s != nil; {
		next := s.next
		o.discard(s)
		s.queued, s.next, s.parked = false, nil, 0
		if s.group != nil {
			delete(s.group.slots, s.key)
		}
		s = next
	}
	for o.parkedHead != nil {
		o.parkedHead.parked = 0
		o.unlist(o.parkedHead)
	}
	o.head, o.tail, o.mark = nil, nil, nil
	o.bytes += len(last) // the last frame is always queued, whatever the bounds
	o.statuses, o.controls, o.controlBytes = 0, 1, len(last)
	o.closed = true
	return o.push(&Slot{control: true, frame: &Frame{Bytes: last}})
}
