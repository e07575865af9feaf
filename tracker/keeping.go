package tracker

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/ackwire/ackwire/schemas/event"
	"github.com/ackwire/ackwire/tracker/keeper"
	"github.com/ackwire/ackwire/tracker/shard"
	"github.com/ackwire/ackwire/tracker/workers"
)

// Bounds of what is read of the topic streams.
const (
	streamsFetchBytes = 1 << 20   // of one answer of the broker, for a keeper that reads all
	streamsRangeBytes = 256 << 10 // of one answer, for a reader that wants older pieces
	streamsPoll       = 1000      // records that a keeper takes at a time
	// streamsWait is how long a broker may keep a fetch that finds nothing: most partitions of streams are idle most of
	// the time, and a client has only one, so nothing else waits for it.
	streamsWait = 5 * time.Second
)

// streamsClients returns a client that reads one partition of the topic streams from an offset on. Each keeper has its
// own, so that one that waits for its shard holds up no other.
type streamsClients func(partition int32, from int64) (*kgo.Client, error)

func (t *Tracker) streamsClient(partition int32, from int64) (*kgo.Client, error) {
	return t.cfg.Kafka.NewClient(t.env, "ackwire-tracker-streams", append(readerOptions(),
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{
			t.names.Streams(): {partition: kgo.NewOffset().At(from)},
		}),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.FetchMaxWait(streamsWait), kgo.FetchMaxBytes(streamsFetchBytes),
		kgo.FetchMaxPartitionBytes(streamsFetchBytes))...)
}

// keeper returns the keeper of a partition's streams, which asks its shard by writers.
func (o *owner) keeper(
	p int32, writers func(context.Context, []string) ([]shard.Writer, error),
) *keeper.Keeper {
	return keeper.New(keeper.Config{
		Store: o.store.Partition(p), Log: &streamsLog{o, p}, Shared: o.api.streams, Logger: o.logger.With("partition", p),
		Workers: workers.NewTable(o.api.workers),
		Jobs: func(ctx context.Context, ids []string) ([]keeper.Facts, error) {
			all, err := writers(ctx, ids)
			facts := make([]keeper.Facts, len(all))
			for i, w := range all {
				facts[i] = keeper.Facts(w)
			}
			return facts, err
		},
	})
}

// streamsLog is a partition of the topic streams in Kafka.
type streamsLog struct {
	o         *owner
	partition int32
}

// Open implements keeper.Log.
func (l *streamsLog) Open(from int64) (keeper.Reader, error) {
	cl, err := l.o.streams(l.partition, from)
	if err != nil {
		return nil, err
	}
	return streamsReader{cl}, nil
}

// Span implements keeper.Log.
func (l *streamsLog) Span(ctx context.Context) (start, end int64, err error) {
	ctx, cancel := context.WithTimeout(ctx, l.o.bounds.Ask)
	defer cancel()
	topic, admin := l.o.names.Streams(), kadm.NewClient(l.o.admin)
	starts, err := admin.ListStartOffsets(ctx, topic)
	if err != nil {
		return 0, 0, err
	}
	ends, err := admin.ListEndOffsets(ctx, topic)
	if err != nil {
		return 0, 0, err
	}
	first, ok1 := starts.Lookup(topic, l.partition)
	last, ok2 := ends.Lookup(topic, l.partition)
	if !ok1 || !ok2 {
		return 0, 0, fmt.Errorf("no offsets of partition %d of %s", l.partition, topic)
	}
	return first.Offset, last.Offset, errors.Join(first.Err, last.Err)
}

// Records implements keeper.Log.
func (l *streamsLog) Records(ctx context.Context, offset int64) ([]*kgo.Record, error) {
	ctx, cancel := context.WithTimeout(ctx, l.o.bounds.Ask)
	defer cancel()
	pos := event.Position{Topic: l.o.names.Streams(), Partition: l.partition, Offset: offset}
	return l.o.fetcher.Records(ctx, pos, streamsRangeBytes)
}

// streamsReader reads a partition for its keeper.
type streamsReader struct{ cl *kgo.Client }

// Poll implements keeper.Reader.
func (r streamsReader) Poll(ctx context.Context) (records []*kgo.Record, end int64, err error) {
	fetches := r.cl.PollRecords(ctx, streamsPoll)
	fetches.EachPartition(func(p kgo.FetchTopicPartition) {
		records = append(records, p.Records...)
		end = max(end, p.HighWatermark)
		if p.Err != nil && !errors.Is(p.Err, context.Canceled) {
			err = errors.Join(err, p.Err)
		}
	})
	return records, end, err
}

// Close implements keeper.Reader.
func (r streamsReader) Close() { r.cl.Close() }
