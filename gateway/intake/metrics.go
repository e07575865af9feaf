package intake

import (
	"errors"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/ackwire/ackwire/internal/meter"
	"github.com/ackwire/ackwire/schemas/code"
	"github.com/ackwire/ackwire/schemas/frame"
)

// Metrics are the metrics of submits and of the audit.
type Metrics struct {
	submits  *prometheus.CounterVec
	ack      prometheus.Histogram
	inFlight prometheus.Gauge

	auditWritten prometheus.Counter
	auditLost    prometheus.Counter

	placeEstimated, placeKnown, placeUnknown prometheus.Counter // found once: a submit must not look for them
}

// NewMetrics registers the metrics.
func NewMetrics(r prometheus.Registerer) *Metrics {
	m := meter.New(r, "gateway")
	places := m.Counters("ack_places_total",
		"Acks of new jobs, by what they say of their lane's queue: ahead and estimate, ahead only, or nothing, because it "+
			"is not known or ack-queue is off.", "said", "estimate", "ahead", "nothing")
	return &Metrics{
		placeEstimated: places.WithLabelValues("estimate"), placeKnown: places.WithLabelValues("ahead"),
		placeUnknown: places.WithLabelValues("nothing"),
		submits:      m.Counters("submits_total", "Submits, by outcome.", "outcome", "acked", "rejected", "indeterminate"),
		ack: m.Histogram("ack_seconds", "Time from a submit's frame to its ack, for submits that were acked.",
			meter.Quick),
		inFlight:     m.Gauge("submits_in_flight", "Submits that have no answer yet."),
		auditWritten: m.Counter("audit_records_total", "Records written to the topic audit."),
		auditLost: m.Counter("audit_lost_total",
			"Records of the topic audit that are not known to be written. What they tell of is in the log."),
	}
}

func (m *Metrics) submitted(err error, took time.Duration) {
	var p frame.Problem
	switch {
	case err == nil:
		m.submits.WithLabelValues("acked").Inc()
		m.ack.Observe(took.Seconds())
	case errors.As(err, &p) && p.Code == code.Indeterminate:
		m.submits.WithLabelValues("indeterminate").Inc()
	default:
		m.submits.WithLabelValues("rejected").Inc()
	}
}
