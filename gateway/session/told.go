package session

import (
	"github.com/ackwire/ackwire/gateway/outbox"
	"github.com/ackwire/ackwire/gateway/wire"
)

// putWatched puts a status of a job that the session watches by itself. It is marked as mine if
// the session follows all jobs of its subject, too.
func (s *Session) putWatched(w *watch, f *outbox.Frame) outbox.Outcome {
	if !s.follows.Load() {
		return s.out.Put(&w.slot, f)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.out.Put(&w.slot, s.markedLocked(w, f))
}

// markedLocked is a status of a watched job as it goes to a session that may follow all jobs of
// its subject, too. s.mu is held.
func (s *Session) markedLocked(w *watch, f *outbox.Frame) *outbox.Frame {
	if s.mine != nil {
		if s.mine.answered && f.Subject == s.mine.Subject {
			f = f.Mine(func(f *outbox.Frame) []byte {
				return wire.EncodeMineStatus(f.Version, wire.Document(f.Bytes, int(f.DocumentSize)))
			})
		}
		s.told.News(w.JobID, f.Version)
	}
	return f
}

// putMineLocked puts a status of any job of the session's subject: in the place of the job's own
// watch, if there is one, so that it is sent once. s.mu is held.
func (s *Session) putMineLocked(w *mineWatch, jobID string, f *outbox.Frame) outbox.Outcome {
	if s.mine == nil {
		return outbox.Closed // the watch of all jobs has ended
	}
	fresh := s.told.News(jobID, f.Version)
	if own := s.watches[jobID]; own != nil {
		o := s.out.Put(&own.slot, f)
		if f.Terminal && own.left && o != outbox.Parked { // what it owed is on its way
			s.forget(own)
		}
		return o
	}
	if !fresh {
		return outbox.Old
	}
	return s.out.PutGroup(&w.group, jobID, f)
}

// skipTold has a new watch, which is held, skip what the session was sent by the watch of all jobs. A status that this
// one owes goes over to the new watch: loaded for both, it would be sent twice. s.mu is held.
func (s *Session) skipTold(w *watch) {
	if s.mine != nil && !s.out.Reclaim(&w.slot, &s.mine.group, w.JobID) {
		s.out.Skip(&w.slot, s.told.Last(w.JobID))
	}
}

// clear drops what waits, or is owed, of a job that is not watched by itself any more, unless it is to be sent all the
// same.
func (s *Session) clear(w *watch) {
	s.mu.Lock()
	o := outbox.Queued
	covered, ceded := s.mine != nil && s.mine.answered, false
	if covered { // of which subject the job is shows once it is loaded
		o, ceded = s.out.Cede(&w.slot, &s.mine.group, w.JobID)
	}
	if !ceded {
		o = outbox.Queued
		waits := s.out.Waits(&w.slot)
		f := s.out.Clear(&w.slot)
		switch {
		case f != nil && covered && f.Subject == s.mine.Subject:
			o = s.out.PutGroup(&s.mine.group, w.JobID, f)
		case waits:
			s.told.Forget(w.JobID) // it was not sent
		}
	}
	s.mu.Unlock()
	s.start(o)
}
