package sse

import (
	"time"

	"github.com/ackwire/ackwire/gateway/hub"
	"github.com/ackwire/ackwire/gateway/mine"
	"github.com/ackwire/ackwire/gateway/outbox"
	"github.com/ackwire/ackwire/gateway/wire"
	"github.com/ackwire/ackwire/schemas/code"
	"github.com/ackwire/ackwire/schemas/frame"
)

// Request says what a stream of frames follows.
type Request struct {
	Jobs  []frame.JobRef // each named once
	Mine  bool           // all jobs of the subject, too
	After string         // with Mine: the last cursor that the client has; "" is none
}

// NewFrames begins to follow what a client has asked for that reads the frames of a socket from an
// event stream. Such a stream does not end with its jobs: its client ends it. Close must be called.
func NewFrames(h *hub.Hub, x *mine.Index, room Room, tenant, subject string, r Request) *Stream {
	of := ids{jobs: make([]string, len(r.Jobs)), told: make(told, len(r.Jobs))}
	for i, ref := range r.Jobs {
		of.jobs[i] = ref.JobID
		if ref.After != nil {
			of.told[i] = *ref.After
		}
	}
	s := newStream(h, room, of)
	s.frames = true
	if r.Mine {
		s.waiting++
		s.live++
		s.out.MaxStatuses += maxWaiting
	}
	if s.waiting == 0 {
		close(s.answered)
	}
	s.watchJobs(tenant)
	if r.Mine {
		s.watchMine(x, tenant, subject, r.After)
	}
	return s
}

// Subscribed is the frame that answers what a stream of frames was asked for.
func (s *Stream) Subscribed(answers []Answer) frame.SubscribedFrame {
	f := frame.SubscribedFrame{Type: frame.Subscribed, Jobs: []frame.SubscribedJob{}}
	for _, a := range answers {
		switch {
		case a.JobID != "":
			f.Jobs = append(f.Jobs, frame.SubscribedJob{JobID: a.JobID, Version: a.Version, Error: a.Error, Reset: a.reset})
		case a.Error == "": // a refused one is told by the request's own answer
			f.Mine, f.Reset = true, a.reset
		}
	}
	return f
}

// FrameEvent is a server frame as an event: its text, as a socket carries it, is the data.
func FrameEvent(f any) []byte { return appendData(nil, wire.Text(wire.Encode(f))) }

// notice is what a client is told of a job that was reset after its answer; nil where events have
// no place for it. s.mu is held.
func (sub *subscription) notice(version int64) []byte {
	if !sub.stream.frames {
		return nil
	}
	if !sub.answered { // the answer says it
		sub.answer.reset = true
		return nil
	}
	job := frame.SubscribedJob{JobID: sub.JobID, Version: version, Reset: true}
	return FrameEvent(frame.SubscribedFrame{Type: frame.Subscribed, Jobs: []frame.SubscribedJob{job}})
}

// The events that a stream has besides statuses, in the form that its client reads.

func (s *Stream) expiringEvent(t Token) []byte {
	f := frame.NewExpiring(t.Expires, time.Until(t.Over))
	if s.frames {
		return FrameEvent(f)
	}
	return Event("expiring", f)
}

func (s *Stream) expiredEvent() []byte {
	p := frame.NewProblem(code.Unauthenticated, "the token has expired")
	if s.frames {
		return FrameEvent(frame.ErrorFrame{Type: frame.Error, Problem: p})
	}
	return Event("error", p)
}

func (s *Stream) goawayEvent(after time.Duration) []byte {
	f := frame.GoawayFrame{Type: frame.Goaway, Reason: "restart", ReconnectAfter: after.Seconds()}
	if s.frames {
		return FrameEvent(f)
	}
	return append(Retry(after), Event("goaway", f)...)
}

// poll is when a stream ends that is read by long polls: its client reads nothing before the end.
type poll struct {
	over   <-chan time.Time // nil unless it is one
	idle   bool             // nothing is followed
	cursor bool             // a client that follows its subject is told up to where, and goes on from there
	news   bool             // something was told
	marked bool             // a cursor was told after all news
}

func (s *Stream) newPoll(wait time.Duration) (p poll, stop func() bool) {
	if wait <= 0 {
		return poll{}, func() bool { return true }
	}
	t := time.NewTimer(wait)
	return poll{over: t.C, idle: len(s.subs) == 0 && s.mine == nil, cursor: s.mine != nil}, t.Stop
}

// took notes what was written.
func (p *poll) took(f *outbox.Frame) {
	if status := f.JobID != ""; status {
		p.news, p.marked = true, false
	} else {
		p.marked = true
	}
}

// done reports whether the client is to have what it was told.
func (p *poll) done() bool { return p.over != nil && (p.idle || p.news && (p.marked || !p.cursor)) }
