package bench

import (
	"maps"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
)

// TestMeterCountsWhatWasAskedInItsTurns: only what was asked within the turns counts, divided by their jobs.
func TestMeterCountsWhatWasAskedInItsTurns(t *testing.T) {
	r := prometheus.NewRegistry()
	seconds := prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "ackwire_kafka_request_seconds"},
		[]string{"request"})
	records := prometheus.NewCounterVec(prometheus.CounterOpts{Name: "ackwire_kafka_records_total"}, []string{"direction"})
	written := prometheus.NewCounter(prometheus.CounterOpts{Name: "ackwire_kafka_written_bytes_total"})
	read := prometheus.NewCounter(prometheus.CounterOpts{Name: "ackwire_kafka_read_bytes_total"})
	r.MustRegister(seconds, records, written, read)
	ask := func(n int, kind string) {
		for range n {
			seconds.WithLabelValues(kind).Observe(1)
		}
	}
	ask(100, "produce") // before
	ask(7, "metadata")
	m := meter{from: r}
	for range 2 {
		err := m.during(10, func() {
			ask(20, "produce")
			ask(5, "fetch")
			records.WithLabelValues("produced").Add(40)
			records.WithLabelValues("fetched").Add(30)
			written.Add(1000)
			read.Add(500)
		})
		if err != nil {
			t.Fatal(err)
		}
		ask(100, "fetch") // between turns
	}
	got := m.perJob("ours")
	if !maps.Equal(got.Requests, map[string]float64{"produce": 2, "fetch": 0.5}) {
		t.Errorf("requests %v", got.Requests)
	}
	if got.Produced != 4 || got.Fetched != 3 || got.Written != 100 || got.Read != 50 || got.total() != 2.5 {
		t.Errorf("%+v", got)
	}
}
