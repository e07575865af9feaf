package session

import (
	"hash/maphash"

	"github.com/ackwire/ackwire/gateway/outbox"
	"github.com/ackwire/ackwire/gateway/wire"
)

// maxTold bounds the jobs of which a socket that follows all of its subject's jobs is sure to
// remember what it was sent: twice as many at most.
const maxTold = 1024

// told is the version of each job that was put into the outbox of such a socket last: several of
// its subscriptions may cover a job, and each version is sent once. Jobs are known by a hash, the
// oldest are forgotten. Guarded by its session's mu.
type told struct{ now, before map[uint64]int64 }

var toldSeed = maphash.MakeSeed()

// last is the version that was told last; 0 when it is not known. A nil told knows nothing.
func (t *told) last(jobID string) int64 {
	if t == nil {
		return 0
	}
	key := maphash.String(toldSeed, jobID)
	return max(t.now[key], t.before[key])
}

// news notes a version, and reports whether it is above the last one.
func (t *told) news(jobID string, version int64) bool {
	if version <= t.last(jobID) {
		return false
	}
	if len(t.now) >= maxTold {
		t.before, t.now = t.now, nil
	}
	if t.now == nil {
		t.now = map[uint64]int64{}
	}
	t.now[maphash.String(toldSeed, jobID)] = version
	return true
}

// forget makes any version of the job news.
func (t *told) forget(jobID string) {
	if t != nil {
		key := maphash.String(toldSeed, jobID)
		delete(t.now, key)
		delete(t.before, key)
	}
}

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
	if s.told != nil {
		if s.mine.answered && f.Subject == s.mine.Subject {
			f = f.Mine(func(f *outbox.Frame) []byte {
				return wire.EncodeMineStatus(f.Version, wire.Document(f.Bytes, int(f.DocumentSize)))
			})
		}
		s.told.news(w.JobID, f.Version)
	}
	return f
}

// putMineLocked puts a status of any job of the session's subject: in the place of the job's own
// watch, if there is one, so that it is sent once. s.mu is held.
func (s *Session) putMineLocked(w *mineWatch, jobID string, f *outbox.Frame) outbox.Outcome {
	if s.told == nil {
		return outbox.Closed // the watch of all jobs has ended
	}
	fresh := s.told.news(jobID, f.Version)
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

// clear drops what waits of a job that is not watched by itself any more, unless it is to be sent
// all the same.
func (s *Session) clear(w *watch) {
	f := s.out.Clear(&w.slot)
	if f == nil {
		return
	}
	s.mu.Lock()
	o := outbox.Queued
	if s.told != nil && s.mine.answered && f.Subject == s.mine.Subject {
		o = s.out.PutGroup(&s.mine.group, w.JobID, f)
	}
	s.mu.Unlock()
	s.start(o)
}
