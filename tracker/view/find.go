package view

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/ackwire/ackwire/schemas/topic"
	"github.com/ackwire/ackwire/tracker/fold"
)

// Found is the result of Find.
type Found struct {
	// Job is nil when the table has no job of that ID.
	Job *fold.Job
	// Next is the offset of the first status record that the table does not reflect; 0 when there
	// is no table, or its position is not known.
	Next int64
}

// Find looks a job up in the topic name, a view. It only reads: unlike a tracker that restores, it does not
// become the partition's writer. Without a topic of that name it returns a zero Found.
func Find(
	ctx context.Context, newClient func(...kgo.Opt) (*kgo.Client, error), name string, partition int32, id string,
) (f Found, err error) {
	admin, err := newClient()
	if err != nil {
		return f, err
	}
	defer admin.Close()
	ends, err := kadm.NewClient(admin).ListCommittedOffsets(ctx, name)
	if err != nil {
		return f, fmt.Errorf("read %s: %w", name, err)
	}
	end, ok := ends.Lookup(name, partition)
	switch {
	case !ok || errors.Is(end.Err, kerr.UnknownTopicOrPartition):
		return f, nil
	case end.Err != nil:
		return f, fmt.Errorf("read %s: %w", name, end.Err)
	case end.Offset == 0:
		return f, nil
	}
	cl, err := newClient(
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{name: {partition: kgo.NewOffset().AtStart()}}),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.KeepControlRecords(), // the last record is a transaction's end
		kgo.FetchMaxBytes(fetchBytes), kgo.FetchMaxPartitionBytes(fetchBytes),
	)
	if err != nil {
		return f, err
	}
	defer cl.Close()
	for {
		fetches := cl.PollRecords(ctx, pollRecords)
		if err := errors.Join(ctx.Err(), fetches.Err()); err != nil {
			return f, fmt.Errorf("read %s[%d]: %w", name, partition, err)
		}
		for rec := range fetches.RecordsAll() {
			if rec.Offset < end.Offset && !rec.Attrs.IsControl() {
				if err := f.take(rec, id); err != nil {
					return f, err
				}
			}
			// The last record is in the open segment, which is never compacted.
			if rec.Offset+1 >= end.Offset {
				return f, nil
			}
		}
	}
}

// take applies one record: a checkpoint gives the table's position, a record of the job its state.
func (f *Found) take(rec *kgo.Record, id string) error {
	if kind, special := specialKind(rec); special {
		var c Checkpoint
		if kind == topic.ViewCheckpoint && json.Unmarshal(rec.Value, &c) == nil && c.V == formatVersion &&
			!c.Partial {
			f.Next = c.Next
		}
		return nil
	}
	if string(rec.Key) != id {
		return nil
	}
	load, err := decodeJob(rec)
	if err != nil {
		return fmt.Errorf("job %s in view: %w", id, err)
	}
	f.Job = nil
	if load.Row != nil {
		f.Job, err = load.Row.Job()
	}
	return err
}
