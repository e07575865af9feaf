package watch

import (
	"time"

	"github.com/ackwire/ackwire/internal/latest"
	"github.com/ackwire/ackwire/schemas/trackerpb"
)

// Bounds of the lists of one stream.
const (
	MaxLists       = 2000 // lists
	MaxTenantLists = 200  // lists of one tenant, with each of which a change of one of its jobs is compared

	// MaxRow is the size of the largest document that is sent with a list, in bytes; of a larger one only the version is.
	MaxRow = 16 << 10

	listPace     = 100 * time.Millisecond // between two responses with changes of one list
	maxListJobs  = 1024                   // jobs of one list whose change waits to be sent
	maxListBytes = 1 << 20                // of their documents
	maxListsHeld = 32 << 20               // bytes of the documents that wait, of all lists
	maxListPart  = 256 << 10              // bytes of documents of lists in one response; the last one may exceed it
)

// ListOutcome says what became of a change in a list.
type ListOutcome int

// The outcomes.
const (
	ListKept     ListOutcome = iota // it waits to be sent
	ListReplaced                    // it waits in place of an earlier one of the job, which is not sent
	ListMissed                      // it waits; others are not sent, for which there was no room
	ListGone                        // nobody watches the list any more
	StreamGone                      // the stream is closed
)

// list is what waits to be sent of one list. Guarded by the stream's lock.
type list struct {
	changes latest.Log[*trackerpb.ListChange]
	sent    uint64    // the position up to which changes were sent
	next    time.Time // nothing is sent before
}

// lists are a stream's lists. Guarded by its lock.
type lists struct {
	all   map[uint32]*list
	news  map[uint32]*list // those with changes that were not sent
	bytes int              // of documents that wait
	timer *time.Timer      // wakes the stream when the next list may be sent; nil if there is none
}

// AddList has the stream take changes of a list.
func (s *Stream) AddList(handle uint32) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return
	}
	if s.lists.all == nil {
		s.lists.all, s.lists.news = map[uint32]*list{}, map[uint32]*list{}
	}
	s.lists.all[handle] = &list{changes: latest.Log[*trackerpb.ListChange]{MaxKeys: maxListJobs, MaxBytes: maxListBytes}}
}

// RemoveList drops what waits to be sent of a list; what is put later is dropped, too.
func (s *Stream) RemoveList(handle uint32) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if l := s.lists.all[handle]; l != nil {
		s.lists.bytes -= l.changes.Bytes()
	}
	delete(s.lists.all, handle)
	delete(s.lists.news, handle)
}

// PutList queues a change in a list, in place of one of the job that was not sent yet. When too many wait, the list's
// oldest are dropped, and the gateway is told how many.
func (s *Stream) PutList(handle uint32, c *trackerpb.ListChange) ListOutcome {
	s.mu.Lock()
	defer s.mu.Unlock()
	l := s.lists.all[handle]
	switch {
	case s.closed:
		return StreamGone
	case l == nil:
		return ListGone
	}
	lost, bytes := l.changes.Lost(), l.changes.Bytes()
	taken, replaced := l.changes.Put(c.JobId, c.Version, c, len(c.Document))
	s.lists.bytes += l.changes.Bytes() - bytes
	if s.lists.bytes > maxListsHeld {
		s.lists.bytes -= l.changes.Bytes()
		l.changes.Clear()
	}
	if taken && s.lists.news[handle] == nil {
		s.lists.news[handle] = l
		s.wake.Send()
	}
	switch {
	case l.changes.Lost() > lost:
		return ListMissed
	case replaced:
		return ListReplaced
	}
	return ListKept
}

// takeLists moves the changes of lists that may be sent now into r. s.mu is held.
func (s *Stream) takeLists(r *trackerpb.WatchResponse, now time.Time) {
	size := 0
	var first time.Time // when the next list may be sent
	for handle, l := range s.lists.news {
		if size >= maxListPart {
			s.wake.Send() // there is more
			return
		}
		if l.next.After(now) {
			if first.IsZero() || l.next.Before(first) {
				first = l.next
			}
			continue
		}
		out := &trackerpb.ListChanges{Handle: handle}
		before := l.changes.Bytes()
		if l.changes.Lost() > l.sent {
			out.Missed = int64(l.changes.End() - l.sent)
			l.sent = l.changes.End()
		}
		l.sent = l.changes.Read(l.sent, func(_ string, _ int64, c *trackerpb.ListChange, bytes int) bool {
			if size >= maxListPart {
				return false
			}
			out.Changes = append(out.Changes, c)
			size += bytes
			return true
		})
		l.changes.Trim(l.sent)
		s.lists.bytes += l.changes.Bytes() - before
		if l.sent == l.changes.End() {
			l.next = now.Add(listPace)
			delete(s.lists.news, handle)
		}
		r.Lists = append(r.Lists, out)
	}
	if !first.IsZero() {
		s.wakeLater(first.Sub(now))
	}
}

// wakeLater wakes the stream after a time. s.mu is held.
func (s *Stream) wakeLater(after time.Duration) {
	if s.lists.timer == nil {
		s.lists.timer = time.AfterFunc(after, s.wake.Send)
		return
	}
	s.lists.timer.Reset(after)
}

// closeLists drops all lists. s.mu is held.
func (s *Stream) closeLists() {
	if s.lists.timer != nil {
		s.lists.timer.Stop()
	}
	s.lists = lists{}
}
