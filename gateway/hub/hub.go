// Package hub knows which sessions watch which jobs. However many sessions watch a job, it
// is watched once upstream and each of its statuses is built into a frame once.
package hub

import (
	"slices"
	"sync"
	"time"

	"github.com/ackwire/ackwire/gateway/outbox"
	"github.com/ackwire/ackwire/gateway/wire"
	"github.com/ackwire/ackwire/schemas/code"
	"github.com/ackwire/ackwire/schemas/trackerpb"
)

// answerTimeout bounds how long a subscription waits for a tracker's first answer.
const answerTimeout = 5 * time.Second

// Upstream is where jobs are watched.
type Upstream interface {
	Add(*trackerpb.WatchAdd)
	Remove(jobID string)
	Ended(jobID string)
	// Lose asks for the job to come back through Lost once its owner may be known.
	Lose(jobID string)
}

// Subscriber hears about one subscription. Its methods must not block and must not call
// the hub.
type Subscriber interface {
	// Subscribed answers the subscription, once and before any status: the job's
	// version, or an error's code, after which the subscription is over.
	Subscribed(version int64, err code.Code)
	// Status delivers a status; one that was delivered before may come again. After a
	// terminal one the subscription is over.
	Status(f *outbox.Frame)
	// Reset says that the log does not have what was delivered, or was skipped, above this
	// version: the job's status follows, with a version that may be lower. It may come before
	// Subscribed.
	Reset(version int64)
	// Withheld ends the subscription with a status that was not sent, as it is large: the
	// subscriber loads it once it has room.
	Withheld(version int64, size int)
	// Over ends the subscription without another word: the job had ended before.
	Over()
}

// Subscription is one session's watch of one job.
type Subscription struct {
	// Set before Subscribe. Then After and MinVersion are the hub's, the others are only read.
	Subscriber Subscriber
	JobID      string
	Tenant     string
	After      int64 // only newer versions are delivered
	MinVersion int64 // of an order that was acked: until the log is folded up to here nothing is said
	// Patient is for a watch that came with an ack: it waits for a tracker for ever.
	Patient bool

	// Guarded by the hub's lock.
	waiting bool // for the first answer
	asked   bool // it was there when the add that is under way was made
	since   time.Time
	told    int64 // the last version delivered
}

// entry is one watched job of one tenant.
type entry struct {
	tenant   string
	subs     []*Subscription
	watching bool          // a tracker has said so
	latest   *outbox.Frame // the last status seen
	floor    int64         // updates below are of the past: a tracker has answered with this version
	asked    int64         // the after of the last add
	asking   bool          // the last add has not brought all that it will
}

// Hub is the interest index of a gateway.
type Hub struct {
	// Pushed returns what wants to know when a status was written to a socket; nil: nothing
	// does. Set before the first use.
	Pushed func(*trackerpb.Job) (written func())

	up Upstream

	mu      sync.Mutex // guards all below; subscribers are called under it
	entries map[string][]*entry
	subs    int
}

// New returns an empty hub. Attach must be called before it is used.
func New() *Hub { return &Hub{entries: map[string][]*entry{}} }

// Attach sets where jobs are watched.
func (h *Hub) Attach(up Upstream) { h.up = up }

// Size is how many jobs are watched and by how many subscriptions.
func (h *Hub) Size() (jobs, subscriptions int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.entries), h.subs
}

// Subscribe begins a watch. Its answer, and all that follows, comes to the subscriber.
func (h *Hub) Subscribe(s *Subscription) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.subs++
	s.waiting, s.since = true, time.Now()
	e := h.entry(s.JobID, s.Tenant)
	if e == nil {
		e = &entry{tenant: s.Tenant}
		h.entries[s.JobID] = append(h.entries[s.JobID], e)
	}
	e.subs = append(e.subs, s)
	if e.watching && e.latest != nil && e.latest.Version >= s.MinVersion && e.latest.Version >= s.After {
		s.deliver(e.latest)
		return
	}
	if !e.asking {
		h.add(s.JobID, e)
		return
	}
	// One add at a time, however many ask: this one has its answer with those who asked before, or
	// by the next add.
	s.asked = false
	if e.watching && s.MinVersion <= e.floor && s.After <= e.floor { // its status is on its way
		s.answer(e.floor)
	}
}

