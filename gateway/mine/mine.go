// Package mine knows which sessions follow all jobs of a subject. However many do, the subject
// is watched once at each tracker, and each status is built into a frame once.
//
// A tracker says for which partitions it covers a subject. Where another one takes a partition
// over, what changed in between may have reached nobody: it is asked for, once all partitions
// are covered again, and told to those who have not seen it.
package mine

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/ackwire/ackwire/gateway/outbox"
	"github.com/ackwire/ackwire/gateway/wire"
	"github.com/ackwire/ackwire/internal/wake"
	"github.com/ackwire/ackwire/schemas/code"
	"github.com/ackwire/ackwire/schemas/trackerpb"
)

// Bounds and rhythms.
const (
	answerTimeout = 5 * time.Second  // how long a subscription waits for the trackers' first answers
	overlap       = time.Minute      // a gap is taken to have begun so much before it was noticed
	keepSeen      = 5 * time.Minute  // how long a job's last version is remembered; above overlap
	maxSeen       = 50_000           // of one subject
	gapWorkers    = 8                // subjects whose gaps are closed at a time
	gapTimeout    = 10 * time.Second // one page of what was missed
	gapRetry      = time.Second
	gapPage       = 200
)

// Upstream is where subjects are watched.
type Upstream interface {
	AddSubject(*trackerpb.SubjectAdd)
	RemoveSubject(handle uint32)
	List(context.Context, *trackerpb.ListRequest) (*trackerpb.ListResponse, error)
}

// Subscriber hears about one subscription. Its methods must not block and must not call the
// index.
type Subscriber interface {
	// Subscribed answers the subscription, once and before any status; after an error's code it
	// is over. reset: its After is no cursor of this log, and counts as none.
	Subscribed(err code.Code, reset bool)
	// MineStatus delivers a status of any job of the subject. Versions of one job strictly rise.
	MineStatus(jobID string, f *outbox.Frame)
	// Cursor says up to where all was delivered; false when that cannot be passed on now.
	Cursor(cursor string) bool
	// Room reports whether there is room for what has changed since a cursor.
	Room() bool
}

// Subscription is one session's watch of a subject.
type Subscription struct {
	// Set before Subscribe, then only read.
	Subscriber Subscriber
	Tenant     string
	Subject    string
	After      string // a cursor: what has changed since is delivered, too; "" is none

	// Guarded by the index's lock.
	waiting bool // for the first answer
	since   time.Time
	resume  int64 // what has changed since, by the log's clock in Unix milliseconds, is still to be delivered; 0: nothing
	resumes bool  // it is being
	dirty   bool  // something was delivered since the last cursor
}

// who is a subject of a tenant.
type who struct{ tenant, subject string }

// subject is one that somebody here follows.
type subject struct {
	who     who
	handle  uint32
	subs    []*Subscription
	covered []cover // by partition; empty until a tracker has said how many there are
	seen    map[string]sight
	began   int64 // by the log's clock: what changed before is nobody's
	gap     int64 // since when, by the log's clock in Unix milliseconds, something may be missing; 0: nothing
	closing bool  // the gap is being closed
}

// cover is what is known of one partition.
type cover struct {
	stream uint64 // that covers it; 0 is none
	before bool   // it was covered once
	lost   int64  // since when it is not, by the log's clock
}

// sight is a status that was told.
type sight struct {
	version int64
	at      time.Time
}

// Index is the interest index of a gateway.
type Index struct {
	// Pushed is as hub.Hub's. Set before the first use.
	Pushed func(*trackerpb.Job) (written func())

	up   Upstream
	wake wake.Signal // a gap may be closed

	mu       sync.Mutex // guards all below; subscribers are called under it
	subjects map[who]*subject
	handles  map[uint32]*subject
	last     uint32        // handle that was given
	skew     time.Duration // the log's clock less ours
	subs     int
}

// New returns an empty index. Attach must be called before it is used.
func New() *Index {
	return &Index{wake: wake.New(), subjects: map[who]*subject{}, handles: map[uint32]*subject{}}
}

// Attach sets where subjects are watched.
func (x *Index) Attach(up Upstream) { x.up = up }

// Size is how many subjects are followed and by how many subscriptions.
func (x *Index) Size() (subjects, subscriptions int) {
	x.mu.Lock()
	defer x.mu.Unlock()
	return len(x.subjects), x.subs
}

// Subscribe begins to follow a subject. The answer, and all that follows, comes to the
// subscriber.
func (x *Index) Subscribe(sub *Subscription) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.subs++
	w := who{sub.Tenant, sub.Subject}
	s := x.subjects[w]
	if s == nil {
		x.last++
		s = &subject{who: w, handle: x.last, seen: map[string]sight{}}
		x.subjects[w], x.handles[s.handle] = s, s
		x.up.AddSubject(&trackerpb.SubjectAdd{Handle: s.handle, Tenant: w.tenant, Subject: w.subject})
	}
	s.subs = append(s.subs, sub)
	sub.waiting, sub.since = true, time.Now()
	x.answer(s)
}

// answer tells those who wait, once every partition is covered.
func (x *Index) answer(s *subject) {
	if !s.whole() {
		return
	}
	for _, sub := range s.subs {
		if sub.waiting {
			sub.waiting, sub.dirty = false, true
			var known bool
			if sub.resume, known = readCursor(sub.After, x.logNow()); sub.resume != 0 {
				x.wake.Send()
			}
			sub.Subscriber.Subscribed("", !known)
		}
	}
}

