// Package outbox is what one session is still to be sent: control frames in order, none
// dropped, and at most one status per watched job, the latest. A put costs no allocation
// and never waits; a slow client costs bounded memory and sees the latest state late.
package outbox

import (
	"sync"
	"sync/atomic"

	"github.com/ackwire/ackwire/schemas/trackerpb"
)

// Frame is one status as it goes over a socket, built once for all its subscribers. It is
// never changed.
type Frame struct {
	Bytes        []byte
	JobID        string
	Subject      string // who submitted the job
	Version      int64
	Time         int64 // of the event that made it, by the log's clock in Unix milliseconds; 0 is not known
	DocumentSize int32 // bytes of the job's document, which is a part of Bytes
	Terminal     bool
	// Written is called when the frame was written, once for each client that it is news to; nil
	// when nobody wants to know. It must not block.
	Written func()

	deflated atomic.Pointer[deflated] // nil until somebody asks
	mine     atomic.Pointer[Frame]    // nil until somebody asks
}

// Mine is the frame as it goes over sockets that follow all jobs of its subject, with what encode
// makes of it: built once, however many ask.
func (f *Frame) Mine(encode func(*Frame) []byte) *Frame {
	if f.mine.Load() == nil {
		f.mine.CompareAndSwap(nil, &Frame{Bytes: encode(f), JobID: f.JobID, Subject: f.Subject, Version: f.Version,
			Time:         f.Time,
			DocumentSize: f.DocumentSize, Terminal: f.Terminal, Written: f.Written})
	}
	return f.mine.Load()
}

// NewFrame returns the frame of a job's document as it is sent in b.
func NewFrame(b []byte, j *trackerpb.Job) *Frame {
	return &Frame{
		Bytes: b, JobID: j.JobId, Subject: j.Subject, DocumentSize: int32(len(j.Document)), Version: j.Version,
		Terminal: j.Terminal, Time: j.Updated,
	}
}

// deflated is a frame as it goes over sockets with compression.
type deflated struct {
	once  sync.Once
	bytes []byte
}

// Deflated is the frame as it goes over sockets with compression: what deflate makes of Bytes,
// or Bytes where that is nil. However many ask, it is made once, for the first; the others
// wait for it.
func (f *Frame) Deflated(deflate func([]byte) []byte) []byte {
	d := f.deflated.Load()
	if d == nil {
		d = new(deflated)
		if !f.deflated.CompareAndSwap(nil, d) {
			d = f.deflated.Load()
		}
	}
	d.once.Do(func() {
		if d.bytes = deflate(f.Bytes); d.bytes == nil {
			d.bytes = f.Bytes
		}
	})
	return d.bytes
}

// Bounds of the control frames of one session that wait. Above either the client is too
// slow to be kept.
const (
	MaxControlFrames = 4096
	MaxControlBytes  = 1 << 20
)

// Slot is a subscription's place in its session's outbox. The zero Slot is empty.
// Guarded by its outbox's lock.
type Slot struct {
	// Since is when the subscription was asked for, in Unix milliseconds: what is older is no
	// news, however long it takes to be sent. Set before the first use.
	Since int64
	// Owner is who loads a status that was parked. Set before the first use.
	Owner any

	next    *Slot
	queued  bool
	control bool
	frame   *Frame
	last    int64  // the highest version put so far
	holds   int    // while above 0 the frame stays where it is
	group   *Group // that has it until it is sent
	key     string // in the group

	parked     int64 // the version of a status that is owed, as there was no room for it; 0 is none
	size       int   // of that one, in bytes
	reserved   int   // what was taken for it while it is loaded
	fetching   bool  // it is loaded
	listed     bool  // among the parked
	nextParked *Slot
}

// Group is a subscription to many jobs, each with a place only while its status waits. The zero
// Group is empty. Guarded by its outbox's lock.
type Group struct {
	// Since is that of its slots. Set before the first use.
	Since int64
	// Owner is that of its slots. Set before the first use.
	Owner any

	slots map[string]*Slot
}

