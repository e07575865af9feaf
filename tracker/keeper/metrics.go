package keeper

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/ackwire/ackwire/internal/meter"
)

// origin says where the bytes of an answer come from.
type origin string

const (
	fromMemory origin = "memory"
	fromStore  origin = "store"
	fromKafka  origin = "kafka"
)

// maxTopicReads is how many answers at a time may read from the topic, so that their memory is bounded.
const maxTopicReads = 16

// Shared is what the keepers of a process share.
type Shared struct {
	tails   *Tails
	turns   chan struct{} // one value for each answer that reads from the topic
	records map[outcome]prometheus.Counter
	served  map[origin]prometheus.Counter
	lag     prometheus.Gauge
	kept    prometheus.Counter
	lost    prometheus.Counter
	follows prometheus.Gauge
	waiting prometheus.Gauge
}

// NewShared registers the metrics of all keepers of a process, whose tails have at most tailBytes.
func NewShared(m meter.Meter, tailBytes int64) *Shared {
	s := &Shared{
		tails: NewTails(tailBytes), turns: make(chan struct{}, maxTopicReads),
		records: map[outcome]prometheus.Counter{}, served: map[origin]prometheus.Counter{},
		lag: m.Gauge("streams_lag_records",
			"Records of the topic streams that were not read yet, over all owned partitions."),
		kept: m.Counter("streams_kept_total", "Ended jobs whose streams were kept whole in the store."),
		lost: m.Counter("streams_lost_total",
			"Streams of which records were lost before they were read: they are gone behind what was read."),
		follows: m.Gauge("streams_follows", "Streams that gateways follow."),
		waiting: m.Gauge("streams_waiting_bytes",
			"Size of the records of streams that wait until the claim of their run is folded."),
	}
	m.GaugeFunc("streams_tail_bytes", "Memory of what was written last to streams, of which there is a bound.",
		func() float64 { return float64(s.tails.Bytes()) })
	m.Gauge("streams_tail_limit_bytes", "The bound of streams_tail_bytes.").Set(float64(tailBytes))
	outcomes := append([]outcome{taken}, dropped...)
	records := m.Counters("streams_records_total",
		"Records of the topic streams, by whether they were taken or why not.", "outcome", meter.Words(outcomes)...)
	for _, o := range outcomes {
		s.records[o] = records.WithLabelValues(string(o))
	}
	origins := []origin{fromMemory, fromStore, fromKafka}
	served := m.Counters("streams_served_bytes_total",
		"Bytes of streams that were sent to gateways, by where they came from.",
		"from", meter.Words(origins)...)
	for _, o := range origins {
		s.served[o] = served.WithLabelValues(string(o))
	}
	return s
}