// deliver answers the subscription with a status, if it has no answer yet, and hands the
// status on if it is news. It reports whether the subscription is over. One that came with an
// order is told nothing of the time before it: least of all that the former round has ended.
func (s *Subscription) deliver(f *outbox.Frame) (over bool) {
	if f.Version < s.MinVersion || f.Version < s.seen() {
		return false
	}
	s.answer(f.Version)
	switch {
	case f.Version > s.seen():
		s.told = f.Version
		s.Subscriber.Status(f)
	case f.Terminal:
		s.Subscriber.Over()
	}
	return f.Terminal
}

// answer says the first answer, once.
func (s *Subscription) answer(version int64) {
	s.MinVersion = 0 // it is reached
	if s.waiting {
		s.waiting = false
		s.Subscriber.Subscribed(version, "")
	}
}

// seen is the highest version that the subscriber has, or says that it has.
func (s *Subscription) seen() int64 { return max(s.After, s.told) }

// add asks upstream for what the entry's subscriptions lack.
func (h *Hub) add(jobID string, e *entry) {
	a := &trackerpb.WatchAdd{JobId: jobID, Tenant: e.tenant, After: -1, MaxDocument: maxUnasked}
	for _, s := range e.subs {
		s.asked = true
		want := s.seen()
		if a.After < 0 || want < a.After {
			a.After = want
		}
		a.Known = max(a.Known, want)
		a.MinVersion = max(a.MinVersion, s.MinVersion)
	}
	a.After = max(a.After, 0)
	e.asked, e.asking = a.After, true
	h.up.Add(a)
}

// Settle waits until what comes together with an answer has reached its subscriber, too: that
// nothing follows, above all. Subscribers must not call it.
func (h *Hub) Settle() {
	h.mu.Lock()
	defer h.mu.Unlock()
}

// Unsubscribe ends a watch; nothing is delivered after it has returned.
func (h *Hub) Unsubscribe(s *Subscription) {
	h.mu.Lock()
	defer h.mu.Unlock()
	e := h.entry(s.JobID, s.Tenant)
	if e == nil {
		return
	}
	if i := slices.Index(e.subs, s); i >= 0 {
		e.subs = slices.Delete(e.subs, i, i+1)
		h.subs--
	}
	if len(e.subs) == 0 {
		h.drop(s.JobID, e)
		h.remove(s.JobID)
	}
}

func (h *Hub) entry(jobID, tenant string) *entry {
	for _, e := range h.entries[jobID] {
		if e.tenant == tenant {
			return e
		}
	}
	return nil
}

func (h *Hub) drop(jobID string, e *entry) {
	h.subs -= len(e.subs)
	e.subs = nil
	rest := slices.DeleteFunc(h.entries[jobID], func(x *entry) bool { return x == e })
	if len(rest) == 0 {
		delete(h.entries, jobID)
	} else {
		h.entries[jobID] = rest
	}
}

// remove ends the watch upstream once nobody here has an interest in the job. Upstream knows
// no tenants: as long as one waits for its answer, or has the watch, it stays.
func (h *Hub) remove(jobID string) {
	if len(h.entries[jobID]) == 0 {
		h.up.Remove(jobID)
	}
}

// ended is remove for a watch that the tracker has ended by itself.
func (h *Hub) ended(jobID string) {
	if len(h.entries[jobID]) == 0 {
		h.up.Ended(jobID)
	}
}

// Watched implements upstream.Watcher.
func (h *Hub) Watched(w *trackerpb.Watched) {
	h.mu.Lock()
	defer h.mu.Unlock()
	e := h.entry(w.JobId, w.Tenant)
	if e == nil {
		return
	}
	switch w.Outcome {
	case trackerpb.Watched_WATCHING:
		h.watched(e, w)
	case trackerpb.Watched_NOT_FOUND:
		h.missing(e, w)
	default: // not the owner any more, or not ready: the owner is looked for again
		e.watching = false
		h.up.Lose(w.JobId)
	}
}

