package outbox

import (
	"sync"
	"sync/atomic"

	"github.com/ackwire/ackwire/schemas/trackerpb"
)

// Frame is one status, encoded once for all its subscribers. It is never changed.
type Frame struct {
	Bytes        []byte
	JobID        string
	Subject      string // of the user who submitted the job
	Version      int64
	Time         int64 // of the event that made this version, in Unix milliseconds by the log's clock; 0 if not known
	DocumentSize int32 // bytes of the job's document, which is a part of Bytes
	Terminal     bool
	// Chunk is set, by the source that has made it, for a part of a job's stream: what the flush must know of it.
	Chunk any
	// Written, if not nil, is called when the frame was written, once for each client to which it is news. It
	// must not block.
	Written func()

	deflated atomic.Pointer[deflated] // nil until it is needed
	subject  atomic.Pointer[Frame]    // of ForSubject; nil until it is needed
}

// ForSubject returns the frame for sockets that watch all jobs of its subject, whose bytes are made by encode. On the
// wire it is marked as mine. It is made only once.
func (f *Frame) ForSubject(encode func(*Frame) []byte) *Frame {
	if f.subject.Load() == nil {
		f.subject.CompareAndSwap(nil, &Frame{Bytes: encode(f), JobID: f.JobID, Subject: f.Subject, Version: f.Version,
			Time:         f.Time,
			DocumentSize: f.DocumentSize, Terminal: f.Terminal, Written: f.Written})
	}
	return f.subject.Load()
}

// NewFrame returns the frame of a job's status. b is its encoding, which contains the document of j.
func NewFrame(b []byte, j *trackerpb.Job) *Frame {
	return &Frame{
		Bytes: b, JobID: j.JobId, Subject: j.Subject, DocumentSize: int32(len(j.Document)), Version: j.Version,
		Terminal: j.Terminal, Time: j.Updated,
	}
}

// deflated is a frame's compressed form.
type deflated struct {
	once  sync.Once
	bytes []byte
}

// Deflated returns the bytes of the frame for sockets with compression: what deflate returns for Bytes, or Bytes if
// that is nil. The first caller makes them; the others wait for it.
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

// Bounds of the waiting control frames of a session. Above either the client is too slow, and the session ends.
const (
	MaxControlFrames = 4096
	MaxControlBytes  = 1 << 20
)

// Slot is a subscription's place in its session's outbox. The zero Slot is empty.
// Guarded by its outbox's lock.
type Slot struct {
	// Since is when the subscription was asked for, in Unix milliseconds: older statuses do not count as news,
	// for the metric of delays. Set before the first use.
	Since int64
	// Owner is the subscription, which loads a status that was parked. Set before the first use.
	Owner any

	// Source makes the frames of the slot while they are taken; nil for a slot of statuses. Set before the first use.
	Source Source

	next    *Slot
	queued  bool
	control bool
	frame   *Frame
	last    int64  // the highest version put so far
	holds   int    // while above 0 the frame is not queued
	group   *Group // the group that has the slot until it is sent
	key     string // the job ID in the group

	parked     int64 // the version of a status for which there was no room; 0 for none
	size       int   // the size of that status, in bytes
	reserved   int   // bytes that are reserved for it while it is loaded
	fetching   bool  // it is being loaded
	listed     bool  // the slot is in the list of parked ones
	nextParked *Slot
}

// Group is a subscription to many jobs, of which each has a slot only while its status waits. The zero
// Group is empty. Guarded by its outbox's lock.
type Group struct {
	// Since is the Since of its slots. Set before the first use.
	Since int64
	// Owner is the Owner of its slots. Set before the first use.
	Owner any

	slots map[string]*Slot // by job ID
}

// Outbox is the queue of a session: an intrusive list of slots, the oldest first.
type Outbox struct {
	// MaxStatuses bounds the waiting slots; 0 means no bound. The number of subscriptions is no bound, since a
	// subscription to an ended job ends before its last status was sent. Set before the first use.
	MaxStatuses int
	// MaxBytes bounds the bytes that wait or are being written; a single frame is always accepted. A status
	// beyond it is parked: its bytes are dropped, and loaded again once there is room. 0 means no bound. Set
	// before the first use.
	MaxBytes int

	mu           sync.Mutex // guards the fields below and the slots; no other lock is taken under it
	head, tail   *Slot
	controls     int   // control frames in the list
	controlBytes int   // their bytes
	statuses     int   // slots in the list that are not control frames
	holding      int   // slots that are held
	mark         *Slot // the last mark
	flushing     bool  // a flush runs
	closed       bool

	account                Account // nil if there is none
	bytes                  int     // bytes that wait, are reserved for loading, or are being written
	charged                int     // the part of bytes that was taken from the account
	writing                int     // the part of bytes that is being written
	parkedHead, parkedTail *Slot   // the parked slots, the oldest first
	listed                 int     // how many they are
	fetches                int     // slots whose status is being loaded

	owing atomic.Bool // there are parked slots; changed under mu

	// Owned by the flush, the only caller of Take.
	taken []func() // the Written functions of the frames that were taken last
}

