package shard

import (
	"context"
	"errors"

	"github.com/ackwire/ackwire/schemas/trackerpb"
	"github.com/ackwire/ackwire/tracker/watch"
)

// maxWatches is how many jobs one stream may watch in one shard.
const maxWatches = 100_000

// adding is a watch that is being added: a question whose answer is told to the stream.
type adding struct {
	audience *audience
	stream   *watch.Stream
	add      *trackerpb.WatchAdd
	ask      *ask
	over     bool // answered, or the watch was ended before it could be
}

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

func newAdding(ctx context.Context, a *audience, stream *watch.Stream, add *trackerpb.WatchAdd) *adding {
	w := &adding{audience: a, stream: stream, add: add}
	w.ask = &ask{ctx: ctx, id: add.JobId, scope: ScopeOf(add.Tenant, add.Scope), min: add.MinVersion, found: w.found}
	w.ask.missing = func() { w.end(trackerpb.Watched_NOT_FOUND) }
	w.ask.fail = func(err error) { w.end(refusedWatch(err)) }
	return w
}

// begin asks for the job. A watch that must wait may be ended meanwhile.
func (w *adding) begin() {
	if w.audience.questions.resolve(w.ask); !w.over {
		key := watchKey{w.stream, w.add.JobId}
		w.audience.adding[key] = append(w.audience.adding[key], w)
	}
}

// answered reports whether the watch is over already, and ends it.
func (w *adding) answered() bool {
	was := w.over
	w.over = true
	w.audience.forget(w)
	return was
}

// end tells the stream that there is nothing to watch.
func (w *adding) end(o trackerpb.Watched_Outcome) {
	if !w.answered() {
		w.say(o)
	}
}

// say answers the stream, from any goroutine.
func (w *adding) say(o trackerpb.Watched_Outcome) {
	w.stream.Answer(&trackerpb.Watched{JobId: w.add.JobId, Tenant: w.add.Tenant, Who: w.add.Who, Outcome: o,
		Position: w.audience.pos.shown.Load()})
}

// found begins the watch of a job that there is.
func (w *adding) found(e *entry) {
	a := w.audience
	known := max(w.add.Known, w.add.After)
	if !w.over && !w.ask.fresh && (e.job.Ended() || e.job.Version < known) {
		a.questions.wantEnd(w.ask)
		return
	}
	if w.answered() {
		return
	}
	if a.full(w.stream) && e.watches[w.stream] == nil {
		_ = a.metrics.overload(boundWatches)
		w.say(trackerpb.Watched_NOT_READY)
		return
	}
	job := e.document()
	watched := &trackerpb.Watched{JobId: e.id, Tenant: w.add.Tenant, Who: w.add.Who, Version: job.Version,
		Outcome: trackerpb.Watched_WATCHING,
		Ended:   job.Terminal, Position: a.pos.next, Known: known}
	news := job.Version > w.add.After || job.Version < known
	if size := int64(len(job.Document)); job.Terminal && news && w.add.MaxDocument > 0 && size > w.add.MaxDocument {
		watched.Withheld = size
		a.metrics.withheld.Inc()
		w.stream.Answer(watched)
		return
	}
	w.stream.Answer(watched)
	kept := e.watches[w.stream]
	if kept == nil && !job.Terminal {
		kept = w.stream.NewWatch(e.job.Tenant, a.source)
		a.watch(e, w.stream, kept)
	}
	switch {
	case !news:
	case kept == nil:
		w.stream.PutEnded(job, e.job.Tenant, a.source) // sent once and forgotten
	default:
		kept.PutState(job)
	}
}

// refusedWatch is what a stream is told of an error.
func refusedWatch(err error) trackerpb.Watched_Outcome {
	if errors.Is(err, ErrNotOwner) {
		return trackerpb.Watched_NOT_OWNER
	}
	return trackerpb.Watched_NOT_READY
}

// Unwatch ends one watch of a stream, also one that was not answered yet.
func (s *Shard) Unwatch(ctx context.Context, stream *watch.Stream, jobID string) {
	_ = s.call(ctx, func() { s.audience.drop(stream, jobID) })
}

// Leave ends all watches of a stream that has gone.
func (s *Shard) Leave(stream *watch.Stream) {
	_ = s.call(context.Background(), func() { s.audience.leave(stream) })
}

// loaded is the answer to Load.
type loaded struct {
	job     *trackerpb.Job
	outcome trackerpb.Watched_Outcome
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

// load returns a watch's job as it is now. Of a job that had ended, alone says that nobody keeps the watch: it is
// kept from now on if the job was opened again.
func (a *audience) load(w *watch.Watch, id string, alone bool) (loaded, error) {
	e, err := a.jobs.lookup(id)
	if err != nil {
		return loaded{}, err
	}
	if e.job == nil || e.job.Tenant != w.Tenant { // it was removed meanwhile
		return loaded{outcome: trackerpb.Watched_NOT_FOUND}, nil
	}
	if alone && !e.job.Ended() && e.watches[w.Stream] == nil { // it was opened again
		a.watch(e, w.Stream, w.Stream.NewWatch(w.Tenant, a.source))
	}
	a.metrics.loads.Inc()
	return loaded{job: e.document()}, nil
}
