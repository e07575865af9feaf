package watch

import (
	"slices"
	"sync"

	"github.com/ackwire/ackwire/schemas/trackerpb"
)

// MaxSubjects bounds the subjects of one stream.
const MaxSubjects = 100_000

// Subjects records which subjects each stream watches, so that shards that start later can be told.
type Subjects struct {
	mu      sync.Mutex // guards streams
	streams map[*Stream]map[uint32]*trackerpb.SubjectAdd
}

// Add notes a subject. It returns false when the stream has MaxSubjects or is closed.
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

// Remove removes a subject of a stream.
func (s *Subjects) Remove(stream *Stream, handle uint32) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.streams[stream], handle)
}

// Leave removes a stream with all its subjects.
func (s *Subjects) Leave(stream *Stream) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.streams, stream)
}

// All returns the subjects that each stream watches now, ordered by handle.
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
