package gateway

import (
	"slices"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/ackwire/ackwire/gateway/api"
	"github.com/ackwire/ackwire/gateway/bulkjob"
	"github.com/ackwire/ackwire/gateway/console"
	"github.com/ackwire/ackwire/gateway/intake"
	"github.com/ackwire/ackwire/gateway/limits"
	"github.com/ackwire/ackwire/gateway/outbox"
	"github.com/ackwire/ackwire/gateway/session"
	"github.com/ackwire/ackwire/internal/meter"
	"github.com/ackwire/ackwire/schemas/code"
	"github.com/ackwire/ackwire/schemas/frame"
)

// metrics are the gateway's metrics. The values of every label are a fixed set and start at 0.
type metrics struct {
	frames       *prometheus.CounterVec
	frameSeconds map[frame.Type]prometheus.Observer
	errors       *prometheus.CounterVec
	closes       *prometheus.CounterVec
	sessions     prometheus.Gauge
	sent         prometheus.Counter
	delivery     prometheus.Histogram
	conflated    prometheus.Counter
	parked       prometheus.Counter
	meter        meter.Meter
	bulk         *bulkjob.Metrics
	submits      *intake.Metrics
	http         *api.Metrics
	dropped      map[outbox.Outcome]prometheus.Counter
	turned       *prometheus.CounterVec

	compressing    prometheus.Gauge
	notCompressing *prometheus.CounterVec
	compressed     prometheus.Counter
	beforeDeflate  prometheus.Counter
	afterDeflate   prometheus.Counter
}

const (
	clientLeft = "none" // close label of a session that the client ended
	otherFrame = "other"
)

var clientFrames = []frame.Type{
	frame.Auth, frame.Submit, frame.SubmitBatch, frame.Subscribe, frame.Unsubscribe, frame.Cancel, frame.Retry,
	frame.WatchList, frame.UnwatchList, frame.Ping,
}

func newMetrics(
	r prometheus.Registerer, size func() (jobs, subscriptions int), streams func() int,
) *metrics {
	m := meter.New(r, "gateway")
	closes := []string{clientLeft}
	for _, c := range code.AllCloses {
		closes = append(closes, strconv.Itoa(int(c)))
	}
	frames := append(slices.Clone(clientFrames), otherFrame)
	frameSeconds := m.HistogramVec("frame_seconds",
		"Time from a frame's arrival until its answer is queued for the client, by frame type.", meter.Quick, "type")
	dropped := m.Counters("frames_dropped_total",
		"Frames that were not sent to a client, by reason: old, a newer status was sent before; closed, the session was "+
			"ending; overflow, the client is too slow and was disconnected.",
		"reason", "old", "closed", "overflow")
	all := &metrics{
		meter:   m,
		submits: intake.NewMetrics(r),
		bulk:    bulkjob.NewMetrics(r),
		frames: m.CounterVec("frames_received_total",
			"Frames received, by type and by the error code of the answer (empty for success).", "type", "code"),
		frameSeconds: map[frame.Type]prometheus.Observer{},
		errors:       m.Counters("errors_total", "Errors sent to clients, by code.", "code", meter.Words(code.All)...),
		closes:       m.Counters("session_closes_total", "Sessions that ended, by close code.", "code", closes...),
		sessions:     m.Gauge("sessions", "Open sockets."),
		sent:         m.Counter("statuses_sent_total", "Status frames written to sockets."),
		delivery: m.Histogram("delivery_seconds",
			"Time from a status's event in the log until the status was written to a client that was watching the job, by "+
				"the clocks of the broker and of this gateway.",
			meter.Quick),
		conflated: m.Counter("statuses_conflated_total",
			"Statuses that were replaced by a newer one before they were written to a client."),
		parked: m.Counter("statuses_parked_total",
			"Statuses for whose bytes there was no room; they are loaded again before they are written."),
		dropped: map[outbox.Outcome]prometheus.Counter{outbox.Old: dropped.WithLabelValues("old"),
			outbox.Closed:   dropped.WithLabelValues("closed"),
			outbox.Overflow: dropped.WithLabelValues("overflow")},
		turned: m.Counters("turned_away_total",
			"Connections, sessions, submits, watches, frames and slow messages that were refused, by the bound that they "+
				"exceeded.", "bound", meter.Words(limits.All)...),
		compressing: m.Gauge("compression_sockets", "Open sockets with compression (permessage-deflate)."),
		notCompressing: m.Counters("compression_refused_total",
			"Handshakes that asked for compression and got a socket without it, by reason: off; sockets, the limit "+
				"compression-sockets is reached; parameters, the client asks for a smaller window or an unknown parameter.",
			"reason", meter.Words(session.NoCompressions)...),
		compressed: m.Counter("frames_compressed_total",
			"Frames that were compressed. A frame for many sockets is compressed, and counted, once."),
		beforeDeflate: m.Counter("compression_before_bytes_total",
			"Uncompressed bytes of frames on sockets with compression that are large enough to be compressed; a frame counts "+
				"once per socket."),
		afterDeflate: m.Counter("compression_after_bytes_total",
			"Bytes of the frames in compression_before_bytes_total as they were sent: compressed, unless that would not be "+
				"smaller."),
	}
	all.http = api.NewMetrics(r, all, console.RouteNames...)
	m.GaugeFunc("watched_jobs", "Jobs that are watched.", func() float64 {
		jobs, _ := size()
		return float64(jobs)
	})
	m.GaugeFunc("subscriptions", "Watches of jobs, and of all jobs of a user, over all sessions.", func() float64 {
		_, subs := size()
		return float64(subs)
	})
	m.GaugeFunc("tracker_streams", "Trackers to which a watch stream is open.", func() float64 {
		return float64(streams())
	})
	for _, t := range frames {
		all.frameSeconds[t] = frameSeconds.WithLabelValues(string(t))
	}
	for _, t := range clientFrames {
		all.frames.WithLabelValues(string(t), "")
	}
	return all
}

