package lists

import (
	"fmt"
	"slices"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/ackwire/ackwire/gateway/wire"
	"github.com/ackwire/ackwire/internal/kafka"
	"github.com/ackwire/ackwire/internal/latest"
	"github.com/ackwire/ackwire/schemas/code"
	"github.com/ackwire/ackwire/schemas/frame"
	"github.com/ackwire/ackwire/schemas/trackerpb"
)

// Bounds.
const (
	// MaxTenantLists bounds the different lists of one tenant's jobs: each of its changes is compared with them all.
	MaxTenantLists = 100

	maxLists  = 1000     // different lists on a gateway
	maxJobs   = 1024     // jobs of one list whose newest change is kept
	maxBytes  = 1 << 20  // of their rows
	maxHeld   = 32 << 20 // bytes of the rows of all lists; a list that goes beyond it is to be asked for again
	flushRows = 100      // rows and jobs that have left, of one flush of a subscription
	flushWait = 250 * time.Millisecond
)

// Upstream watches lists at the trackers; package upstream implements it.
type Upstream interface {
	AddList(*trackerpb.ListAdd)
	RemoveList(handle uint32)
}

// Subscriber receives what a subscription brings. Its methods must not block and must not call the index.
type Subscriber interface {
	// Listening is called once: from now on every change in the list is told, or the client is told to ask for the list
	// again. An error code ends the subscription.
	Listening(err code.Code)
	// Ready says that Take has something.
	Ready()
}

// Metrics counts what clients are told of lists.
type Metrics interface {
	ListRows(n int) // rows and jobs that have left were sent
	ListConflated() // a change has taken the place of one of the same job
	ListOverflow()  // a client was told to ask for the list again
}

// Subscription is one session's watch of one list.
type Subscription struct {
	// Set before Subscribe, then only read.
	Subscriber Subscriber
	// List says which jobs of which tenant are watched; what says how much, and from where on, has no effect.
	List *trackerpb.ListRequest

	// Guarded by the index's lock.
	list    *list
	waiting bool // for Listening
	since   time.Time
	at      uint64      // the position in the list's changes up to which it was told
	again   bool        // it is to be told to ask for the list
	missed  int64       // with again: up to so many changes were not told
	next    time.Time   // when the next flush may begin
	room    int         // rows that the flush which runs may still take; 0 if none runs
	timer   *time.Timer // begins the next flush; nil if there is none
}

// list is a list that is watched.
type list struct {
	key     string
	tenant  string
	handle  uint32
	subs    []*Subscription
	changes latest.Log[Change]
	covered []uint64 // by partition: the stream that covers it; 0 for none
	before  []bool   // by partition: it was covered before
	gap     bool     // changes may be missing
}

// Change is a row of a list, encoded, or a job that has left it.
type Change struct {
	Bytes []byte
	Left  bool
}

// Index is the gateway's watched lists.
type Index struct {
	up       Upstream
	answerIn time.Duration
	metrics  Metrics

	mu      sync.Mutex // guards the fields below and the subscriptions; subscribers are called under it
	lists   map[string]*list
	handles map[uint32]*list
	tenants map[string]int // lists of each tenant
	last    uint32         // the last handle
	subs    int
	held    int // bytes of the changes of all lists
}

// New returns an empty index. Attach must be called before it is used.
func New(b kafka.Bounds, m Metrics) *Index {
	return &Index{answerIn: b.Delivery, metrics: m, lists: map[string]*list{}, handles: map[uint32]*list{},
		tenants: map[string]int{}}
}

// Attach sets the upstream.
func (x *Index) Attach(up Upstream) { x.up = up }

// Size returns the number of different lists and of subscriptions.
func (x *Index) Size() (lists, subscriptions int) {
	x.mu.Lock()
	defer x.mu.Unlock()
	return len(x.lists), x.subs
}

// keyOf identifies what a list is of.
func keyOf(r *trackerpb.ListRequest) string {
	b, err := proto.MarshalOptions{Deterministic: true}.Marshal(r)
	if err != nil {
		panic(err) // cannot happen: its texts were read as UTF-8
	}
	return string(b)
}

