package history

import (
	"fmt"

	"github.com/ackwire/ackwire/schemas/code"
)

// maxComebacks is how often an event stream that has received all ends may be answered 200 when it reconnects. Once is
// normal: a connection may break between an event and the ID that covers it.
const maxComebacks = 2

// streamSeen is what the records so far say of one event stream: an EventSource, which reconnects after each 200 and
// stops at a 204.
type streamSeen struct {
	of        Violation // where its violations are filed: with its client and its first job
	jobs      map[string]*streamJob
	comebacks int // 200s since it was told all
	broken    bool
}

// streamJob is one job of an event stream. An error that it cannot be followed counts as its end, too.
type streamJob struct {
	told    bool // its end was delivered
	covered bool // the ID with which the stream comes back says so
}

// stream checks an event stream as a whole, because its jobs may be checked in different passes.
func (c *checker) stream(r Record) {
	switch {
	case c.complete:
		return
	case r.Kind == Retry:
		c.reopened(r.Job)
	}
	if r.Stream == 0 || r.Kind == Follow || r.Kind == Part {
		return
	}
	s := c.streams[r.Stream]
	if s == nil {
		s = &streamSeen{
			of:   Violation{Invariant: Delivery, Job: r.Job, Client: r.Client, Stream: r.Stream},
			jobs: map[string]*streamJob{},
		}
		c.streams[r.Stream] = s
	}
	if r.Job != "" && s.jobs[r.Job] == nil {
		s.jobs[r.Job] = &streamJob{}
	}
	switch r.Kind {
	case Watch:
		s.jobs[r.Job].covered = r.State.Terminal() || r.Text != ""
	case Watched:
		if r.Text != "" {
			s.jobs[r.Job].told = !code.Code(r.Text).Info().Retryable
		}
	case Status:
		s.jobs[r.Job].told = r.State.Terminal()
	case Answered:
		c.answered(s, r)
	}
}

// answered checks the answer to a stream that connects.
func (c *checker) answered(s *streamSeen, r Record) {
	all := func(is func(*streamJob) bool) bool {
		for _, j := range s.jobs {
			if !is(j) {
				return false
			}
		}
		return true
	}
	told := all(func(j *streamJob) bool { return j.told })
	covered := told && all(func(j *streamJob) bool { return j.covered })
	switch {
	case r.Code == 200 && covered:
		c.brokenStream(s, "it came back with the ID of the last end of its jobs, and was answered 200, not 204")
	case r.Code == 200 && told:
		s.comebacks++
		if s.comebacks > maxComebacks {
			c.brokenStream(s, fmt.Sprintf("it was told that all its jobs have ended, and goes on coming back: %d times by now",
				s.comebacks))
		}
	case r.Code == 204 && !told:
		c.brokenStream(s, "it was answered 204, though it was not told that all its jobs have ended")
	}
}

// brokenStream reports a stream, once.
func (c *checker) brokenStream(s *streamSeen, what string) {
	if s.broken {
		return
	}
	s.broken = true
	v := s.of
	v.What = what
	c.verdict.found(v)
}

// reopened notes that a job was retried: its streams are no longer checked for its end.
func (c *checker) reopened(jobID string) {
	for _, s := range c.streams {
		s.broken = s.broken || s.jobs[jobID] != nil
	}
}
