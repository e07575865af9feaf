package shard

import (
	"encoding/json"
	"time"

	"github.com/ackwire/ackwire/schemas/trackerpb"
	"github.com/ackwire/ackwire/tracker/fold"
	"github.com/ackwire/ackwire/tracker/watch"
)

// entry is one job in the shard's memory. Owned by the shard's goroutine, but job, which
// nobody changes.
type entry struct {
	id  string
	job *fold.Job // nil: removed, or never known
	// public is the job as it travels, made at its first use for each version.
	public *trackerpb.Job

	dirty    bool // changed since the last checkpoint
	flushing bool // in the checkpoint that is being written

	seen      time.Time // when the last renewal was folded
	owed      fold.Debt // what is due next
	due       time.Time // when, by the local clock
	notBefore time.Time // a debt was paid and waits to be folded
	index     int       // in the heap of dues; -1 is none
	tries     int       // hand-outs that failed in a row
	paying    bool      // a hand-out runs

	watches map[*watch.Stream]*watch.Watch
	waits   []*ask // long polls
}

// idle reports whether the store alone can stand for the entry.
func (e *entry) idle() bool {
	return !e.dirty && !e.flushing && !e.paying && len(e.watches) == 0 && len(e.waits) == 0 &&
		(e.job == nil || e.job.Ended())
}

// document returns the job as it travels: bytes that are made once per version.
func (e *entry) document() *trackerpb.Job {
	if e.public == nil {
		doc, err := json.Marshal(&e.job.Doc)
		if err != nil {
			// A document holds strings, numbers, times and JSON that was decoded: it encodes.
			panic("shard: encode document of job " + e.id + ": " + err.Error())
		}
		e.public = &trackerpb.Job{JobId: e.id, Version: e.job.Version, Document: doc, Terminal: e.job.Ended()}
	}
	return e.public
}

// lookup returns the job's entry, from memory or the store. An entry of an unknown job is
// not kept.
func (s *Shard) lookup(id string) (*entry, error) {
	if e := s.jobs[id]; e != nil {
		return e, nil
	}
	j, err := s.store.Get(id)
	if err != nil {
		return nil, err
	}
	return &entry{id: id, job: j, index: -1}, nil
}

// keep puts an entry that changed, or is watched, into memory.
func (s *Shard) keep(e *entry) { s.jobs[e.id] = e }

// release drops an entry that the store can stand for, unless another has its place by now.
func (s *Shard) release(e *entry) {
	if e.idle() && s.jobs[e.id] == e {
		delete(s.jobs, e.id)
	}
}
