package session

import (
	"time"

	"github.com/ackwire/ackwire/gateway/auth"
	"github.com/ackwire/ackwire/gateway/outbox"
	"github.com/ackwire/ackwire/gateway/subjects"
	"github.com/ackwire/ackwire/gateway/wire"
	"github.com/ackwire/ackwire/schemas/code"
	"github.com/ackwire/ackwire/schemas/frame"
)

// subjectWatch is the session's watch of all jobs of its subject. It is independent of the session's watches of single
// jobs; its frames are marked as mine.
type subjectWatch struct {
	subjects.Subscription // its Subscriber is the watch itself
	session               *Session

	group    outbox.Group
	answered bool            // guarded by session.mu
	frames   []subjectAnswer // subscribe frames that wait for their answer; guarded by session.mu
}

// subjectAnswer is a subscribe frame that waits for its answer.
type subjectAnswer struct {
	id       string
	received time.Time
}

// subscribeSubject watches all jobs of the session's subject, from the answer on. This counts as one of the session's
// subscriptions.
func (s *Session) subscribeSubject(f *frame.ClientFrame, id auth.Identity) error {
	if !id.MayFollowAll() {
		return problem(code.Forbidden, "a grant follows its jobs one by one")
	}
	s.registering.Lock()
	defer s.registering.Unlock()
	s.mu.Lock()
	w := s.subject
	switch {
	case w != nil && w.answered:
		s.mu.Unlock()
		s.send(subscribedSubject(f.ID, false))
		return nil
	case w != nil:
		w.frames = append(w.frames, subjectAnswer{f.ID, s.received})
		s.mu.Unlock()
		return errLater
	case !s.roomLocked(id.Tenant):
		s.mu.Unlock()
		return problem(code.LimitExceeded, "%d jobs are watched", s.cfg.Subscriptions)
	}
	w = &subjectWatch{
		session: s, frames: []subjectAnswer{{f.ID, s.received}}, group: outbox.Group{Since: s.received.UnixMilli()},
	}
	w.group.Owner = w
	w.Subscription = subjects.Subscription{Subscriber: w, Tenant: id.Tenant, Subject: id.Subject, After: f.After}
	if w.After != "" && !s.told.Complete() {
		w.After = subjects.NoCursor // told has forgotten versions, so some could be sent twice: reset the client instead
	}
	s.subject = w
	s.told.Follow()
	for id, own := range s.watches {
		s.told.News(id, s.out.Last(&own.slot))
	}
	s.follows.Store(true)
	s.mu.Unlock()
	s.cfg.Subjects.Subscribe(&w.Subscription)
	return errLater
}

func subscribedSubject(id string, reset bool) []byte {
	return wire.Encode(frame.SubscribedFrame{
		Type: frame.Subscribed, ID: id, Jobs: []frame.SubscribedJob{}, Mine: true, Reset: reset,
	})
}

// unsubscribeSubject ends the watch of all jobs. The watches of single jobs stay.
func (s *Session) unsubscribeSubject(f *frame.ClientFrame) {
	s.registering.Lock()
	defer s.registering.Unlock()
	s.mu.Lock()
	w := s.subject
	s.dropSubject(w)
	s.mu.Unlock()
	if w != nil {
		s.cfg.Subjects.Unsubscribe(&w.Subscription)
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

// dropSubject removes the watch of all jobs, if it is still w. s.mu is held.
func (s *Session) dropSubject(w *subjectWatch) {
	if w != nil && s.subject == w {
		s.subject = nil
		s.follows.Store(false)
		s.cfg.Limits.Watch(w.Tenant, -1)
	}
}

// Subscribed implements subjects.Subscriber.
func (w *subjectWatch) Subscribed(c code.Code, reset bool) {
	s := w.session
	if c != "" {
		s.mu.Lock()
		s.dropSubject(w)
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
		s.send(subscribedSubject(f.id, reset))
		s.cfg.Metrics.Frame(frame.Subscribe, "", time.Since(f.received))
	}
}

// Cursor implements subjects.Subscriber. While statuses wait for the acks of their submits no cursor is sent, since the
// cursor would include them.
func (w *subjectWatch) Cursor(cursor string) bool {
	s := w.session
	s.mu.Lock()
	o := outbox.Old
	if len(s.unacked) == 0 {
		o = s.out.Mark(wire.Encode(frame.CursorFrame{Type: frame.Cursor, Cursor: cursor}))
	}
	s.mu.Unlock()
	if o == outbox.Start {
		s.act(o)
	}
	return o != outbox.Old
}

// Room implements subjects.Subscriber.
func (w *subjectWatch) Room() bool { return w.session.out.Room() }

// refuse answers the subscribe frames that wait with an error.
func (w *subjectWatch) refuse(c code.Code) {
	w.session.mu.Lock()
	frames := w.frames
	w.frames = nil
	w.session.mu.Unlock()
	for _, f := range frames {
		w.session.fail(f.id, frame.NewProblem(c, "no tracker has answered"))
		w.session.cfg.Metrics.Frame(frame.Subscribe, c, time.Since(f.received))
	}
}

// SubjectStatus implements subjects.Subscriber. The status of a job whose submit was not acked yet waits for the ack,
// which must be the first frame about the job.
func (w *subjectWatch) SubjectStatus(jobID string, f *outbox.Frame) {
	s := w.session
	s.mu.Lock()
	held, unacked := s.unacked[jobID]
	if unacked && (held == nil || f.Version > held.Version) {
		s.unacked[jobID] = f
	}
	o := outbox.Queued
	if !unacked {
		o = s.putSubjectLocked(w, jobID, f)
	}
	s.mu.Unlock()
	s.act(o)
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
	if w := s.subject; f != nil && w != nil {
		o = s.putSubjectLocked(w, jobID, f)
	}
	s.mu.Unlock()
	s.act(o)
}