// logNow is the time by the log's clock, in Unix milliseconds.
func (x *Index) logNow() int64 { return time.Now().Add(x.skew).UnixMilli() }

// whole reports whether every partition is covered.
func (s *subject) whole() bool {
	return len(s.covered) > 0 && !slices.ContainsFunc(s.covered, func(c cover) bool { return c.stream == 0 })
}

// Unsubscribe ends a subscription; nothing is delivered after it has returned.
func (x *Index) Unsubscribe(sub *Subscription) {
	x.mu.Lock()
	defer x.mu.Unlock()
	s := x.subjects[who{sub.Tenant, sub.Subject}]
	if s == nil {
		return
	}
	if i := slices.Index(s.subs, sub); i >= 0 {
		s.subs = slices.Delete(s.subs, i, i+1)
		x.subs--
		x.dropUnwanted(s)
	}
}

func (x *Index) dropUnwanted(s *subject) {
	if len(s.subs) == 0 {
		delete(x.subjects, s.who)
		delete(x.handles, s.handle)
		x.up.RemoveSubject(s.handle)
	}
}

// Update takes a status from a tracker's stream.
func (x *Index) Update(j *trackerpb.Job) {
	if j.SubjectHandle == 0 {
		return
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	if s := x.handles[j.SubjectHandle]; s != nil {
		var written func()
		if x.Pushed != nil {
			written = x.Pushed(j)
		}
		s.tell(j, written)
	}
}

// tell delivers a status that is news; written may be nil.
func (s *subject) tell(j *trackerpb.Job, written func()) {
	if j.Version <= s.seen[j.JobId].version {
		return
	}
	s.note(j.JobId, j.Version)
	f := s.frame(j, written)
	for _, sub := range s.subs {
		if !sub.waiting {
			sub.dirty = true
			sub.Subscriber.MineStatus(j.JobId, f)
		}
	}
}

func (s *subject) frame(j *trackerpb.Job, written func()) *outbox.Frame {
	return &outbox.Frame{Bytes: wire.EncodeMineStatus(j.Version, j.Document), JobID: j.JobId, Subject: s.who.subject,
		DocumentSize: int32(len(j.Document)), Version: j.Version, Terminal: j.Terminal, Time: j.Updated, Written: written}
}

// note remembers a job's version, so that closing a gap tells nothing twice. A subject with
// more jobs within minutes than are remembered may hear of some twice when a tracker moves.
func (s *subject) note(jobID string, version int64) {
	if len(s.seen) >= maxSeen {
		s.forget(time.Now().Add(-overlap))
		if len(s.seen) >= maxSeen {
			clear(s.seen)
		}
	}
	s.seen[jobID] = sight{version, time.Now()}
}

func (s *subject) forget(before time.Time) {
	for id, seen := range s.seen {
		if seen.at.Before(before) {
			delete(s.seen, id)
		}
	}
}

// Covered takes what a stream says of its partitions.
func (x *Index) Covered(stream uint64, c *trackerpb.Coverage) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.skew = time.Until(time.UnixMilli(c.LogNow))
	for _, handle := range c.Handles {
		s := x.handles[handle]
		if s == nil || c.Partition < 0 || c.Partition >= c.Partitions {
			continue
		}
		if len(s.covered) == 0 {
			s.covered = make([]cover, c.Partitions)
		}
		if int(c.Partition) >= len(s.covered) {
			continue // partitions were added: trackers end with a clear text
		}
		p := &s.covered[c.Partition]
		switch {
		case c.Lost:
			if p.stream == stream {
				p.stream, p.lost = 0, c.LogNow
			}
			continue
		case p.stream == stream:
			continue
		}
		if s.began == 0 {
			s.began = c.LogNow
		}
		if p.before {
			since := c.LogNow
			if p.stream == 0 {
				since = p.lost
			}
			s.missing(since - overlap.Milliseconds())
		}
		p.stream, p.before = stream, true
		x.answer(s)
		x.wake.Send()
	}
}

func (s *subject) missing(since int64) {
	since = max(since, s.began)
	if s.gap == 0 || since < s.gap {
		s.gap = since
	}
}

// Uncovered takes that a stream has ended.
func (x *Index) Uncovered(stream uint64) {
	x.mu.Lock()
	defer x.mu.Unlock()
	now := time.Now().Add(x.skew).UnixMilli()
	for _, s := range x.subjects {
		for i := range s.covered {
			if p := &s.covered[i]; p.stream == stream {
				p.stream, p.lost = 0, now
			}
		}
	}
}

// Sweep tells subscriptions that the trackers have not answered in time, and forgets what is
// needed no more. Established subscriptions wait for ever.
func (x *Index) Sweep() {
	x.mu.Lock()
	defer x.mu.Unlock()
	now := time.Now()
	for _, s := range x.subjects {
		s.subs = slices.DeleteFunc(s.subs, func(sub *Subscription) bool {
			if !sub.waiting || now.Sub(sub.since) < answerTimeout {
				return false
			}
			x.subs--
			sub.Subscriber.Subscribed(code.Unavailable, false)
			return true
		})
		if s.whole() && s.gap == 0 {
			s.forget(now.Add(-keepSeen))
			x.tellCursor(s)
		}
		x.dropUnwanted(s)
	}
}
