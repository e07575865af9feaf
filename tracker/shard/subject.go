package shard

import (
	"github.com/ackwire/ackwire/schemas/trackerpb"
	"github.com/ackwire/ackwire/tracker/watch"
)

// subject is one submitter of jobs.
type subject struct{ tenant, name string }

// subjects are the streams that watch all jobs of somebody, by handle and by whom.
type subjects struct {
	handles map[subject]map[*watch.Stream]uint32
	streams map[*watch.Stream]map[uint32]subject
}

func newSubjects() subjects {
	return subjects{handles: map[subject]map[*watch.Stream]uint32{}, streams: map[*watch.Stream]map[uint32]subject{}}
}

func (s *subjects) add(stream *watch.Stream, handle uint32, who subject) {
	if s.handles[who] == nil {
		s.handles[who] = map[*watch.Stream]uint32{}
	}
	s.handles[who][stream] = handle
	if s.streams[stream] == nil {
		s.streams[stream] = map[uint32]subject{}
	}
	s.streams[stream][handle] = who
}

func (s *subjects) remove(stream *watch.Stream, handle uint32) {
	who, ok := s.streams[stream][handle]
	if !ok {
		return
	}
	delete(s.streams[stream], handle)
	if len(s.streams[stream]) == 0 {
		delete(s.streams, stream)
	}
	if s.handles[who][stream] == handle {
		delete(s.handles[who], stream)
		if len(s.handles[who]) == 0 {
			delete(s.handles, who)
		}
	}
}

func (s *subjects) leave(stream *watch.Stream) {
	for handle := range s.streams[stream] {
		s.remove(stream, handle)
	}
}

// follow has a stream told of every job of some subjects.
func (a *audience) follow(stream *watch.Stream, adds []*trackerpb.SubjectAdd) {
	if stream.Closed() { // a stream that leaves is closed first
		return
	}
	handles := make([]uint32, 0, len(adds))
	for _, add := range adds {
		a.subjects.add(stream, add.Handle, subject{add.Tenant, add.Subject})
		handles = append(handles, add.Handle)
	}
	if a.catching.ready.Load() {
		a.cover(stream, handles, nil, false)
	}
}
