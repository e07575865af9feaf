package tracker

import (
	"context"
	"slices"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/ackwire/ackwire/schemas/trackerpb"
	"github.com/ackwire/ackwire/tracker/shard"
)

// Gateways tell their clients how many jobs wait before a new one. They hear of it on their watch streams, which they
// have open anyway, so that no submit waits for a question.

const (
	queuesInterval = time.Second     // between two reports
	queuesSame     = 3               // a report that has not changed is sent again with each third one
	countedAge     = 5 * time.Second // a partition whose counts are older is not counted
)

// queues makes the reports. Owned by the goroutine of watchQueues.
type queues struct {
	total      int32            // partitions of status
	partitions []int32          // that were counted by the last report; nil while some could not be
	paces      map[string]*pace // by lane
	told       *trackerpb.Queues
	same       int // reports since told that were the same
}

func newQueues(total int32) *queues { return &queues{total: total, paces: map[string]*pace{}} }

// watchQueues reports the queues of all lanes until ctx ends.
func (o *owner) watchQueues(ctx context.Context) {
	q := newQueues(o.partitions)
	ticks := time.NewTicker(queuesInterval)
	defer ticks.Stop()
	for {
		select {
		case <-ticks.C:
		case <-ctx.Done():
			return
		}
		now := time.Now()
		partitions := o.api.counted(now)
		lanes, others := o.metrics.Lanes.Queues()
		if report := q.report(now, partitions, lanes, o.served.Load()); q.news(report, others) {
			o.api.queues.Tell(report)
		}
	}
}

// report returns the queues as they are now. Without partitions nothing is known. Starts between two reports count only
// if both are of the same partitions: one that was just restored has folded what happened long ago.
func (q *queues) report(
	now time.Time, partitions []int32, lanes []shard.LaneQueue, served *map[string]bool,
) *trackerpb.Queues {
	report := &trackerpb.Queues{Total: q.total, Partitions: partitions}
	steady := len(partitions) > 0 && slices.Equal(partitions, q.partitions)
	q.partitions = partitions
	for _, l := range lanes {
		p := q.paces[l.Name]
		if p == nil {
			p = &pace{}
			q.paces[l.Name] = p
		}
		if !steady {
			p.skip()
		}
		started := p.tick(now, l.Waiting, l.Started)
		if len(partitions) == 0 {
			continue
		}
		report.Lanes = append(report.Lanes, &trackerpb.Queue{
			Lane: l.Name, Waiting: max(l.Waiting, 0), Pace: p.perSecond(), Started: started,
			Served: served != nil && (*served)[l.Name],
		})
	}
	return report
}

// news reports whether a report is to be sent: it has changed, or was not sent for a while.
func (q *queues) news(report *trackerpb.Queues, others bool) bool {
	report.Others = others
	if q.told != nil && q.same+1 < queuesSame && proto.Equal(q.told, report) {
		q.same++
		return false
	}
	q.told, q.same = report, 0
	return true
}

// counted returns the partitions that this tracker owns, in order; nil if it does not know how many jobs of all of them
// wait now.
func (a *api) counted(now time.Time) []int32 {
	a.mu.RLock()
	defer a.mu.RUnlock()
	partitions := make([]int32, 0, len(a.shards))
	for p, s := range a.shards {
		if s == nil || now.Sub(s.Counted()) > countedAge {
			return nil
		}
		partitions = append(partitions, p)
	}
	slices.Sort(partitions)
	return partitions
}