// Subscribe begins to watch a list. The error, a frame.Problem, says why it is refused.
func (x *Index) Subscribe(sub *Subscription) error {
	key := keyOf(sub.List)
	x.mu.Lock()
	defer x.mu.Unlock()
	l := x.lists[key]
	if l == nil {
		if n := x.tenants[sub.List.Tenant]; n >= MaxTenantLists || len(x.lists) >= maxLists {
			return frame.NewProblem(code.LimitExceeded, fmt.Sprintf("%d different lists of the tenant are watched", n))
		}
		x.last++
		l = &list{key: key, tenant: sub.List.Tenant, handle: x.last}
		l.changes.MaxKeys, l.changes.MaxBytes = maxJobs, maxBytes
		x.lists[key], x.handles[l.handle] = l, l
		x.tenants[l.tenant]++
		x.up.AddList(&trackerpb.ListAdd{Handle: l.handle, List: sub.List})
	}
	x.subs++
	l.subs = append(l.subs, sub)
	sub.list, sub.waiting, sub.since = l, true, time.Now()
	x.answer(l)
	return nil
}

// whole reports whether every partition is covered.
func (l *list) whole() bool { return len(l.covered) > 0 && !slices.Contains(l.covered, 0) }

// answer tells the subscriptions that wait that the list is watched, and all others of a gap, once every partition is
// covered.
func (x *Index) answer(l *list) {
	if !l.whole() {
		return
	}
	if l.gap {
		l.gap = false
		x.edit(l, l.changes.Clear) // versions of a log that has lost its end may be lower than those that were told
		for _, sub := range l.subs {
			if !sub.waiting {
				x.askAgain(sub, 0)
			}
		}
	}
	for _, sub := range l.subs {
		if sub.waiting {
			sub.waiting, sub.at = false, l.changes.End()
			sub.Subscriber.Listening("")
		}
	}
}

// askAgain has a subscription told to ask for the list.
func (x *Index) askAgain(sub *Subscription, missed int64) {
	sub.again, sub.at = true, sub.list.changes.End()
	sub.missed += missed
	x.metrics.ListOverflow()
	x.begin(sub, time.Now())
}

// begin begins a subscription's flush, now or when it may.
func (x *Index) begin(sub *Subscription, now time.Time) {
	switch wait := sub.next.Sub(now); {
	case sub.room > 0 || sub.timer != nil:
	case wait <= 0:
		sub.room, sub.next = flushRows, now.Add(flushWait)
		sub.Subscriber.Ready()
	default:
		sub.timer = time.AfterFunc(wait, func() {
			x.mu.Lock()
			defer x.mu.Unlock()
			if sub.timer == nil || sub.list == nil { // it has ended
				return
			}
			sub.timer = nil
			if sub.news() {
				x.begin(sub, time.Now())
			}
		})
	}
}

// news reports whether there is something to tell.
func (s *Subscription) news() bool { return s.again || s.list.changes.End() > s.at }

// Batch is what a client is told of a list at a time.
type Batch struct {
	Rows, Left []Change
	// Again says that changes were not told: the client must ask for the list. They are Missed at most; 0 is not known.
	Again  bool
	Missed int64
}

// Take returns the next that a subscription is told, of about limit bytes, and whether there is more by now. It returns
// nil if there is nothing: Ready is called when there is.
func (x *Index) Take(sub *Subscription, limit int) (b *Batch, more bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if sub.list == nil || sub.waiting || sub.room <= 0 {
		return nil, false
	}
	l := sub.list
	if l.changes.Lost() > sub.at {
		x.metrics.ListOverflow()
		sub.again, sub.missed = true, sub.missed+int64(l.changes.End()-sub.at)
		sub.at = l.changes.End()
	}
	b = &Batch{Again: sub.again, Missed: sub.missed}
	sub.again, sub.missed = false, 0
	size := 0
	sub.at = l.changes.Read(sub.at, func(_ string, _ int64, c Change, bytes int) bool {
		if sub.room == 0 || size > 0 && size+bytes > limit {
			return false
		}
		sub.room--
		size += bytes
		if c.Left {
			b.Left = append(b.Left, c)
		} else {
			b.Rows = append(b.Rows, c)
		}
		return true
	})
	n := len(b.Rows) + len(b.Left)
	x.metrics.ListRows(n)
	switch more = sub.news(); {
	case more && sub.room > 0:
	case more:
		more = false
		x.begin(sub, time.Now())
	default:
		sub.room = 0
	}
	if n == 0 && !b.Again {
		return nil, false
	}
	return b, more
}

