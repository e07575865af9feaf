package shard

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/ackwire/ackwire/internal/meter"
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
	deadNoDocument     DeadReason = "no_document"
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

// Metrics counts what all shards of a tracker do. Every label's values are a bounded set, and
// those that are known beforehand start at 0, so that rates work from the first event on.
type Metrics struct {
	Lanes *Lanes

	events     map[event.Type]prometheus.Counter // found once: a fold must not look for them
	refused    map[fold.Reason]prometheus.Counter
	ended      *prometheus.CounterVec
	orders     *prometheus.CounterVec
	appended   *prometheus.CounterVec
	dead       *prometheus.CounterVec
	handOuts   *prometheus.CounterVec
	webhooks   *prometheus.CounterVec
	overloaded *prometheus.CounterVec
	checkpoint prometheus.Histogram
	changes    prometheus.Counter
	logToFold  prometheus.Histogram
	active     prometheus.Gauge
	watches    prometheus.Gauge
	loads      prometheus.Counter
	withheld   prometheus.Counter

	listConflated prometheus.Counter
	listMissed    prometheus.Counter

	shards      prometheus.Gauge
	readyShards prometheus.Gauge
	gaps        prometheus.Counter
	payloadGone prometheus.Counter
	diskFull    prometheus.Counter
	wildStamps  *prometheus.CounterVec
	blobs       prometheus.Counter
	viewWrites  *prometheus.CounterVec
	viewSeconds prometheus.Histogram
	viewJobs    prometheus.Counter
	viewLarge   prometheus.Counter
}

// NewMetrics registers the metrics.
func NewMetrics(m meter.Meter) *Metrics {
	timers := []event.Type{
		event.LeaseExpired, event.AttemptTimedOut, event.Requeued, event.CancelForced, event.DeadlineExceeded,
		event.Expired, event.CallbackQueued, event.Accepted,
	}
	return &Metrics{
		Lanes: newLanes(m),
		events: counters(m.Counters("events_total", "Events read from status, by type.",
			"type", meter.Words(event.Types)...), event.Types),
		refused: counters(m.Counters("events_refused_total", "Events that changed nothing, by reason.",
			"reason", meter.Words(fold.Reasons)...), fold.Reasons),
		ended: m.Counters("jobs_ended_total", "Jobs that reached a terminal state, by state.",
			"state", meter.Words([]job.State{job.Completed, job.Failed, job.Cancelled})...),
		orders: m.Counters("orders_total", "Orders sent to workers, by type.", "type", meter.Words(event.OrderTypes)...),
		appended: m.Counters("timer_events_total", "Events that timers appended, by type.",
			"type", meter.Words(timers)...),
		dead: m.Counters("dead_letters_total",
			"Records of status that could not be decoded or could not become a document, by reason.", "reason", meter.Words(
				[]DeadReason{deadUndecodable, deadUnknownVersion, deadNoValue, deadKeyMismatch, deadWrongPartition,
					deadNoDocument})...),
		handOuts: m.Counters("hand_outs_total", "Requests produced again for a next attempt, by outcome.", "outcome",
			"durable", "error"),
		webhooks: m.Counters("webhooks_queued_total",
			"Webhooks made into jobs of their own, by outcome; one that failed is tried again.", "outcome", "durable", "error"),
		overloaded: m.Counters("overloaded_total", "Questions that were turned away, by the bound that was met.",
			"bound", meter.Words([]bound{boundParked, boundPolls, boundReservations, boundWatches, boundTickets})...),
		checkpoint: m.Histogram("checkpoint_seconds", "How long a checkpoint's batch took to be written.", meter.Quick),
		changes:    m.Counter("checkpoint_jobs_total", "Jobs written by checkpoints."),
		logToFold: m.Histogram("log_to_fold_seconds",
			"From a record's timestamp to its fold, for shards that have caught up.", meter.Quick),
		active:  m.Gauge("jobs_active", "Jobs that have not ended."),
		watches: m.Gauge("watches", "Jobs watched by gateways, one per gateway and job."),
		loads: m.Counter("watch_loads_total",
			"Documents that a watch stream had no room to keep, and loaded when they were to be sent."),
		withheld: m.Counter("watch_withheld_total",
			"Documents of ended jobs that were not sent to who added them, as they are large: they are asked for once there "+
				"is room."),
		listConflated: m.Counter("list_changes_conflated_total",
			"Changes in watched lists that were replaced by a newer one of the same job before they were sent to a gateway."),
		listMissed: m.Counter("list_overflows_total",
			"Changes in watched lists for which there was room only in place of older ones, which the gateway is told to list."),
		shards:      m.Gauge("shards", "Partitions of status that this tracker owns."),
		readyShards: m.Gauge("shards_ready", "Owned partitions that have caught up with the log."),
		gaps: m.Counter("log_gaps_total",
			"Times that status no longer held what followed a checkpoint, or not even what the checkpoint reflects."),
		diskFull: m.Counter("disk_full_total", "Checkpoints that were not written because the disk was nearly full."),
		wildStamps: m.Counters("record_times_wrong_total",
			"Records of status whose time, given by their writer, could not be true, by where it lay. Timers use the tracker's "+
				"clock instead.", "is", string(timeAhead), string(timeBehind)),
		blobs: m.Counter("blobs_removed_total", "Blobs of removed jobs that were removed."),
		viewWrites: m.Counters("view_transactions_total", "Transactions of the topic view, by outcome.", "outcome",
			"committed", "error", "fenced"),
		viewSeconds: m.Histogram("view_transaction_seconds", "How long a transaction of the topic view took.", meter.Quick),
		viewJobs:    m.Counter("view_jobs_total", "Documents and tombstones written to the topic view."),
		viewLarge: m.Counter("view_too_large_total",
			"Documents that the topic view could not take for their size: it has them without their result, and no tracker "+
				"restores from that partition of it."),
		payloadGone: m.Counter("payloads_gone_total",
			"Next attempts whose payload was no longer in its topic: retention is too short."),
	}
}

// counters finds a vector's counters, one per value of its label.
func counters[T ~string](v *prometheus.CounterVec, values []T) map[T]prometheus.Counter {
	found := make(map[T]prometheus.Counter, len(values))
	for _, value := range values {
		found[value] = v.WithLabelValues(string(value))
	}
	return found
}

// overload counts that a bound was met, and returns the error of the question that is turned away.
func (m *Metrics) overload(b bound) error {
	m.overloaded.WithLabelValues(string(b)).Inc()
	return ErrOverloaded
}

// BlobsRemoved counts blobs of removed jobs.
func (m *Metrics) BlobsRemoved(n int) { m.blobs.Add(float64(n)) }

// ViewTooLarge counts a document that the view could not take.
func (m *Metrics) ViewTooLarge() { m.viewLarge.Inc() }

// Gap counts a partition whose log and checkpoint do not fit together.
func (m *Metrics) Gap() { m.gaps.Inc() }
