package gateway

import (
	"github.com/prometheus/client_golang/prometheus"
)

// listMetrics implement lists.Metrics.
type listMetrics struct {
	rows      prometheus.Counter
	conflated prometheus.Counter
	overflows prometheus.Counter
}

// lists registers the metrics of watched lists.
func (m *metrics) lists(size func() (lists, subscriptions int)) *listMetrics {
	m.meter.GaugeFunc("lists", "Different lists of jobs that are watched.", func() float64 {
		n, _ := size()
		return float64(n)
	})
	m.meter.GaugeFunc("list_subscriptions", "Watches of lists of jobs, over all sessions.", func() float64 {
		_, n := size()
		return float64(n)
	})
	return &listMetrics{
		rows: m.meter.Counter("list_rows_sent_total", "Jobs that are in a watched list, or have left it, sent to clients."),
		conflated: m.meter.Counter("list_changes_conflated_total",
			"Changes in watched lists that have taken the place of an earlier one of the same job, which not every client may "+
				"have been sent."),
		overflows: m.meter.Counter("list_overflows_total",
			"Times that a client was told to ask for a watched list again: more has changed than it was sent, or a partition "+
				"has moved to another tracker."),
	}
}

// ListRows implements lists.Metrics.
func (m *listMetrics) ListRows(n int) { m.rows.Add(float64(n)) }

// ListConflated implements lists.Metrics.
func (m *listMetrics) ListConflated() { m.conflated.Inc() }

// ListOverflow implements lists.Metrics.
func (m *listMetrics) ListOverflow() { m.overflows.Inc() }
