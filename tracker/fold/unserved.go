package fold

import (
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/ackwire/ackwire/schemas/event"
	"github.com/ackwire/ackwire/schemas/job"
	"github.com/ackwire/ackwire/schemas/text"
)

// A worker that cannot run a job (it has no handler, no blob store, no secret …) releases it with the
// reason as an error. That costs no attempt. The pause before the next dispatch grows with each dispatch in
// a row that ended so, and after job.MaxUnserved the job fails with code "unserved".

// Bounds of the pause before a job that a worker could not run is dispatched again.
const (
	unservedFirst = time.Second
	unservedMax   = 5 * time.Minute
)

// Unserved counts the dispatches in a row that ended with a worker that could not run the job.
type Unserved struct {
	Count int `json:"count"`
	// Since is when the first one ended, by the log's times; zero if that was the writer's time.
	Since time.Time `json:"since"`
	// Paused is the sum of the pauses after them. It has passed, whatever records' times say.
	Paused time.Duration `json:"paused,omitempty"`
}

// handBack ends a run whose worker cannot run the job, for the reason that f gives.
func (s *step) handBack(f *event.Failure) Result {
	j := s.change()
	why := &job.Error{Code: text.Clip(f.Code, maxCode), Message: text.Clip(f.Message, maxMessage), Retryable: true}
	j.endRun(job.OutcomeReleased, why, s.at.Time)
	j.Doc.Streams = s.e.Streams
	j.forgetRepeated()
	switch next := j.Unserved.again(s.at); {
	case j.Doc.CancelRequested:
		j.end(job.Cancelled, s.at)
	case next.lasted(s.at) >= job.MaxUnserved:
		j.Doc.Error = &job.Error{Code: job.CodeUnserved, Retryable: true, Message: text.Clip(fmt.Sprintf(
			"no worker could run it for %v; the last one said %s: %s", job.MaxUnserved, why.Code, why.Message), maxMessage)}
		j.end(job.Failed, s.at)
	default:
		j.Doc.Error, j.Unserved = why, next
		pause := j.unservedPause()
		if f.RetryAfter != nil {
			pause = max(pause, min(f.RetryAfter.Duration(), job.MaxRetryAfter))
		}
		next.Paused = min(next.Paused+pause, job.MaxUnserved)
		j.handOut(s.at, pause)
	}
	return s.took()
}

// again returns u with one more dispatch counted.
func (u *Unserved) again(at Meta) *Unserved {
	switch {
	case u != nil:
		return &Unserved{Count: min(u.Count+1, math.MaxInt32), Since: u.Since, Paused: u.Paused}
	case at.ByWriter:
		return &Unserved{Count: 1}
	}
	return &Unserved{Count: 1, Since: at.Time}
}

// lasted returns for how long at least workers have handed the job back.
func (u *Unserved) lasted(at Meta) time.Duration {
	if at.ByWriter || u.Since.IsZero() {
		return u.Paused
	}
	return at.Time.Sub(u.Since)
}

// unservedPause returns the pause before the next dispatch. It doubles with each; half of it is jitter, a
// hash of job and dispatch.
func (j *Job) unservedPause() time.Duration {
	ceiling := min(unservedFirst<<min(j.Unserved.Count-1, 16), unservedMax)
	half := ceiling / 2
	return (half + time.Duration(j.jitter()*float64(half))).Truncate(time.Millisecond)
}

// forgetRepeated drops the run before the last one if both were released for the same reason, so that a
// job that waits long for a worker that can run it keeps the history of its attempts.
func (j *Job) forgetRepeated() {
	n := len(j.Doc.Attempts)
	if n < 2 {
		return
	}
	was, last := j.Doc.Attempts[n-2], j.Doc.Attempts[n-1]
	if was.Outcome == job.OutcomeReleased && was.Error != nil && was.Number == last.Number &&
		was.Error.Code == last.Error.Code {
		j.Doc.Attempts = slices.Delete(slices.Clone(j.Doc.Attempts), n-2, n-1)
	}
}
