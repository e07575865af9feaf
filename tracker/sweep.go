package tracker

import (
	"context"
	"errors"
	"time"

	"github.com/ackwire/ackwire/internal/blobs"
	"github.com/ackwire/ackwire/schemas/event"
)

const (
	sweepInterval = 10 * time.Second
	sweepBatch    = 100 // jobs of a partition at a time
	sweepTimeout  = 30 * time.Second
)

// sweepBlobs removes what removed jobs have left in the blob store. That a job was removed is
// kept until its blobs are, so nothing is forgotten over a restart.
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
		ids, err := st.RemovedBlobs(sweepBatch)
		if err != nil || len(ids) == 0 {
			return err
		}
		for _, id := range ids {
			if err := o.removeBlobs(ctx, id, bucket); err != nil {
				return err
			}
			if err := st.BlobsRemoved(id); err != nil {
				return err
			}
		}
	}
	return ctx.Err()
}

func (o *owner) removeBlobs(ctx context.Context, id string, bucket *blobs.Store) error {
	ctx, cancel := context.WithTimeout(ctx, sweepTimeout)
	defer cancel()
	results, err := bucket.RemoveAll(ctx, event.ResultPrefix(id))
	payloads, err2 := bucket.RemoveAll(ctx, event.PayloadPrefix(id))
	o.metrics.BlobsRemoved(results + payloads)
	return errors.Join(err, err2)
}
