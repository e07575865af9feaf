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

// Bounds of the filler records that take the offsets of records that status has lost.
const (
	maxFill     = 1_000_000 // in one partition: after a greater loss an operator must decide
	fillBatch   = 1000
	fillTimeout = 30 * time.Second
)

// fill appends filler records to a partition of status that has lost its last records (by an unclean
// leader election or a broken disk), until the log is as long as what the store has folded.
//
// The store has folded more than the log holds, so it is the better copy. If it were cleared, jobs that
// were acked would be unknown. If it were left alone, new events would get the lost records' offsets and
// be taken for folded already. So filler records, which change no job, take the lost offsets. At which
// offset the loss began is not known, so the whole log is folded again afterwards: a job that has a
// higher version is not changed by that.
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

// fillUpTo appends filler records until the partition's end offset is at least to.
func (o *owner) fillUpTo(ctx context.Context, p int32, to int64) error {
	value, key, err := o.filler(p)
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

// filler returns a record's value and key that change nothing: a cancel request for a job ID of the
// partition that never existed.
func (o *owner) filler(p int32) (value, key []byte, err error) {
	id := ""
	for i := 0; id == "" || kafka.Partition(id, o.partitions) != p; i++ {
		id = fmt.Sprintf("lost-%d", i)
	}
	value, err = event.Encode(&event.Event{Type: event.CancelRequested, JobID: id})
	return value, []byte(id), err
}

// Folded returns, by partition of status, the offset up to which the store in a tracker's data folder has
// folded. It checks the store first and returns an error if that is not sound. No tracker may have the
// store open.
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
