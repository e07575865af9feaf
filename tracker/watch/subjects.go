package watch

import (
	"slices"
	"sync"

	"github.com/ackwire/ackwire/schemas/trackerpb"
)

// MaxSubjects bounds the subjects of one stream.
const MaxSubjects = 100_000

// Subjects is whom each stream watches, for shards that begin later.
type Subjects struct {
	mu      sync.Mutex // guards streams
	streams map[*Stream]map[uint32]*trackerpb.SubjectAdd
}

// Add notes a subject; false when the stream has as many as it may, or is closed.
func (s *Subjects) Add(stream *Stream, add *trackerpb.SubjectAdd) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if stream.Closed() { // a stream that leaves is closed first
		return false
	}
	if s.streams == nil {
		s.streams = map[*Stream]map[uint32]*trackerpb.SubjectAdd{}
	}
	of := s.streams[stream]
	if of == nil {
		of = map[uint32]*trackerpb.SubjectAdd{}
		s.streams[stream] = of
	}
	if len(of) >= MaxSubjects {
		return false
	}
	of[add.Handle] = add
	return true
}

// Remove forgets a subject.
func (s *Subjects) Remove(stream *Stream, handle uint32) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.streams[stream], handle)
}

// Leave forgets a stream.
func (s *Subjects) Leave(stream *Stream) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.streams, stream)
}

// All is whom each stream watches now.
func (s *Subjects) All() map[*Stream][]*trackerpb.SubjectAdd {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := map[*Stream][]*trackerpb.SubjectAdd{}
	for stream, of := range s.streams {
		adds := make([]*trackerpb.SubjectAdd, 0, len(of))
		for _, add := range of {
			adds = append(adds, add)
		}
		slices.SortFunc(adds, func(a, b *trackerpb.SubjectAdd) int { return int(int64(a.Handle) - int64(b.Handle)) })
		all[stream] = adds
	}
	return all
}
