package subjects

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/ackwire/ackwire/gateway/outbox"
	"github.com/ackwire/ackwire/gateway/wire"
	"github.com/ackwire/ackwire/internal/kafka"
	"github.com/ackwire/ackwire/internal/wake"
	"github.com/ackwire/ackwire/schemas/code"
	"github.com/ackwire/ackwire/schemas/trackerpb"
)

// Bounds and timing.
const (
	overlap    = time.Minute     // how far before it was noticed a gap is assumed to have begun
	keepSeen   = 5 * time.Minute // how long a job's last version is remembered; above overlap
	maxSeen    = 50_000          // versions that are remembered per subject
	gapWorkers = 8               // subjects whose gaps are closed at the same time
	gapRetry   = time.Second
	gapPage    = 200 // jobs in a page
)

// Upstream watches subjects at the trackers; package upstream implements it.
type Upstream interface {
	AddSubject(*trackerpb.SubjectAdd)
	RemoveSubject(handle uint32)
	List(context.Context, *trackerpb.ListRequest) (*trackerpb.ListResponse, error)
}

// Subscriber receives what a subscription brings. Its methods must not block and must not call the
// index.
type Subscriber interface {
	// Subscribed is called once, before any status. An error code ends the subscription. reset says that the
	// subscription's After is not a cursor of this log, and is ignored.
	Subscribed(err code.Code, reset bool)
	// SubjectStatus is called with a status of any job of the subject. Versions of one job strictly rise.
	SubjectStatus(jobID string, f *outbox.Frame)
	// Cursor is called with a cursor for everything that was delivered so far. It reports false if the cursor
	// cannot be sent now; then it is called again later.
	Cursor(cursor string) bool
	// Room reports whether the subscriber has room for the statuses of another page.
	Room() bool
}

// Subscription is one session's watch of a subject.
type Subscription struct {
	// Set before Subscribe, then only read.
	Subscriber Subscriber
	Tenant     string
	Subject    string
	After      string // a cursor: changes since then are delivered too; "" for none

	// Guarded by the index's lock.
	waiting bool // for the first answer
	since   time.Time
	resume  int64 // changes since this time, in Unix milliseconds by the log's clock, must be delivered; 0 for none
	resumes bool  // Index.resume is running for it
	dirty   bool  // a status was delivered since the last cursor
}

// who identifies a subject of a tenant.
type who struct{ tenant, subject string }

// subject is a subject that sessions on this gateway watch.
type subject struct {
	who     who
	handle  uint32
	subs    []*Subscription
	covered []cover          // by partition; empty until a tracker has said how many partitions there are
	seen    map[string]sight // the last status delivered, by job ID
	began   int64            // when the watch began, by the log's clock: earlier changes are not delivered
	gap     int64            // when the gap began, in Unix milliseconds by the log's clock; 0 for no gap
	closing bool             // the gap is being closed
}

// cover says whether a partition is covered.
type cover struct {
	stream uint64 // the stream that covers it; 0 for none
	before bool   // it was covered before
	lost   int64  // since when it is not covered, by the log's clock
}

// sight is a status that was delivered.
type sight struct {
	version int64
	at      time.Time
}

// Index is the index of all watches of subjects on a gateway.
type Index struct {
	// Pushed has the same meaning as in hub.Hub. Set before the first use.
	Pushed func(*trackerpb.Job) (written func())

	up   Upstream
	wake wake.Signal // there may be a gap to close, or a subscription to resume

	answerIn time.Duration // bound of the trackers' first answers to a subscription
	pageIn   time.Duration // bound of one page of a list

	mu       sync.Mutex // guards the fields below; subscribers are called under it
	subjects map[who]*subject
	handles  map[uint32]*subject
	last     uint32        // the last handle that was given
	skew     time.Duration // the log's clock minus ours
	subs     int           // number of subscriptions
}

// New returns an empty index. Attach must be called before it is used. Trackers answer once they have read what Kafka
// has, so the bounds are Kafka's.
func New(b kafka.Bounds) *Index {
	return &Index{
		answerIn: b.Delivery, pageIn: b.Steps,
		wake: wake.New(), subjects: map[who]*subject{}, handles: map[uint32]*subject{},
	}
}

// Attach sets the upstream.
func (x *Index) Attach(up Upstream) { x.up = up }

// Size returns the number of watched subjects and of subscriptions.
func (x *Index) Size() (subjects, subscriptions int) {
	x.mu.Lock()
	defer x.mu.Unlock()
	return len(x.subjects), x.subs
}

// Subscribe begins to watch a subject. The answer and the statuses go to the subscriber.
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

// answer answers the waiting subscriptions of a subject, once every partition is covered.
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
			// The first cursor comes at once: a client that is cut off before it has one cannot know what it missed.
			x.tellCursor(s, sub)
		}
	}
}

// logNow returns the time by the log's clock, in Unix milliseconds.
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

// Update delivers a status from a tracker's stream.
func (x *Index) Update(j *trackerpb.Job) {
	if j.SubjectHandle == 0 {
		return
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	s := x.handles[j.SubjectHandle]
	if s != nil && j.Subject == s.who.subject && j.Tenant == s.who.tenant { // an ID's next job may be somebody else's
		var written func()
		if x.Pushed != nil {
			written = x.Pushed(j)
		}
		s.tell(j, written)
	}
}

// tell delivers a status if it is newer than the job's last one. written may be nil.
func (s *subject) tell(j *trackerpb.Job, written func()) {
	if j.Version <= s.seen[j.JobId].version {
		return
	}
	s.note(j.JobId, j.Version)
	f := s.frame(j, written)
	for _, sub := range s.subs {
		if !sub.waiting {
			sub.dirty = true
			sub.Subscriber.SubjectStatus(j.JobId, f)
		}
	}
}

func (s *subject) frame(j *trackerpb.Job, written func()) *outbox.Frame {
	return &outbox.Frame{Bytes: wire.EncodeMineStatus(j.Version, j.Document), JobID: j.JobId, Subject: s.who.subject,
		DocumentSize: int32(len(j.Document)), Version: j.Version, Terminal: j.Terminal, Time: j.Updated, Written: written}
}

// note remembers a job's version, so that closing a gap delivers nothing twice. If more than maxSeen of a subject's
// jobs change within minutes, some statuses may be delivered twice when a partition moves.
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

// Covered records for which subjects a stream covers a partition, or no longer does. If a partition is covered anew,
// changes in between may be missing: that is a gap, which is closed later.
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
			continue // partitions were added, which trackers do not support: they stop with an error
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

// missing opens a gap, or extends the one that is open.
func (s *subject) missing(since int64) {
	since = max(since, s.began)
	if s.gap == 0 || since < s.gap {
		s.gap = since
	}
}

// Uncovered records that a stream has ended, and so covers nothing any more.
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

// Sweep ends subscriptions that the trackers have not answered within answerIn, sends cursors, and forgets old
// versions. Subscriptions that were answered are not ended.
func (x *Index) Sweep() {
	x.mu.Lock()
	defer x.mu.Unlock()
	now := time.Now()
	for _, s := range x.subjects {
		s.subs = slices.DeleteFunc(s.subs, func(sub *Subscription) bool {
			if !sub.waiting || now.Sub(sub.since) < x.answerIn {
				return false
			}
			x.subs--
			sub.Subscriber.Subscribed(code.Unavailable, false)
			return true
		})
		if s.whole() && s.gap == 0 {
			s.forget(now.Add(-keepSeen))
		}
		for _, sub := range s.subs {
			x.tellCursor(s, sub)
		}
		x.dropUnwanted(s)
	}
}
