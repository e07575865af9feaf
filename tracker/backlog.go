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

// The backlog of a lane is the requests that no worker has taken: the lag of the lane's consumer group.
// Every tracker measures all lanes, so that no figure is missing while trackers start and stop.

const (
	backlogInterval = 2 * time.Second // between two measurements
	lanesInterval   = time.Minute     // between two searches for lanes' topics
	maxFirsts       = 8               // partitions whose oldest request is read at a time
)

// backlogMetrics are the gauges of each lane's backlog. A lane appears once Kafka has answered for it.
type backlogMetrics struct {
	records *prometheus.GaugeVec
	seconds *prometheus.GaugeVec
	workers *prometheus.GaugeVec
}

func newBacklogMetrics(m meter.Meter) *backlogMetrics {
	const same = " Every tracker exposes the same value: do not add them up."
	return &backlogMetrics{
		records: m.GaugeVec("lane_lag_records", "Requests of a lane that no worker has taken."+same, "lane"),
		seconds: m.GaugeVec("lane_lag_seconds",
			"For how long the oldest request of a lane has waited for a worker; 0 when none waits."+same, "lane"),
		workers: m.GaugeVec("lane_workers", "Processors that take requests from a lane."+same, "lane"),
	}
}

// unknown removes all values, for no value is better than an old one.
func (b *backlogMetrics) unknown() {
	b.records.Reset()
	b.seconds.Reset()
	b.workers.Reset()
}

// oldest is the first request of a partition that no worker has taken: its offset and when it was
// written, in Unix milliseconds.
type oldest struct{ offset, at int64 }

// watchLanes measures the backlog of all lanes until ctx ends.
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
			o.served.Store(nil)
			o.api.waits.Store(nil)
		}
		select {
		case <-ticks.C:
		case <-ctx.Done():
			return
		}
	}
}

// findLanes adds each lane that has a topic to the known lanes, so that a lane has metrics before its
// first job.
func (o *owner) findLanes(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, o.bounds.Ask)
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

// askLanes measures each lane's backlog once. known holds the oldest requests that were found before, and
// is updated.
func (o *owner) askLanes(ctx context.Context, known map[string]map[int32]oldest) error {
	ctx, cancel := context.WithTimeout(ctx, o.bounds.Ask)
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
	served, waits := make(map[string]bool, len(lanes)), make(map[string]time.Time, len(lanes))
	for i, lane := range lanes {
		served[lane] = backlogs[i].Members > 0
		known[lane] = o.firsts(ctx, of[i].Topic, backlogs[i], known[lane])
		waits[lane] = earliest(known[lane])
		lag := waited(waits[lane], time.Now())
		o.backlog.records.WithLabelValues(lane).Set(float64(backlogs[i].Waiting))
		o.backlog.seconds.WithLabelValues(lane).Set(lag.Seconds())
		o.backlog.workers.WithLabelValues(lane).Set(float64(backlogs[i].Members))
	}
	o.served.Store(&served)
	o.api.waits.Store(&waits)
	return nil
}

// earliest returns when the oldest of requests was written, or the zero time if there is none.
func earliest(firsts map[int32]oldest) (since time.Time) {
	for _, first := range firsts {
		if at := time.UnixMilli(first.at); since.IsZero() || at.Before(since) {
			since = at
		}
	}
	return since
}

// waited returns for how long a request has waited that was written at since; 0 if since is zero.
func waited(since, now time.Time) time.Duration {
	if since.IsZero() {
		return 0
	}
	return max(0, now.Sub(since))
}

// firsts returns the oldest waiting request of each partition that has one. A request that is known is
// not read again. One that cannot be read is left out: retention has removed it, or the next measurement
// reads it.
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
			at := rec.Timestamp
			if !o.brokerTimes && rec.Attrs.TimestampType() != 1 {
				at = time.Now() // its writer's time may be anything; it waits for as long at least as it is known
			}
			keep(p, oldest{taken, at.UnixMilli()})
			return nil
		})
	}
	_ = reading.Wait()
	return firsts
}
