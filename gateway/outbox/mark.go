package outbox

// Mark queues a control frame that is sent after everything that was put before, such as a cursor. If the order
// cannot be guaranteed now, because a status is held or parked, or if the last mark is still waiting, the outcome is
// Old, and the caller should try again later.
func (o *Outbox) Mark(b []byte) Outcome {
	o.mu.Lock()
	defer o.mu.Unlock()
	switch {
	case o.closed:
		return Closed
	case o.holding > 0, o.listed > 0, o.fetches > 0, o.mark != nil && o.mark.queued, !o.charge(len(b)):
		return Old
	}
	o.mark = &Slot{control: true, frame: &Frame{Bytes: b}}
	o.controls++
	o.controlBytes += len(b)
	return o.push(o.mark)
}

// Room reports whether fewer than half of MaxStatuses are waiting.
func (o *Outbox) Room() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return 2*o.statuses < o.MaxStatuses
}
