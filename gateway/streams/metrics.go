package streams

import (
	"connectrpc.com/connect"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/ackwire/ackwire/internal/meter"
)

// source is where a part came from, for the metrics.
type source string

const (
	fromBuffer  source = "buffer"
	fromTracker source = "tracker"
)

// Metrics are the metrics of streams.
type Metrics struct {
	meter meter.Meter
	parts map[source]prometheus.Counter
	asked map[string]prometheus.Counter
}

// NewMetrics registers the metrics.
func NewMetrics(r prometheus.Registerer) *Metrics {
	m := meter.New(r, "gateway")
	parts := m.Counters("stream_parts_total",
		"Parts of jobs' streams that readers have taken, by where they were: in the buffer of the stream, or at the tracker.",
		"source", string(fromBuffer), string(fromTracker))
	asked := m.Counters("stream_reads_total",
		"Questions to trackers for what a buffer did not have, by outcome.", "outcome", "ok", "refused", "unavailable")
	all := &Metrics{meter: m, parts: map[source]prometheus.Counter{}, asked: map[string]prometheus.Counter{}}
	for _, s := range []source{fromBuffer, fromTracker} {
		all.parts[s] = parts.WithLabelValues(string(s))
	}
	for _, outcome := range []string{"ok", "refused", "unavailable"} {
		all.asked[outcome] = asked.WithLabelValues(outcome)
	}
	return all
}

// observe registers the metrics of a room.
func (m *Metrics) observe(r *Room) {
	m.meter.GaugeFunc("followed_streams", "Streams of jobs that are followed at a tracker.", func() float64 {
		follows, _ := r.sizes()
		return float64(follows)
	})
	m.meter.GaugeFunc("stream_readers", "Places of clients in streams of jobs.", func() float64 {
		_, places := r.sizes()
		return float64(places)
	})
	m.meter.GaugeFunc("stream_buffer_bytes",
		"Bytes of the buffers of followed streams; 4 KiB of each stream are not counted.",
		func() float64 { return float64(r.used.Load()) })
}

// taken counts a part.
func (m *Metrics) taken(s source) { m.parts[s].Inc() }

// read counts a question to a tracker.
func (m *Metrics) read(err error) {
	outcome := "ok"
	if err != nil {
		outcome = "unavailable"
		switch connect.CodeOf(err) {
		case connect.CodeNotFound, connect.CodeInvalidArgument, connect.CodeOutOfRange:
			outcome = "refused"
		}
	}
	m.asked[outcome].Inc()
}
