package session

import (
	"github.com/ackwire/ackwire/gateway/auth"
	"github.com/ackwire/ackwire/gateway/outbox"
	"github.com/ackwire/ackwire/gateway/streams"
	"github.com/ackwire/ackwire/gateway/wire"
	"github.com/ackwire/ackwire/schemas/code"
	"github.com/ackwire/ackwire/schemas/frame"
)

// followStreams begins to follow streams of a job, once the frame that asked for them is answered.
func (s *Session) followStreams(scope *auth.Scope, jobID string, refs []frame.StreamRef) {
	if refs == nil { // those that are followed stay
		return
	}
	s.unfollow(jobID)
	if len(refs) == 0 {
		return
	}
	s.mu.Lock()
	if s.watches == nil { // the session has ended
		s.mu.Unlock()
		return
	}
	if s.streams == nil {
		s.streams = streams.NewReader(s.cfg.Streams, &s.out, func() { s.act(outbox.Start) }, chunk, nil)
	}
	r := s.streams
	s.mu.Unlock()
	for _, name := range r.Follow(scope, jobID, refs) {
		s.cfg.Metrics.Error(code.LimitExceeded)
		s.send(chunk(jobID, name, streams.Part{Error: code.LimitExceeded}).Bytes)
	}
}

// chunk returns the frame of a part of a stream.
func chunk(jobID, name string, p streams.Part) *outbox.Frame {
	return &outbox.Frame{Bytes: wire.Encode(p.Frame(jobID, name))}
}

// reader returns what the session follows of streams; nil while it follows none.
func (s *Session) reader() *streams.Reader {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.streams
}

// unfollow ends the streams of a job.
func (s *Session) unfollow(jobID string) {
	if r := s.reader(); r != nil {
		r.End(jobID)
	}
}

// renewStreams ends the streams that a renewed identity does not cover.
func (s *Session) renewStreams(id auth.Identity) {
	switch r := s.reader(); {
	case r == nil:
	case id.May(auth.Read):
		r.Narrow(s.reads(id))
	default:
		r.Fail(code.Forbidden)
	}
}

// endStreams ends all streams of a session that has ended, when nothing begins to follow one any more.
func (s *Session) endStreams() {
	if r := s.reader(); r != nil {
		r.Close()
	}
}
