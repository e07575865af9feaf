package shard

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/ackwire/ackwire/schemas/event"
	"github.com/ackwire/ackwire/schemas/job"
	"github.com/ackwire/ackwire/tracker/fold"
)

// DeadReason is why a record of status went to the dead letters.
type DeadReason string

// The reasons.
const (
	deadUndecodable    DeadReason = "undecodable"
	deadUnknownVersion DeadReason = "unknown_version"
	deadNoValue        DeadReason = "no_value"
	deadKeyMismatch    DeadReason = "key_mismatch"
	deadWrongPartition DeadReason = "wrong_partition"
)

// bound is one of the shard's bounds that turn questions away.
type bound string

const (
	boundParked       bound = "parked"
	boundPolls        bound = "polls"
	boundReservations bound = "reservations"
	boundWatches      bound = "watches"
	boundTickets      bound = "tickets"
)

// Metrics counts what all shards of a tracker do. Every label's values are a fixed set
// and start at 0, so that rates work from the first event on.
type Metrics struct {
	events      *prometheus.CounterVec
	refused     *prometheus.CounterVec
	ended       *prometheus.CounterVec
	orders      *prometheus.CounterVec
	appended    *prometheus.CounterVec
	dead        *prometheus.CounterVec
	handOuts    *prometheus.CounterVec
	webhooks    *prometheus.CounterVec
	overloaded  *prometheus.CounterVec
	checkpoint  prometheus.Histogram
	changes     prometheus.Counter
	logToFold   prometheus.Histogram
	active      prometheus.Gauge
	watches     prometheus.Gauge
	shards      prometheus.Gauge
	readyShards prometheus.Gauge
	gaps        prometheus.Counter
	payloadGone prometheus.Counter
	diskFull    prometheus.Counter
	blobs       prometheus.Counter
	viewWrites  *prometheus.CounterVec
	viewSeconds prometheus.Histogram
	viewJobs    prometheus.Counter
}

// NewMetrics registers the metrics.
func NewMetrics(r prometheus.Registerer) *Metrics {
	counter := func(name, help, label string, values ...string) *prometheus.CounterVec {
		v := prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: "ackwire", Subsystem: "tracker", Name: name, Help: help}, []string{label})
		for _, value := range values {
			v.WithLabelValues(value)
		}
		r.MustRegister(v)
		return v
	}
	gauge := func(name, help string) prometheus.Gauge {
		g := prometheus.NewGauge(prometheus.GaugeOpts{Namespace: "ackwire", Subsystem: "tracker", Name: name, Help: help})
		r.MustRegister(g)
		return g
	}
	plain := func(name, help string) prometheus.Counter {
		c := prometheus.NewCounter(prometheus.CounterOpts{Namespace: "ackwire", Subsystem: "tracker", Name: name, Help: help})
		r.MustRegister(c)
		return c
	}
	histogram := func(name, help string) prometheus.Histogram {
		h := prometheus.NewHistogram(prometheus.HistogramOpts{Namespace: "ackwire", Subsystem: "tracker", Name: name, Help: help,
			Buckets: prometheus.ExponentialBuckets(0.0005, 2, 16), NativeHistogramBucketFactor: 1.1})
		r.MustRegister(h)
		return h
	}
	timers := []event.Type{event.LeaseExpired, event.AttemptTimedOut, event.Requeued, event.CancelForced, event.DeadlineExceeded, event.Expired, event.CallbackQueued, event.Accepted}
	return &Metrics{
		events:      counter("events_total", "Events read from status, by type.", "type", words(event.Types)...),
		refused:     counter("events_refused_total", "Events that changed nothing, by reason.", "reason", words(fold.Reasons)...),
		ended:       counter("jobs_ended_total", "Jobs that reached a terminal state, by state.", "state", words([]job.State{job.Completed, job.Failed, job.Cancelled})...),
		orders:      counter("orders_total", "Orders sent to workers, by type.", "type", words(event.OrderTypes)...),
		appended:    counter("timer_events_total", "Events that timers appended, by type.", "type", words(timers)...),
		dead:        counter("dead_letters_total", "Records of status that nobody could decode, by reason.", "reason", words([]DeadReason{deadUndecodable, deadUnknownVersion, deadNoValue, deadKeyMismatch, deadWrongPartition})...),
		handOuts:    counter("hand_outs_total", "Requests produced again for a next attempt, by outcome.", "outcome", "durable", "error"),
		webhooks:    counter("webhooks_queued_total", "Webhooks made into jobs of their own, by outcome; one that failed is tried again.", "outcome", "durable", "error"),
		overloaded:  counter("overloaded_total", "Questions that were turned away, by the bound that was met.", "bound", words([]bound{boundParked, boundPolls, boundReservations, boundWatches, boundTickets})...),
		checkpoint:  histogram("checkpoint_seconds", "How long a checkpoint's batch took to be written."),
		changes:     plain("checkpoint_jobs_total", "Jobs written by checkpoints."),
		logToFold:   histogram("log_to_fold_seconds", "From a record's timestamp to its fold, for shards that have caught up."),
		active:      gauge("jobs_active", "Jobs that have not ended."),
		watches:     gauge("watches", "Jobs watched by gateways, one per gateway and job."),
		shards:      gauge("shards", "Partitions of status that this tracker owns."),
		readyShards: gauge("shards_ready", "Owned partitions that have caught up with the log."),
		gaps:        plain("log_gaps_total", "Times that status no longer held what followed a checkpoint, or not even what the checkpoint reflects."),
		diskFull:    plain("disk_full_total", "Checkpoints that were not written because the disk was nearly full."),
		blobs:       plain("blobs_removed_total", "Blobs of removed jobs that were removed."),
		viewWrites:  counter("view_transactions_total", "Transactions of the topic view, by outcome.", "outcome", "committed", "error", "fenced"),
		viewSeconds: histogram("view_transaction_seconds", "How long a transaction of the topic view took."),
		viewJobs:    plain("view_jobs_total", "Documents and tombstones written to the topic view."),
		payloadGone: plain("payloads_gone_total", "Next attempts whose payload was no longer in its topic: retention is too short."),
	}
}

func words[T ~string](values []T) []string {
	out := make([]string, len(values))
	for i, v := range values {
		out[i] = string(v)
	}
	return out
}

// BlobsRemoved counts blobs of removed jobs.
func (m *Metrics) BlobsRemoved(n int) { m.blobs.Add(float64(n)) }

// Gap counts a partition whose log and checkpoint do not fit together.
func (m *Metrics) Gap() { m.gaps.Inc() }
