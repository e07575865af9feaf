package shard

import (
	"time"

	"github.com/ackwire/ackwire/schemas/job"
	"github.com/ackwire/ackwire/schemas/trackerpb"
	"github.com/ackwire/ackwire/tracker/fold"
	"github.com/ackwire/ackwire/tracker/store"
	"github.com/ackwire/ackwire/tracker/watch"
)

// entry is one job in the shard's memory. Owned by the shard's goroutine, but job, which
// nobody changes.
type entry struct {
	id  string
	job *fold.Job // nil: removed, or never known
	// erased is the marker of the job, if it was erased; then job is nil. Only the fold, the store and the timer
	// of the marker's end look at it: for all others there is no such job.
	erased *fold.Job
	// public is the job as it travels, made at its first use for each version.
	public *trackerpb.Job
	// kind is where the job is counted; nil before it first was.
	kind *kind
	// saved is the job as the store has it; nil when it has not.
	saved *store.Saved

	// over are lives of the ID that have ended since the last checkpoint.
	over []string

	dirty    bool // changed since the last checkpoint
	flushing bool // in the checkpoint that is being written

	seen      time.Time // when the last renewal was folded
	owed      fold.Debt // what is due next
	due       time.Time // when, by the local clock
	notBefore time.Time // a debt was paid and waits to be folded
	index     int       // in the heap of dues; -1 is none
	tries     int       // hand-outs that failed in a row
	paying    bool      // a hand-out runs
	goneSince time.Time // when the log was first found not to hold the payload
	calling   bool      // a webhook is being queued, or waits for its turn
	callTries int       // webhooks that could not be queued, in a row
	traced    *traced   // nil: no sampled trace is known

	held       held
	progressed time.Time // when its run last told progress, by the log's clock; zero if it has not

	watches map[*watch.Stream]*watch.Watch
	waits   []*ask // long polls
}

// idle reports whether the store alone can stand for the entry: what it owes before the
// given time, by the log's clock in Unix milliseconds, is to be in memory.
func (e *entry) idle(before int64) bool {
	return !e.dirty && !e.flushing && !e.paying && !e.calling && len(e.watches) == 0 && len(e.waits) == 0 &&
		(e.job == nil || e.job.CallbackDue == 0 && (e.job.Ended() || e.job.Doc.State != job.Processing &&
			store.DueOf(e.job) >= before))
}

// become has the entry's job be what an event made of it, and returns what it was. j is nil when the job was removed.
// Erasing removes it too, but for the marker.
func (e *entry) become(j *fold.Job, now time.Time) (was *fold.Job) {
	was = e.job
	if j == nil || j.Erased() {
		e.over = append(e.over, e.folded().Life)
	}
	e.erased = nil
	if j.Erased() {
		e.erased, j = j, nil
	}
	if j != nil && (was == nil || was.Renewal != j.Renewal || was.Run != j.Run) {
		e.seen = now
	}
	e.job, e.public = j, nil
	e.notBefore, e.tries = time.Time{}, 0
	return was
}

// document returns the job as it travels: bytes that are made once per version.
func (e *entry) document() *trackerpb.Job {
	if e.public == nil {
		e.public = publish(e.job, e.job.Document())
		e.public.Trace = e.told()
	}
	return e.public
}

func publish(j *fold.Job, doc []byte) *trackerpb.Job {
	return &trackerpb.Job{
		JobId: j.Doc.JobID, Version: j.Version, Document: doc, Terminal: j.Ended(),
		Updated: j.UpdatedAt().UnixMilli(), Subject: j.Doc.Subject, Tenant: j.Tenant,
	}
}

// storedEntry returns an entry for what the store has of a job, which may be nil.
func storedEntry(id string, stored *store.Stored) *entry {
	e := &entry{id: id, index: -1}
	switch {
	case stored == nil:
	case stored.Job.Erased():
		e.erased, e.saved = stored.Job, stored.Saved
	default:
		e.job, e.saved, e.public = stored.Job, stored.Saved, publish(stored.Job, stored.Doc)
	}
	return e
}

// folded returns the job as the fold has it: with an erased job's marker.
func (e *entry) folded() *fold.Job {
	if e.erased != nil {
		return e.erased
	}
	return e.job
}
