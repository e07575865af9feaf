package session

import (
	"time"

	"github.com/ackwire/ackwire/gateway/auth"
	"github.com/ackwire/ackwire/gateway/hub"
	"github.com/ackwire/ackwire/gateway/outbox"
	"github.com/ackwire/ackwire/gateway/wire"
	"github.com/ackwire/ackwire/schemas/code"
	"github.com/ackwire/ackwire/schemas/frame"
)

// watch is the session's watch of one job.
type watch struct {
	hub.Subscription // its Subscriber is the watch itself
	session          *Session

	slot    outbox.Slot
	left    bool              // the hub has ended it, but its last status is parked; guarded by session.mu
	answers []place           // the subscribe frames that wait for this job's answer; guarded by session.mu
	reset   bool              // the answers must have Reset set; guarded by session.mu
	streams []frame.StreamRef // to be followed once it is answered
	renewed bool              // it was asked for anew by another identity, and was not answered yet; guarded by session.mu
}

// asked is a subscribe frame that was not answered yet. Its answer is sent when each of its jobs has been answered.
// Guarded by its session's mu.
type asked struct {
	frame    frame.SubscribedFrame
	received time.Time
	missing  int      // jobs without an answer
	watches  []*watch // their slots are held until the answer was sent
}

// place is the place of a job's answer in the answer to a subscribe frame.
type place struct {
	asked *asked
	index int
}

var errJobsAndMine = problem(code.InvalidFrame, "jobs and mine are each a frame of their own")

// subscribe watches the jobs of a subscribe frame. Subscribing again is harmless: it is answered with the current
// version, and statuses that the session was sent before are not sent again.
//
// The slots of all its watches are held until the frame's answer was queued, so that the answer comes before the first
// status.
func (s *Session) subscribe(f *frame.ClientFrame, id auth.Identity) error {
	if f.Mine {
		if len(f.Jobs) > 0 {
			return errJobsAndMine
		}
		return s.subscribeSubject(f, id)
	}
	refs, err := wire.DecodeRefs("jobs", f.Jobs)
	if err != nil {
		return err
	}
	if len(refs) > s.cfg.Subscriptions {
		return problem(code.LimitExceeded, "a frame may name %d jobs", s.cfg.Subscriptions)
	}
	if err := s.cfg.Limits.Ask(id.Tenant, id.Account(), len(refs)); err != nil {
		return err
	}
	a := &asked{
		frame:    frame.SubscribedFrame{Type: frame.Subscribed, ID: f.ID, Jobs: []frame.SubscribedJob{}},
		received: s.received,
	}
	scope := s.reads(id)
	byJob := make(map[string]*watch, len(refs))
	for _, ref := range refs {
		var after int64
		if ref.After != nil {
			after = *ref.After
		}
		refs, err := wire.DecodeStreams(ref.Streams)
		if err != nil {
			return err
		}
		if w := byJob[ref.JobID]; w != nil { // named twice: one answer, the lower After, and the last streams
			w.After = min(w.After, after)
			if refs != nil {
				w.streams = refs
			}
			continue
		}
		w := s.newWatch(hub.Subscription{JobID: ref.JobID, Scope: scope, After: after}, s.received)
		w.answers, w.streams = []place{{a, len(a.frame.Jobs)}}, refs
		byJob[ref.JobID] = w
		a.frame.Jobs = append(a.frame.Jobs, frame.SubscribedJob{JobID: ref.JobID})
		a.watches = append(a.watches, w)
	}
	a.missing = len(a.watches)
	if a.missing == 0 {
		s.send(wire.Encode(a.frame))
		return nil
	}
	s.registering.Lock()
	defer s.registering.Unlock()
	for _, w := range a.watches {
		s.out.Skip(&w.slot, w.After)
		s.out.Hold(&w.slot)
	}
	for _, w := range a.watches {
		s.replace(w)
	}
	return errLater
}

// newWatch returns a watch that was asked for at that time.
func (s *Session) newWatch(sub hub.Subscription, asked time.Time) *watch {
	w := &watch{Subscription: sub, session: s, slot: outbox.Slot{Since: asked.UnixMilli()}}
	w.Subscriber, w.slot.Owner = w, w
	return w
}

