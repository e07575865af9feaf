package sse

import (
	"time"

	"github.com/ackwire/ackwire/gateway/auth"
	"github.com/ackwire/ackwire/gateway/hub"
	"github.com/ackwire/ackwire/gateway/outbox"
	"github.com/ackwire/ackwire/gateway/subjects"
	"github.com/ackwire/ackwire/gateway/wire"
	"github.com/ackwire/ackwire/schemas/code"
	"github.com/ackwire/ackwire/schemas/frame"
)

// Request says which jobs a stream of frames follows.
type Request struct {
	Jobs    []frame.JobRef      // each job at most once
	Subject bool                // also all jobs of the client's subject; mine on the wire
	After   string              // with Subject: the last cursor that the client has; "" for none
	Streams [][]frame.StreamRef // by job, as in Jobs: their streams to follow, too
	Known   []frame.JobRef      // with Subject: jobs whose versions the client has, up to After
}

// NewFrames begins to follow jobs for a client that reads, as an event stream, the same frames as on a socket. Such a
// stream does not end with its jobs, but when its client leaves. The caller must Close the stream.
func NewFrames(h *hub.Hub, x *subjects.Index, room Room, id auth.Identity, r Request) *Stream {
	of := ids{jobs: make([]string, len(r.Jobs)), told: make(told, len(r.Jobs))}
	for i, ref := range r.Jobs {
		of.jobs[i] = ref.JobID
		if ref.After != nil {
			of.told[i] = *ref.After
		}
	}
	s := newStream(h, room, of)
	s.frames = true
	s.With(r.Streams)
	if r.Subject {
		s.waiting++
		s.live++
		s.out.MaxStatuses += maxWaiting
	}
	if s.waiting == 0 {
		close(s.answered)
	}
	s.watchJobs(id.Scope(auth.Read))
	if r.Subject {
		s.follow(id.Tenant, id.Subject, r.After)
		for _, ref := range r.Known {
			if ref.After != nil {
				s.subject.told.News(ref.JobID, *ref.After)
			}
		}
		s.subject.watch(x)
	}
	return s
}

// Subscribed returns the subscribed frame for the answers of a stream of frames.
func (s *Stream) Subscribed(answers []Answer) frame.SubscribedFrame {
	f := frame.SubscribedFrame{Type: frame.Subscribed, Jobs: []frame.SubscribedJob{}}
	for _, a := range answers {
		switch {
		case a.JobID != "":
			f.Jobs = append(f.Jobs, frame.SubscribedJob{JobID: a.JobID, Version: a.Version, Error: a.Error, Reset: a.reset})
		case a.Error == "": // if all jobs of the subject are refused, the HTTP answer says so
			f.Mine, f.Reset = true, a.reset
		}
	}
	return f
}

// FrameEvent returns an event whose data is the text of a server frame.
func FrameEvent(f any) []byte { return appendData(nil, wire.Text(wire.Encode(f))) }

// notice returns the event for a job that was reset after its answer; nil if the answer will say so, or the stream has
// no such event. stream.mu is held.
func (sub *subscription) notice(version int64) []byte {
	if !sub.stream.frames {
		return nil
	}
	if !sub.answered { // the answer will say it
		sub.answer.reset = true
		return nil
	}
	job := frame.SubscribedJob{JobID: sub.JobID, Version: version, Reset: true}
	return FrameEvent(frame.SubscribedFrame{Type: frame.Subscribed, Jobs: []frame.SubscribedJob{job}})
}

// The functions below return a stream's other events, as frames or as events with a name.

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

// poll decides when the stream of a long poll ends: as soon as there is news, since its client sees nothing before the
// end. A client that follows its subject needs a cursor, too, or its polls would never get beyond the first statuses of
// those that it has missed: the cursor comes behind all of these.
type poll struct {
	over   <-chan time.Time // the timeout; nil if the stream is not a long poll
	idle   bool             // no job is followed
	cursor bool             // the client needs a cursor
	news   bool             // a status, or a part of a stream, was written
	marked bool             // a cursor was written
}

func (s *Stream) newPoll(wait time.Duration) (p poll, stop func() bool) {
	if wait <= 0 {
		return poll{}, func() bool { return true }
	}
	t := time.NewTimer(wait)
	return poll{over: t.C, idle: len(s.subs) == 0 && s.subject == nil, cursor: s.subject != nil}, t.Stop
}

// took records a frame that was written.
func (p *poll) took(f *outbox.Frame) {
	news := f.JobID != "" || f.Chunk != nil
	p.news, p.marked = p.news || news, p.marked || !news
}

// done reports whether the long poll can end.
func (p *poll) done() bool { return p.over != nil && (p.idle || p.news && (p.marked || !p.cursor)) }
