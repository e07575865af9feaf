package shard

import (
	"context"

	"github.com/ackwire/ackwire/schemas/event"
	"github.com/ackwire/ackwire/tracker/fold"
)

// Removed says whether a record was removed from its topic.
type Removed func(event.Position) bool

// FailLost ends those of the jobs that wait for a request which was removed: no worker will ever
// see it. It returns how many there were.
func (s *Shard) FailLost(ctx context.Context, ids []string, removed Removed) (n int, err error) {
	reply := make(chan answer[int], 1)
	return await(ctx, s, reply, func() {
		var a answer[int]
		for _, id := range ids {
			var e *entry
			if e, a.err = s.jobs.lookup(id); a.err != nil {
				break
			}
			j := e.job
			if j == nil || !fold.AwaitsRequest(j) || !removed(*j.Request) {
				continue // it has changed since
			}
			a.value++
			s.metrics.payloadGone.Inc()
			e.traced.log(s.log).Warn("a job's request was removed before any worker took it", "job", id, "request", *j.Request)
			s.sender.append(fold.LostPayload(j), e.traced.context())
		}
		reply <- a
	})
}
