package gateway

import (
	"context"
	"sync"

	"github.com/ackwire/ackwire/blobs"
	"github.com/ackwire/ackwire/gateway/api"
	"github.com/ackwire/ackwire/gateway/bulkjob"
	"github.com/ackwire/ackwire/gateway/upstream"
	"github.com/ackwire/ackwire/schemas/topic"
)

// bulkDoor returns what takes bulk actions; nil if this gateway takes none.
func (g *Gateway) bulkDoor(up *upstream.Pair, store *blobs.Store) api.Bulk {
	if g.cfg.Bulk.Mode != BulkOn {
		return nil
	}
	return bulkjob.NewDoor(bulkjob.DoorConfig{
		Trackers: up, Submits: g.intake, Inline: g.cfg.InlinePayload, Blobs: store != nil, Log: g.env.Log,
	})
}

// bulkWorkers returns what runs the bulk actions of the systems: a worker for each, since while jobs move a bulk action
// may be in either.
func (g *Gateway) bulkWorkers(up *upstream.Pair, store *blobs.Store, systems []topic.Names) (workers, error) {
	if g.cfg.Bulk.Mode != BulkOn {
		return nil, nil
	}
	var all workers
	for _, names := range systems {
		cfg := bulkjob.WorkerConfig{
			Kafka: g.cfg.Kafka, Topics: g.cfg.Topics, Prefix: names.Prefix, Partitions: g.cfg.Partitions, Dial: g.env.Dial,
			Rate: g.cfg.Bulk.Rate, Orders: g.intake, Trackers: up, Metrics: g.metrics.bulk, Log: g.env.Log,
		}
		if names != g.names { // the former system's topics are as they are
			cfg.Partitions, cfg.Topics.Settings = 0, nil
		}
		if store != nil {
			cfg.Blobs = store
		}
		w, err := bulkjob.NewWorker(cfg)
		if err != nil {
			return nil, err
		}
		all = append(all, w)
	}
	return all, nil
}

// workers run bulk actions.
type workers []*bulkjob.Worker

// run runs them until ctx ends. failed is called with the error of each that ends with one.
func (ws workers) run(ctx context.Context, failed func(error)) {
	var running sync.WaitGroup
	for _, w := range ws {
		running.Go(func() {
			if err := w.Run(ctx); err != nil {
				failed(err)
			}
		})
	}
	running.Wait()
}
