package keeper

import (
	"context"

	"github.com/ackwire/ackwire/schemas/job"
	"github.com/ackwire/ackwire/schemas/stream"
)

// Facts are what the shard says of a job.
type Facts struct {
	Found    bool   // there is such a job
	Life     string // of the job's ID
	Dispatch int    // that the run took whose streams count; 0 while no run has begun
	Run      string
	Ended    bool        // the job is in a terminal state
	Totals   job.Streams // what the run has written, if its last event told
	AsOf     int64       // of two answers the one with the larger AsOf is newer
}

// Jobs is what a keeper asks the shard: for up to MaxAsked jobs at a time. An error is worth another try.
type Jobs func(ctx context.Context, ids []string) ([]Facts, error)

// MaxAsked is how many jobs at most the shard is asked for at a time.
const MaxAsked = 64

// outcome says what became of a record.
type outcome string

// The outcomes. Of a record that was not taken nothing is ever served.
const (
	taken       outcome = "taken"
	waits       outcome = "waits"        // the claim of its run may not be folded yet
	undecodable outcome = "undecodable"  // it is no record of a stream
	oldDispatch outcome = "old_dispatch" // the job was handed out again since
	otherRun    outcome = "other_run"    // another run has taken the dispatch
	unknownRun  outcome = "unknown_run"  // its job, or its run's claim, did not come in time
	crowded     outcome = "crowded"      // too much waited for its run's claim
	doubled     outcome = "doubled"      // all of it was taken before
	gap         outcome = "gap"          // records before it are lost
	late        outcome = "late"         // its job has ended, and all that counts was read
	wrongKind   outcome = "wrong_kind"   // earlier records of the stream are of the other kind
	tooMany     outcome = "too_many"     // the job has as many streams as a job may have
)

// dropped lists the outcomes of records that are not taken.
var dropped = []outcome{undecodable, oldDispatch, otherRun, unknownRun, crowded, doubled, gap, late, wrongKind, tooMany}

// judge says whether a record counts for its job. It knows nothing of the streams.
func judge(f *Facts, c *stream.Chunk) outcome {
	switch {
	case !f.Found, c.Dispatch > f.Dispatch:
		return waits
	case c.Dispatch < f.Dispatch:
		return oldDispatch
	case c.Run != f.Run:
		return otherRun
	}
	return taken
}

// fit says whether a record of the run that counts goes on where its stream ends. s is nil while there is no such
// stream, and others is how many the job has.
func fit(s *streamState, others int, closed bool, c *stream.Chunk) outcome {
	switch {
	case s == nil && closed:
		return late
	case s == nil && others >= job.MaxStreams:
		return tooMany
	case s == nil && c.From > 0:
		return gap
	case s == nil:
		return taken
	case s.Kind != c.Kind:
		return wrongKind
	case c.End() <= s.End:
		return doubled
	case closed:
		return late
	case s.Gone, c.From > s.End:
		return gap
	}
	return taken
}
