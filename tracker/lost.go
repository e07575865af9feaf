package tracker

import (
	"context"
	"maps"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"

	"github.com/ackwire/ackwire/internal/pause"
	"github.com/ackwire/ackwire/schemas/event"
	"github.com/ackwire/ackwire/tracker/shard"
)

// A request that Kafka's retention removes before a worker has taken it would leave its job waiting for
// ever. The retention should be longer than any job waits (gateways warn where it is not); where it was
// not, the loss is found here and the job fails.

const (
	lostInterval = 20 * time.Second // between two questions for the start offsets of topics
	lostBatch    = 1000             // jobs of a partition that are failed at a time
	lostWait     = 5 * time.Second  // after a batch, until its ends are in the store
	lostRescan   = time.Hour        // between two scans when start offsets have not changed
)

// place is a partition of a topic.
type place struct {
	topic     string
	partition int32
}

// begins holds the start offsets of partitions; one that begins at 0 is left out.
type begins map[place]int64

// removed reports whether the record at pos has been removed from its topic.
func (b begins) removed(pos event.Position) bool {
	return pos.Offset < b[place{pos.Topic, pos.Partition}]
}

// scanned notes a partition's last scan: by which shard, against which start offsets, and when.
type scanned struct {
	by *shard.Shard
	to begins
	at time.Time
}

// watchRequests looks for jobs whose request was removed, until ctx ends.
func (o *owner) watchRequests(ctx context.Context) {
	ticks := time.NewTicker(lostInterval)
	defer ticks.Stop()
	done := map[int32]scanned{}
	for {
		select {
		case <-ticks.C:
		case <-ctx.Done():
			return
		}
		starts, err := o.starts(ctx)
		if err != nil {
			if ctx.Err() == nil {
				o.logger.Debug("where requests begin is not known", "err", err)
			}
			continue
		}
		for p := range o.partitions {
			s := o.shard(p)
			if was := done[p]; s == nil || s.Ready() != nil || was.by == s && maps.Equal(was.to, starts) &&
				time.Since(was.at) < lostRescan {
				continue
			}
			if err := o.failLost(ctx, p, s, starts); err != nil {
				if ctx.Err() == nil {
					o.logger.Warn("search for jobs whose requests were removed has failed and will be repeated", "partition", p,
						"err", err)
				}
				continue
			}
			done[p] = scanned{s, starts, time.Now()}
		}
	}
}

// failLost fails the partition's jobs whose requests were removed, in batches.
func (o *owner) failLost(ctx context.Context, p int32, s *shard.Shard, starts begins) error {
	for {
		ids, err := o.store.Partition(p).Waiting(lostBatch, starts.removed)
		if err != nil || len(ids) == 0 {
			return err
		}
		n, err := s.FailLost(ctx, ids, starts.removed)
		if err != nil || n == 0 { // none still waits: the shard is ahead of the store
			return err
		}
		if !pause.For(ctx, lostWait) { // by then the store has that they ended, and returns the next ones
			return ctx.Err()
		}
	}
}

// starts asks Kafka for the start offsets of all topics of requests.
func (o *owner) starts(ctx context.Context) (begins, error) {
	ctx, cancel := context.WithTimeout(ctx, o.bounds.Ask)
	defer cancel()
	adm := kadm.NewClient(o.admin)
	topics, err := adm.ListTopics(ctx)
	if err != nil {
		return nil, err
	}
	var lanes []string
	for _, name := range topics.Names() {
		if _, ok := o.names.Lane(name); ok {
			lanes = append(lanes, name)
		}
	}
	if len(lanes) == 0 {
		return nil, nil
	}
	listed, err := adm.ListStartOffsets(ctx, lanes...)
	if err != nil {
		return nil, err
	}
	all := begins{}
	listed.Each(func(l kadm.ListedOffset) {
		if l.Err == nil && l.Offset > 0 {
			all[place{l.Topic, l.Partition}] = l.Offset
		}
	})
	return all, nil
}
