package bulkjob

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/ackwire/ackwire/internal/meter"
)

// Metrics are the metrics of bulk actions.
type Metrics struct {
	running prometheus.Gauge
	jobs    [outcomes]prometheus.Counter
	again   prometheus.Counter
}

// NewMetrics registers the metrics.
func NewMetrics(r prometheus.Registerer) *Metrics {
	m := meter.New(r, "gateway")
	names := []string{"done"}
	for o := Gone; o < outcomes; o++ {
		names = append(names, string(o.reason()))
	}
	jobs := m.Counters("bulk_jobs_total", "Jobs that bulk actions have come to, by what became of them.", "outcome",
		names...)
	all := &Metrics{
		running: m.Gauge("bulk_running", "Bulk actions that this gateway runs."),
		again: m.Counter("bulk_repeated_orders_total",
			"Orders of bulk actions that were given again, because something did not answer or was overloaded."),
	}
	for i, name := range names {
		all.jobs[i] = jobs.WithLabelValues(name)
	}
	return all
}
