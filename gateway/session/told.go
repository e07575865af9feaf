package session

import (
	"github.com/ackwire/ackwire/gateway/outbox"
	"github.com/ackwire/ackwire/gateway/wire"
)

// putWatched queues a status for the session's watch of the job. The status is marked as mine if the session also
// watches all jobs of its subject and the job is one of them.
func (s *Session) putWatched(w *watch, f *outbox.Frame) outbox.Outcome {
	if !s.follows.Load() {
		return s.out.Put(&w.slot, f)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.out.Put(&w.slot, s.markedLocked(w, f))
}

// markedLocked returns the frame to send for a status of a watched job: the one that is marked as mine, if the session
// also watches all jobs of its subject. It records the version in told. s.mu is held.
func (s *Session) markedLocked(w *watch, f *outbox.Frame) *outbox.Frame {
	if s.subject != nil {
		if s.subject.answered && f.Subject == s.subject.Subject {
			f = f.ForSubject(func(f *outbox.Frame) []byte {
				return wire.EncodeMineStatus(f.Version, wire.Document(f.Bytes, int(f.DocumentSize)))
			})
		}
		s.told.News(w.JobID, f.Version)
	}
	return f
}

// putSubjectLocked queues a status for the session's watch of all jobs. If the session also watches the job by itself,
// the status goes into the slot of that watch, so that it is sent only once. s.mu is held.
func (s *Session) putSubjectLocked(w *subjectWatch, jobID string, f *outbox.Frame) outbox.Outcome {
	if s.subject == nil {
		return outbox.Closed // the watch of all jobs has ended
	}
	fresh := s.told.News(jobID, f.Version)
	if own := s.watches[jobID]; own != nil {
		o := s.out.Put(&own.slot, f)
		if f.Terminal && own.left && o != outbox.Parked { // the status that was parked is queued now
			s.forget(own)
		}
		return o
	}
	if !fresh {
		return outbox.Old
	}
	return s.out.PutGroup(&w.group, jobID, f)
}

// skipTold makes a new watch, which is held, skip the versions that the watch of all jobs has sent. If that one has a
// parked status of the job, the new watch takes it over: if both loaded it, it would be sent twice. s.mu is held.
func (s *Session) skipTold(w *watch) {
	if s.subject != nil && !s.out.Reclaim(&w.slot, &s.subject.group, w.JobID) {
		s.out.Skip(&w.slot, s.told.Last(w.JobID))
	}
}

// clear drops the waiting or parked status of a job whose own watch has ended. If the watch of all jobs covers the job,
// that one takes the status over.
func (s *Session) clear(w *watch) {
	s.mu.Lock()
	o := outbox.Queued
	covered, ceded := s.subject != nil && s.subject.answered, false
	if covered { // for a parked status the job's subject is known only once it is loaded
		o, ceded = s.out.Cede(&w.slot, &s.subject.group, w.JobID)
	}
	if !ceded {
		o = outbox.Queued
		waits := s.out.Waits(&w.slot)
		f := s.out.Clear(&w.slot)
		switch {
		case f != nil && covered && f.Subject == s.subject.Subject:
			o = s.out.PutGroup(&s.subject.group, w.JobID, f)
		case waits:
			s.told.Forget(w.JobID) // it was not sent
		}
	}
	s.mu.Unlock()
	s.act(o)
}