// Unsubscribe ends a subscription; nothing is told after it has returned.
func (x *Index) Unsubscribe(sub *Subscription) {
	x.mu.Lock()
	defer x.mu.Unlock()
	l := sub.list
	if l == nil {
		return
	}
	if i := slices.Index(l.subs, sub); i >= 0 {
		l.subs = slices.Delete(l.subs, i, i+1)
	}
	x.ended(sub)
	x.dropUnwatched(l)
}

// ended notes that a subscription is over, which its list has no more.
func (x *Index) ended(sub *Subscription) {
	x.subs--
	sub.list = nil
	if sub.timer != nil {
		sub.timer.Stop()
		sub.timer = nil
	}
}

func (x *Index) dropUnwatched(l *list) {
	if len(l.subs) > 0 {
		return
	}
	x.edit(l, l.changes.Clear)
	delete(x.lists, l.key)
	delete(x.handles, l.handle)
	x.tenants[l.tenant]--
	if x.tenants[l.tenant] == 0 {
		delete(x.tenants, l.tenant)
	}
	x.up.RemoveList(l.handle)
}

// edit runs f, which edits the changes of a list, and counts their bytes. x.mu is held.
func (x *Index) edit(l *list, f func()) {
	before := l.changes.Bytes()
	f()
	x.held += l.changes.Bytes() - before
}

// Listed takes changes from a tracker's stream.
func (x *Index) Listed(changes *trackerpb.ListChanges) {
	x.mu.Lock()
	defer x.mu.Unlock()
	l := x.handles[changes.Handle]
	if l == nil {
		return
	}
	if changes.Missed > 0 {
		for _, sub := range l.subs {
			if !sub.waiting {
				x.askAgain(sub, changes.Missed)
			}
		}
	}
	x.edit(l, func() {
		for _, c := range changes.Changes {
			change := Change{Bytes: wire.EncodeListRow(c), Left: c.Left}
			if _, replaced := l.changes.Put(c.JobId, c.Version, change, len(change.Bytes)); replaced {
				x.metrics.ListConflated()
			}
		}
	})
	if x.held > maxHeld {
		x.edit(l, l.changes.Clear)
	}
	now := time.Now()
	for _, sub := range l.subs {
		if !sub.waiting && sub.news() {
			x.begin(sub, now)
		}
	}
}

// Covered records for which lists a stream covers a partition, or no longer does. If a partition is covered anew,
// changes in between may be missing.
func (x *Index) Covered(stream uint64, c *trackerpb.Coverage) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, handle := range c.Lists {
		l := x.handles[handle]
		if l == nil || c.Partition < 0 || c.Partition >= c.Partitions {
			continue
		}
		if len(l.covered) == 0 {
			l.covered, l.before = make([]uint64, c.Partitions), make([]bool, c.Partitions)
		}
		if int(c.Partition) >= len(l.covered) {
			continue // partitions were added, which trackers do not support: they stop with an error
		}
		switch p := &l.covered[c.Partition]; {
		case c.Lost:
			if *p == stream {
				*p = 0
			}
		case *p != stream:
			l.gap = l.gap || l.before[c.Partition]
			*p, l.before[c.Partition] = stream, true
			x.answer(l)
		}
	}
}

// Uncovered records that a stream has ended, and so covers nothing any more.
func (x *Index) Uncovered(stream uint64) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, l := range x.lists {
		for i := range l.covered {
			if l.covered[i] == stream {
				l.covered[i] = 0
			}
		}
	}
}

// Sweep ends subscriptions that the trackers have not answered in time, and drops changes that all have been told.
func (x *Index) Sweep() {
	x.mu.Lock()
	defer x.mu.Unlock()
	now := time.Now()
	for _, l := range x.lists {
		told := l.changes.End()
		l.subs = slices.DeleteFunc(l.subs, func(sub *Subscription) bool {
			if sub.waiting && now.Sub(sub.since) >= x.answerIn {
				x.ended(sub)
				sub.Subscriber.Listening(code.Unavailable)
				return true
			}
			if !sub.waiting {
				told = min(told, sub.at)
			}
			return false
		})
		x.edit(l, func() { l.changes.Trim(told) })
		x.dropUnwatched(l)
	}
}