// watched takes the answer to an add.
func (h *Hub) watched(e *entry, w *trackerpb.Watched) {
	e.watching = true
	ahead := func(version int64) bool { return version > w.Version && version <= w.Known }
	if e.latest != nil && ahead(e.latest.Version) {
		e.latest, e.floor = nil, 0
	}
	e.floor = max(e.floor, w.Version)
	e.subs = slices.DeleteFunc(e.subs, func(s *Subscription) bool {
		reset := ahead(s.seen())
		if s.MinVersion > max(w.Position, w.Version) || w.Version < s.seen() && !reset {
			return false // it is the answer to an earlier question
		}
		if reset {
			s.After, s.told = 0, 0
			s.Subscriber.Reset(w.Version)
		}
		s.answer(w.Version)
		switch {
		case w.Withheld > 0 && s.seen() < w.Version:
			s.told = w.Version
			s.Subscriber.Withheld(w.Version, int(w.Withheld))
		case w.Ended && s.seen() == w.Version:
			s.Subscriber.Over()
		default:
			return false
		}
		h.subs--
		return true
	})
	follows := w.Withheld == 0 && (w.Version > e.asked || w.Version < w.Known)
	switch {
	case len(e.subs) == 0:
		h.drop(w.JobId, e)
		h.ended(w.JobId)
	case !follows:
		h.askAgain(w.JobId, e, w.Version, w.Ended)
	}
}

// missing takes that there is no such job. Who has an ack asks again, unless the log was folded
// up to there.
func (h *Hub) missing(e *entry, w *trackerpb.Watched) {
	e.subs = slices.DeleteFunc(e.subs, func(s *Subscription) bool {
		switch {
		case s.MinVersion > w.Position, !s.asked: // who came later may know of a job that was made since
			return false
		case s.waiting:
			s.Subscriber.Subscribed(0, code.NotFound)
		default:
			s.Subscriber.Over()
		}
		h.subs--
		return true
	})
	if len(e.subs) > 0 {
		e.watching, e.latest, e.floor = false, nil, 0
		if !h.askAgain(w.JobId, e, 0, true) {
			h.up.Lose(w.JobId)
		}
		return
	}
	h.drop(w.JobId, e)
	h.ended(w.JobId)
}

// Update implements upstream.Watcher.
func (h *Hub) Update(j *trackerpb.Job) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, e := range h.entries[j.JobId] {
		if !e.watching {
			continue // a stranger's entry is never answered with WATCHING
		}
		if j.Version >= e.floor {
			h.update(e, j)
		}
		return
	}
}

// update hands a status to the entry's subscriptions. What is not newer comes again for those
// who subscribed later.
func (h *Hub) update(e *entry, j *trackerpb.Job) {
	e.asking = false
	if e.latest == nil || j.Version > e.latest.Version {
		e.latest = outbox.NewFrame(wire.EncodeStatus(j.Version, j.Document), j)
		if h.Pushed != nil {
			e.latest.Written = h.Pushed(j)
		}
	}
	latest := e.latest
	e.subs = slices.DeleteFunc(e.subs, func(s *Subscription) bool {
		over := s.deliver(latest)
		if over {
			h.subs--
		}
		return over
	})
	switch {
	case len(e.subs) == 0:
		h.drop(j.JobId, e)
		h.ended(j.JobId)
	case latest.Terminal:
		// The tracker has ended its watch, but those who are left wait for what comes after this
		// end.
		e.watching, e.latest = false, nil
		h.up.Lose(j.JobId)
	default:
		h.askAgain(j.JobId, e, 0, false)
	}
}

// Lost implements upstream.Watcher.
func (h *Hub) Lost(jobIDs []string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, id := range jobIDs {
		for _, e := range h.entries[id] {
			e.watching = false
			h.add(id, e)
		}
	}
}

// Sweep tells subscriptions that no tracker has answered in time. Established ones wait
// for ever.
func (h *Hub) Sweep() {
	h.mu.Lock()
	defer h.mu.Unlock()
	now := time.Now()
	for id, entries := range h.entries {
		for _, e := range slices.Clone(entries) {
			e.subs = slices.DeleteFunc(e.subs, func(s *Subscription) bool {
				if !s.waiting || s.Patient || now.Sub(s.since) < answerTimeout {
					return false
				}
				h.subs--
				s.Subscriber.Subscribed(0, code.Unavailable)
				return true
			})
			if len(e.subs) == 0 {
				h.drop(id, e)
				h.remove(id)
			}
		}
	}
}