// replace registers a watch. If the session watches the job already, the new watch takes the place of the old one, so
// that it is answered with the current version. s.registering is held.
func (s *Session) replace(w *watch) {
	s.mu.Lock()
	had := s.watches[w.JobID]
	full := had == nil && !s.roomLocked(w.Scope.Tenant)
	if !full {
		s.watches[w.JobID] = w
		if had == nil {
			s.skipTold(w)
		}
	}
	s.mu.Unlock()
	switch {
	case full:
		w.answer(0, code.LimitExceeded)
		return
	case had != nil:
		s.succeed(w, had)
	}
	s.cfg.Hub.Subscribe(&w.Subscription)
}

// succeed ends the watch had, whose place w, which is held, has taken. Its unanswered subscribe frames are answered
// by w, and no status is sent twice. s.registering is held.
func (s *Session) succeed(w, had *watch) {
	s.cfg.Hub.Unsubscribe(&had.Subscription)
	s.mu.Lock()
	w.answers = append(had.answers, w.answers...)
	had.answers = nil
	s.mu.Unlock()
	s.out.Inherit(&w.slot, &had.slot)
}

// promise reserves a place for the watch of a submit. It reports false if there is none left.
func (s *Session) promise() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.roomLocked(s.identity.Tenant) {
		return false
	}
	s.promised++
	return true
}

// roomLocked takes a place for one more watch. It reports false if there is none left. s.mu is held.
func (s *Session) roomLocked(tenant string) bool {
	return s.subscriptionsLocked() < s.cfg.Subscriptions && s.cfg.Limits.Watch(tenant, 1)
}

// subscriptionsLocked returns how many places for watches are taken. s.mu is held.
func (s *Session) subscriptionsLocked() int {
	n := len(s.watches) + s.promised + len(s.lists)
	if s.subject != nil {
		n++
	}
	return n
}

