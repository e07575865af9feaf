package session

import (
	"maps"
	"slices"
	"strings"

	"github.com/ackwire/ackwire/gateway/auth"
	"github.com/ackwire/ackwire/gateway/wire"
	"github.com/ackwire/ackwire/schemas/code"
	"github.com/ackwire/ackwire/schemas/frame"
)

// A token that renews a session's identity may permit less than the one before. What it no longer covers ends: no
// status is queued any more once the token was taken, and a frame without an ID tells the client of each watch that has
// ended.

// renewed ends those watches that the identity no longer covers.
func (s *Session) renewed(id auth.Identity) {
	s.registering.Lock()
	defer s.registering.Unlock()
	if !id.MayFollowAll() {
		s.endSubject()
	}
	s.renewStreams(id)
	s.renewLists(id)
	s.mu.Lock()
	watches := slices.Collect(maps.Values(s.watches))
	s.mu.Unlock()
	if !id.May(auth.Read) {
		s.endWatches(watches, code.Forbidden)
		return
	}
	scope := s.reads(id)
	for _, w := range watches {
		if scope.Covers(w.Scope) {
			continue
		}
		// Its tracker says whether the job is still to be seen. Until then nothing is delivered.
		s.mu.Lock()
		w.renewed = true
		s.mu.Unlock()
		s.cfg.Hub.Move(&w.Subscription, scope)
	}
}

// endSubject ends the watch of all jobs, if there is one. s.registering is held.
func (s *Session) endSubject() {
	s.mu.Lock()
	w := s.subject
	s.dropSubject(w)
	s.mu.Unlock()
	if w == nil {
		return
	}
	s.cfg.Subjects.Unsubscribe(&w.Subscription)
	w.refuse(code.Forbidden)
	s.forgetUnsent(s.out.ClearGroup(&w.group))
	s.send(wire.Encode(frame.UnsubscribedFrame{
		Type: frame.Unsubscribed, Jobs: []string{}, Mine: true, Error: code.Forbidden,
	}))
}

// endWatches ends watches of single jobs and says why. s.registering is held.
func (s *Session) endWatches(watches []*watch, why code.Code) {
	f := frame.SubscribedFrame{Type: frame.Subscribed, Jobs: []frame.SubscribedJob{}}
	for _, w := range watches {
		s.mu.Lock()
		if s.watches[w.JobID] == w {
			s.forget(w)
		}
		s.mu.Unlock()
		s.cfg.Hub.Unsubscribe(&w.Subscription)
		w.answer(0, why)
		s.clear(w)
		f.Jobs = append(f.Jobs, frame.SubscribedJob{JobID: w.JobID, Error: why})
	}
	slices.SortFunc(f.Jobs, func(a, b frame.SubscribedJob) int { return strings.Compare(a.JobID, b.JobID) })
	if len(f.Jobs) > 0 {
		s.send(wire.Encode(f))
	}
}

// tellEnded says that a watch has ended because the renewed identity may not see its job, unless a subscribe frame that
// waits for its answer says so.
func (w *watch) tellEnded(c code.Code) {
	s := w.session
	s.mu.Lock()
	tell := w.renewed && len(w.answers) == 0
	w.renewed = false
	s.mu.Unlock()
	if tell {
		s.send(wire.Encode(frame.SubscribedFrame{
			Type: frame.Subscribed, Jobs: []frame.SubscribedJob{{JobID: w.JobID, Error: c}},
		}))
	}
}