// Outbox is an intrusive list of slots, oldest first.
type Outbox struct {
	// MaxStatuses bounds the slots that wait; 0 does not. A session's subscriptions bound them
	// too, but those of jobs that have ended are free before their last status was sent. Set
	// before the first use.
	MaxStatuses int
	// MaxBytes bounds the bytes of what waits and is being written; one frame is always taken. What
	// is beyond is parked: its bytes are loaded again once there is room. 0 does not. Set before
	// the first use.
	MaxBytes int

	mu           sync.Mutex // guards all below and the slots; no other lock is taken under it
	head, tail   *Slot
	controls     int
	controlBytes int
	statuses     int // slots in the list that are no control frame
	holding      int // slots that are held
	mark         *Slot
	flushing     bool
	closed       bool

	account                Account // nil: there is none
	bytes                  int     // of what waits, is loaded and is being written
	charged                int     // of these, what was taken of the account
	writing                int     // of these, what was taken last
	parkedHead, parkedTail *Slot   // slots whose status is owed, oldest first
	listed                 int     // of them
	fetches                int     // of those whose status is loaded

	owing atomic.Bool // there are parked slots; changed under mu

	// Owned by the flush, which takes.
	taken []func() // Written of what was taken last
}

// Outcome is what became of a frame.
type Outcome int

// The outcomes.
const (
	Queued   Outcome = iota // a flush runs and will send it
	Start                   // the caller must start a flush
	Replaced                // it took the place of one that was not sent yet
	Old                     // dropped: it is not newer than what was put before
	Closed                  // dropped: the outbox is closed
	Overflow                // the client is too slow: nothing was queued
	Parked                  // there is no room for its bytes: it is owed
)

// Send queues a control frame.
func (o *Outbox) Send(b []byte) Outcome { return o.send(b, false) }

// Close queues a last frame, if any, and drops whatever is sent later.
func (o *Outbox) Close(last []byte) Outcome { return o.send(last, true) }

func (o *Outbox) send(b []byte, closing bool) Outcome {
	o.mu.Lock()
	defer o.mu.Unlock()
	switch {
	case o.closed:
		return Closed
	case !closing && (o.controls >= MaxControlFrames || o.controlBytes+len(b) > MaxControlBytes):
		return Overflow
	}
	if !o.charge(len(b)) {
		if !closing {
			return Overflow
		}
		o.bytes += len(b) // the last word is said
	}
	o.closed = closing
	o.controls++
	o.controlBytes += len(b)
	return o.push(&Slot{control: true, frame: &Frame{Bytes: b}})
}

// Put queues a status in a subscription's slot, in place of one that was not sent yet.
// Versions of a slot rise strictly.
func (o *Outbox) Put(s *Slot, f *Frame) Outcome {
	o.mu.Lock()
	defer o.mu.Unlock()
	switch {
	case o.closed:
		return Closed
	case f.Version <= s.last:
		return Old
	}
	return o.accept(s, f)
}

// PutGroup queues a job's status for a group, in place of one that was not sent yet.
func (o *Outbox) PutGroup(g *Group, jobID string, f *Frame) Outcome {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.closed {
		return Closed
	}
	if s := g.slots[jobID]; s != nil {
		if f.Version <= s.last {
			return Old
		}
		return o.accept(s, f)
	}
	s := &Slot{Since: g.Since, group: g, key: jobID}
	outcome := o.accept(s, f)
	if s.queued || s.listed {
		if g.slots == nil {
			g.slots = map[string]*Slot{}
		}
		g.slots[jobID] = s
	}
	return outcome
}

// ClearGroup empties a group whose subscription has ended. It returns the jobs whose status waited,
// or was owed, and is not sent.
func (o *Outbox) ClearGroup(g *Group) (unsent []string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for jobID, s := range g.slots {
		if s.waits() {
			unsent = append(unsent, jobID)
		}
		o.discard(s)
		s.parked, s.group = 0, nil
	}
	clear(g.slots)
	return unsent
}

// waits reports whether the slot has a status that was not sent yet.
func (s *Slot) waits() bool { return s.frame != nil || s.parked != 0 }

// Waits reports whether the slot has a status that was not sent yet.
func (o *Outbox) Waits(s *Slot) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return s.waits()
}

// Last is the highest version that was put into the slot, or that it skips.
func (o *Outbox) Last(s *Slot) int64 {
	o.mu.Lock()
	defer o.mu.Unlock()
	return s.last
}

// Hold keeps what is put into the slot, the latest of it, until Release: an answer must be
// sent first.
func (o *Outbox) Hold(s *Slot) {
	o.mu.Lock()
	defer o.mu.Unlock()
	s.holds++
	if s.holds == 1 {
		o.holding++
	}
}

// Release undoes one Hold.
func (o *Outbox) Release(s *Slot) Outcome {
	o.mu.Lock()
	defer o.mu.Unlock()
	s.holds--
	if s.holds == 0 {
		o.holding--
	}
	switch {
	case s.holds > 0 || o.closed:
		return Queued
	case s.parked != 0:
		return o.enlist(s)
	case s.frame == nil || s.queued:
		return Queued
	}
	return o.push(s)
}

