package outbox

// Mark queues a control frame that says something of all that was put before: it is sent after that.
// Not while something that was put is held back, or owed, nor while the last mark waits: the outcome is Old,
// and it is to be tried again.
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

// Room reports whether less than half of the statuses wait that may.
func (o *Outbox) Room() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return 2*o.statuses < o.MaxStatuses
}
