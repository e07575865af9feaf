package shard

import (
	"context"

	"github.com/ackwire/ackwire/schemas/trackerpb"
	"github.com/ackwire/ackwire/tracker/watch"
)

// Watch registers one watch of a stream: the state now, if it is newer than asked for, and
// then every change, with no gap in between. The outcome is told to the stream.
//
// That a job has ended ends a watch, and a version that the log does not have silences one: both
// are said only of the log as it was when the watch came. (A retry may be acked elsewhere that
// this shard has not folded yet.)
func (s *Shard) Watch(ctx context.Context, stream *watch.Stream, add *trackerpb.WatchAdd) {
	w := newAdding(ctx, &s.audience, stream, add)
	done, ok := stream.Turn(ctx)
	if !ok {
		return // so has the stream
	}
	err := s.call(ctx, func() {
		done()
		w.begin()
	})
	if err != nil {
		done()
		w.say(refusedWatch(err))
	}
}

// Unwatch ends one watch of a stream, also one that was not answered yet.
func (s *Shard) Unwatch(ctx context.Context, stream *watch.Stream, jobID string) {
	_ = s.call(ctx, func() { s.audience.drop(stream, jobID) })
}

// WatchSubjects has a stream follow every job of some subjects that changes from now on.
// Coverage tells the stream from when; saying it again is harmless.
func (s *Shard) WatchSubjects(ctx context.Context, stream *watch.Stream, adds ...*trackerpb.SubjectAdd) {
	_ = s.call(ctx, func() { s.audience.follow(stream, adds) })
}

// UnwatchSubject ends what WatchSubjects began.
func (s *Shard) UnwatchSubject(ctx context.Context, stream *watch.Stream, handle uint32) {
	_ = s.call(ctx, func() { s.audience.subjects.remove(stream, handle) })
}

// WatchLists has a stream follow every change in some lists from now on. Coverage tells the stream from when; saying it
// again is harmless.
func (s *Shard) WatchLists(ctx context.Context, stream *watch.Stream, adds ...ListWatch) {
	_ = s.call(ctx, func() { s.audience.followLists(stream, adds) })
}

// UnwatchList ends what WatchLists began.
func (s *Shard) UnwatchList(ctx context.Context, stream *watch.Stream, handle uint32) {
	_ = s.call(ctx, func() { s.audience.lists.remove(stream, handle) })
}

// Leave ends all watches of a stream that has gone.
func (s *Shard) Leave(stream *watch.Stream) {
	_ = s.call(context.Background(), func() { s.audience.leave(stream) })
}

// Load implements watch.Source.
func (s *Shard) Load(ctx context.Context, w *watch.Watch) (*trackerpb.Job, trackerpb.Watched_Outcome) {
	reply := make(chan answer[loaded], 1)
	r, err := await(ctx, s, reply, func() {
		var a answer[loaded]
		switch id, alone, wanted := w.Pending(); {
		case !wanted:
		case s.left:
			a.err = ErrNotOwner
		default:
			a.value, a.err = s.audience.load(w, id, alone)
		}
		reply <- a
	})
	if err != nil {
		r.outcome = refusedWatch(err)
	}
	return r.job, r.outcome
}
