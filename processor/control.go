package processor

import (
	"context"
	"fmt"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/ackwire/ackwire/internal/kafka"
	"github.com/ackwire/ackwire/internal/pause"
	"github.com/ackwire/ackwire/schemas/event"
)

// home is the place where orders for this worker appear: one partition of the topic control, from the offset that was
// its end before this worker's first claim. The topic's number of partitions must not change while workers run.
type home struct {
	partition int32
	end       int64
}

// findHome computes the worker's partition of the topic control and asks Kafka for its end.
func (p *Processor) findHome(ctx context.Context) (home, error) {
	name := p.names.Control()
	n, err := kafka.PartitionCount(ctx, p.client, name)
	if err != nil {
		return home{}, err
	}
	h := home{partition: kafka.Partition(p.worker, n)}
	ends, err := kadm.NewClient(p.client).ListEndOffsets(ctx, name)
	if err != nil {
		return home{}, fmt.Errorf("end of %s: %w", name, err)
	}
	end, ok := ends.Lookup(name, h.partition)
	switch {
	case !ok:
		return home{}, fmt.Errorf("end of %s/%d: no answer", name, h.partition)
	case end.Err != nil:
		return home{}, fmt.Errorf("end of %s/%d: %w", name, h.partition, end.Err)
	}
	h.end = end.Offset
	return h, nil
}

// besideClient returns the client that reads orders and writes announcements: what goes wrong with those does not hold
// up what runs write.
func (p *Processor) besideClient(h home) (*kgo.Client, error) {
	return p.kafka.NewClient(p.env, p.clientID(), kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{
		p.names.Control(): {h.partition: kgo.NewOffset().At(h.end)},
	}))
}

// listen reads orders and passes them to their runs, until ctx ends.
func (p *Processor) listen(ctx context.Context, client *kgo.Client) error {
	for {
		fetches := client.PollFetches(ctx)
		if ctx.Err() != nil || fetches.IsClientClosed() {
			return nil
		}
		fetches.EachRecord(p.order)
		if err := fetches.Err(); err != nil {
			p.log.Warn("fetch orders", "err", err)
			pause.For(ctx, pollPause)
		}
	}
}

// order passes one order to its run. Several workers share a partition, so it ignores orders for other workers.
func (p *Processor) order(rec *kgo.Record) {
	o, err := event.DecodeOrder(rec.Value)
	if err != nil {
		p.metrics.orders.WithLabelValues(orderUndecodable).Inc()
		p.log.Warn("record is not an order", "partition", rec.Partition, "offset", rec.Offset, "err", err)
		return
	}
	if o.Worker != p.worker {
		return
	}
	r := p.runOf(o.Run)
	if r == nil || r.jobID != o.JobID {
		p.metrics.orders.WithLabelValues(orderUnknownRun).Inc()
		return
	}
	p.metrics.orders.WithLabelValues(string(o.Type)).Inc()
	r.order(o)
}
