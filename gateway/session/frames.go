package session

import (
	"context"
	"fmt"

	"github.com/ackwire/ackwire/gateway/auth"
	"github.com/ackwire/ackwire/gateway/hub"
	"github.com/ackwire/ackwire/gateway/outbox"
	"github.com/ackwire/ackwire/gateway/wire"
	"github.com/ackwire/ackwire/schemas/code"
	"github.com/ackwire/ackwire/schemas/frame"
)

// handle answers one text frame.
func (s *Session) handle(b []byte) {
	f, err := wire.Decode(b)
	if err == nil {
		err = s.dispatch(&f)
	}
	if err == nil {
		s.cfg.Metrics.Frame(f.Type, "")
		return
	}
	s.fail(f.ID, err)
	c := codeOf(err)
	s.cfg.Metrics.Frame(f.Type, c)
	if c == code.InvalidFrame || c == code.UnknownFrame {
		if s.broken++; s.broken >= maxBroken {
			s.Close(code.CloseProtocolError)
		}
	}
	if c == code.Unauthenticated {
		if f.Type == frame.Auth {
			s.Close(code.CloseUnauthenticated)
		} else {
			s.Close(code.CloseProtocolError)
		}
	}
}

func codeOf(err error) code.Code {
	if p, ok := err.(frame.Problem); ok {
		return p.Code
	}
	return code.Internal
}

func problem(c code.Code, format string, args ...any) error {
	return frame.NewProblem(c, fmt.Sprintf(format, args...))
}

// dispatch acts on one frame. Errors are frame.Problems.
func (s *Session) dispatch(f *frame.ClientFrame) error {
	s.mu.Lock()
	identity, known := s.identity, s.known
	s.mu.Unlock()
	if f.Type == frame.Auth {
		return s.auth(f, identity, known)
	}
	if !known {
		return problem(code.Unauthenticated, "the first frame must be auth")
	}
	switch f.Type {
	case frame.Submit:
		return s.submit(f, identity)
	case frame.Subscribe:
		return s.subscribe(f, identity)
	case frame.Unsubscribe:
		return s.unsubscribe(f)
	case frame.Ping:
		s.send(wire.Encode(frame.PongFrame{Type: frame.Pong, ID: f.ID}))
		return nil
	case frame.Cancel, frame.Retry:
		return problem(code.UnknownFrame, "%s is not part of this release", f.Type)
	default:
		return problem(code.UnknownFrame, "%.32q is not a frame type", f.Type)
	}
}

// auth gives the session an identity, or renews it. An anonymous session may take one.
func (s *Session) auth(f *frame.ClientFrame, was auth.Identity, known bool) error {
	if f.Token == "" {
		return problem(code.InvalidFrame, "token is missing")
	}
	id, err := s.cfg.Verifier.Verify(f.Token)
	if err != nil {
		s.cfg.Log.Debug("token refused", "session", s.name, "err", err)
		return problem(code.Unauthenticated, "the token was refused")
	}
	if known && !was.Anonymous() && (id.Tenant != was.Tenant || id.Subject != was.Subject) {
		return problem(code.Forbidden, "the token is another tenant's or subject's")
	}
	s.mu.Lock()
	if known && was.Anonymous() && len(s.subs) > 0 {
		s.mu.Unlock()
		return problem(code.Forbidden, "this session already watches jobs of another identity")
	}
	s.identity, s.known = id, true
	s.arm()
	s.mu.Unlock()
	s.welcome(f.ID)
	return nil
}

func (s *Session) welcome(id string) {
	s.send(wire.Encode(frame.WelcomeFrame{
		Type: frame.Welcome, ID: id, Connection: s.name, Protocol: frame.Protocol,
		PingInterval: s.cfg.PingInterval.Seconds(),
		Limits: frame.Limits{FrameBytes: s.cfg.FrameBytes, Subscriptions: s.cfg.Subscriptions,
			InFlightSubmits: s.cfg.InFlightSubmits},
	}))
}

// submit hands the job on; the answer comes when it is durable. Meanwhile other frames are
// answered.
func (s *Session) submit(f *frame.ClientFrame, id auth.Identity) error {
	if int(s.inFlight.Add(1)) > s.cfg.InFlightSubmits {
		s.inFlight.Add(-1)
		return problem(code.LimitExceeded, "%d submits are in flight", s.cfg.InFlightSubmits)
	}
	watch := f.Watch == nil || *f.Watch
	request, frameID := f.SubmitRequest, f.ID
	s.unanswered.Add(1)
	s.submits.Go(func() {
		defer s.unanswered.Add(-1)
		// A client that leaves does not stop its submit.
		ack, version, err := s.cfg.Submit.Submit(context.Background(), id, request)
		s.inFlight.Add(-1) // before the answer, which may bring the next submit
		if err != nil {
			s.fail(frameID, err)
			return
		}
		ack.Type, ack.ID = frame.Ack, frameID
		s.send(wire.Encode(ack)) // before the watch: the first frame about a job is its ack
		if watch {
			// A socket at its limit has its ack and does not watch.
			_ = s.watch(&hub.Subscription{JobID: ack.JobID, Tenant: id.Tenant, MinVersion: version, Patient: true})
		}
	})
	return nil
}

// watch registers a subscription, unless the session has it already.
func (s *Session) watch(sub *hub.Subscription) error {
	sub.Subscriber = s
	s.out.Skip(&sub.Slot, sub.After)
	s.mu.Lock()
	switch {
	case s.subs == nil || s.subs[sub.JobID] != nil:
		s.mu.Unlock()
		return nil
	case len(s.subs) >= s.cfg.Subscriptions:
		s.mu.Unlock()
		return problem(code.LimitExceeded, "%d jobs are watched", s.cfg.Subscriptions)
	}
	s.subs[sub.JobID] = sub
	s.mu.Unlock()
	s.cfg.Hub.Subscribe(sub)
	return nil
}

func (s *Session) unsubscribe(f *frame.ClientFrame) error {
	if f.Mine {
		return problem(code.InvalidFrame, "mine is not part of this release")
	}
	ids, err := wire.DecodeIDs(f.Jobs)
	if err != nil {
		return err
	}
	for _, id := range ids {
		s.mu.Lock()
		sub := s.subs[id]
		delete(s.subs, id)
		s.mu.Unlock()
		if sub != nil {
			s.cfg.Hub.Unsubscribe(sub)
			s.out.Clear(&sub.Slot)
		}
	}
	s.send(wire.Encode(frame.UnsubscribedFrame{Type: frame.Unsubscribed, ID: f.ID, Jobs: ids}))
	return nil
}

// Status implements hub.Subscriber.
func (s *Session) Status(sub *hub.Subscription, f *outbox.Frame) {
	if a, ok := sub.Asked.(*asked); !ok || !a.hold(sub, f) {
		s.start(s.out.Put(&sub.Slot, f))
	}
	if f.Terminal {
		s.Over(sub)
	}
}

// Over implements hub.Subscriber.
func (s *Session) Over(sub *hub.Subscription) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.subs[sub.JobID] == sub {
		delete(s.subs, sub.JobID)
	}
}