func (s *Session) unpromise(promised bool) {
	if !promised {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.promised--
	s.cfg.Limits.Watch(s.identity.Tenant, -1)
}

// watchSubmitted sends the ack of a submit or a retry and watches its job, in place of an earlier watch of the
// session. The watch begins before the ack is sent, so that it misses nothing; its slot is held until then, so that
// no status comes before the ack. Statuses from before version are not sent: the end of a job's former round is not
// the end of its retry.
func (s *Session) watchSubmitted(
	ack *frame.AckFrame, id auth.Identity, version int64, received time.Time, refs []frame.StreamRef,
) {
	s.registering.Lock()
	defer s.registering.Unlock()
	w, over := s.watchHeld(ack.JobID, id, version, received)
	s.send(wire.Encode(ack))
	s.act(s.out.Release(&w.slot))
	if !over {
		s.followStreams(w.Scope, w.JobID, refs)
	}
}

// watchHeld begins the watch of a job that was submitted or retried, for which a place was promised. Its slot is held:
// the caller releases it once the ack is sent. over reports that nothing is watched any more. s.registering is held.
func (s *Session) watchHeld(jobID string, id auth.Identity, version int64, received time.Time) (w *watch, over bool) {
	s.mu.Lock()
	now := s.identity // it may have been renewed since the frame came
	s.mu.Unlock()
	w = s.newWatch(hub.Subscription{JobID: jobID, Scope: s.reads(now), MinVersion: version, Patient: true}, received)
	s.out.Hold(&w.slot)
	s.mu.Lock()
	s.promised--
	had := s.watches[w.JobID]
	over = s.watches == nil || !now.May(auth.Read)
	if over || had != nil {
		s.cfg.Limits.Watch(id.Tenant, -1)
	}
	if !over {
		s.watches[w.JobID] = w
		if had == nil {
			s.skipTold(w)
		}
	}
	s.mu.Unlock()
	if had != nil {
		s.succeed(w, had)
	}
	if !over {
		s.cfg.Hub.Subscribe(&w.Subscription)
	}
	return w, over
}

func (s *Session) unsubscribe(f *frame.ClientFrame) error {
	if f.Mine {
		if len(f.Jobs) > 0 {
			return errJobsAndMine
		}
		s.unsubscribeSubject(f)
		return nil
	}
	ids, err := wire.DecodeIDs(f.Jobs)
	if err != nil {
		return err
	}
	s.registering.Lock()
	defer s.registering.Unlock()
	for _, id := range ids {
		s.mu.Lock()
		w := s.watches[id]
		if w != nil {
			s.forget(w)
		}
		s.mu.Unlock()
		if w != nil {
			s.cfg.Hub.Unsubscribe(&w.Subscription)
			w.answer(0, code.Unavailable) // answers a subscribe that no tracker has answered yet
			s.clear(w)
		}
		s.unfollow(id)
	}
	s.send(wire.Encode(frame.UnsubscribedFrame{Type: frame.Unsubscribed, ID: f.ID, Jobs: ids}))
	return nil
}

// unwatchAll ends all watches of a session that has ended.
func (s *Session) unwatchAll() {
	s.registering.Lock()
	defer s.registering.Unlock()
	s.mu.Lock()
	watches, all := s.watches, s.subject
	s.watches = nil
	s.dropSubject(all)
	s.cfg.Limits.Watch(s.identity.Tenant, -len(watches))
	s.mu.Unlock()
	if all != nil {
		s.cfg.Subjects.Unsubscribe(&all.Subscription)
	}
	for _, w := range watches {
		s.cfg.Hub.Unsubscribe(&w.Subscription)
	}
	s.endLists()
}

// Subscribed implements hub.Subscriber.
func (w *watch) Subscribed(version int64, c code.Code) {
	if c != "" {
		w.Over()
		w.session.clear(w)
		w.tellEnded(c)
	}
	w.answer(version, c)
}

// answer enters the job's answer into the subscribe frames that wait for it, and sends the answers that are complete.
func (w *watch) answer(version int64, c code.Code) {
	s := w.session
	var complete []*asked
	s.mu.Lock()
	for _, p := range w.answers {
		of := &p.asked.frame.Jobs[p.index]
		of.Version, of.Error, of.Reset = version, c, w.reset
		p.asked.missing--
		if p.asked.missing == 0 {
			complete = append(complete, p.asked)
		}
	}
	w.answers = nil
	s.mu.Unlock()
	for _, a := range complete {
		s.send(wire.Encode(a.frame))
		s.cfg.Metrics.Frame(frame.Subscribe, "", time.Since(a.received))
		for i, w := range a.watches {
			s.act(s.out.Release(&w.slot))
			if a.frame.Jobs[i].Error == "" {
				s.followStreams(w.Scope, w.JobID, w.streams)
			}
		}
	}
}

// Status implements hub.Subscriber.
func (w *watch) Status(f *outbox.Frame) {
	w.parks(w.session.putWatched(w, f), f.Terminal)
}

// Reset implements hub.Subscriber. If a subscribe frame waits for its answer, that will say so; else the client gets a
// subscribed frame without an ID.
func (w *watch) Reset(version int64) {
	s := w.session
	s.mu.Lock()
	w.reset = len(w.answers) > 0
	s.told.Forget(w.JobID)
	s.mu.Unlock()
	var notice []byte
	if !w.reset {
		job := frame.SubscribedJob{JobID: w.JobID, Version: version, Reset: true}
		notice = wire.Encode(frame.SubscribedFrame{Type: frame.Subscribed, Jobs: []frame.SubscribedJob{job}})
	}
	s.act(s.out.Reset(&w.slot, notice))
}

// Over implements hub.Subscriber.
func (w *watch) Over() {
	s := w.session
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.watches[w.JobID] == w {
		s.forget(w)
	}
}

// forget removes a watch. The last version that it was sent is recorded in told, so that a watch of all jobs does not
// send it again. s.mu is held.
func (s *Session) forget(w *watch) {
	delete(s.watches, w.JobID)
	s.told.News(w.JobID, s.out.Last(&w.slot))
	s.cfg.Limits.Watch(s.identity.Tenant, -1)
}
