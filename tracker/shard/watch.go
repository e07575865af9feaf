package shard

import (
	"context"
	"errors"
	"slices"

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
	say := func(o trackerpb.Watched_Outcome) {
		stream.Answer(&trackerpb.Watched{JobId: add.JobId, Tenant: add.Tenant, Who: add.Who, Outcome: o,
			Position: s.Position()})
	}
	key := watchKey{stream, add.JobId}
	a := &ask{ctx: ctx, id: add.JobId, scope: ScopeOf(add.Tenant, add.Scope), min: add.MinVersion}
	over := false // answered, or the watch was ended before it could be
	answered := func() bool {
		was := over
		over = true
		s.forgetAsking(key, &over)
		return was
	}
	a.missing = func() {
		if !answered() {
			say(trackerpb.Watched_NOT_FOUND)
		}
	}
	a.fail = func(err error) {
		if answered() {
			return
		}
		if errors.Is(err, ErrNotOwner) {
			say(trackerpb.Watched_NOT_OWNER)
			return
		}
		say(trackerpb.Watched_NOT_READY)
	}
	a.found = func(e *entry) {
		known := max(add.Known, add.After)
		if !over && !a.fresh && (e.job.Ended() || e.job.Version < known) {
			s.questions.wantEnd(a)
			return
		}
		if answered() {
			return
		}
		if len(s.streams[stream]) >= maxWatches && e.watches[stream] == nil {
			_ = s.metrics.overload(boundWatches)
			say(trackerpb.Watched_NOT_READY)
			return
		}
		job := e.document()
		watched := &trackerpb.Watched{JobId: e.id, Tenant: add.Tenant, Who: add.Who, Version: job.Version,
			Outcome: trackerpb.Watched_WATCHING,
			Ended:   job.Terminal, Position: s.pos.next, Known: known}
		news := job.Version > add.After || job.Version < known
		if size := int64(len(job.Document)); job.Terminal && news && add.MaxDocument > 0 && size > add.MaxDocument {
			watched.Withheld = size
			s.metrics.withheld.Inc()
			stream.Answer(watched)
			return
		}
		stream.Answer(watched)
		w := e.watches[stream]
		if w == nil && !job.Terminal {
			w = stream.NewWatch(e.job.Tenant, s)
			s.watch(e, stream, w)
		}
		switch {
		case !news:
		case w == nil:
			stream.PutEnded(job, e.job.Tenant, s) // sent once and forgotten
		default:
			w.PutState(job)
		}
	}
	done, ok := stream.Turn(ctx)
	if !ok {
		return // so has the stream
	}
	err := s.call(ctx, func() {
		done()
		if s.questions.resolve(a); !over {
			s.asking[key] = append(s.asking[key], &over)
		}
	})
	if err != nil {
		done()
		if errors.Is(err, ErrNotOwner) {
			say(trackerpb.Watched_NOT_OWNER)
		} else {
			say(trackerpb.Watched_NOT_READY)
		}
	}
}

// watchKey names one stream's interest in one job.
type watchKey struct {
	stream *watch.Stream
	jobID  string
}

func (s *Shard) forgetAsking(key watchKey, over *bool) {
	rest := slices.DeleteFunc(s.asking[key], func(o *bool) bool { return o == over })
	if len(rest) == 0 {
		delete(s.asking, key)
	} else {
		s.asking[key] = rest
	}
}

func (s *Shard) watch(e *entry, stream *watch.Stream, w *watch.Watch) {
	if e.watches == nil {
		e.watches = map[*watch.Stream]*watch.Watch{}
	}
	e.watches[stream] = w
	if s.streams[stream] == nil {
		s.streams[stream] = map[string]*watch.Watch{}
	}
	s.streams[stream][e.id] = w
	s.jobs.keep(e)
	s.metrics.watches.Inc()
}

