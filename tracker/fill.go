package tracker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/ackwire/ackwire/internal/kafka"
	"github.com/ackwire/ackwire/schemas/event"
	"github.com/ackwire/ackwire/schemas/topic"
	"github.com/ackwire/ackwire/tracker/store"
)

// Bounds of the records that stand for those that status has lost.
const (
	maxFill     = 1_000_000 // of one partition: above it somebody must look
	fillBatch   = 1000
	fillTimeout = 30 * time.Second
)

// fill makes status whole after it has lost its tail (an unclean election of a leader, a disk): what
// was restored has folded more than the log holds, so it is the better copy. Were it cleared, jobs
// that were acked would be unknown; were it left alone, the events that take the lost ones' offsets
// would count as folded. So the lost offsets are given to records that change nothing. Where the loss
// began nobody knows by now, so all that the log holds is folded again, which changes no job that
// has a higher version.
func (o *owner) fill(ctx context.Context, p int32, st *store.Partition, log span) error {
	to := st.Position()
	o.metrics.Gap()
	o.logger.Error("status has lost its tail: its jobs are kept as they were folded, and the lost offsets are filled",
		"partition", p, "checkpoint", to, "end", log.end)
	if to-log.end > maxFill {
		return fmt.Errorf("partition %d: status ends at %d, and %d was folded: too much is lost to go on by itself; "+
			"restore %s from a backup, or remove this tracker's store to take what it holds for the truth",
			p, log.end, to, o.names.Status())
	}
	err := o.retried(ctx, "the lost tail of status is not filled yet", p, func() error {
		ctx, cancel := context.WithTimeout(ctx, fillTimeout)
		defer cancel()
		return o.fillUpTo(ctx, p, to)
	}, never)
	return errors.Join(err, ctx.Err(), st.Place(log.start))
}

// fillUpTo appends records that no job takes until the partition has that end.
func (o *owner) fillUpTo(ctx context.Context, p int32, to int64) error {
	value, key, err := o.nothing(p)
	if err != nil {
		return err
	}
	for {
		ends, err := kadm.NewClient(o.admin).ListEndOffsets(ctx, o.names.Status())
		if err != nil {
			return err
		}
		end, ok := ends.Lookup(o.names.Status(), p)
		if !ok || end.Err != nil {
			return errors.Join(fmt.Errorf("no end offset of partition %d", p), end.Err)
		}
		if end.Offset >= to {
			return nil
		}
		var batch []*kgo.Record
		for range min(to-end.Offset, fillBatch) {
			batch = append(batch, &kgo.Record{Topic: o.names.Status(), Key: key, Value: value})
		}
		if err := o.admin.ProduceSync(ctx, batch...).FirstErr(); err != nil {
			return err
		}
	}
}

// nothing is an event of a job that there never was, in that partition: it changes nothing.
func (o *owner) nothing(p int32) (value, key []byte, err error) {
	id := ""
	for i := 0; id == "" || kafka.Partition(id, o.partitions) != p; i++ {
		id = fmt.Sprintf("lost-%d", i)
	}
	value, err = event.Encode(&event.Event{Type: event.CancelRequested, JobID: id})
	return value, []byte(id), err
}

// Folded returns how far the store in a tracker's data folder has folded each partition of status,
// once it has been found to be sound. Nobody may have it open.
func Folded(cfg Config, clusterID string, topicID [16]byte, partitions int32) (map[int32]int64, error) {
	if cfg.FS == nil {
		cfg.FS = vfs.Default
	}
	id := identity(topic.Names{Prefix: cfg.TopicPrefix}.Status(), kafka.Description{
		ClusterID: clusterID, TopicID: topicID, Partitions: partitions,
	})
	return store.Positions(cfg.FS, path.Join(cfg.Data, storeFolder), id, store.Options{View: !cfg.NoView,
		Blobs: cfg.Blobs.URL != ""}, slog.New(slog.DiscardHandler))
}
