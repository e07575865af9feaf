package processor

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/ackwire/ackwire/schemas/event"
)

// claimOutcome is how a claim went: the label of claims_total.
type claimOutcome string

const (
	claimStarted  claimOutcome = "started"  // the handler began as soon as the claim was durable
	claimGranted  claimOutcome = "granted"  // the handler began after a grant
	claimRefused  claimOutcome = "refused"  // the tracker stopped the run before it began
	claimQuit     claimOutcome = "quit"     // the job was cancelled before the run began
	claimReleased claimOutcome = "released" // the processor stopped before the run began
)

var claimOutcomes = []claimOutcome{claimStarted, claimGranted, claimRefused, claimQuit, claimReleased}

// outcome is how a run ended: the label of runs_ended_total.
type outcome string

const (
	ranCompleted outcome = "completed"
	ranFailed    outcome = "failed"
	ranCancelled outcome = "cancelled"
	ranReleased  outcome = "released"
	ranStopped   outcome = "stopped"
	ranLeaseLost outcome = "lease_lost"
)

var outcomes = []outcome{ranCompleted, ranFailed, ranCancelled, ranReleased, ranStopped, ranLeaseLost}

// deadReason is why a record became a dead letter: one word of a fixed set.
type deadReason string

const (
	deadBadRequest     deadReason = "bad_request"     // a header is missing or broken
	deadUnknownVersion deadReason = "unknown_version" // a request of a version this worker does not know
)

var deadReasons = []deadReason{deadBadRequest, deadUnknownVersion}

// Labels of orders_total beside the order types.
const (
	orderUnknownRun  = "unknown_run" // the run has ended, or was never this worker's
	orderUndecodable = "undecodable"
)

// saidEvents are the events a worker appends: the label of produce_failures_total.
var saidEvents = []event.Type{event.Claimed, event.Beat, event.Progress, event.Completed, event.Failed, event.Released}

const deadLetterLabel = "dead" // a produce to the topic dead, in produce_failures_total

type metrics struct {
	claims          *prometheus.CounterVec
	ended           *prometheus.CounterVec
	leasesLost      prometheus.Counter
	running         prometheus.Gauge
	waiting         prometheus.Gauge
	slotsFree       *prometheus.GaugeVec
	handlerSeconds  *prometheus.HistogramVec
	conflated       prometheus.Counter
	deadLetters     *prometheus.CounterVec
	orders          *prometheus.CounterVec
	produceFailures *prometheus.CounterVec
	commitFailures  prometheus.Counter
}

// newMetrics registers the metrics, with every label value present from the start.
func newMetrics(r prometheus.Registerer, lanes []string) *metrics {
	const ns, sub = "ackwire", "processor"
	counter := func(name, help string) prometheus.Counter {
		c := prometheus.NewCounter(prometheus.CounterOpts{Namespace: ns, Subsystem: sub, Name: name, Help: help})
		r.MustRegister(c)
		return c
	}
	counters := func(name, help, label string) *prometheus.CounterVec {
		c := prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: ns, Subsystem: sub, Name: name, Help: help}, []string{label})
		r.MustRegister(c)
		return c
	}
	gauge := func(name, help string) prometheus.Gauge {
		g := prometheus.NewGauge(prometheus.GaugeOpts{Namespace: ns, Subsystem: sub, Name: name, Help: help})
		r.MustRegister(g)
		return g
	}
	m := &metrics{
		claims:     counters("claims_total", "Claims by how they went.", "outcome"),
		ended:      counters("runs_ended_total", "Runs that began, by how they ended.", "outcome"),
		leasesLost: counter("leases_lost_total", "Runs whose lease could not be renewed in time."),
		running:    gauge("running", "Handlers that run."),
		waiting:    gauge("waiting", "Runs that wait for the tracker's grant."),
		slotsFree: prometheus.NewGaugeVec(prometheus.GaugeOpts{Namespace: ns, Subsystem: sub,
			Name: "slots_free", Help: "Slots that no job holds."}, []string{"lane"}),
		handlerSeconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{Namespace: ns, Subsystem: sub,
			Name: "handler_seconds", Help: "How long handlers ran.",
			Buckets: prometheus.ExponentialBuckets(0.001, 4, 12)}, []string{"lane"}), // 1 ms to over an hour
		conflated:       counter("progress_conflated_total", "Progress calls that a later one replaced before they were sent."),
		deadLetters:     counters("dead_letters_total", "Records put among the dead letters, by reason.", "reason"),
		orders:          counters("orders_total", "Orders from the tracker, by type.", "type"),
		produceFailures: counters("produce_failures_total", "Records that Kafka did not confirm, by event.", "event"),
		commitFailures:  counter("commit_failures_total", "Offset commits that failed; they are repeated."),
	}
	r.MustRegister(m.slotsFree, m.handlerSeconds)
	for _, o := range claimOutcomes {
		m.claims.WithLabelValues(string(o))
	}
	for _, o := range outcomes {
		m.ended.WithLabelValues(string(o))
	}
	for _, reason := range deadReasons {
		m.deadLetters.WithLabelValues(string(reason))
	}
	for _, t := range event.OrderTypes {
		m.orders.WithLabelValues(string(t))
	}
	m.orders.WithLabelValues(orderUnknownRun)
	m.orders.WithLabelValues(orderUndecodable)
	for _, t := range saidEvents {
		m.produceFailures.WithLabelValues(string(t))
	}
	m.produceFailures.WithLabelValues(deadLetterLabel)
	for _, lane := range lanes {
		m.slotsFree.WithLabelValues(lane)
		m.handlerSeconds.WithLabelValues(lane)
	}
	return m
}
