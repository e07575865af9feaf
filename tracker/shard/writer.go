package shard

import (
	"context"

	"github.com/ackwire/ackwire/schemas/job"
	"github.com/ackwire/ackwire/tracker/fold"
)

// Writer says whose streams of a job count: those of the last run that has held the job's lease.
type Writer struct {
	Found    bool   // there is such a job
	Life     string // of the job's ID
	Dispatch int    // that the run took; 0 while no run has begun
	Run      string
	Ended    bool        // the job is in a terminal state
	Totals   job.Streams // what the run has written, if its last event told
	// AsOf is the shard's position when it answered: of two answers the one with the larger AsOf is newer.
	AsOf int64
}

// MaxWriters is how many jobs Writers may be asked for at a time: as they may have to be read from the store, more
// would hold up the fold.
const MaxWriters = 64

// writer returns the writer of a job, which is nil if there is none.
func (s *Shard) writer(j *fold.Job) Writer {
	if j == nil {
		return Writer{AsOf: s.pos.next}
	}
	w := Writer{Found: true, Life: j.Life, Ended: j.Ended(), Totals: j.Doc.Streams, AsOf: s.pos.next}
	if of := j.Writer; of != nil {
		w.Run, w.Dispatch = of.Run, of.Dispatch
	}
	return w
}

// otherWriter reports whether an event has changed a job's Writer.
func otherWriter(was, is *fold.Job) bool {
	if was == nil || is == nil {
		return was != nil || is != nil && is.Writer != nil
	}
	// A job has one Writer until the next run begins: the pointers need not be followed.
	return was.Writer != is.Writer || was.Ended() != is.Ended() || was.Life != is.Life
}

// Writers returns the writers of up to MaxWriters jobs as they are now, in the order of ids. The error is ErrNotReady
// until the shard has caught up with the log.
func (s *Shard) Writers(ctx context.Context, ids []string) ([]Writer, error) {
	reply := make(chan answer[[]Writer], 1)
	return await(ctx, s, reply, func() {
		var a answer[[]Writer]
		if !s.catching.ready.Load() {
			a.err = ErrNotReady
		}
		for i := 0; i < len(ids) && a.err == nil; i++ {
			e, err := s.jobs.lookup(ids[i])
			if err != nil {
				a.err = err
				break
			}
			a.value = append(a.value, s.writer(e.job))
		}
		reply <- a
	})
}

// Writer returns the writer of one job, if it is in the scope. Its errors are those of Get.
func (s *Shard) Writer(ctx context.Context, id string, scope Scope) (Writer, error) {
	reply := make(chan answer[Writer], 1)
	a := &ask{
		ctx: ctx, id: id, scope: scope,
		found:   func(e *entry) { reply <- answer[Writer]{value: s.writer(e.job)} },
		missing: func() { reply <- answer[Writer]{err: ErrNotFound} },
		fail:    func(err error) { reply <- answer[Writer]{err: err} },
	}
	return await(ctx, s, reply, func() { s.questions.resolve(a) })
}
