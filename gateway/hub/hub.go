package hub

import (
	"slices"
	"sync"
	"time"

	"github.com/ackwire/ackwire/gateway/auth"
	"github.com/ackwire/ackwire/gateway/outbox"
	"github.com/ackwire/ackwire/gateway/wire"
	"github.com/ackwire/ackwire/schemas/code"
	"github.com/ackwire/ackwire/schemas/job"
	"github.com/ackwire/ackwire/schemas/trackerpb"
)

// Upstream watches jobs at the trackers; package upstream implements it.
type Upstream interface {
	Add(*trackerpb.WatchAdd)
	Remove(jobID string)
	// Ended says that the tracker has ended the watch of a job by itself.
	Ended(jobID string)
	// Lose gives the watch of a job up for now: Hub.Lost is called for it later.
	Lose(jobID string)
}

// Subscriber receives what a subscription brings. Its methods must not block and must not call
// the hub.
type Subscriber interface {
	// Subscribed is called once, and once more after each Move, before any status, with the job's version, or with an
	// error code that ends the subscription.
	Subscribed(version int64, err code.Code)
	// Status is called with a status; the same status may come again. A terminal status ends the
	// subscription.
	Status(f *outbox.Frame)
	// Reset says that the log does not have the versions above this one, which were delivered or skipped.
	// The job's status follows, with a version that may be lower. It may be called before Subscribed.
	Reset(version int64)
	// Withheld ends the subscription with a terminal status that was not sent because it is large (size
	// bytes). The subscriber loads it once it has room.
	Withheld(version int64, size int)
	// Over ends the subscription without a status: the subscriber has the job's terminal status already.
	Over()
}

// Subscription is one session's watch of one job.
type Subscription struct {
	// Set before Subscribe. After that only the hub changes After, MinVersion and Scope, and nobody the others.
	Subscriber Subscriber
	JobID      string
	Scope      *auth.Scope // what the subscriber may see
	After      int64       // only newer versions are delivered
	// MinVersion is the version of a submit or retry that was acked: nothing older is delivered, and no answer is
	// given before the tracker has folded the log up to it.
	MinVersion int64
	// Patient is set for a watch that came with an ack: it waits for a tracker's answer without a timeout.
	Patient bool

	// Guarded by the hub's lock.
	waiting bool // for the first answer
	asked   bool // the add that is under way was made for it too
	since   time.Time
	told    int64 // the last version delivered
}

// entry is one job as those who may see the same jobs watch it. The tracker answers each entry by itself, since some
// of them may see the job and others may not.
type entry struct {
	scope    *auth.Scope
	subs     []*Subscription
	watching bool          // a tracker has answered that it watches the job
	latest   *outbox.Frame // the last status received
	floor    int64         // the version of a tracker's answer: updates below it are outdated
	asked    int64         // After of the last add
	asking   bool          // the last add is not completely answered: its answer or its status is missing
	acked    bool          // Acked of the last add
}

// tooEarly reports whether an end that the tracker tells of may come before a retry that the subscriber knows of: the
// last add was made for acks only, so that the tracker has told of the end without a look at the rest of the log.
func (e *entry) tooEarly(s *Subscription) bool { return e.acked && !s.asked && s.MinVersion == 0 }

// Hub is the index of all watches of single jobs on a gateway.
type Hub struct {
	// Pushed, if not nil, returns a function that is called when a status was written to a client. Set before
	// the first use.
	Pushed func(*trackerpb.Job) (written func())

	up     Upstream
	within time.Duration // bound of a tracker's first answer to a subscription

	mu      sync.Mutex          // guards the fields below; subscribers are called under it
	entries map[string][]*entry // by job ID; one per scope
	subs    int                 // number of subscriptions
}

// New returns an empty hub. Attach must be called before it is used. A subscription ends if no tracker answers it in
// time.
func New(within time.Duration) *Hub { return &Hub{within: within, entries: map[string][]*entry{}} }

// Attach sets the upstream.
func (h *Hub) Attach(up Upstream) { h.up = up }

// Size returns the number of watched jobs and of subscriptions.
func (h *Hub) Size() (jobs, subscriptions int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.entries), h.subs
}

// Subscribe begins a watch. Its answer and its statuses go to the subscriber.
func (h *Hub) Subscribe(s *Subscription) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.subscribe(s)
}

