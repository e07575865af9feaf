package fold

import (
	"hash/fnv"
	"math"
	"time"

	"github.com/ackwire/ackwire/schemas/event"
	"github.com/ackwire/ackwire/schemas/job"
)

// A debt is something that the job's tracker must do at a time. NextDebt computes it from the job alone,
// after a restore as after a fold, so no outbox has to be kept.

// Kind is the kind of a debt.
type Kind int

// The kinds of debts. When two are due at the same time, the first in this order comes first.
const (
	None     Kind = iota
	HandOut       // produce the request of this dispatch, then append requeued
	Lease         // append leaseExpired; counted from when the tracker saw the last renewal
	Timeout       // append attemptTimedOut
	Force         // append cancelForced
	Deadline      // append deadlineExceeded
	Expiry        // append expired
)

// Debt is what a job's tracker must do, and when.
type Debt struct {
	Kind Kind
	At   time.Time
}

// NextDebt returns the job's debt that is due first. seen is when the tracker saw the job's last renewal,
// by its own clock: a lease is measured by the clock of the tracker that watches it, not by the log's
// times. The debt's time is of the same clock.
func NextDebt(j *Job, seen time.Time) Debt {
	var next Debt
	owe := func(k Kind, at time.Time) {
		if next.Kind == None || at.Before(next.At) {
			next = Debt{k, at}
		}
	}
	switch j.Doc.State {
	case job.Retrying:
		owe(HandOut, j.Doc.RetryAt.Add(-j.Skew))
	case job.Scheduled:
		owe(HandOut, *j.Doc.RunAt)
	case job.Processing:
		owe(Lease, seen.Add(j.Policy.Lease.Duration()))
		if t := j.Policy.Timeout.Duration(); t > 0 {
			owe(Timeout, j.Doc.StartedAt.Add(t-j.Skew))
		}
		if j.CancelAt != nil {
			owe(Force, j.CancelAt.Add(j.Policy.Grace.Duration()))
		}
	}
	if j.Ended() {
		owe(Expiry, expiryAt(j))
	} else if at, ok := DeadlineAt(j); ok {
		owe(Deadline, at)
	}
	return next
}

// DeadlineAt returns the job's deadline; false when its policy sets none.
func DeadlineAt(j *Job) (time.Time, bool) {
	d := j.Policy.Deadline.Duration()
	return j.RoundAt.Add(d), d > 0
}

// expiryAt returns when expired is to be appended: when the retention is over by the clock of the partition's
// owner and, if the fold would refuse it before, by the log's times.
func expiryAt(j *Job) time.Time {
	skew := j.Skew
	if !j.ByWriter {
		skew = min(skew, 0)
	}
	return retainedUntil(j).Add(-skew)
}

// retainedUntil returns when the retention of an ended job is over, by the log's times.
func retainedUntil(j *Job) time.Time {
	return j.Doc.FinishedAt.Add(j.Policy.Retention.Duration())
}

// backoff returns the wait before the next attempt: exponential, with full jitter.
func backoff(j *Job) time.Duration {
	b := j.Policy.Backoff
	if b.Initial <= 0 {
		return 0 // below, 0 times an infinite power would be NaN
	}
	lost := j.Doc.Attempt - (j.Doc.MaxAttempts - j.Policy.Attempts) // in this round, 1 for the first
	ceiling := b.Initial.Duration().Seconds() * math.Pow(max(b.Factor, 1), float64(max(lost, 1)-1))
	if c := b.Cap.Duration().Seconds(); c > 0 {
		ceiling = min(ceiling, c)
	}
	ceiling = min(ceiling, job.MaxSeconds)
	return time.Duration(j.jitter() * ceiling * float64(time.Second)).Truncate(time.Millisecond)
}

// Spread returns a hash of job and dispatch. It takes the place of a random number, so that every
// program that folds the log gets the same.
func (j *Job) Spread() uint64 {
	h := fnv.New64a()
	_, _ = h.Write([]byte(j.Doc.JobID))
	_, _ = h.Write([]byte{byte(j.Dispatch), byte(j.Dispatch >> 8), byte(j.Dispatch >> 16), byte(j.Dispatch >> 24)})
	return mix(h.Sum64())
}

// jitter returns a number from 0 up to, not including, 1.
func (j *Job) jitter() float64 { return float64(j.Spread()>>11) / (1 << 53) }

// mix spreads the bits of an FNV hash, whose high bits hardly depend on the last bytes
// (the finaliser of SplitMix64).
func mix(x uint64) uint64 {
	x ^= x >> 30
	x *= 0xbf58476d1ce4e5b9
	x ^= x >> 27
	x *= 0x94d049bb133111eb
	return x ^ x>>31
}

// DebtEvent returns the event to append for a debt of any kind but HandOut, for which a request is produced.
// It names the dispatch, renewal or round that it was made for, so that it changes nothing if it is late.
func DebtEvent(j *Job, k Kind) *event.Event {
	e := &event.Event{JobID: j.Doc.JobID, Life: j.Life}
	switch k {
	case Lease:
		e.Type = event.LeaseExpired
		e.Dispatch = j.Dispatch
		e.Run = j.Run
		e.Worker = j.Worker
		e.Renewal = &j.Renewal
	case Timeout:
		e.Type = event.AttemptTimedOut
		e.Dispatch = j.Dispatch
		e.Run = j.Run
		e.Worker = j.Worker
	case Force:
		e.Type, e.Dispatch = event.CancelForced, j.Dispatch
	case Deadline:
		e.Type, e.Round = event.DeadlineExceeded, j.Round
	case Expiry:
		e.Type, e.Round = event.Expired, j.Round
	}
	return e
}
