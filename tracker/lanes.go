package tracker

import (
	"context"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kadm"
	"golang.org/x/sync/errgroup"

	"github.com/ackwire/ackwire/internal/kafka"
	"github.com/ackwire/ackwire/internal/meter"
	"github.com/ackwire/ackwire/schemas/event"
)

// What waits in a lane is Kafka's to say: the requests that no worker has taken. Every tracker
// asks, for all lanes, so that no figure is missing while trackers come and go.

const (
	backlogInterval = 2 * time.Second // between two questions
	backlogTimeout  = 3 * time.Second // of one
	lanesInterval   = time.Minute     // between two looks for topics of lanes
	maxFirsts       = 8               // partitions whose oldest request is read at a time
)

// backlogMetrics tell what waits in each lane. A lane is there once Kafka has answered.
type backlogMetrics struct {
	records *prometheus.GaugeVec
	seconds *prometheus.GaugeVec
	workers *prometheus.GaugeVec
}

func newBacklogMetrics(m meter.Meter) *backlogMetrics {
	const same = " Every tracker says the same."
	return &backlogMetrics{
		records: m.GaugeVec("lane_lag_records", "Requests of a lane that no worker has taken."+same, "lane"),
		seconds: m.GaugeVec("lane_lag_seconds",
			"For how long the oldest request of a lane has waited for a worker; 0 when none waits."+same, "lane"),
		workers: m.GaugeVec("lane_workers", "Processors that take from a lane."+same, "lane"),
	}
}

// unknown forgets what was said: it is better to say nothing.
func (b *backlogMetrics) unknown() {
	b.records.Reset()
	b.seconds.Reset()
	b.workers.Reset()
}

// oldest is the first request of a partition that nobody has taken.
type oldest struct{ offset, at int64 }

// watchLanes asks until ctx ends.
func (o *owner) watchLanes(ctx context.Context) {
	ticks := time.NewTicker(backlogInterval)
	defer ticks.Stop()
	known := map[string]map[int32]oldest{} // by lane and partition
	var looked time.Time
	for {
		if time.Since(looked) >= lanesInterval && o.findLanes(ctx) == nil {
			looked = time.Now()
		}
		if err := o.askLanes(ctx, known); err != nil && ctx.Err() == nil {
			o.logger.Debug("backlog of lanes is not known", "err", err)
			o.backlog.unknown()
		}
		select {
		case <-ticks.C:
		case <-ctx.Done():
			return
		}
	}
}

// findLanes learns of lanes that have a topic: they are there before their first job.
func (o *owner) findLanes(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, backlogTimeout)
	defer cancel()
	topics, err := kadm.NewClient(o.admin).ListTopics(ctx)
	if err != nil {
		return err
	}
	for _, name := range topics.Names() {
		if lane, ok := o.names.Lane(name); ok {
			o.metrics.Lanes.Learn(lane)
		}
	}
	return nil
}

func (o *owner) askLanes(ctx context.Context, known map[string]map[int32]oldest) error {
	ctx, cancel := context.WithTimeout(ctx, backlogTimeout)
	defer cancel()
	lanes := o.metrics.Lanes.Names()
	of := make([]kafka.Consumed, len(lanes))
	for i, lane := range lanes {
		of[i] = kafka.Consumed{Topic: o.names.Requests(lane), Group: o.names.ProcessorGroup(lane)}
	}
	backlogs, err := kafka.Backlogs(ctx, o.admin, of...)
	if err != nil {
		return err
	}
	for i, lane := range lanes {
		known[lane] = o.firsts(ctx, of[i].Topic, backlogs[i], known[lane])
		var lag time.Duration
		for _, first := range known[lane] {
			lag = max(lag, time.Since(time.UnixMilli(first.at)))
		}
		o.backlog.records.WithLabelValues(lane).Set(float64(backlogs[i].Waiting))
		o.backlog.seconds.WithLabelValues(lane).Set(lag.Seconds())
		o.backlog.workers.WithLabelValues(lane).Set(float64(backlogs[i].Members))
	}
	return nil
}

// firsts tells when the oldest request of each partition was written; one that is known is not
// read again. What cannot be read is left out: retention has removed it, or the next time will do.
func (o *owner) firsts(ctx context.Context, requests string, b kafka.Backlog, known map[int32]oldest) map[int32]oldest {
	var reading errgroup.Group
	reading.SetLimit(maxFirsts)
	var mu sync.Mutex // guards firsts
	firsts := map[int32]oldest{}
	keep := func(p int32, first oldest) {
		mu.Lock()
		firsts[p] = first
		mu.Unlock()
	}
	for p, end := range b.Ends {
		taken := b.Taken[p]
		if end <= taken {
			continue
		}
		if was, ok := known[p]; ok && was.offset == taken {
			keep(p, was)
			continue
		}
		reading.Go(func() error {
			rec, err := o.fetcher.First(ctx, event.Position{Topic: requests, Partition: p, Offset: taken})
			if err != nil {
				o.logger.Debug("oldest request of a lane not read", "err", err)
				return nil
			}
			keep(p, oldest{taken, rec.Timestamp.UnixMilli()})
			return nil
		})
	}
	_ = reading.Wait()
	return firsts
}