// Frame implements session.Metrics.
func (m *metrics) Frame(t frame.Type, c code.Code, took time.Duration) {
	if m.frameSeconds[t] == nil {
		t = otherFrame
	}
	m.frames.WithLabelValues(string(t), string(c)).Inc()
	m.frameSeconds[t].Observe(took.Seconds())
}

// Error implements session.Metrics.
func (m *metrics) Error(c code.Code) { m.errors.WithLabelValues(string(c)).Inc() }

// Sent implements session.Metrics.
func (m *metrics) Sent(times []int64) {
	if len(times) == 0 {
		return
	}
	m.sent.Add(float64(len(times)))
	now := time.Now().UnixMicro()
	for _, at := range times {
		if at != 0 {
			m.delivery.Observe(max(float64(now-1000*at), 0) / 1e6)
		}
	}
}

// Dropped implements session.Metrics.
func (m *metrics) Dropped(why outbox.Outcome) { m.dropped[why].Inc() }

// TooManyFrames implements session.Metrics.
func (m *metrics) TooManyFrames() { m.turnedAway(limits.FrameRate) }

// TooSlowToSend implements session.Metrics.
func (m *metrics) TooSlowToSend() { m.turnedAway(limits.MessageTime) }

func (m *metrics) turnedAway(b limits.Bound) { m.turned.WithLabelValues(string(b)).Inc() }

// Conflated implements session.Metrics.
func (m *metrics) Conflated() { m.conflated.Inc() }

// waiting registers the metric of the bytes that wait.
func (m *metrics) waiting(used func() int64) {
	m.meter.GaugeFunc("waiting_bytes",
		"Bytes that wait to be written to clients, or are being written; 4 KiB of each session are not counted.",
		func() float64 { return float64(used()) })
}

// Parked implements session.Metrics.
func (m *metrics) Parked() { m.parked.Inc() }

// Compressing implements session.Metrics.
func (m *metrics) Compressing(sockets int) { m.compressing.Add(float64(sockets)) }

// NotCompressing implements session.Metrics.
func (m *metrics) NotCompressing(why session.NoCompression) {
	m.notCompressing.WithLabelValues(string(why)).Inc()
}

// Compressed implements session.Metrics.
func (m *metrics) Compressed() { m.compressed.Inc() }

// SentCompressed implements session.Metrics.
func (m *metrics) SentCompressed(before, after int) {
	m.beforeDeflate.Add(float64(before))
	m.afterDeflate.Add(float64(after))
}

func (m *metrics) closed(c code.Close) {
	label := clientLeft
	if _, known := c.Info(); known {
		label = strconv.Itoa(int(c))
	}
	m.closes.WithLabelValues(label).Inc()
}
