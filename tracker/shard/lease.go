package shard

import (
	"slices"
	"time"

	"github.com/ackwire/ackwire/schemas/job"
)

// While a shard is ready it measures leases on its own clock, from when it saw the renewal. A shard
// that takes over goes on with the lease that the log tells of: measured anew, a run that was lost
// would keep its job for as long as trackers come and go.

// leaseGrace is the part of a lease that a run has at least, from a takeover on, to be heard of: a
// run that lives renews its lease each third of it. It makes good for what the local clock differs
// from the log's, which a shard that has just caught up does not know, and for a time without Kafka.
func leaseGrace(lease time.Duration) time.Duration { return lease/3 + lease/10 }

// heard is when the run that holds the entry's job was last heard of, by the local clock, for a
// shard that has just caught up.
func (d *debts) heard(e *entry, now time.Time) time.Time {
	j := e.job
	if j.Doc.State != job.Processing || j.RenewedAt.IsZero() {
		return now
	}
	lease := j.Policy.Lease.Duration()
	at := j.RenewedAt.Add(d.clock.ahead.by)
	if least := now.Add(leaseGrace(lease) - lease); at.Before(least) {
		at = least
		d.graced = append(d.graced, e)
	}
	if at.After(now) {
		at = now
	}
	return at
}

// endGrace ends the grace of runs whose lease is over by the log's own clock: others were heard of
// since, in this very partition, so the run could have said so, too.
func (d *debts) endGrace(now time.Time) {
	d.graced = slices.DeleteFunc(d.graced, func(e *entry) bool {
		j := e.job
		if j == nil || j.Doc.State != job.Processing || e.seen.After(d.readyAt) {
			return true // it has ended, or was heard of
		}
		lease := j.Policy.Lease.Duration()
		if d.clock.lastFolded.Sub(j.RenewedAt) < lease {
			return now.Sub(e.seen) > lease // it is over by the local clock, too
		}
		e.seen = now.Add(-lease)
		d.schedule(e)
		return true
	})
}
