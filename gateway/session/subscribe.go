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

// watch is one job that the session watches.
type watch struct {
	hub.Subscription // its Subscriber is the watch itself
	session          *Session

	slot    outbox.Slot
	left    bool    // the hub has no more of it: its last status is owed; guarded by session.mu
	answers []place // of subscribe frames that wait for this job; guarded by session.mu
	reset   bool    // the answers say so; guarded by session.mu
}

// asked is one subscribe frame on its way to its one answer, which comes when each of its
// jobs has been answered. Guarded by its session's mu.
type asked struct {
	frame    frame.SubscribedFrame
	received time.Time
	missing  int
	watches  []*watch // held until the answer was sent
}

// place is where a job's answer goes.
type place struct {
	asked *asked
	index int
}

var errJobsAndMine = problem(code.InvalidFrame, "jobs and mine are each a frame of their own")

// subscribe watches jobs. Subscribing again is harmless: it is answered with the version
// now, and what the session was sent before is not sent again.
func (s *Session) subscribe(f *frame.ClientFrame, id auth.Identity) error {
	if f.Mine {
		if len(f.Jobs) > 0 {
			return errJobsAndMine
		}
		return s.subscribeMine(f, id)
	}
	refs, err := wire.DecodeRefs(f.Jobs)
	if err != nil {
		return err
	}
	if len(refs) > s.cfg.Subscriptions {
		return problem(code.LimitExceeded, "a frame may name %d jobs", s.cfg.Subscriptions)
	}
	if err := s.cfg.Limits.Ask(id.Tenant, id.Subject, len(refs)); err != nil {
		return err
	}
	a := &asked{
		frame:    frame.SubscribedFrame{Type: frame.Subscribed, ID: f.ID, Jobs: []frame.SubscribedJob{}},
		received: s.received,
	}
	byJob := make(map[string]*watch, len(refs))
	for _, ref := range refs {
		var after int64
		if ref.After != nil {
			after = *ref.After
		}
		if w := byJob[ref.JobID]; w != nil { // named twice: answered once, with the more that was asked for
			w.After = min(w.After, after)
			continue
		}
		w := s.newWatch(hub.Subscription{JobID: ref.JobID, Tenant: id.Tenant, After: after}, s.received)
		w.answers = []place{{a, len(a.frame.Jobs)}}
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

// newWatch is one that was asked for at the given time.
func (s *Session) newWatch(sub hub.Subscription, asked time.Time) *watch {
	w := &watch{Subscription: sub, session: s, slot: outbox.Slot{Since: asked.UnixMilli()}}
	w.Subscriber, w.slot.Owner = w, w
	return w
}

// replace registers a watch, in place of one that the session has of the same job: so the
// answer tells the version now. s.registering is held.
func (s *Session) replace(w *watch) {
	s.mu.Lock()
	had := s.watches[w.JobID]
	full := had == nil && !s.roomLocked(w.Tenant)
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

// succeed ends a watch whose place another one, which is held, has taken: what was asked of it is
// answered by that one, and nothing is sent twice. s.registering is held.
func (s *Session) succeed(w, had *watch) {
	s.cfg.Hub.Unsubscribe(&had.Subscription)
	s.mu.Lock()
	w.answers = append(had.answers, w.answers...)
	had.answers = nil
	s.mu.Unlock()
	s.out.Inherit(&w.slot, &had.slot)
}

// promise keeps a place for the watch of a submit; false when there is none.
func (s *Session) promise() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.roomLocked(s.identity.Tenant) {
		return false
	}
	s.promised++
	return true
}

// roomLocked takes a place for one more watch; false when there is none. s.mu is held.
func (s *Session) roomLocked(tenant string) bool {
	return s.subscriptionsLocked() < s.cfg.Subscriptions && s.cfg.Limits.Watch(tenant, 1)
}

// subscriptionsLocked counts the places taken. s.mu is held.
func (s *Session) subscriptionsLocked() int {
	n := len(s.watches) + s.promised
	if s.mine != nil {
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

// watchSubmitted sends the ack of a submit or a retry and watches its job, in place of a watch
// that the session has. The watch is there before the client can know the job's ID, and says
// nothing before the ack, nor of the time before it: what ended before a retry is no end.
func (s *Session) watchSubmitted(ack *frame.AckFrame, tenant string, version int64, received time.Time) {
	s.registering.Lock()
	defer s.registering.Unlock()
	w := s.newWatch(hub.Subscription{JobID: ack.JobID, Tenant: tenant, MinVersion: version, Patient: true}, received)
	s.out.Hold(&w.slot)
	s.mu.Lock()
	s.promised--
	over, had := s.watches == nil, s.watches[w.JobID]
	if over || had != nil {
		s.cfg.Limits.Watch(tenant, -1)
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
	s.send(wire.Encode(ack))
	s.start(s.out.Release(&w.slot))
}

func (s *Session) unsubscribe(f *frame.ClientFrame) error {
	if f.Mine {
		if len(f.Jobs) > 0 {
			return errJobsAndMine
		}
		s.unsubscribeMine(f)
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
			w.answer(0, code.Unavailable) // to a subscribe that no tracker has answered yet
			s.clear(w)
		}
	}
	s.send(wire.Encode(frame.UnsubscribedFrame{Type: frame.Unsubscribed, ID: f.ID, Jobs: ids}))
	return nil
}

// unwatchAll ends all watches of a session that has ended.
func (s *Session) unwatchAll() {
	s.registering.Lock()
	defer s.registering.Unlock()
	s.mu.Lock()
	watches, all := s.watches, s.mine
	s.watches = nil
	s.dropMine(all)
	s.cfg.Limits.Watch(s.identity.Tenant, -len(watches))
	s.mu.Unlock()
	if all != nil {
		s.cfg.Mine.Unsubscribe(&all.Subscription)
	}
	for _, w := range watches {
		s.cfg.Hub.Unsubscribe(&w.Subscription)
	}
}

// Subscribed implements hub.Subscriber.
func (w *watch) Subscribed(version int64, c code.Code) {
	if c != "" {
		w.Over()
		w.session.clear(w)
	}
	w.answer(version, c)
}

// answer fills in what the job's subscribe frames wait for, and sends those that are
// complete.
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
		for _, w := range a.watches {
			s.start(s.out.Release(&w.slot))
		}
	}
}

// Status implements hub.Subscriber.
func (w *watch) Status(f *outbox.Frame) {
	w.parks(w.session.putWatched(w, f), f.Terminal)
}

// Reset implements hub.Subscriber. The answer to a subscribe that waits says it; a client that was
// answered before is answered anew.
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
	s.start(s.out.Reset(&w.slot, notice))
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

// forget frees a watch's place. What it was sent is known from here on to the watch of all jobs,
// if there is one or will be. s.mu is held.
func (s *Session) forget(w *watch) {
	delete(s.watches, w.JobID)
	s.told.News(w.JobID, s.out.Last(&w.slot))
	s.cfg.Limits.Watch(w.Tenant, -1)
}