// subscribe is Subscribe with h.mu held.
func (h *Hub) subscribe(s *Subscription) {
	h.subs++
	s.waiting, s.since = true, time.Now()
	e := h.entry(s.JobID, s.Scope.Key())
	if e == nil {
		e = &entry{scope: s.Scope}
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
	// Only one add per job is under way at a time: this subscription is answered along with the earlier ones, or by
	// the next add.
	s.asked = false
	if e.watching && s.MinVersion <= e.floor && s.After <= e.floor { // the add was answered, and its status follows
		s.answer(e.floor)
	}
}

// deliver passes a status on if it is newer than what the subscriber has, after the subscription's answer if that is
// still missing. It reports whether the subscription is over. A watch that came with a retry must not get statuses from
// before it, above all not the end of the former round.
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

// answer gives the subscription its answer, unless it has one.
func (s *Subscription) answer(version int64) {
	s.MinVersion = 0 // the log is folded up to it
	if s.waiting {
		s.waiting = false
		s.Subscriber.Subscribed(version, "")
	}
}

// seen returns the highest version that the subscriber was sent, or has by its own account.
func (s *Subscription) seen() int64 { return max(s.After, s.told) }

// add asks upstream for everything that the entry's subscriptions need: the lowest After and the highest MinVersion.
func (h *Hub) add(jobID string, e *entry) {
	a := &trackerpb.WatchAdd{JobId: jobID, Tenant: e.scope.Tenant, Scope: e.scope.Proto(), Who: e.scope.Key(),
		After: -1, MaxDocument: maxUnasked, Acked: true}
	for _, s := range e.subs {
		s.asked = true
		want := s.seen()
		if a.After < 0 || want < a.After {
			a.After = want
		}
		a.Known = max(a.Known, want)
		a.MinVersion = max(a.MinVersion, s.MinVersion)
		a.Acked = a.Acked && s.MinVersion > 0
	}
	a.After = max(a.After, 0)
	e.asked, e.asking, e.acked = a.After, true, a.Acked
	h.up.Add(a)
}

// Settle waits until the hub has finished the call in which it gave an answer: then the subscriber has also received
// what comes with the answer, such as Over. Subscribers must not call it.
func (h *Hub) Settle() {
	h.mu.Lock()
	defer h.mu.Unlock()
}

// Move makes a subscription, unless it has ended, one of another scope, as if it were begun anew from the last version
// that it was sent. Nothing is delivered until a tracker has answered whether the scope includes the job: Subscribed is
// called once more.
func (h *Hub) Move(s *Subscription, scope *auth.Scope) {
	h.mu.Lock()
	defer h.mu.Unlock()
	ended := !h.unsubscribe(s)
	s.Scope = scope
	if !ended {
		h.subscribe(s)
	}
}

// Unsubscribe ends a watch; nothing is delivered after it has returned.
func (h *Hub) Unsubscribe(s *Subscription) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.unsubscribe(s)
}

// unsubscribe reports whether the subscription had not ended. h.mu is held.
func (h *Hub) unsubscribe(s *Subscription) (had bool) {
	e := h.entry(s.JobID, s.Scope.Key())
	if e == nil {
		return false
	}
	if i := slices.Index(e.subs, s); i >= 0 {
		e.subs = slices.Delete(e.subs, i, i+1)
		h.subs--
		had = true
	}
	if len(e.subs) == 0 {
		h.drop(s.JobID, e)
		h.remove(s.JobID)
	}
	return had
}

