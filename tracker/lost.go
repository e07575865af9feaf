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

// A request that Kafka removes before a worker took it leaves its job waiting for ever. The topic's
// retention is to be longer than any job's life (gateways warn where it is not); what has happened
// all the same is found here, and the job fails.

const (
	lostInterval = 20 * time.Second // between two questions where topics begin
	lostBatch    = 1000             // jobs of a partition at a time
	lostWait     = 5 * time.Second  // until a batch is folded
	lostRescan   = time.Hour        // so often all is looked at, whatever was removed
)

// place is a partition of a topic.
type place struct {
	topic     string
	partition int32
}

// begins is where partitions begin.
type begins map[place]int64

func (b begins) removed(pos event.Position) bool {
	return pos.Offset < b[place{pos.Topic, pos.Partition}]
}

// scanned is what a shard's jobs were last compared with.
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
					o.logger.Warn("jobs whose requests were removed may still wait, will be looked for again", "partition", p,
						"err", err)
				}
				continue
			}
			done[p] = scanned{s, starts, time.Now()}
		}
	}
}

// failLost ends the partition's jobs whose requests were removed.
func (o *owner) failLost(ctx context.Context, p int32, s *shard.Shard, starts begins) error {
	for {
		ids, err := o.store.Partition(p).Waiting(lostBatch, starts.removed)
		if err != nil || len(ids) == 0 {
			return err
		}
		n, err := s.FailLost(ctx, ids, starts.removed)
		if err != nil || n == 0 { // the shard knows better than the store
			return err
		}
		if !pause.For(ctx, lostWait) { // the store knows by then that they have ended
			return ctx.Err()
		}
	}
}

// starts asks where the topics of requests begin.
func (o *owner) starts(ctx context.Context) (begins, error) {
	ctx, cancel := context.WithTimeout(ctx, backlogTimeout)
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
