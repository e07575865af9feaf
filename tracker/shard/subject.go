package shard

import (
	"context"
	"time"

	"github.com/ackwire/ackwire/schemas/topic"
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

// WatchSubjects has a stream follow every job of some subjects that changes from now on.
// Coverage tells the stream from when; saying it again is harmless.
func (s *Shard) WatchSubjects(ctx context.Context, stream *watch.Stream, adds ...*trackerpb.SubjectAdd) {
	_ = s.call(ctx, func() {
		if stream.Closed() { // a stream that leaves is closed first
			return
		}
		handles := make([]uint32, 0, len(adds))
		for _, add := range adds {
			s.subjects.add(stream, add.Handle, subject{add.Tenant, add.Subject})
			handles = append(handles, add.Handle)
		}
		if s.catching.ready.Load() && !s.left {
			s.cover(stream, handles, false)
		}
	})
}

// UnwatchSubject ends what WatchSubjects began.
func (s *Shard) UnwatchSubject(ctx context.Context, stream *watch.Stream, handle uint32) {
	_ = s.call(ctx, func() { s.subjects.remove(stream, handle) })
}

// cover tells a stream that changes follow, or no longer do.
func (s *Shard) cover(stream *watch.Stream, handles []uint32, lost bool) {
	stream.Cover(&trackerpb.Coverage{
		Partition: s.partition, Partitions: s.partitions, Handles: handles, Lost: lost, LogNow: time.Now().Add(
			-s.clock.ahead.by).UnixMilli(),
	})
}

// coverAll tells every stream of all its subjects.
func (s *Shard) coverAll(lost bool) {
	for stream, of := range s.subjects.streams {
		handles := make([]uint32, 0, len(of))
		for handle := range of {
			handles = append(handles, handle)
		}
		s.cover(stream, handles, lost)
	}
}

// followers are the streams that watch the job by its subject. While the shard catches up
// there are none: what it folds then may be no news, and those who ask once it is ready
// find it. Webhooks belong to no subject.
func (s *Shard) followers(e *entry) map[*watch.Stream]uint32 {
	if len(s.subjects.handles) == 0 || !s.catching.ready.Load() || e.job.Doc.Type == topic.WebhookType {
		return nil
	}
	return s.subjects.handles[subject{e.job.Tenant, e.job.Subject}]
}
