package session

import (
	"slices"
	"strings"
	"sync"

	"github.com/ackwire/ackwire/gateway/auth"
	"github.com/ackwire/ackwire/gateway/hub"
	"github.com/ackwire/ackwire/gateway/outbox"
	"github.com/ackwire/ackwire/gateway/wire"
	"github.com/ackwire/ackwire/schemas/code"
	"github.com/ackwire/ackwire/schemas/frame"
)

// asked is one subscribe frame on its way to its one answer, which comes when each of its
// jobs has been answered.
type asked struct {
	mu      sync.Mutex // guards all below
	frame   frame.SubscribedFrame
	missing int
	held    []held // statuses that must not overtake the answer
}

type held struct {
	sub   *hub.Subscription
	frame *outbox.Frame
}

// hold keeps a status back until the answer was sent; false when it was.
func (a *asked) hold(sub *hub.Subscription, f *outbox.Frame) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.missing > 0 {
		a.held = append(a.held, held{sub, f})
	}
	return a.missing > 0
}

// subscribe watches jobs. Subscribing again is harmless: with after it moves nothing, and
// without it the state now is sent again only if it is newer than what was sent.
func (s *Session) subscribe(f *frame.ClientFrame, id auth.Identity) error {
	if f.Mine {
		return problem(code.InvalidFrame, "mine is not part of this release")
	}
	refs, err := wire.DecodeRefs(f.Jobs)
	if err != nil {
		return err
	}
	if len(refs) > s.cfg.Subscriptions {
		return problem(code.LimitExceeded, "a frame may name %d jobs", s.cfg.Subscriptions)
	}
	a := &asked{missing: len(refs), frame: frame.SubscribedFrame{Type: frame.Subscribed, ID: f.ID, Jobs: []frame.SubscribedJob{}}}
	if len(refs) == 0 {
		s.send(wire.Encode(a.frame))
		return nil
	}
	for _, ref := range refs {
		sub := &hub.Subscription{JobID: ref.JobID, Tenant: id.Tenant, Subscriber: s, Asked: a}
		if ref.After != nil {
			sub.After = *ref.After
		}
		s.out.Skip(&sub.Slot, sub.After)
		s.again(sub)
	}
	return nil
}

// again replaces a watch that the session has, so that its answer tells the version now.
func (s *Session) again(sub *hub.Subscription) {
	s.mu.Lock()
	had := s.subs[sub.JobID]
	full := had == nil && len(s.subs) >= s.cfg.Subscriptions
	if !full && s.subs != nil {
		s.subs[sub.JobID] = sub
	}
	closed := s.subs == nil
	s.mu.Unlock()
	switch {
	case closed:
		return
	case full:
		s.answer(sub, 0, code.LimitExceeded)
		return
	case had != nil:
		s.cfg.Hub.Unsubscribe(had)
		s.out.Inherit(&sub.Slot, &had.Slot)
	}
	s.cfg.Hub.Subscribe(sub)
}

// Subscribed implements hub.Subscriber.
func (s *Session) Subscribed(sub *hub.Subscription, version int64, c code.Code) {
	if c != "" {
		s.Over(sub)
	}
	s.answer(sub, version, c)
}

func (s *Session) answer(sub *hub.Subscription, version int64, c code.Code) {
	a, ok := sub.Asked.(*asked)
	if !ok {
		return // a submit's watch: its ack was its answer
	}
	a.mu.Lock()
	a.frame.Jobs = append(a.frame.Jobs, frame.SubscribedJob{JobID: sub.JobID, Version: version, Error: c})
	a.missing--
	if a.missing > 0 {
		a.mu.Unlock()
		return
	}
	waiting := a.held
	a.held = nil
	a.mu.Unlock()
	slices.SortFunc(a.frame.Jobs, func(x, y frame.SubscribedJob) int { return strings.Compare(x.JobID, y.JobID) })
	s.send(wire.Encode(a.frame))
	for _, h := range waiting {
		s.start(s.out.Put(&h.sub.Slot, h.frame))
	}
}
