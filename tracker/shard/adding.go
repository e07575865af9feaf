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

// newAdding returns the question of an add.
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
	// A watch that came with an ack is not asked again for an end that it would have seen had it begun earlier.
	if !w.over && !w.ask.fresh && (e.job.Ended() && !w.add.Acked || e.job.Version < known) {
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
