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

// sweepBlobs removes what removed jobs have left in the blob store. That a life of a job's ID is
// over is kept until its blobs are removed, so nothing is forgotten over a restart. Another life
// may have the ID by then: what is removed is in the folder of the one that is over.
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
				continue // its owner does
			}
			if err := o.sweepPartition(ctx, p, bucket); err != nil && ctx.Err() == nil {
				o.logger.Warn("blobs of removed jobs are still there, will be tried again", "partition", p, "err", err)
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

// removeBlobs removes the blobs of a life that is over. What lies beside the folders of lives was
// stored by somebody who knew of none: a result by a worker in another language, a payload by an
// older gateway. It is removed once no job has the ID.
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
	if err == nil && another == nil {
		remove(bucket.RemoveIn, event.ResultPrefix(id))
		if !event.NamedByGateway(life) {
			remove(bucket.RemoveIn, event.PayloadPrefix(id))
		}
	}
	o.metrics.BlobsRemoved(removed)
	return errors.Join(failed...)
}
