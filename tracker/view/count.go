package view

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/cespare/xxhash/v2"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/ackwire/ackwire/schemas/job"
	"github.com/ackwire/ackwire/schemas/topic"
)

// Counted is what one partition of view has.
type Counted struct {
	Jobs map[job.State]int64
	// Next is the offset of the first status record that the table does not reflect.
	Next int64
	// Closed says that status has a topic.MarkClosed below Next.
	Closed bool
}

// Count reads a partition of view up to the committed offset end, and counts its jobs. It only reads.
func Count(
	ctx context.Context, newClient func(...kgo.Opt) (*kgo.Client, error), name string, partition int32, end int64,
) (Counted, error) {
	c := Counted{Jobs: map[job.State]int64{}}
	if end == 0 {
		return c, nil
	}
	cl, err := newClient(
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{name: {partition: kgo.NewOffset().AtStart()}}),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.KeepControlRecords(), // the last record is a transaction's end
		kgo.FetchMaxBytes(fetchBytes), kgo.FetchMaxPartitionBytes(fetchBytes),
	)
	if err != nil {
		return c, err
	}
	defer cl.Close()
	states := map[uint64]job.State{} // by the hash of the job's ID
	for done := false; !done; {
		fetches := cl.PollRecords(ctx, pollRecords)
		if err := errors.Join(ctx.Err(), fetches.Err()); err != nil {
			return c, fmt.Errorf("read %s[%d]: %w", name, partition, err)
		}
		for rec := range fetches.RecordsAll() {
			if rec.Offset < end && !rec.Attrs.IsControl() {
				if err := c.take(rec, states); err != nil {
					return c, err
				}
			}
			done = done || rec.Offset+1 >= end
		}
	}
	for _, s := range states {
		c.Jobs[s]++
	}
	return c, nil
}

// take applies one record: the last of a job counts.
func (c *Counted) take(rec *kgo.Record, states map[uint64]job.State) error {
	if kind, special := header(rec, topic.HeaderViewKind); special {
		var at Checkpoint
		if string(kind) == topic.ViewCheckpoint && json.Unmarshal(rec.Value, &at) == nil && at.V == formatVersion {
			c.Next, c.Closed = at.Next, at.ClosedAt > 0
		}
		return nil
	}
	if rec.Value == nil {
		delete(states, xxhash.Sum64(rec.Key))
		return nil
	}
	var doc struct {
		State job.State `json:"state"`
	}
	if err := json.Unmarshal(rec.Value, &doc); err != nil {
		return fmt.Errorf("job %.256q in view: %w", rec.Key, err)
	}
	states[xxhash.Sum64(rec.Key)] = doc.State
	return nil
}
