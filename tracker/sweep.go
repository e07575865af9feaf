package tracker

import (
	"context"
	"errors"
	"time"

	"github.com/ackwire/ackwire/blobs"
	"github.com/ackwire/ackwire/schemas/event"
	"github.com/ackwire/ackwire/tracker/store"
)

const (
	sweepInterval = 10 * time.Second
	sweepBatch    = 100 // jobs of a partition at a time
	sweepTimeout  = 30 * time.Second
)

// sweepBlobs removes the blobs of removed jobs until ctx ends. The store keeps a mark for each life of a
// job's ID that is over until its blobs are removed, so a restart forgets none. A new job may have the
// same ID by then, so only the folder of the life that is over is removed.
func (o *owner) sweepBlobs(ctx context.Context, bucket *blobs.Store) {
	ticks := time.NewTicker(sweepInterval)
	defer ticks.Stop()
	for {
		select {
		case <-ticks.C:
		case <-ctx.Done():
			return
		}
		for p := range o.partitions {
			if o.shard(p) == nil {
				continue // its owner sweeps it
			}
			if err := o.sweepPartition(ctx, p, bucket); err != nil && ctx.Err() == nil {
				o.logger.Warn("blobs of removed jobs not removed, will be tried again", "partition", p, "err", err)
			}
		}
	}
}

func (o *owner) sweepPartition(ctx context.Context, p int32, bucket *blobs.Store) error {
	st := o.store.Partition(p)
	for ctx.Err() == nil {
		marks, err := st.RemovedBlobs(sweepBatch)
		if err != nil || len(marks) == 0 {
			return err
		}
		for _, mark := range marks {
			if err := o.removeBlobs(ctx, st, mark, bucket); err != nil {
				return err
			}
			if err := st.BlobsRemoved(mark); err != nil {
				return err
			}
		}
	}
	return ctx.Err()
}

// removeBlobs removes the blobs of a life that is over. Blobs of the ID outside any life's folder were
// stored by a program that knows no lives: a result by a worker in another language, a payload by an
// older gateway. They are removed when no job has the ID any more.
func (o *owner) removeBlobs(ctx context.Context, st *store.Partition, mark string, bucket *blobs.Store) error {
	ctx, cancel := context.WithTimeout(ctx, sweepTimeout)
	defer cancel()
	id, life := store.CutMark(mark)
	removed := 0
	var failed []error
	remove := func(of func(context.Context, string) (int, error), prefix string) {
		n, err := of(ctx, prefix)
		removed += n
		failed = append(failed, err)
	}
	if life != "" {
		remove(bucket.RemoveAll, event.ResultFolder(id, life))
		remove(bucket.RemoveAll, event.PayloadFolder(id, life))
	}
	another, err := st.Get(id)
	failed = append(failed, err)
	if err == nil && (another == nil || another.Job.Erased()) {
		remove(bucket.RemoveIn, event.ResultPrefix(id))
		if !event.NamedByGateway(life) {
			remove(bucket.RemoveIn, event.PayloadPrefix(id))
		}
	}
	o.metrics.BlobsRemoved(removed)
	return errors.Join(failed...)
}
