package model

import (
	"slices"

	"github.com/ackwire/ackwire/schemas/event"
	"github.com/ackwire/ackwire/schemas/job"
	"github.com/ackwire/ackwire/tracker/fold"
)

// The topics of the model.
const (
	requestsTopic = "requests"
	deferredTopic = "deferred"
)

// append puts the message's event at the end of the log, folds it and checks the promises. It returns
// the fold's verdict.
func (s *state) append(c *Config, m message) fold.Reason {
	offset := s.end
	s.end++
	was := s.now
	r := c.fold(was.job, m.e, fold.Meta{Offset: offset, Time: s.time()})
	s.now.job = r.Job
	if was.job == nil && r.Job != nil {
		s.now.life++
		s.won, s.wonFor = nil, nil
	}
	s.log = append(s.log, record{offset, s.time(), m})
	if r.Changed {
		s.check(was, m)
	}
	for _, o := range r.Orders {
		if o.Type != event.Stop {
			continue
		}
		if j := s.now.job; j != nil && j.Doc.State == job.Processing && j.Run == o.Run && s.broken == "" {
			s.broken = "the run that holds the job was stopped"
		}
		if !slices.Contains(s.refused, o.Run) {
			s.refused = append(s.refused, o.Run)
		}
	}
	if r.Changed && m.e.Request != nil {
		s.claimRequest(m.e.Request)
	}
	s.forget()
	return r.Reason
}

// claimRequest notes in a request the life that took it.
func (s *state) claimRequest(p *event.Position) {
	of := &s.requests
	if p.Topic == deferredTopic {
		of = &s.deferred
	}
	if p.Offset >= int64(len(*of)) {
		return // the request has not landed: only with RequestFirst taken out
	}
	changed := slices.Clone(*of)
	changed[p.Offset].life = s.now.life
	*of = changed
}

// check sets broken when an event that was taken must not have been.
func (s *state) check(was known, m message) {
	e := m.e
	fail := func(if_ bool, promise string) {
		if if_ && s.broken == "" {
			s.broken = promise
		}
	}
	j := was.job
	fail(m.life != 0 && m.life != s.now.life, "an event of a former life was taken")
	if e.Type == event.RetryRequested {
		fail(slices.Contains(s.taken, m.order), "one retry took effect twice")
		s.taken = append(s.taken, m.order)
	}
	if j == nil {
		if e.Type == event.Claimed {
			of := s.requests[e.Request.Offset].life // the request is there, for a worker has read it
			fail(of != 0 && of != s.now.life, "a job that has expired ran again")
		}
	} else {
		fail(j.Ended() && e.Type != event.RetryRequested && e.Type != event.Expired && e.Type != event.Erased,
			"an ended job changed")
		fail(j.Erased() && e.Type != event.Expired, "an erased job came back")
		fail(e.Type == event.LeaseExpired && *e.Renewal != j.Renewal, "a lease ended that was renewed")
		fail(e.Type == event.CancelRequested && e.Round != j.Round, "a cancel hit a later round")
	}
	switch e.Type {
	case event.Claimed:
		s.checkClaim(j, e, fail)
	case event.Completed:
		fail(e.PayloadHash != j.PayloadHash, "a job completed with another payload")
	}
}

// checkClaim checks a claim that was taken for job j, or that made the job when j is nil.
func (s *state) checkClaim(j *fold.Job, e *event.Event, fail func(bool, string)) {
	fail(slices.Contains(s.refused, e.Run), "a run was taken after it was stopped")
	fail(j != nil && e.PayloadHash != j.PayloadHash, "another payload runs")
	fail(j != nil && j.Doc.State == job.Scheduled && !s.due, "a scheduled job began before its time")
	for i, w := range s.won {
		fail(s.wonFor[i] == e.Dispatch && w.run != e.Run, "two runs won one dispatch")
	}
	won, dispatches := []order{{run: e.Run}}, []int{e.Dispatch}
	for i, w := range s.won {
		if s.wonFor[i] >= e.Dispatch && w.run != e.Run {
			won, dispatches = append(won, w), append(dispatches, s.wonFor[i])
		}
	}
	s.won, s.wonFor = won, dispatches
}

// forget drops what cannot matter any more, to keep states small: events that every tracker and the
// checkpoint have folded, and names of runs and orders that no longer occur.
func (s *state) forget() {
	low := s.checkpoint.position
	for i := range s.trackers {
		if s.trackers[i].up {
			low = min(low, s.trackers[i].position)
		}
	}
	s.log = slices.DeleteFunc(s.log, func(r record) bool { return r.offset < low })
	s.refused = slices.DeleteFunc(s.refused, func(id string) bool {
		return !s.live(id) && !slices.ContainsFunc(s.messages, func(m message) bool { return m.e != nil && m.e.Run == id })
	})
	s.taken = slices.DeleteFunc(s.taken, func(o int) bool {
		return !slices.ContainsFunc(s.messages, func(m message) bool { return m.order == o })
	})
	s.orders = slices.DeleteFunc(s.orders, func(o order) bool { return !s.live(o.run) })
}
