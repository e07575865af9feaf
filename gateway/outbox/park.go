package outbox

// freeBytes is how much every outbox may hold without taking it from its account. So small statuses, which are the
// majority, do not need the budget's lock.
const freeBytes = 4 << 10

// Account is the budget from which an outbox takes its bytes; package budget implements it. Its methods must not block.
type Account interface {
	Take(n int64) bool
	Give(n int64)
}

// Owed is a parked status for which room is reserved now. Its owner loads the job and calls PutOwed, or Unowed, or
// Again.
type Owed struct {
	Owner any    // of the slot, or of its group
	Key   string // the job ID, for a slot of a group
	After int64  // the last version that was put and not parked

	Version int64 // the version that was parked; the job may have a later one by now

	slot *Slot
}

// PutOwed queues a parked status that was loaded, as Put does.
func (o *Outbox) PutOwed(w Owed, f *Frame) Outcome {
	o.mu.Lock()
	defer o.mu.Unlock()
	switch {
	case o.closed:
		return Closed
	case w.slot.forgotten():
		o.settle(w.slot)
		return Old
	case f.Version <= w.slot.last:
		o.settle(w.slot)
		return Old
	}
	return o.accept(w.slot, f)
}

// Unowed drops a parked status that is not needed any more. It does nothing if the slot has got another status
// meanwhile.
func (o *Outbox) Unowed(w Owed) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if !w.slot.fetching {
		return
	}
	o.settle(w.slot)
	w.slot.parked = 0
	if g := w.slot.group; g != nil && w.slot.frame == nil {
		delete(g.slots, w.slot.key)
	}
}

// Cede passes the parked status of s to a group, when the slot's own subscription has ended and the group covers the
// job. The status keeps its place in the order. taken is false if s has no parked status.
func (o *Outbox) Cede(s *Slot, g *Group, jobID string) (_ Outcome, taken bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if s.parked == 0 || o.closed {
		return Old, false
	}
	o.settle(s) // ends loading for s
	if has := g.slots[jobID]; has != nil {
		version := s.parked
		s.parked = 0
		if version <= has.last || version <= has.parked {
			return Old, true
		}
		o.discard(has)
		return o.park(has, version, s.size), true
	}
	s.Since, s.group, s.key = g.Since, g, jobID
	if g.slots == nil {
		g.slots = map[string]*Slot{}
	}
	g.slots[jobID] = s
	return o.park(s, s.parked, s.size), true
}

// Reclaim takes the parked status of a job back from a group, for a held slot of the job's own subscription, so that it
// is loaded only once. It reports whether the group had one.
func (o *Outbox) Reclaim(s *Slot, g *Group, jobID string) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	has := g.slots[jobID]
	if has == nil || has.parked == 0 || o.closed {
		return false
	}
	version := has.parked
	o.settle(has)
	has.parked, has.group = 0, nil
	delete(g.slots, jobID)
	s.last = max(s.last, has.last)
	if version > s.last {
		o.park(s, version, has.size)
	}
	return true
}

// Again parks a status again that could not be loaded.
func (o *Outbox) Again(w Owed) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if s := w.slot; s.fetching {
		o.settle(s)
		if s.parked != 0 {
			o.enlist(s)
		}
	}
}

// Park parks a large status that a tracker has withheld, without ever having had its bytes.
func (o *Outbox) Park(s *Slot, version int64, size int) Outcome {
	o.mu.Lock()
	defer o.mu.Unlock()
	switch {
	case o.closed:
		return Closed
	case version <= s.last:
		return Old
	case version <= s.parked:
		return Parked // it is parked already
	}
	o.discard(s)
	return o.park(s, version, size)
}

// Owing reports whether statuses are parked.
func (o *Outbox) Owing() bool { return o.owing.Load() }

