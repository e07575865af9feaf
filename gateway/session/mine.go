package session

import (
	"time"

	"github.com/ackwire/ackwire/gateway/auth"
	"github.com/ackwire/ackwire/gateway/mine"
	"github.com/ackwire/ackwire/gateway/outbox"
	"github.com/ackwire/ackwire/gateway/wire"
	"github.com/ackwire/ackwire/schemas/code"
	"github.com/ackwire/ackwire/schemas/frame"
)

// mineWatch is the session's watch of all jobs of its subject. It is independent of the session's watches of single
// jobs; its frames are marked as mine.
type mineWatch struct {
	mine.Subscription // its Subscriber is the watch itself
	session           *Session

	group    outbox.Group
	answered bool         // guarded by session.mu
	frames   []mineAnswer // subscribe frames that wait for their answer; guarded by session.mu
}

// mineAnswer is a subscribe frame that waits for its answer.
type mineAnswer struct {
	id       string
	received time.Time
}

// subscribeMine watches all jobs of the session's subject, from the answer on. This counts as one of the session's
// subscriptions.
func (s *Session) subscribeMine(f *frame.ClientFrame, id auth.Identity) error {
	if !id.MayFollowAll() {
		return problem(code.Forbidden, "a grant follows its jobs one by one")
	}
	s.registering.Lock()
	defer s.registering.Unlock()
	s.mu.Lock()
	w := s.mine
	switch {
	case w != nil && w.answered:
		s.mu.Unlock()
		s.send(subscribedMine(f.ID, false))
		return nil
	case w != nil:
		w.frames = append(w.frames, mineAnswer{f.ID, s.received})
		s.mu.Unlock()
		return errLater
	case !s.roomLocked(id.Tenant):
		s.mu.Unlock()
		return problem(code.LimitExceeded, "%d jobs are watched", s.cfg.Subscriptions)
	}
	w = &mineWatch{
		session: s, frames: []mineAnswer{{f.ID, s.received}}, group: outbox.Group{Since: s.received.UnixMilli()},
	}
	w.group.Owner = w
	w.Subscription = mine.Subscription{Subscriber: w, Tenant: id.Tenant, Subject: id.Subject, After: f.After}
	if w.After != "" && !s.told.Complete() {
		w.After = mine.NoCursor // told has forgotten versions, so some could be sent twice: reset the client instead
	}
	s.mine = w
	s.told.Follow()
	for id, own := range s.watches {
		s.told.News(id, s.out.Last(&own.slot))
	}
	s.follows.Store(true)
	s.mu.Unlock()
	s.cfg.Mine.Subscribe(&w.Subscription)
	return errLater
}

func subscribedMine(id string, reset bool) []byte {
	return wire.Encode(frame.SubscribedFrame{
		Type: frame.Subscribed, ID: id, Jobs: []frame.SubscribedJob{}, Mine: true, Reset: reset,
	})
}

// unsubscribeMine ends the watch of all jobs. The watches of single jobs stay.
func (s *Session) unsubscribeMine(f *frame.ClientFrame) {
	s.registering.Lock()
	defer s.registering.Unlock()
	s.mu.Lock()
	w := s.mine
	s.dropMine(w)
	s.mu.Unlock()
	if w != nil {
		s.cfg.Mine.Unsubscribe(&w.Subscription)
		w.refuse(code.Unavailable) // answers a subscribe that no tracker has answered yet
		s.forgetUnsent(s.out.ClearGroup(&w.group))
	}
	s.send(wire.Encode(frame.UnsubscribedFrame{Type: frame.Unsubscribed, ID: f.ID, Jobs: []string{}, Mine: true}))
}

// forgetUnsent removes jobs from told whose last status was dropped before it was sent.
func (s *Session) forgetUnsent(jobIDs []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, id := range jobIDs {
		s.told.Forget(id)
	}
}

// dropMine removes the watch of all jobs, if it is still w. s.mu is held.
func (s *Session) dropMine(w *mineWatch) {
	if w != nil && s.mine == w {
		s.mine = nil
		s.follows.Store(false)
		s.cfg.Limits.Watch(w.Tenant, -1)
	}
}

// Subscribed implements mine.Subscriber.
func (w *mineWatch) Subscribed(c code.Code, reset bool) {
	s := w.session
	if c != "" {
		s.mu.Lock()
		s.dropMine(w)
		s.mu.Unlock()
		w.refuse(c)
		return
	}
	s.mu.Lock()
	w.answered = true
	frames := w.frames
	w.frames = nil
	s.mu.Unlock()
	for _, f := range frames {
		s.send(subscribedMine(f.id, reset))
		s.cfg.Metrics.Frame(frame.Subscribe, "", time.Since(f.received))
	}
}

// Cursor implements mine.Subscriber. While statuses wait for the acks of their submits no cursor is sent, since the
// cursor would include them.
func (w *mineWatch) Cursor(cursor string) bool {
	s := w.session
	s.mu.Lock()
	o := outbox.Old
	if len(s.unacked) == 0 {
		o = s.out.Mark(wire.Encode(frame.CursorFrame{Type: frame.Cursor, Cursor: cursor}))
	}
	s.mu.Unlock()
	if o == outbox.Start {
		s.start(o)
	}
	return o != outbox.Old
}

// Room implements mine.Subscriber.
func (w *mineWatch) Room() bool { return w.session.out.Room() }

// refuse answers the subscribe frames that wait with an error.
func (w *mineWatch) refuse(c code.Code) {
	w.session.mu.Lock()
	frames := w.frames
	w.frames = nil
	w.session.mu.Unlock()
	for _, f := range frames {
		w.session.fail(f.id, frame.NewProblem(c, "no tracker has answered"))
		w.session.cfg.Metrics.Frame(frame.Subscribe, c, time.Since(f.received))
	}
}

// MineStatus implements mine.Subscriber. The status of a job whose submit was not acked yet waits for the ack, which
// must be the first frame about the job.
func (w *mineWatch) MineStatus(jobID string, f *outbox.Frame) {
	s := w.session
	s.mu.Lock()
	held, unacked := s.unacked[jobID]
	if unacked && (held == nil || f.Version > held.Version) {
		s.unacked[jobID] = f
	}
	o := outbox.Queued
	if !unacked {
		o = s.putMineLocked(w, jobID, f)
	}
	s.mu.Unlock()
	s.start(o)
}

// expectAck makes the statuses of a job wait until acked is called.
func (s *Session) expectAck(jobID string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.unacked == nil {
		s.unacked = map[string]*outbox.Frame{}
	}
	if _, twice := s.unacked[jobID]; !twice { // with two submits of one key, the first answer ends the wait
		s.unacked[jobID] = nil
	}
}

// acked ends expectAck once the answer is queued, and queues the status that has waited for it.
func (s *Session) acked(jobID string) {
	s.mu.Lock()
	f := s.unacked[jobID]
	delete(s.unacked, jobID)
	if len(s.unacked) == 0 {
		s.unacked = nil // saves memory: most sessions submit rarely
	}
	o := outbox.Queued
	if w := s.mine; f != nil && w != nil {
		o = s.putMineLocked(w, jobID, f)
	}
	s.mu.Unlock()
	s.start(o)
}