func (h *Hub) entry(jobID, who string) *entry {
	for _, e := range h.entries[jobID] {
		if e.scope.Key() == who {
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

// remove ends the watch upstream once no session watches the job. Upstream does not distinguish scopes: if two
// ask for the same ID, the watch stays until both have left.
func (h *Hub) remove(jobID string) {
	if len(h.entries[jobID]) == 0 {
		h.up.Remove(jobID)
	}
}

// ended is like remove, for a watch that the tracker has ended by itself.
func (h *Hub) ended(jobID string) {
	if len(h.entries[jobID]) == 0 {
		h.up.Ended(jobID)
	}
}

// Watched implements upstream.Watcher.
func (h *Hub) Watched(w *trackerpb.Watched) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if w.Who == "" { // it ends all watches of the job, and each is to be asked for again
		for _, e := range h.entries[w.JobId] {
			e.watching = false
		}
		if len(h.entries[w.JobId]) > 0 {
			h.up.Lose(w.JobId)
		}
		return
	}
	e := h.entry(w.JobId, w.Who)
	if e == nil {
		return
	}
	switch w.Outcome {
	case trackerpb.Watched_WATCHING:
		h.watched(e, w)
	case trackerpb.Watched_NOT_FOUND:
		h.missing(e, w)
	default: // this tracker is not the owner any more, or not ready: look for the owner again
		e.watching = false
		h.up.Lose(w.JobId)
	}
}

// watched handles a tracker's answer that it watches the job. Subscriptions that have versions above the log's are
// reset; those that have, or will load, the terminal version are over.
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
			return false // this is the answer to an earlier add
		}
		if w.Ended && e.tooEarly(s) {
			return false
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

// missing handles a tracker's answer that there is no such job. A subscription that came with an ack asks again, unless
// the tracker has folded the log up to the acked version.
func (h *Hub) missing(e *entry, w *trackerpb.Watched) {
	e.subs = slices.DeleteFunc(e.subs, func(s *Subscription) bool {
		switch {
		case s.MinVersion > w.Position, !s.asked: // a job of a later subscription may have been made since the add
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
	h.remove(w.JobId) // not ended: the tracker may still have the watch of another entry, which has left
}

// Update implements upstream.Watcher.
func (h *Hub) Update(j *trackerpb.Job) {
	h.mu.Lock()
	defer h.mu.Unlock()
	entries := h.entries[j.JobId]
	if len(entries) > 1 {
		entries = slices.Clone(entries) // update may drop some
	}
	var f, without *outbox.Frame // the frame, and the one for those who may not see the subject
	var hidden *trackerpb.Job
	for _, e := range entries {
		switch {
		case !e.watching: // an entry that may not see the job is never answered with WATCHING
		case !e.scope.Owns(j.Tenant, j.Subject): // the ID has another job by now, which is somebody else's
			e.watching = false
			h.up.Lose(j.JobId)
		case j.Version < e.floor:
		case e.scope.HidesSubject():
			if hidden == nil {
				hidden = withoutSubject(j)
			}
			without = h.update(e, hidden, without)
		default:
			f = h.update(e, j, f)
		}
	}
}

// withoutSubject returns a copy of a job whose document does not say who has submitted it.
func withoutSubject(j *trackerpb.Job) *trackerpb.Job {
	return &trackerpb.Job{
		JobId: j.JobId, Version: j.Version, Document: job.WithoutSubject(j.Document), Terminal: j.Terminal,
		Updated: j.Updated, Trace: j.Trace, SubjectHandle: j.SubjectHandle, Subject: j.Subject, Tenant: j.Tenant,
	}
}

// update passes a status to the entry's subscriptions. A status that is not newer than the last one was sent for
// subscriptions that came later. f is the status's frame if another entry has made it, else nil; update returns it.
func (h *Hub) update(e *entry, j *trackerpb.Job, f *outbox.Frame) *outbox.Frame {
	e.asking = false
	if e.latest == nil || j.Version > e.latest.Version {
		if f == nil {
			f = outbox.NewFrame(wire.EncodeStatus(j.Version, j.Document), j)
			if h.Pushed != nil {
				f.Written = h.Pushed(j)
			}
		}
		e.latest = f
	}
	latest := e.latest
	e.subs = slices.DeleteFunc(e.subs, func(s *Subscription) bool {
		if latest.Terminal && e.tooEarly(s) {
			return false
		}
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
		// The tracker has ended its watch, but for the subscriptions that are left this was not the end: they came
		// with a retry and wait for later versions, or it was too early for them.
		e.watching, e.latest = false, nil
		h.up.Lose(j.JobId)
	default:
		h.askAgain(j.JobId, e, 0, false)
	}
	return f
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

// Sweep ends subscriptions that no tracker has answered in time, with the code unavailable. Subscriptions
// that were answered are not affected.
func (h *Hub) Sweep() {
	h.mu.Lock()
	defer h.mu.Unlock()
	now := time.Now()
	for id, entries := range h.entries {
		for _, e := range slices.Clone(entries) {
			e.subs = slices.DeleteFunc(e.subs, func(s *Subscription) bool {
				if !s.waiting || s.Patient || now.Sub(s.since) < h.within {
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
