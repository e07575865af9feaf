package processor

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/ackwire/ackwire/internal/meter"
	"github.com/ackwire/ackwire/schemas/event"
)

// claimOutcome is the outcome of a claim: the label of claims_total.
type claimOutcome string

const (
	claimStarted  claimOutcome = "started"  // the handler began as soon as the claim was durable
	claimGranted  claimOutcome = "granted"  // the handler began after a grant
	claimRefused  claimOutcome = "refused"  // the tracker stopped the run before it began
	claimQuit     claimOutcome = "quit"     // the job was cancelled before the run began
	claimReleased claimOutcome = "released" // the processor stopped before the run began
	claimUnable   claimOutcome = "unable"   // the worker cannot run the job, and handed it back
)

var claimOutcomes = []claimOutcome{claimStarted, claimGranted, claimRefused, claimQuit, claimReleased, claimUnable}

// outcome is the outcome of a run: the label of runs_ended_total.
type outcome string

const (
	ranCompleted outcome = "completed"
	ranFailed    outcome = "failed"
	ranCancelled outcome = "cancelled"
	ranReleased  outcome = "released"   // the processor stopped, and handed the job back
	ranUnable    outcome = "unable"     // the handler found that this worker cannot run the job
	ranStopped   outcome = "stopped"    // the tracker stopped the run: it does not hold the job
	ranLeaseLost outcome = "lease_lost" // the run could not renew its lease in time
)

var outcomes = []outcome{ranCompleted, ranFailed, ranCancelled, ranReleased, ranUnable, ranStopped, ranLeaseLost}

// deadReason is why a record became a dead letter: one word of a fixed set.
type deadReason string

const (
	deadBadRequest     deadReason = "bad_request"     // a header is missing or broken
	deadUnknownVersion deadReason = "unknown_version" // a request of a version this worker does not know
)

var deadReasons = []deadReason{deadBadRequest, deadUnknownVersion}

// Labels of orders_total beside the order types.
const (
	orderUnknownRun  = "unknown_run" // this worker has no such run; mostly because it has ended
	orderUndecodable = "undecodable"
)

// workerEvents are the events that a worker appends: the label of produce_failures_total.
var workerEvents = []event.Type{
	event.Claimed, event.Beat, event.Progress, event.Completed, event.Failed, event.Released,
}

const deadLetterLabel = "dead" // a produce to the topic dead, in produce_failures_total

type metrics struct {
	claims          *prometheus.CounterVec
	ended           *prometheus.CounterVec
	unable          *prometheus.CounterVec
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
	streams         *streamMetrics
}

// newMetrics registers the metrics. Every label value is present from the start, so that rates work.
func newMetrics(r prometheus.Registerer, lanes []string) *metrics {
	m := meter.New(r, "processor")
	orders := append(meter.Words(event.OrderTypes), orderUnknownRun, orderUndecodable)
	all := &metrics{
		claims: m.Counters("claims_total", "Claims of jobs, by outcome.", "outcome", meter.Words(claimOutcomes)...),
		ended: m.Counters("runs_ended_total", "Runs whose handler was started, by outcome.",
			"outcome", meter.Words(outcomes)...),
		unable: m.Counters("unable_total",
			"Jobs handed back, without costing an attempt, because this worker cannot run them, by reason.",
			"reason", unableReasons...),
		leasesLost:     m.Counter("leases_lost_total", "Runs whose lease could not be renewed in time."),
		running:        m.Gauge("running", "Handlers that are running now."),
		waiting:        m.Gauge("waiting", "Runs that are waiting for the tracker's grant now."),
		slotsFree:      m.GaugeVec("slots_free", "Free slots.", "lane"),
		handlerSeconds: m.HistogramVec("handler_seconds", "How long handlers ran.", meter.Slow, "lane"),
		conflated: m.Counter("progress_conflated_total",
			"Progress calls that a later one replaced before they were sent."),
		deadLetters: m.Counters("dead_letters_total", "Records written to the dead letters, by reason.",
			"reason", meter.Words(deadReasons)...),
		orders: m.Counters("orders_total",
			"Orders from the tracker, by type; unknown_run and undecodable count orders for runs that this worker does "+
				"not have, and records that are not orders.",
			"type", orders...),
		produceFailures: m.Counters("produce_failures_total", "Records that Kafka did not confirm, by event.",
			"event", append(meter.Words(workerEvents), deadLetterLabel, streamLabel, announcementLabel)...),
		commitFailures: m.Counter("commit_failures_total", "Offset commits that failed; they are tried again."),
		streams:        newStreamMetrics(m),
	}
	for _, lane := range lanes {
		all.slotsFree.WithLabelValues(lane)
		all.handlerSeconds.WithLabelValues(lane)
	}
	return all
}