// Due removes up to n parked statuses from the list, the oldest first, and reserves room for them. later is true if
// there is no room for any, and nothing is being written or loaded that would free some: then the caller should try
// again after a while.
func (o *Outbox) Due(n int) (due []Owed, later bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for len(due) < n && o.parkedHead != nil && !o.closed {
		s := o.parkedHead
		if s.parked != 0 && !s.fetching {
			if !o.grow(s.size) {
				break
			}
			s.fetching, s.reserved = true, s.size
			o.fetches++
			w := Owed{Owner: s.Owner, Key: s.key, After: s.last, Version: s.parked, slot: s}
			if s.group != nil {
				w.Owner = s.group.Owner
			}
			due = append(due, w)
		}
		o.unlist(s)
	}
	return due, len(due) == 0 && o.parkedHead != nil && o.fetches == 0 && !o.flushing && !o.closed
}

// accept puts a frame into its slot, or parks it.
func (o *Outbox) accept(s *Slot, f *Frame) Outcome {
	replaced := s.frame != nil
	o.discard(s)
	if !o.grow(len(f.Bytes)) {
		return o.park(s, f.Version, len(f.Bytes))
	}
	s.parked, s.last, s.frame = 0, f.Version, f
	switch {
	case replaced:
		return Replaced
	case s.holds > 0, s.queued:
		return Queued
	}
	return o.push(s)
}

// discard drops the slot's frame, and ends loading for it.
func (o *Outbox) discard(s *Slot) {
	o.settle(s)
	if s.frame != nil {
		o.shrink(len(s.frame.Bytes))
		s.frame = nil
	}
}

// settle ends the loading of a parked status and frees the room that was reserved for it.
func (o *Outbox) settle(s *Slot) {
	if s.fetching {
		o.shrink(s.reserved)
		s.fetching, s.reserved = false, 0
		o.fetches--
	}
}

func (o *Outbox) park(s *Slot, version int64, size int) Outcome {
	s.parked, s.size = version, size
	if s.holds > 0 {
		return Parked
	}
	return o.enlist(s)
}

func (o *Outbox) enlist(s *Slot) Outcome {
	if s.listed {
		return Parked
	}
	if o.MaxStatuses > 0 && o.statuses+o.listed >= o.MaxStatuses {
		return Overflow
	}
	o.listed++
	s.listed, s.nextParked = true, nil
	if o.parkedTail == nil {
		o.parkedHead = s
	} else {
		o.parkedTail.nextParked = s
	}
	o.parkedTail = s
	o.owing.Store(true)
	return Parked
}

// unlist removes the oldest parked slot, which is s, from the list.
func (o *Outbox) unlist(s *Slot) {
	o.listed--
	o.parkedHead = s.nextParked
	if o.parkedHead == nil {
		o.parkedTail = nil
		o.owing.Store(false)
	}
	s.listed, s.nextParked = false, nil
}

// forgotten reports whether the slot was removed from its group.
func (s *Slot) forgotten() bool { return s.key != "" && s.group == nil }

// grow takes n bytes. It reports false if there is no room. MaxBytes does not apply to the first frame, whatever its
// size.
func (o *Outbox) grow(n int) bool {
	if o.MaxBytes > 0 && o.bytes > 0 && o.bytes+n > o.MaxBytes {
		return false
	}
	return o.charge(n)
}

// charge takes n bytes, and those above freeBytes from the account. It reports false if the account has no room.
func (o *Outbox) charge(n int) bool {
	if more := max(o.bytes+n-freeBytes, 0) - o.charged; more > 0 && o.account != nil {
		if !o.account.Take(int64(more)) {
			return false
		}
		o.charged += more
	}
	o.bytes += n
	return true
}

func (o *Outbox) shrink(n int) {
	o.bytes -= n
	if less := o.charged - max(o.bytes-freeBytes, 0); less > 0 {
		o.charged -= less
		o.account.Give(int64(less))
	}
}

// Join sets the account from which the outbox takes bytes from now on. Bytes that it has taken are returned to the
// former account.
func (o *Outbox) Join(a Account) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.charged > 0 {
		o.account.Give(int64(o.charged))
	}
	o.account, o.charged = a, 0
}

// Abandon drops everything and returns all bytes to the account. It must be called when nothing is written any more.
func (o *Outbox) Abandon() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.closed = true
	o.head = nil
	o.tail = nil
	o.parkedHead = nil
	o.parkedTail = nil
	o.owing.Store(false)
	if o.account != nil {
		o.account.Give(int64(o.charged))
	}
	o.bytes, o.charged, o.writing = 0, 0, 0
	o.account = nil
}
