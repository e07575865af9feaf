package session

import (
	"maps"
	"slices"
	"time"
	"unicode/utf8"

	"github.com/ackwire/ackwire/gateway/auth"
	"github.com/ackwire/ackwire/gateway/lists"
	"github.com/ackwire/ackwire/gateway/outbox"
	"github.com/ackwire/ackwire/gateway/wire"
	"github.com/ackwire/ackwire/schemas/code"
	"github.com/ackwire/ackwire/schemas/frame"
)

// listWatch is the session's watch of one list. It is the source of its slot in the outbox: nothing of it waits there.
type listWatch struct {
	lists.Subscription // its Subscriber is the watch itself
	session            *Session
	name               string // the client's
	scope              *auth.Scope
	tenant, account    string // who counts it, see Limits
	slot               outbox.Slot

	// Guarded by session.mu.
	id       string // of the watchList frame that waits for its answer
	received time.Time
	waiting  bool
}

// watchList watches a list, in place of one that the client has given the same name.
func (s *Session) watchList(f *frame.ClientFrame, id auth.Identity) error {
	if err := checkList(f); err != nil {
		return err
	}
	filter, err := wire.DecodeFilter(f.Filter)
	if err != nil {
		return err
	}
	request, err := s.cfg.List(filter, id)
	if err != nil {
		return err
	}
	if err := s.cfg.Limits.List(id.Tenant, id.Account()); err != nil {
		return err
	}
	s.registering.Lock()
	defer s.registering.Unlock()
	s.endList(f.List, code.Unavailable)
	w := &listWatch{
		session: s, name: f.List, scope: id.ListScope(request.Tenant), tenant: id.Tenant, account: id.Account(), id: f.ID,
		received: s.received, waiting: true,
	}
	w.Subscription = lists.Subscription{Subscriber: w, List: request}
	w.slot.Source = w
	if err := s.takeList(w); err != nil {
		return err
	}
	if err := s.cfg.Lists.Subscribe(&w.Subscription); err != nil {
		s.mu.Lock()
		s.dropList(w)
		s.mu.Unlock()
		return err
	}
	return errLater
}

func checkList(f *frame.ClientFrame) error {
	switch {
	case f.List == "":
		return problem(code.InvalidFrame, "list is missing")
	case utf8.RuneCountInString(f.List) > frame.MaxIDChars:
		return problem(code.InvalidFrame, "list is longer than %d characters", frame.MaxIDChars)
	}
	return nil
}

// takeList takes a place for the watch of a list, which counts as one of the session's subscriptions.
func (s *Session) takeList(w *listWatch) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.lists) >= frame.MaxWatchedLists {
		return problem(code.LimitExceeded, "%d lists are watched", len(s.lists))
	}
	if err := s.cfg.Limits.WatchList(w.tenant, w.account); err != nil {
		return err
	}
	if !s.roomLocked(w.tenant) {
		s.cfg.Limits.UnwatchList(w.tenant, w.account)
		return problem(code.LimitExceeded, "%d jobs are watched", s.cfg.Subscriptions)
	}
	if s.lists == nil {
		s.lists = map[string]*listWatch{}
	}
	s.lists[w.name] = w
	return nil
}

// dropList removes the watch of a list, if it is still there. s.mu is held.
func (s *Session) dropList(w *listWatch) {
	if s.lists[w.name] == w {
		delete(s.lists, w.name)
		s.cfg.Limits.Watch(w.tenant, -1)
		s.cfg.Limits.UnwatchList(w.tenant, w.account)
	}
}

// unwatchList ends the watch of a list. It is harmless if there is none.
func (s *Session) unwatchList(f *frame.ClientFrame) error {
	if err := checkList(f); err != nil {
		return err
	}
	s.registering.Lock()
	defer s.registering.Unlock()
	s.endList(f.List, code.Unavailable)
	s.send(wire.Encode(frame.ListUnwatchedFrame{Type: frame.ListUnwatched, ID: f.ID, List: f.List}))
	return nil
}

// endList ends the watch of a list, if there is one; a watchList frame that waits is answered with the code. It reports
// whether the watch had been answered. s.registering is held.
func (s *Session) endList(name string, why code.Code) (answered bool) {
	s.mu.Lock()
	w := s.lists[name]
	if w != nil {
		s.dropList(w)
	}
	s.mu.Unlock()
	if w == nil {
		return false
	}
	s.cfg.Lists.Unsubscribe(&w.Subscription)
	s.out.Drop(&w.slot)
	return !w.answer(why)
}

// renewLists ends the watches of lists that a renewed identity does not cover. s.registering is held.
func (s *Session) renewLists(id auth.Identity) {
	s.mu.Lock()
	watches := slices.Collect(maps.Values(s.lists))
	s.mu.Unlock()
	for _, w := range watches {
		if scope := id.ListScope(w.List.Tenant); scope != nil && scope.Covers(w.scope) {
			continue
		}
		if s.endList(w.name, code.Forbidden) {
			s.send(wire.Encode(frame.ListUnwatchedFrame{Type: frame.ListUnwatched, List: w.name, Error: code.Forbidden}))
		}
	}
}

// endLists ends all watches of lists of a session that has ended. s.registering is held.
func (s *Session) endLists() {
	s.mu.Lock()
	watches := slices.Collect(maps.Values(s.lists))
	for _, w := range watches {
		s.dropList(w)
	}
	s.mu.Unlock()
	for _, w := range watches {
		s.cfg.Lists.Unsubscribe(&w.Subscription)
		s.out.Drop(&w.slot)
	}
}

// answer answers the watchList frame, with an error unless the code is empty. It reports false if that was done.
func (w *listWatch) answer(c code.Code) bool {
	s := w.session
	s.mu.Lock()
	waiting := w.waiting
	w.waiting = false
	s.mu.Unlock()
	if !waiting {
		return false
	}
	if c == "" {
		s.send(wire.Encode(frame.ListWatchedFrame{Type: frame.ListWatched, ID: w.id, List: w.name}))
	} else {
		s.fail(w.id, frame.NewProblem(c, "no tracker has answered"))
	}
	s.cfg.Metrics.Frame(frame.WatchList, c, time.Since(w.received))
	return true
}

// Listening implements lists.Subscriber.
func (w *listWatch) Listening(c code.Code) {
	if c != "" {
		w.session.mu.Lock()
		w.session.dropList(w)
		w.session.mu.Unlock()
	}
	w.answer(c)
}

// Ready implements lists.Subscriber.
func (w *listWatch) Ready() { w.session.act(w.session.out.Ready(&w.slot)) }

// Next implements outbox.Source.
func (w *listWatch) Next(limit int) (_ *outbox.Frame, more bool) {
	b, more := w.session.cfg.Lists.Take(&w.Subscription, limit)
	if b == nil {
		return nil, more
	}
	return &outbox.Frame{Bytes: wire.EncodeListChanged(w.name, encoded(b.Rows), encoded(b.Left), b.Again, b.Missed)}, more
}

func encoded(changes []lists.Change) [][]byte {
	all := make([][]byte, 0, len(changes))
	for _, c := range changes {
		all = append(all, c.Bytes)
	}
	return all
}