// Unwatch ends one watch of a stream, also one that was not answered yet.
func (s *Shard) Unwatch(ctx context.Context, stream *watch.Stream, jobID string) {
	_ = s.call(ctx, func() {
		key := watchKey{stream, jobID}
		for _, over := range s.asking[key] {
			*over = true // what waits for the log finds that nobody wants it any more
		}
		delete(s.asking, key)
		stream.DropEnded(jobID)
		if e := s.jobs.all[jobID]; e != nil && e.watches[stream] != nil {
			e.watches[stream].Drop()
			s.unwatch(e, stream)
			s.jobs.release(e)
		}
	})
}

func (s *Shard) unwatch(e *entry, stream *watch.Stream) {
	delete(e.watches, stream)
	delete(s.streams[stream], e.id)
	if len(s.streams[stream]) == 0 {
		delete(s.streams, stream)
	}
	s.metrics.watches.Dec()
}

// Leave ends all watches of a stream that has gone.
func (s *Shard) Leave(stream *watch.Stream) {
	_ = s.call(context.Background(), func() {
		for id := range s.streams[stream] {
			e := s.jobs.all[id]
			s.unwatch(e, stream)
			s.jobs.release(e)
		}
		s.subjects.leave(stream)
	})
}

// Load implements watch.Source.
func (s *Shard) Load(ctx context.Context, w *watch.Watch) (*trackerpb.Job, trackerpb.Watched_Outcome) {
	type loaded struct {
		job     *trackerpb.Job
		outcome trackerpb.Watched_Outcome
	}
	reply := make(chan answer[loaded], 1)
	r, err := await(ctx, s, reply, func() {
		id, alone, wanted := w.Pending()
		if !wanted {
			reply <- answer[loaded]{}
			return
		}
		if s.left {
			reply <- answer[loaded]{err: ErrNotOwner}
			return
		}
		e, err := s.jobs.lookup(id)
		switch {
		case err != nil:
			reply <- answer[loaded]{err: err}
		case e.job == nil || e.job.Tenant != w.Tenant: // it was removed meanwhile
			reply <- answer[loaded]{value: loaded{outcome: trackerpb.Watched_NOT_FOUND}}
		default:
			if alone && !e.job.Ended() && e.watches[w.Stream] == nil { // it was opened again
				s.watch(e, w.Stream, w.Stream.NewWatch(w.Tenant, s))
			}
			s.metrics.loads.Inc()
			reply <- answer[loaded]{value: loaded{job: e.document()}}
		}
	})
	switch {
	case errors.Is(err, ErrNotOwner):
		r.outcome = trackerpb.Watched_NOT_OWNER
	case err != nil:
		r.outcome = trackerpb.Watched_NOT_READY
	}
	return r.job, r.outcome
}

// push wakes those who wait for a change of the job. An ended job's watches are over.
func (s *Shard) push(e *entry) {
	if e.job != nil {
		followers := s.followers(e)
		for stream, handle := range followers {
			if e.watches[stream] == nil && !stream.PutLoose(watch.WithHandle(e.document(), handle), e.job.Tenant, s) {
				s.subjects.leave(stream)
			}
		}
		for stream, w := range e.watches {
			w.Put(watch.WithHandle(e.document(), followers[stream]))
			if e.job.Ended() {
				s.unwatch(e, stream)
			}
		}
	}
	s.questions.changed(e)
}

// dropAllStreams tells every watcher that this tracker no longer owns the partition.
func (s *Shard) dropAllStreams() {
	for stream, jobs := range s.streams {
		for id := range jobs {
			stream.Answer(&trackerpb.Watched{JobId: id, Tenant: s.tenant(id), Outcome: trackerpb.Watched_NOT_OWNER})
			s.metrics.watches.Dec()
		}
	}
	clear(s.streams)
	s.coverAll(true)
}

// tenant is whose a watched job is.
func (s *Shard) tenant(id string) string {
	if e := s.jobs.all[id]; e != nil && e.job != nil {
		return e.job.Tenant
	}
	return ""
}
