package shard

import (
	"maps"
	"slices"
	"time"

	"github.com/ackwire/ackwire/schemas/topic"
	"github.com/ackwire/ackwire/schemas/trackerpb"
	"github.com/ackwire/ackwire/tracker/watch"
)

// audience is the streams of gateways that are told of changes: they watch single jobs, or all jobs of some subjects.
// Owned by the shard's goroutine.
type audience struct {
	// Set before Run, then only read.
	partition  int32
	partitions int32
	jobs       *memory
	pos        *position
	clock      *logClock
	catching   *catchUp
	questions  *questions
	metrics    *Metrics
	source     watch.Source // loads what streams did not keep

	streams  map[*watch.Stream]map[string]*watch.Watch // by job ID
	adding   map[watchKey][]*adding                    // watches that wait for the log
	subjects subjects
	lists    lists
}

// watchKey names one stream's interest in one job.
type watchKey struct {
	stream *watch.Stream
	jobID  string
}

// open makes the audience's maps.
func (a *audience) open() {
	a.streams = map[*watch.Stream]map[string]*watch.Watch{}
	a.adding = map[watchKey][]*adding{}
	a.subjects = newSubjects()
	a.lists = newLists()
}

// changed tells those who watch the entry's job that it has changed. An ended job's watches are over.
func (a *audience) changed(e *entry) {
	if e.job == nil {
		return
	}
	followers := a.followers(e)
	for stream, handle := range followers {
		if e.watches[stream] == nil &&
			!stream.PutLoose(watch.WithHandle(e.document(), handle), e.job.Tenant, a.source) {
			a.subjects.leave(stream)
		}
	}
	for stream, w := range e.watches {
		w.Put(watch.WithHandle(e.document(), followers[stream]))
		if e.job.Ended() {
			a.unwatch(e, stream)
		}
	}
}

// followers are the streams that watch the job by its subject. While the shard catches up
// there are none: what it folds then may be no news, and those who ask once it is ready
// find it. Webhooks belong to no subject.
func (a *audience) followers(e *entry) map[*watch.Stream]uint32 {
	if len(a.subjects.handles) == 0 || !a.catching.ready.Load() || e.job.Doc.Type == topic.WebhookType {
		return nil
	}
	return a.subjects.handles[subject{e.job.Tenant, e.job.Doc.Subject}]
}

// watch has a stream told of the entry's job from now on.
func (a *audience) watch(e *entry, stream *watch.Stream, w *watch.Watch) {
	if e.watches == nil {
		e.watches = map[*watch.Stream]*watch.Watch{}
	}
	e.watches[stream] = w
	if a.streams[stream] == nil {
		a.streams[stream] = map[string]*watch.Watch{}
	}
	a.streams[stream][e.id] = w
	a.jobs.keep(e)
	a.metrics.watches.Inc()
}

func (a *audience) unwatch(e *entry, stream *watch.Stream) {
	delete(e.watches, stream)
	delete(a.streams[stream], e.id)
	if len(a.streams[stream]) == 0 {
		delete(a.streams, stream)
	}
	a.metrics.watches.Dec()
}

// full reports whether a stream may watch no further job.
func (a *audience) full(stream *watch.Stream) bool { return len(a.streams[stream]) >= maxWatches }

// drop ends one watch of a stream, also one that was not answered yet.
func (a *audience) drop(stream *watch.Stream, jobID string) {
	key := watchKey{stream, jobID}
	for _, w := range a.adding[key] {
		w.over = true // what waits for the log finds that nobody wants it any more
	}
	delete(a.adding, key)
	stream.DropEnded(jobID)
	if e := a.jobs.all[jobID]; e != nil && e.watches[stream] != nil {
		e.watches[stream].Drop()
		a.unwatch(e, stream)
		a.jobs.release(e)
	}
}

// forget removes a watch from those that wait for the log.
func (a *audience) forget(w *adding) {
	key := watchKey{w.stream, w.add.JobId}
	rest := slices.DeleteFunc(a.adding[key], func(other *adding) bool { return other == w })
	if len(rest) == 0 {
		delete(a.adding, key)
	} else {
		a.adding[key] = rest
	}
}

// leave ends all watches of a stream that has gone.
func (a *audience) leave(stream *watch.Stream) {
	for id := range a.streams[stream] {
		e := a.jobs.all[id]
		a.unwatch(e, stream)
		a.jobs.release(e)
	}
	a.subjects.leave(stream)
	a.lists.leave(stream)
}

// dismiss tells every watcher that this tracker no longer owns the partition.
func (a *audience) dismiss() {
	for stream, jobs := range a.streams {
		for id := range jobs {
			stream.Answer(&trackerpb.Watched{JobId: id, Tenant: a.tenant(id), Outcome: trackerpb.Watched_NOT_OWNER})
			a.metrics.watches.Dec()
		}
	}
	clear(a.streams)
	a.coverAll(true)
}

// tenant is whose a watched job is.
func (a *audience) tenant(id string) string {
	if e := a.jobs.all[id]; e != nil && e.job != nil {
		return e.job.Tenant
	}
	return ""
}

// cover tells a stream that changes of subjects' jobs, or of lists, follow, or no longer do.
func (a *audience) cover(stream *watch.Stream, subjects, lists []uint32, lost bool) {
	stream.Cover(&trackerpb.Coverage{
		Partition: a.partition, Partitions: a.partitions, Handles: subjects, Lists: lists, Lost: lost,
		LogNow: time.Now().Add(-a.clock.ahead.by).UnixMilli(),
	})
}

// coverAll tells every stream of all its subjects and lists.
func (a *audience) coverAll(lost bool) {
	for stream, of := range a.subjects.streams {
		a.cover(stream, slices.Collect(maps.Keys(of)), nil, lost)
	}
	for stream := range a.lists.streams {
		a.cover(stream, nil, a.lists.of(stream), lost)
	}
}

// loaded is the answer to Load.
type loaded struct {
	job     *trackerpb.Job
	outcome trackerpb.Watched_Outcome
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