// Skip makes the slot drop versions up to after.
func (o *Outbox) Skip(s *Slot, after int64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	s.last = max(s.last, after)
}

// Reset empties a slot whose past is void: any version may be put next. notice, if any, is sent
// before that.
func (o *Outbox) Reset(s *Slot, notice []byte) Outcome {
	o.mu.Lock()
	o.discard(s)
	s.last, s.parked = 0, 0
	if s.queued { // the notice would come behind it
		o.unlink(s)
	}
	o.mu.Unlock()
	if notice == nil {
		return Queued
	}
	return o.Send(notice)
}

// unlink takes a slot out of the list.
func (o *Outbox) unlink(s *Slot) {
	var before *Slot
	for x := o.head; x != s; x = x.next {
		before = x
	}
	if before == nil {
		o.head = s.next
	} else {
		before.next = s.next
	}
	if o.tail == s {
		o.tail = before
	}
	o.statuses--
	s.queued, s.next = false, nil
}

// Inherit makes a new, held slot go on where another one ends: what that one had not sent
// is sent from this one, unless this one is to skip it, and nothing is sent twice. Once the
// outbox is closed, what was queued before stays where it is and is sent.
func (o *Outbox) Inherit(s, from *Slot) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.closed {
		return
	}
	if f := from.frame; f != nil && f.Version > s.last {
		s.frame, from.frame = f, nil
	}
	o.discard(from)
	from.parked = 0 // the new subscription is told anew
	s.last = max(s.last, from.last)
}

// Clear empties a slot whose subscription has ended, and returns what it held; nil is nothing.
func (o *Outbox) Clear(s *Slot) *Frame {
	o.mu.Lock()
	defer o.mu.Unlock()
	f := s.frame
	o.discard(s)
	s.parked = 0
	return f
}

func (o *Outbox) push(s *Slot) Outcome {
	if !s.control {
		if o.MaxStatuses > 0 && o.statuses >= o.MaxStatuses {
			return Overflow
		}
		o.statuses++
	}
	s.queued, s.next = true, nil
	if o.tail == nil {
		o.head = s
	} else {
		o.tail.next = s
	}
	o.tail = s
	if o.flushing {
		return Queued
	}
	o.flushing = true
	return Start
}

// Take appends the frames that are to be sent next, up to about limit bytes of them, and to
// times the Time of each status among them, 0 for what is no news. When nothing is left, more
// is false and the flush is over: the next put starts another. The frames' bytes are for the
// caller to copy: nobody waits for that.
func (o *Outbox) Take(frames []*Frame, times []int64, limit int) (_ []*Frame, _ []int64, more bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.shrink(o.writing)
	o.writing = 0
	size := 0
	for o.head != nil && (size == 0 || size+o.head.bytes() <= limit) {
		s := o.head
		o.head = s.next
		if o.head == nil {
			o.tail = nil
		}
		s.queued, s.next = false, nil
		if !s.control {
			o.statuses--
		}
		if s.group != nil && s.parked == 0 {
			delete(s.group.slots, s.key)
		}
		if s.frame == nil {
			continue
		}
		if s.frame.Written != nil && s.frame.Time >= s.Since {
			o.taken = append(o.taken, s.frame.Written)
		}
		if s.control {
			o.controls--
			o.controlBytes -= len(s.frame.Bytes)
		} else {
			times = append(times, s.news())
		}
		size += s.bytes()
		frames = append(frames, s.frame)
		s.frame = nil
	}
	o.writing = size
	if size == 0 {
		o.flushing = false
	}
	return frames, times, size > 0
}

// news is the time of the slot's status, if that is news.
func (s *Slot) news() int64 {
	if s.frame.Time < s.Since {
		return 0
	}
	return s.frame.Time
}

// Wrote says that what was taken is written. The flush calls it before the next Take.
func (o *Outbox) Wrote() {
	for i, written := range o.taken {
		written()
		o.taken[i] = nil
	}
	o.taken = o.taken[:0]
}

func (s *Slot) bytes() int {
	if s.frame == nil {
		return 0
	}
	return len(s.frame.Bytes)
}

// Idle reports whether nothing waits and no flush runs.
func (o *Outbox) Idle() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.head == nil && !o.flushing
}

// Over reports whether the last frame was taken: none follows.
func (o *Outbox) Over() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.closed && o.head == nil
}