// Outcome says what the outbox did with a frame.
type Outcome int

// The outcomes.
const (
	Queued   Outcome = iota // it was queued; a flush runs and will send it
	Start                   // it was queued; the caller must start a flush
	Replaced                // it has replaced one that was not sent yet
	Old                     // it was dropped: its version is not newer than the last one
	Closed                  // it was dropped: the outbox is closed
	Overflow                // it was dropped: the client is too slow
	Parked                  // it was parked: there is no room for its bytes, so it must be loaded again later
)

// Send queues a control frame.
func (o *Outbox) Send(b []byte) Outcome { return o.send(b, false) }

// Close queues a last frame, which may be nil, and closes the outbox: later frames are dropped.
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
		o.bytes += len(b) // the last frame is always queued, whatever the bounds
	}
	o.closed = closing
	o.controls++
	o.controlBytes += len(b)
	return o.push(&Slot{control: true, frame: &Frame{Bytes: b}})
}

// RoomForAnswer reports whether a large answer, of up to half of MaxControlBytes, has room beside what waits.
func (o *Outbox) RoomForAnswer() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.closed || o.controlBytes <= MaxControlBytes/2
}

// Put queues a status in a subscription's slot, and replaces one that was not sent yet.
// Versions of a slot strictly rise.
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

// PutGroup queues a job's status for a group, and replaces one that was not sent yet.
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

// ClearGroup empties a group whose subscription has ended. It returns the IDs of the jobs whose status was waiting or
// parked, and is not sent.
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

// Last returns the highest version that was put into the slot, or that it skips.
func (o *Outbox) Last(s *Slot) int64 {
	o.mu.Lock()
	defer o.mu.Unlock()
	return s.last
}

// Hold keeps the slot's status from being queued until Release, so that an answer is sent first. Of several statuses
// the latest is kept.
func (o *Outbox) Hold(s *Slot) {
	o.mu.Lock()
	defer o.mu.Unlock()
	s.holds++
	if s.holds == 1 {
		o.holding++
	}
}

// Release undoes one Hold. After the last one it queues the slot's status, if it has one.
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

// Reset empties a slot and forgets its last version, so that any version may be put next. notice, if not nil, is queued
// before that.
func (o *Outbox) Reset(s *Slot, notice []byte) Outcome {
	o.mu.Lock()
	o.discard(s)
	s.last, s.parked = 0, 0
	if s.queued { // or the next status would be sent before the notice
		o.unlink(s)
	}
	o.mu.Unlock()
	if notice == nil {
		return Queued
	}
	return o.Send(notice)
}

// unlink removes a slot from the list.
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
	if s.Source == nil {
		o.statuses--
	}
	s.queued, s.next = false, nil
}

// Inherit makes a new slot s, which is held, continue after the slot from: s takes over the status that from has not
// sent yet, unless s skips that version, and no version is sent twice. In a closed outbox it does nothing: what was
// queued before is still sent.
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
	from.parked = 0 // the new subscription gets the status itself
	s.last = max(s.last, from.last)
}

// Clear empties a slot whose subscription has ended, and returns the frame that was not sent; nil if there was none.
func (o *Outbox) Clear(s *Slot) *Frame {
	o.mu.Lock()
	defer o.mu.Unlock()
	f := s.frame
	o.discard(s)
	s.parked = 0
	return f
}

// push appends a slot to the list.
func (o *Outbox) push(s *Slot) Outcome {
	if !s.control && s.Source == nil {
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

// Take removes the next frames, of up to about limit bytes, and appends them to frames. For each status among them it
// appends its Time to times, or 0 if it is not news. If there are none, more is false and the flush is over: the next
// put starts another. The caller copies the frames' bytes, which it can do without the outbox's lock.
func (o *Outbox) Take(frames []*Frame, times []int64, limit int) (_ []*Frame, _ []int64, more bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.shrink(o.writing)
	o.writing = 0
	size := 0
	for o.head != nil && (size == 0 || o.head.fits(limit-size)) {
		s := o.head
		o.head = s.next
		if o.head == nil {
			o.tail = nil
		}
		s.queued, s.next = false, nil
		if s.Source != nil {
			if f := o.made(s, limit-size); f != nil {
				frames = append(frames, f)
				size += len(f.Bytes)
			}
			continue
		}
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

// news returns the time of the slot's status, or 0 if it is older than the subscription.
func (s *Slot) news() int64 {
	if s.frame.Time < s.Since {
		return 0
	}
	return s.frame.Time
}

// Wrote records that the frames of the last Take are written. The flush calls it before the next Take.
func (o *Outbox) Wrote() {
	for i, written := range o.taken {
		written()
		o.taken[i] = nil
	}
	o.taken = o.taken[:0]
}

// fits reports whether the slot's frame fits into a number of bytes.
func (s *Slot) fits(room int) bool {
	if s.Source != nil {
		return room >= 4*leastChunk // a smaller frame is not worth it
	}
	return s.bytes() <= room
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

// Over reports whether the outbox is closed and its last frame was taken.
func (o *Outbox) Over() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.closed && o.head == nil
}
